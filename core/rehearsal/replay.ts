/** Sends what many clients have sent through a listener, on virtual sockets, and tells message by message what happens. */
import type { Settings } from '../settings.ts';
import { type MessageRecord, Recorder } from './recorder.ts';
import { Rig, unchecked, type Wire } from './rig.ts';

/** A message, and its offset in the bytes that its sender has sent on that connection. */
export interface Placed {
  readonly offset: number;
  readonly record: MessageRecord;
}

export interface ReplayClient {
  readonly address: string;
  readonly port: number;
}

/** A client that is connected. */
interface Caller {
  readonly wire: Wire;
  /** The offset of its next message. */
  offset: number;
  sentBytes: number;
  /** The message whose end has not come yet. */
  pending: MessageRecord | undefined;
}

/** How far the virtual clock follows in all; then it stands still, so that times that a file makes up cost nothing. */
const mostMilliseconds = 86_400_000;
/** After how many messages the bytes that backends have received are dropped. */
const messagesBetweenCleanings = 256;

/** Backends take everything and answer nothing. */
export class Replay {
  readonly #rig: Rig;
  readonly #recorder: Recorder;
  readonly #callers = new Map<number, Caller>();
  #startedMicros: number | undefined;
  #elapsed = 0;
  #messages = 0;

  private constructor(rig: Rig, recorder: Recorder) {
    this.#rig = rig;
    this.#recorder = recorder;
  }

  /**
   * @param name of the listener
   * @throws PluginError (rejects with) if a plugin cannot be applied or started
   */
  static async start(settings: Settings, name: string): Promise<Replay> {
    const listener = settings.listeners.find((listener) => listener.name === name)!;
    const pools = settings.pools.filter((pool) => pool.name === listener.pool).map(unchecked);
    const recorder = new Recorder();
    const quiet = () => {};
    const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
    const rig = await Rig.start({ ...settings, listeners: [recorder.record(listener)], pools }, { log });
    // The virtual clock begins at 0, which "since when" has for "never".
    rig.advance(1);
    return new Replay(rig, recorder);
  }

  /** Moves the clock to the time when something happened, never back. */
  at(timeMicros: number): void {
    this.#startedMicros ??= timeMicros;
    const elapsed = Math.min(Math.floor((timeMicros - this.#startedMicros) / 1000), mostMilliseconds);
    if (elapsed <= this.#elapsed) return;
    this.#rig.advance(elapsed - this.#elapsed);
    this.#elapsed = elapsed;
  }

  /**
   * Sends bytes on that connection, which is opened if necessary.
   * @returns the messages that are now complete
   */
  async send(connection: number, client: ReplayClient, bytes: Uint8Array): Promise<readonly Placed[]> {
    let caller = this.#callers.get(connection);
    if (caller === undefined) {
      caller = { wire: this.#rig.client(client.address, client.port), offset: 0, sentBytes: 0, pending: undefined };
      this.#callers.set(connection, caller);
      await this.#rig.settle(); // it may be a promise that lets it in
    }
    const { messages } = this.#recorder;
    // The recorder goes on with the message that came last.
    messages.splice(0);
    if (caller.pending !== undefined) messages.push(caller.pending);
    caller.wire.send(bytes);
    caller.sentBytes += bytes.length;
    caller.pending = messages.at(-1)?.outcome?.kind === 'incomplete' ? messages.pop() : undefined;
    const placed = messages.splice(0).map((record) => place(caller, record));
    this.#clean(caller, placed.length);
    return placed;
  }

  /** Whether anything sent on the connection is ignored from now on. */
  isClosed(connection: number): boolean {
    return this.#callers.get(connection)?.wire.ended ?? false;
  }

  /**
   * The client closes the connection.
   * @returns the message whose end never came, and how many bytes were ignored because the connection had been closed before
   */
  end(connection: number): { readonly last: Placed | undefined; readonly unreadBytes: number } {
    const caller = this.#callers.get(connection);
    if (caller === undefined) return { last: undefined, unreadBytes: 0 };
    this.#callers.delete(connection);
    const last = caller.pending === undefined ? undefined : place(caller, caller.pending);
    caller.wire.end();
    // Nobody answers here, so there is nothing to wait for.
    caller.wire.reset();
    this.#recorder.messages.splice(0);
    return { last, unreadBytes: Math.max(0, caller.sentBytes - caller.offset) };
  }

  async stop(): Promise<void> {
    await this.#rig.stop();
  }

  /** Drops what peers have received: it is not needed here, and would fill the memory. */
  #clean(caller: Caller, messages: number): void {
    caller.wire.peer.chunks.length = 0;
    this.#messages += messages;
    if (this.#messages < messagesBetweenCleanings) return;
    this.#messages = 0;
    for (const { wires } of this.#rig.backends) for (const { peer } of wires) peer.chunks.length = 0;
  }
}

function place(caller: Caller, record: MessageRecord): Placed {
  const { offset } = caller;
  caller.offset += record.received.length;
  return { offset, record };
}
