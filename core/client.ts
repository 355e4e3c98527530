/** A client connection, as plugins see it and as the core keeps it. */
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

/** A check's request over a link (check-lines.ts). */
export interface Question {
  /** The backend that is asked. */
  readonly backend: Backend;
  /** Called if the request does not reach the backend, or its answer will not come. */
  lost(reason: Reason): void;
}

export class Client extends Peer {
  /** Its IP address; empty for unix sockets. */
  readonly address: string;
  readonly port: number;
  /** The certificate it has shown in its TLS handshake; undefined: none that verifies. */
  readonly certificate: ClientCertificate | undefined;
  /** Its slot among the client connections of the process, and which of the slot's successive users it is. @internal */
  slot = 0;
  /** @internal */
  generation = 0;
  /** Distinguishes the process from others, and from its own earlier runs. @internal */
  instance = '';
  readonly openedAtMs: number;
  /** Its token, made when it is first asked for. @internal */
  token: Token | undefined;
  /** Its token, to compare with what messages carry. @internal */
  knownToken: KnownToken | undefined;
  /** Its requests that wait for an answer. @internal */
  outstanding = 0;
  /** The limits and counts of its address; undefined: it has none. @internal */
  load: AddressLoad | undefined;
  /** Its dedicated links. @internal */
  readonly links = new Map<Backend, Link>();
  /** What plugins keep for it, by plugin; dropped when it closes. @internal */
  readonly states: unknown[] = [];
  /** The connection is closed. */
  closed = false;
  /** The check's request, if this stands in for a client in a check over a link; undefined: it is a real client. */
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

  /** The listener it has connected to. A message may name a client of another listener than the one it arrived at. */
  get listener(): ListenerFacts {
    return this.pipeline.listener;
  }

  /** Sets the port of its address where answers go, instead of the one it sends from. Datagrams only. */
  answerAt(port: number): void {
    if (this.socket?.answerPort !== undefined) this.socket.answerPort = port;
  }

  /** The name of the connection in logs and to operators. */
  get id(): string {
    return `${this.instance}-${this.slot}-${this.generation}`;
  }

  /** Both ends of its connection; undefined if the transport does not tell. */
  get ends(): Ends | undefined {
    const { localAddress, localPort } = this.socket ?? {};
    if (localAddress === undefined || localPort === undefined) return undefined;
    return { remoteAddress: this.address, remotePort: this.port, localAddress, localPort };
  }

  /** While `onConnect` taps wait, nothing is read from it. @internal */
  pauseReading(): void {
    this.socket?.pause();
  }

  /** @internal */
  resumeReading(): void {
    if (!this.closed && !this.stalled) this.socket?.resume();
  }

  /** Queues a message that another process has received and counted; false if the client cannot take it. @internal */
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

  /** An answer, perhaps the last one it waited for, has been forwarded. @internal */
  onSettled(): void {
    this.#finishIfDone();
  }

  /** @internal */
  onLinkClosed(link: Link): void {
    if (this.links.get(link.backend) === link) this.links.delete(link.backend);
    this.#finishIfDone();
  }

  /** It will send nothing more; what it is owed is still delivered. */
  protected override afterEnd(): void {
    this.cutShort();
    this.endLinks();
    this.#finishIfDone();
  }

  /**
   * If it will send nothing more, half-closes its links: all at once, when the last of its messages has left, since one that waits
   * for a backend may still have to go to another.
   * @internal
   */
  endLinks(): void {
    if (!this.finished) return;
    const links = [...this.links.values()];
    const waiting = links.filter((link) => link.outbox.waitingBytes > 0);
    for (const link of waiting) link.outbox.onEmpty = () => this.endLinks();
    if (waiting.length === 0) for (const link of links) link.endAfterQueue();
  }

  /**
   * Closes a half-closed connection when nothing is owed to it. It does so at the end of the turn, as a request may be on its way
   * to another backend.
   */
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
