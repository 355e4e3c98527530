/** A connection from the balancer to a backend: shared by all clients, or dedicated to one. */
import type { Client } from './client.ts';
import type { Links } from './links.ts';
import { LinkOutbox, type Turn } from './outbox.ts';
import { Peer } from './peer.ts';
import type { Pipeline } from './pipeline.ts';
import type { Backend } from './pool.ts';

export class Link extends Peer {
  declare readonly outbox: LinkOutbox;
  readonly backend: Backend;
  /** Whom a dedicated link serves; undefined if it is shared. */
  readonly client: Client | undefined;
  /** `greeting`: connected, but `hold` says that nothing may be sent yet. */
  state: 'idle' | 'connecting' | 'greeting' | 'open' | 'closed' = 'idle';
  /** Connects that failed since the last one that did not. */
  failures = 0;
  openedAtMs = 0;

  readonly #links: Links;
  #greeting: Uint8Array[] | undefined;
  #held = false;
  #endAfterQueue = false;
  #cancelTimeout: (() => void) | undefined;

  constructor(links: Links, pipeline: Pipeline, turn: Turn, backend: Backend, client: Client | undefined) {
    super('backend', pipeline, new LinkOutbox(turn, backend.pool.settings.queueBytes));
    this.#links = links;
    this.backend = backend;
    this.client = client;
    if (client === undefined) this.outbox.onFull = (full) => backend.pool.setFull(backend, full);
  }

  connect(): void {
    const { settings } = this.backend.pool;
    this.state = 'connecting';
    this.closing = false;
    this.ended = false;
    this.stalled = false;
    this.scan.resume = 0;
    this.#cancelTimeout = this.#links.runtime.after(settings.connectSeconds * 1000, () => {
      this.#timedOut = true;
      this.socket?.destroy();
    });
    this.#timedOut = false;
    this.socket = this.#links.runtime.connect(
      { address: this.backend.address, tls: settings.tls, keepaliveSeconds: settings.keepaliveSeconds },
      this,
    );
  }

  #timedOut = false;

  /**
   * In `onLink`: sends bytes before anything else goes out on the link. Later: queues them after what waits. They are no
   * message and are not counted.
   */
  override send(bytes: Uint8Array): void {
    if (this.#greeting !== undefined) this.#greeting.push(bytes);
    else super.send(bytes);
  }

  /** In `onLink`: nothing else is sent until `release()`. The pool's connect timeout goes on meanwhile. */
  hold(): void {
    this.#held = true;
  }

  /** The backend has answered the handshake: what waits may leave. */
  release(): void {
    if (!this.#held) return;
    this.#held = false;
    if (this.state === 'greeting') this.#opened();
  }

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
    this.failures = 0;
    this.openedAtMs = this.pipeline.now();
    this.#links.onOpened(this);
    if (this.socket !== undefined) this.outbox.open(this.socket);
    if (this.#endAfterQueue) this.endWhenEmpty();
  }

  /** Half-closes once its queue is empty: its client has sent all it will. */
  endAfterQueue(): void {
    this.#endAfterQueue = true;
    if (this.state === 'open') this.endWhenEmpty();
  }

  /** The client of this dedicated link has closed. */
  onClientGone(): void {
    // What the client sent in whole before it left still reaches the backend.
    if (this.outbox.queuedMessages > 0 && this.state !== 'closed') this.endAfterQueue();
    else this.destroy();
  }

  protected override afterEnd(): void {
    // A backend that half-closes will answer nothing more: our side closes too, and the next message opens the link afresh.
    if (this.heldBytes > 0) this.pipeline.cutShort(this, 'cut-short');
    this.outbox.close();
    this.socket?.end();
    if (this.client !== undefined) this.#links.onEnding(this);
  }

  override onBytes(bytes: Buffer, start: number, end: number): void {
    if (this.client !== undefined && this.pipeline.relaysAnswers)
      this.pipeline.relay(this, this.client, bytes, start, end);
    else super.onBytes(bytes, start, end);
  }

  override onClose(error: Error | undefined): void {
    this.#cancelTimeout?.();
    const reached = this.state === 'open';
    if (this.state === 'greeting' || reached) this.backend.connections--;
    this.state = 'closed';
    this.#held = false;
    if (this.heldBytes > 0) this.pipeline.cutShort(this, 'cut-short');
    this.dropHeld();
    this.outbox.close();
    this.socket = undefined;
    const cause = this.#timedOut ? new Error(`no answer within ${this.backend.pool.settings.connectSeconds} s`) : error;
    this.#links.onClosed(this, reached, cause);
  }
}
