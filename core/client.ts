/** A client connection. */
import type { KnownToken } from './identifiers.ts';
import type { AddressLoad } from './limits/visitors.ts';
import type { Link } from './link.ts';
import { Outbox, type Turn } from './outbox.ts';
import type { Reason } from './outcome.ts';
import { Peer } from './peer.ts';
import type { Pipeline } from './pipeline.ts';
import type { ListenerFacts, Token } from './plugin.ts';
import type { Backend } from './pool.ts';
import type { ClientCertificate, Ends, Socket } from './runtime/runtime.ts';

/** What a check asks over a link (check-lines.ts). */
export interface Question {
  /** Who is asked. */
  readonly backend: Backend;
  /** It has not reached the backend, or the answer will not come. */
  lost(reason: Reason): void;
}

export class Client extends Peer {
  /** Its IP address; empty for unix sockets. */
  readonly address: string;
  readonly port: number;
  /** What it has shown in its TLS handshake; undefined: nothing that verifies. */
  readonly certificate: ClientCertificate | undefined;
  /** Its place among the client connections of the process, and which of those that had it. @internal */
  slot = 0;
  /** @internal */
  generation = 0;
  /** Tells the process from others, and from its earlier runs. @internal */
  instance = '';
  readonly openedAtMs: number;
  /** Its token, made when first asked for. @internal */
  token: Token | undefined;
  /** The same, to compare with what messages carry. @internal */
  knownToken: KnownToken | undefined;
  /** Its requests that wait for an answer. @internal */
  outstanding = 0;
  /** What counts for its address; undefined: it has none. @internal */
  load: AddressLoad | undefined;
  /** Its dedicated links. @internal */
  readonly links = new Map<Backend, Link>();
  /** What plugins keep for it, by plugin; dropped when it closes. @internal */
  readonly states: unknown[] = [];
  /** The connection is closed. */
  closed = false;
  /** What a check asks over a link, if this stands in for a client there; undefined: it is one. */
  readonly question: Question | undefined;
  #onClosed: ((client: Client) => void) | undefined;

  constructor(pipeline: Pipeline, turn: Turn, socket: Socket, onClosed: (client: Client) => void, question?: Question) {
    const outbox = new Outbox(turn, pipeline.limits.queueBytes, socket.delimits);
    const { client, checks } = pipeline.accounting;
    super('client', pipeline, question === undefined ? client : checks, outbox, socket.delimits);
    this.question = question;
    this.socket = socket;
    this.longestMessageBytes = socket.longestMessageBytes;
    this.address = socket.remoteAddress;
    this.port = socket.remotePort;
    this.certificate = socket.certificate;
    this.openedAtMs = this.lastActivityMs;
    this.#onClosed = onClosed;
    this.outbox.open(socket);
  }

  /** @internal */
  override moveTo(pipeline: Pipeline, isFamiliar: boolean): void {
    super.moveTo(pipeline, isFamiliar);
    this.outbox.limitBytes = pipeline.limits.queueBytes;
    this.token = this.knownToken = undefined; // the next one is signed with the key that is the first now
    if (!isFamiliar) this.states.length = 0;
  }

  /** Where it has connected. A message may name a client of another listener than the one it arrived at. */
  get listener(): ListenerFacts {
    return this.pipeline.listener;
  }

  /** Says at which port of its address it is answered, which is the one it sends from unless this says another. Datagrams only. */
  answerAt(port: number): void {
    if (this.socket?.answerPort !== undefined) this.socket.answerPort = port;
  }

  /** Names the connection in logs and to operators. */
  get id(): string {
    return `${this.instance}-${this.slot}-${this.generation}`;
  }

  /** Both ends of its connection; undefined where the transport does not tell. */
  get ends(): Ends | undefined {
    const { localAddress, localPort } = this.socket ?? {};
    if (localAddress === undefined || localPort === undefined) return undefined;
    return { remoteAddress: this.address, remotePort: this.port, localAddress, localPort };
  }

  /** For `onConnect` taps that wait: nothing is read until they have answered. @internal */
  pauseReading(): void {
    this.socket?.pause();
  }

  /** @internal */
  resumeReading(): void {
    if (!this.closed && !this.stalled) this.socket?.resume();
  }

  /** Queues a message that another process has taken in and counted; false if it gets no more. @internal */
  pass(message: Uint8Array): boolean {
    if (this.closing || !this.pipeline.forwarding.hasRoom(this, message.length)) return false;
    if (message.length > this.longestMessageBytes) return true; // that one is lost
    this.lastActivityMs = this.pipeline.runtime.now();
    this.outbox.appendBytes(message);
    return true;
  }

  /** Replies of our own: a stand-in waits for what the backend says. */
  override send(bytes: Uint8Array): void {
    if (this.question === undefined) super.send(bytes);
  }

  /** An answer, maybe the last it waited for, has been forwarded. @internal */
  onSettled(): void {
    this.#finishIfDone();
  }

  /** @internal */
  onLinkClosed(link: Link): void {
    if (this.links.get(link.backend) === link) this.links.delete(link.backend);
    this.#finishIfDone();
  }

  /** It will send no more; what it is owed is still delivered. */
  protected override afterEnd(): void {
    this.cutShort();
    this.endLinks();
    this.#finishIfDone();
  }

  /**
   * If it will send no more, its links half-close, all at once when the last of its messages has left: one that waits for a backend
   * may yet have to go to another.
   * @internal
   */
  endLinks(): void {
    if (!this.finished) return;
    const links = [...this.links.values()];
    const waiting = links.filter((link) => link.outbox.waitingBytes > 0);
    for (const link of waiting) link.outbox.onEmpty = () => this.endLinks();
    if (waiting.length === 0) for (const link of links) link.endAfterQueue();
  }

  /** Closes a half-closed connection when nothing is owed to it: at the end of the turn, as a request may just be on its way to another backend. */
  #finishIfDone(): void {
    if (!this.finished) return;
    this.pipeline.runtime.atTurnEnd(() => {
      if (!this.closed && this.pipeline.hasAllAnswers(this)) this.closeGently('client-closed');
    });
  }

  /** @internal */
  override onClose(error: Error | undefined): void {
    this.closed = true;
    this.closing = true;
    this.endReason ??= error === undefined ? 'client-closed' : 'connection-failed';
    this.cutShort();
    this.socket = undefined;
    this.outbox.close();
    this.outbox.discard('client-gone');
    for (const link of this.links.values()) link.onClientGone();
    this.links.clear();
    this.#onClosed?.(this);
    this.#onClosed = undefined;
    if (error !== undefined)
      this.pipeline.log.debug({ client: this.address, error: error.message }, 'client connection failed');
  }
}
