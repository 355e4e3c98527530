/** Hands a message to its destination's outbox, and keeps what must be known about it until it is answered. */
import type { Abandoned } from './abandoned.ts';
import type { Accounting } from './accounting.ts';
import type { Affinity } from './affinity.ts';
import { Client } from './client.ts';
import type { Exchange, Exchanges } from './exchanges.ts';
import type { Outliers } from './health/outliers.ts';
import type { PipelineHooks } from './hooks.ts';
import type { Waiting } from './limits/waiting.ts';
import type { Link } from './link.ts';
import type { Links } from './links.ts';
import type { Message } from './message.ts';
import { Discard, Refusal } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { Destination, Logger, ProtocolFacts } from './plugin.ts';
import type { Backend, Pool } from './pool.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Limits } from './settings.ts';

const tooLarge = new Refusal('too-large');
const noDestination = new Refusal('no-destination');
const clientGone = new Refusal('client-gone');
const overloaded = new Refusal('overloaded');
const slowClient = new Discard('slow-client');

export interface ForwardingOptions {
  readonly hooks: PipelineHooks;
  readonly facts: ProtocolFacts;
  readonly pool: Pool;
  readonly limits: Limits;
  readonly affinity: Affinity | undefined;
  readonly exchanges: Exchanges | undefined;
  readonly accounting: Accounting;
  readonly runtime: Runtime;
  readonly log: Logger;
}

export class Forwarding {
  /** Set once, before the first message: links need the pipeline, and the pipeline needs links. */
  links!: Links;
  readonly #options: ForwardingOptions;
  readonly #abandoned: Abandoned;
  readonly #waiting: Waiting | undefined;
  readonly #isTapped: boolean;

  constructor(options: ForwardingOptions, abandoned: Abandoned, waiting: Waiting | undefined) {
    this.#options = options;
    this.#abandoned = abandoned;
    this.#waiting = waiting;
    this.#isTapped = options.hooks.isTapped('forward');
  }

  /** Returns why not, if the message cannot be forwarded. */
  forward(message: Message, destination: Destination): Refusal | Discard | undefined {
    const failure =
      destination instanceof Client ? this.#toClient(message, destination) : this.#toBackend(message, destination);
    if (failure === undefined && message.reason !== undefined) this.#options.accounting.route(message.reason);
    return failure;
  }

  #toClient(message: Message, client: Client): Refusal | Discard | undefined {
    if (client.closed || client.closing) return clientGone;
    if (client.question !== undefined) return this.#toCheck(message, client);
    if (message.length + message.growth > client.longestMessageBytes) return tooLarge;
    const { hooks, pool } = this.#options;
    if (this.#isTapped) hooks.forward.call(message, client);
    if (!this.#canTake(message, client)) return slowClient;
    client.outbox.append(message);
    client.lastActivityMs = message.atMs;
    if (pool.outliers !== undefined) this.#judge(message, pool.outliers);
    if (message.exchange !== undefined) this.#answered(message.exchange, message.atMs);
    if (client.finished) client.onSettled();
    return undefined;
  }

  #toBackend(message: Message, backend: Backend): Refusal | undefined {
    const link = this.links.for(message.source, backend);
    if (link === undefined) return noDestination;
    const { outbox } = link;
    const { queueBytes } = backend.pool.settings;
    if (message.length + message.growth > link.longestMessageBytes) return tooLarge;
    if (!this.hasRoomOn(link)) return overloaded;
    const { hooks, affinity, exchanges, accounting } = this.#options;
    if (this.#isTapped) hooks.forward.call(message, link);
    const { exchange, reason } = message;
    if (reason === 'strategy' || reason === 'rechosen' || reason === 'replayed') affinity?.remember(message, backend);
    else if (reason === 'affinity') affinity!.rememberFound(message, backend);
    if (exchange !== undefined) {
      this.#abandoned.keep(message, exchange);
      exchanges!.carry(exchange, link);
    }
    outbox.append(message);
    if (outbox.waitingBytes > queueBytes) outbox.flush();
    if (outbox.full && (message.from === 'client' || (message.source as Link).client !== undefined)) {
      message.source.stallOn(outbox);
    }
    if (reason !== 'check') accounting.sendTo(backend, message.atMs);
    return undefined;
  }

  /** A backend's answer to a check tells nothing about how it treats clients. */
  #toCheck(message: Message, standIn: Client): undefined {
    message.reason = 'check';
    if (this.#isTapped) this.#options.hooks.forward.call(message, standIn);
    standIn.outbox.append(message);
    if (message.exchange !== undefined) this.#options.exchanges?.close(message.exchange);
  }

  /** Whether more may be queued for a backend. */
  hasRoomOn(link: Link): boolean {
    const { outbox, backend } = link;
    return outbox.waitingBytes <= 2 * backend.pool.settings.queueBytes;
  }

  /**
   * Whether a client can take a message. If it reads slowly, its own dedicated link pauses; other links pause until the end of the
   * turn at most.
   */
  #canTake(message: Message, client: Client): boolean {
    const { outbox } = client;
    if (outbox.waitingBytes === 0) return true;
    const isItsOwn = message.from === 'backend' && (message.source as Link).client === client;
    if (!isItsOwn) return this.hasRoom(client, message.length, message.source);
    if (outbox.full) outbox.flush();
    if (outbox.full) message.source.stallOn(outbox);
    return true;
  }

  /**
   * A client that does not read must not make a shared link wait: it is closed. Whether it reads shows only at the end of the turn,
   * since TLS hands nothing over before that; until then it may be owed twice as much, and whoever sends it more has to wait.
   */
  hasRoom(client: Client, bytes: number, source?: Peer): boolean {
    const { limits, runtime } = this.#options;
    const { queueBytes } = limits;
    const { outbox } = client;
    if (outbox.waitingBytes === 0 || outbox.waitingBytes + bytes <= queueBytes) return true;
    outbox.flush();
    if (outbox.waitingBytes === 0 || outbox.waitingBytes + bytes <= queueBytes) return true;
    if (outbox.waitingBytes > 2 * queueBytes) {
      this.#closeSlow(client);
      return false;
    }
    source?.stall();
    runtime.atTurnEnd(() => {
      if (outbox.waitingBytes > queueBytes) this.#closeSlow(client);
      source?.resume();
    });
    return true;
  }

  #closeSlow(client: Client): void {
    if (client.closing) return;
    const { outbox } = client;
    const fields = { client: client.address, queuedBytes: outbox.waitingBytes };
    this.#options.log.info(fields, 'client reads too slowly: closed');
    outbox.discard('slow-client');
    client.destroy('slow-client');
  }

  /** Reports whether a backend's message shows a failure, and how long the answer took. */
  #judge(message: Message, outliers: Outliers): void {
    if (message.from !== 'backend') return;
    const { backend } = message.source as Link;
    const { facts } = this.#options;
    const failed = facts.isFailure === undefined ? false : facts.isFailure(message);
    if (failed) outliers.failed(backend, 'its answer says so');
    else if (failed === false) outliers.succeeded(backend);
    const { exchange } = message;
    if (exchange !== undefined) outliers.took(backend, message.atMs - exchange.openedAtMs);
  }

  #answered(exchange: Exchange, atMs: number): void {
    exchange.backend.observeLatency(atMs - exchange.openedAtMs, atMs);
    this.#options.exchanges?.close(exchange);
    this.#waiting?.look();
  }

  /** A message of a dedicated link, passed on as it came. */
  relay(link: Link, client: Client, bytes: Buffer, start: number, end: number): void {
    if (client.closing) return;
    this.#options.accounting.relayedBytes += end - start;
    link.backend.pool.outliers?.succeeded(link.backend);
    client.lastActivityMs = link.lastActivityMs;
    client.outbox.appendBytes(bytes, start, end);
    if (client.outbox.full) client.outbox.flush();
    if (client.outbox.full) link.stallOn(client.outbox);
  }
}
