/** A connection from the balancer to a backend: shared by all clients, or dedicated to one. */
import type { Client } from './client.ts';
import { Carried } from './exchanges.ts';
import type { Links } from './links.ts';
import { LinkOutbox, type Turn } from './outbox.ts';
import { lingerMs, Peer } from './peer.ts';
import type { Pipeline } from './pipeline.ts';
import type { Backend } from './pool.ts';

export class Link extends Peer {
  /** @internal */
  declare readonly outbox: LinkOutbox;
  readonly backend: Backend;
  /** The client that a dedicated link serves; undefined if the link is shared. */
  readonly client: Client | undefined;
  /** `greeting`: connected, but `hold` says that nothing may be sent yet. */
  state: 'idle' | 'connecting' | 'greeting' | 'open' | 'closed' = 'idle';
  /** How many attempts to connect have failed, or lasted only a moment, since the last good one. @internal */
  failures = 0;
  openedAtMs = 0;
  /** Its requests that are waiting for an answer. @internal */
  readonly carried = new Carried();

  readonly #links: Links;
  #greeting: Uint8Array[] | undefined;
  #held = false;
  #endAfterQueue = false;
  #timedOut = false;
  #cancelTimeout: (() => void) | undefined;

  constructor(links: Links, pipeline: Pipeline, turn: Turn, backend: Backend, client: Client | undefined) {
    super(
      'backend',
      pipeline,
      pipeline.accounting.backend,
      new LinkOutbox(turn, backend.pool.settings.queueBytes, backend.delimits),
      backend.delimits,
    );
    this.#links = links;
    this.backend = backend;
    this.client = client;
    if (client === undefined) this.outbox.onFull = (full) => backend.pool.setFull(backend, full);
  }

  /** @internal */
  override moveTo(pipeline: Pipeline, isFamiliar: boolean): void {
    super.moveTo(pipeline, isFamiliar);
    this.outbox.limitBytes = this.backend.pool.settings.queueBytes;
  }

  /** @internal */
  connect(): void {
    const { settings } = this.backend.pool;
    this.state = 'connecting';
    this.#countDedicated(1);
    this.closing = false;
    this.endReason = undefined;
    this.ended = false;
    this.finished = false;
    this.stalled = false;
    this.#cancelTimeout = this.#links.runtime.after(settings.connectSeconds * 1000, () => {
      this.#timedOut = true;
      this.socket?.destroy();
    });
    this.#timedOut = false;
    this.socket = this.#links.runtime.connect(
      {
        address: this.backend.address,
        preface: this.#links.prefaceFor(this.client),
        tls: settings.tls,
        keepaliveSeconds: settings.keepaliveSeconds,
      },
      this,
    );
    this.longestMessageBytes = this.socket.longestMessageBytes;
  }

  #countDedicated(change: 1 | -1): void {
    if (this.client === undefined) return;
    this.backend.dedicatedLinks += change;
    this.backend.pool.dedicatedLinks += change;
  }

  /**
   * In `onLink`: sends bytes before anything else on the link. Later: queues them after what is waiting. They are not a message,
   * and are not counted. On a closed link: they are dropped.
   */
  override send(bytes: Uint8Array): void {
    if (this.#greeting !== undefined) this.#greeting.push(bytes);
    else if (this.state !== 'closed') super.send(bytes);
  }

  /** In `onLink`: nothing else is sent until `release()`. The pool's connect timeout keeps running. */
  hold(): void {
    this.#held = true;
  }

  /** The backend has answered the handshake: what is waiting may leave. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    if (this.state === 'greeting' && this.#greeting === undefined) this.#opened();
  }

  /** @internal */
  override onOpen(): void {
    this.state = 'greeting';
    this.backend.connections++;
    this.#greeting = [];
    this.pipeline.greet(this);
    const greeting = this.#greeting;
    this.#greeting = undefined;
    if (greeting.length > 0 && this.socket !== undefined) this.outbox.writeAhead(this.socket, Buffer.concat(greeting));
    if (!this.#held) this.#opened();
  }

  #opened(): void {
    this.#cancelTimeout?.();
    this.state = 'open';
    this.openedAtMs = this.pipeline.runtime.now();
    this.#links.onOpened(this);
    if (this.socket !== undefined) this.outbox.open(this.socket);
    if (this.#endAfterQueue) this.endWhenEmpty();
    if (this.ended || this.client?.closed) this.#linger();
  }

  /** Half-closes once its queue is empty, as its client will send nothing more. @internal */
  endAfterQueue(): void {
    this.#endAfterQueue = true;
    if (this.state === 'open') this.endWhenEmpty();
  }

  /** The client of this dedicated link has closed its connection. @internal */
  onClientGone(): void {
    if (this.outbox.waitingBytes === 0 || this.state === 'closed') {
      this.destroy();
      return;
    }
    // What the client sent in whole before it left still reaches the backend.
    this.endAfterQueue();
    if (this.state === 'open') this.#linger();
  }

  /** Nobody needs this link any more: if the backend does not close it soon, we do. */
  #linger(): void {
    if (this.state === 'closed') return; // ending has closed it
    this.#cancelTimeout?.();
    this.#cancelTimeout = this.#links.runtime.after(lingerMs, () => this.socket?.destroy());
  }

  /** Framing is lost, so nothing that comes later can be understood: what is waiting leaves on a new link. */
  override closeGently(): void {
    this.destroy();
  }

  protected override afterEnd(): void {
    // A backend that half-closes will answer nothing more: our side closes too, and the next message opens the link afresh.
    this.cutShort();
    this.outbox.detach();
    this.socket?.end();
    this.#linger();
    this.#links.onEnding(this);
  }

  protected override take(bytes: Buffer, start: number, end: number): number {
    const { client, pipeline } = this;
    const relays = pipeline.relaysAnswers && !this.delimits && client?.delimits === false;
    return pipeline.consume(this, bytes, start, end, relays ? client : undefined);
  }

  /** @internal */
  override onClose(error: Error | undefined): void {
    this.#cancelTimeout?.();
    const reached = this.state === 'open';
    if (this.state === 'greeting' || reached) this.backend.connections--;
    this.#countDedicated(-1);
    this.state = 'closed';
    this.#held = false;
    this.cutShort();
    this.outbox.close();
    this.socket = undefined;
    const cause = this.#timedOut ? new Error(`no answer within ${this.backend.pool.settings.connectSeconds} s`) : error;
    this.#links.onClosed(this, reached, cause);
  }
}
