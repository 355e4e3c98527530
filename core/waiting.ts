/**
 * New requests that wait for a backend with room for them: in the order they came, so many at most, and so long at most. What
 * belongs to a session does not wait with them.
 */
import type { Client } from './client.ts';
import type { Message } from './message.ts';
import type { Runtime } from './runtime/runtime.ts';

/** How often it is looked whether there is room, besides whenever an answer has made some. */
const tickMs = 20;

/** A request that waits. It counts as held, and its client has it outstanding. */
export interface WaitingRequest {
  readonly bytes: Buffer;
  readonly client: Client;
  readonly deadlineMs: number;
}

export interface WaitingOptions {
  readonly seconds: number;
  readonly requests: number;
  readonly bytes: number;
  readonly runtime: Runtime;
  /** Takes as many of the first as there is room for, by `shift`. */
  readonly drain: () => void;
}

export class Waiting {
  readonly #options: WaitingOptions;
  #queue: WaitingRequest[] = [];
  /** Where the first one is in the queue. */
  #first = 0;
  #bytes = 0;
  #cancelTick: (() => void) | undefined;
  #isScheduled = false;

  constructor(options: WaitingOptions) {
    this.#options = options;
  }

  get length(): number {
    return this.#queue.length - this.#first;
  }

  get first(): WaitingRequest | undefined {
    return this.#queue[this.#first];
  }

  /** Puts a request at the end; false if there is no room. */
  add(message: Message, client: Client): boolean {
    const { seconds, requests, bytes, runtime } = this.#options;
    if (this.length >= requests || this.#bytes + message.length > bytes) return false;
    const copy = Buffer.allocUnsafeSlow(message.length);
    message.bytes.copy(copy, 0, message.start, message.end);
    this.#queue.push({ bytes: copy, client, deadlineMs: runtime.now() + seconds * 1000 });
    this.#bytes += copy.length;
    this.#cancelTick ??= runtime.after(tickMs, this.#tick);
    return true;
  }

  shift(): WaitingRequest {
    const first = this.#queue[this.#first]!;
    this.#first++;
    this.#bytes -= first.bytes.length;
    if (2 * this.#first >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    return first;
  }

  /** Puts the one back that was taken last: there was no room for it after all. */
  unshift(request: WaitingRequest): void {
    if (this.#first > 0) this.#queue[--this.#first] = request;
    else this.#queue.unshift(request);
    this.#bytes += request.bytes.length;
  }

  /** There may be room: looks at the end of the turn. */
  look(): void {
    if (this.#isScheduled || this.length === 0) return;
    this.#isScheduled = true;
    this.#options.runtime.atTurnEnd(() => {
      this.#isScheduled = false;
      this.#options.drain();
    });
  }

  readonly #tick = (): void => {
    this.#cancelTick = undefined;
    this.#options.drain();
    if (this.length > 0) this.#cancelTick ??= this.#options.runtime.after(tickMs, this.#tick);
  };

  stop(): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
  }
}
