/**
 * The pipeline: one message through the hooks. The same for messages from clients and from backends; what differs is
 * whom a message may name.
 *
 *     frame → detectId → (chooseBackend) → insertId → forward
 */
import type { Accounting } from './accounting.ts';
import type { Admission } from './admission.ts';
import type { Affinity } from './affinity.ts';
import { Client } from './client.ts';
import { PluginError } from './errors.ts';
import { Exchange, type Exchanges } from './exchanges.ts';
import type { Detected, Framed, PipelineHooks } from './hooks.ts';
import type { Identifiers } from './identifiers.ts';
import type { Link } from './link.ts';
import type { Links } from './links.ts';
import { Message } from './message.ts';
import type { TakenBack } from './outbox.ts';
import { Discard, type Reason, Refusal } from './outcome.ts';
import type { Outliers } from './outliers.ts';
import type { Peer } from './peer.ts';
import type { Destination, ListenerFacts, Logger, ProtocolFacts, TokenFault } from './plugin.ts';
import { Backend, type Pool } from './pool.ts';
import type { Runtime } from './runtime/runtime.ts';
import { Scan } from './scan.ts';
import type { Limits } from './settings.ts';
import { Waiting, type WaitingRequest } from './waiting.ts';

const brokenFrame = new Refusal('broken-frame');
const tooLarge = new Refusal('too-large');
const forgedIdentifier = new Refusal('forged-identifier');
const unknownBackend = new Refusal('unknown-backend');
const backendLost = new Refusal('backend-lost');
const backendDown = new Refusal('backend-down');
const noBackend = new Refusal('no-backend');
const noDestination = new Refusal('no-destination');
const clientGone = new Refusal('client-gone');
const stopping = new Refusal('stopping');
const overloaded = new Refusal('overloaded');
const slowClient = new Discard('slow-client');

const defaultReplayBytes = 16_777_216;
const defaultQueueRequests = 1024;

/** A message that is sent anew, and was in no outbox. */
const fresh = { exchange: undefined, exchangeId: 0, isOverdue: false, avoids: undefined } as const;

/** Where a message goes, or why it goes nowhere. */
type Route = Destination | Refusal | Discard;

export interface PipelineOptions {
  /** Whose pipeline it is. */
  readonly listener: ListenerFacts;
  readonly runtime: Runtime;
  readonly hooks: PipelineHooks;
  readonly facts: ProtocolFacts;
  readonly pool: Pool;
  readonly limits: Limits;
  readonly identifiers: Identifiers;
  readonly whenDown: 'refuse' | 'rechoose';
  readonly whenGone: 'refuse' | 'rechoose';
  readonly affinity: Affinity | undefined;
  readonly exchanges: Exchanges | undefined;
  /** Undefined: neither rate nor load is limited. */
  readonly admission: Admission | undefined;
  readonly accounting: Accounting;
  readonly log: Logger;
}

export class Pipeline {
  readonly listener: ListenerFacts;
  readonly limits: Limits;
  readonly log: Logger;
  readonly now: () => number;
  readonly atTurnEnd: (callback: () => void) => void;
  /** What backends send on dedicated links is passed on unparsed. */
  readonly relaysAnswers: boolean;
  /** The balancer is stopping: sessions go on, new ones are refused. */
  isStopping = false;
  /** Set once, before the first message: links need the pipeline, and the pipeline links. */
  links!: Links;

  readonly #options: PipelineOptions;
  readonly #hooks: PipelineHooks;
  readonly #forwardIsTapped: boolean;
  readonly #onDropIsTapped: boolean;
  readonly accounting: Accounting;
  readonly #message = new Message();
  /** Whether requests are kept so that they can be replayed. */
  readonly #replays: boolean;
  readonly admission: Admission | undefined;
  /** New requests that wait for a backend with room for them. */
  readonly #waiting: Waiting | undefined;
  /** The message at hand has been let in before. */
  #isAgain = false;
  /** The message at hand has waited. */
  #resumed: WaitingRequest | undefined;

  constructor(options: PipelineOptions) {
    this.#options = options;
    this.listener = options.listener;
    this.limits = options.limits;
    this.log = options.log;
    this.now = options.runtime.now;
    this.atTurnEnd = options.runtime.atTurnEnd;
    this.relaysAnswers = options.facts.relaysAnswers ?? false;
    this.#hooks = options.hooks;
    this.#forwardIsTapped = options.hooks.isTapped('forward');
    this.#onDropIsTapped = options.hooks.isTapped('onDrop');
    this.accounting = options.accounting;
    const { facts, exchanges, pool, runtime } = options;
    this.admission = options.admission;
    const {
      queueSeconds: seconds = 0,
      queueRequests: requests = defaultQueueRequests,
      queueBytes: bytes,
    } = pool.settings;
    if (seconds > 0 && options.admission !== undefined) {
      this.#waiting = new Waiting({ seconds, requests, bytes, runtime, drain: () => this.#takeWaiting() });
    }
    this.#replays = pool.settings.replay === 'once' && facts.mayReplay !== undefined && exchanges !== undefined;
  }

  /** How many answers a client waits for, as exchanges or the protocol tell. Undefined: nobody can. */
  answersDue(client: Client): number | undefined {
    const { exchanges, facts } = this.#options;
    if (exchanges !== undefined) return client.outstanding;
    try {
      const due = facts.answersDue?.(client);
      return due === undefined ? undefined : due + client.outstanding;
    } catch (error) {
      pluginFault(error, this.log);
      return undefined;
    }
  }

  /** Whether a client that has half-closed is known to have all its answers: by exchanges, by the end of its links, or from the protocol. */
  hasAllAnswers(client: Client): boolean {
    if (client.links.size > 0 || client.outstanding > 0) return false;
    return this.links.mode === 'dedicated' || this.answersDue(client) === 0;
  }

  /** Takes the messages out of `bytes[start, end)` one by one; answers how far it came. What is left, the peer keeps. */
  consume(peer: Peer, bytes: Buffer, start: number, end: number): number {
    const { scan } = peer;
    let at = start;
    while (at < end && !peer.stalled) {
      if (scan.neededBytes > end - at) return at;
      const length = this.#frame(peer, bytes, at, end);
      if (length <= 0) return length < 0 ? end : at;
      if (scan.skipped > 0) scan.skipped = 0;
      else {
        this.#message.open(bytes, at, at + length, scan.from, scan.source);
        peer.counters.received++;
        peer.receivedMessages++;
        this.#dispatch(this.#message);
      }
      scan.resume = 0;
      at += length;
      if (peer.closing) return end;
    }
    return at;
  }

  /** How many bytes from `at` make a whole message (or none at all, and are skipped); 0: more must come; -1: it is closing. */
  #frame(peer: Peer, bytes: Buffer, at: number, end: number): number {
    const { scan } = peer;
    const { messageBytes } = this.limits;
    let framed: Framed | undefined;
    try {
      framed = this.#hooks.frame.call(bytes, at, end, scan);
    } catch (error) {
      return this.#lost(peer, bytes, at, end, pluginFault(error, this.log));
    }
    scan.neededBytes = 0;
    if (typeof framed === 'number') {
      scan.skipped = 0;
      if (framed > messageBytes) return this.#lost(peer, bytes, at, end, tooLarge);
      peer.headerSinceMs = 0;
      if (framed <= end - at) return framed;
      scan.neededBytes = framed;
      return 0;
    }
    if (framed === 'more') {
      if (end - at >= messageBytes) return this.#lost(peer, bytes, at, end, tooLarge);
      if (peer.headerSinceMs === 0) peer.headerSinceMs = this.now();
      return 0;
    }
    if (framed === 'skip') {
      peer.headerSinceMs = 0;
      if (scan.reply !== undefined) this.#reply(scan.source, scan.reply);
      return scan.skipped;
    }
    return this.#lost(peer, bytes, at, end, framed instanceof Refusal ? framed : brokenFrame);
  }

  /** The end of the message at `at` cannot be told, so neither can the beginning of the next one, unless the transport says. */
  #lost(peer: Peer, bytes: Buffer, at: number, end: number, refusal: Refusal): -1 {
    const { scan } = peer;
    this.#message.open(bytes, at, end, scan.from, scan.source);
    peer.counters.received++;
    this.#end(this.#message, refusal);
    if (!peer.delimits) peer.closeGently();
    return -1;
  }

  /** What has come is all of the message, and does not make one. */
  breakOff(peer: Peer, bytes: Buffer, at: number, end: number): void {
    peer.scan.resume = 0;
    peer.scan.neededBytes = 0;
    peer.headerSinceMs = 0;
    this.#lost(peer, bytes, at, end, brokenFrame);
  }

  /** One message, framed and counted, to its outcome. */
  #dispatch(message: Message): void {
    let end: Refusal | Discard | undefined;
    try {
      let route: Route | undefined = this.#route(message);
      if (this.admission !== undefined && message.from === 'client') route = this.#admit(message, route);
      if (route === undefined) return; // it waits
      if (route instanceof Refusal || route instanceof Discard) end = route;
      else {
        const { backend } = message;
        const token = backend === undefined ? undefined : this.#options.identifiers.ofBackend(backend);
        message.destination = route;
        if (message.avoids !== undefined) message.reason = 'replayed';
        end = this.#hooks.insertId.call(message, token) ?? this.#forward(message, route);
      }
    } catch (error) {
      end = pluginFault(error, this.log);
    }
    if (end !== undefined) this.#end(message, end);
  }

  /** Lets a client's message in, which may be late, or to another backend. Answers undefined if it waits. */
  #admit(message: Message, route: Route): Route | undefined {
    if (route instanceof Refusal || route instanceof Discard || message.reason === 'check') return route;
    const admission = this.admission!;
    const client = message.source as Client;
    const { avoids, reason } = message;
    const isChosen = reason === 'strategy' || reason === 'rechosen';
    const isNew = isChosen && avoids === undefined;
    if (!this.#isAgain) {
      const refusal = admission.admit(message, isNew);
      if (refusal !== undefined) return refusal;
    }
    if (!(route instanceof Backend)) return route;
    const isBehind = isNew && this.#resumed === undefined && this.waitingRequests > 0;
    const placed = isBehind ? undefined : admission.place(message, route, isNew, isChosen);
    if (placed === undefined) return isNew && this.#wait(message, client) ? undefined : overloaded;
    placed.bucket?.take();
    return (message.backend = placed);
  }

  /** How many requests wait for a backend with room for them. */
  get waitingRequests(): number {
    return this.#waiting?.length ?? 0;
  }

  #wait(message: Message, client: Client): boolean {
    const waiting = this.#waiting;
    if (waiting === undefined) return false;
    if (this.#resumed !== undefined) waiting.unshift(this.#resumed);
    else if (!waiting.add(message, client)) return false;
    message.counters.held++;
    client.outstanding++; // so that it is not closed meanwhile
    return true;
  }

  /** Sends on what has waited, as far as there is room, and refuses what has waited too long. */
  #takeWaiting(): void {
    const waiting = this.#waiting!;
    for (let first = waiting.first; first !== undefined; first = waiting.first) {
      const { client, bytes, deadlineMs } = waiting.shift();
      const { counters } = client;
      counters.held--;
      client.outstanding--;
      if (client.closed) {
        counters.discard('client-gone');
        continue;
      }
      const failure = this.#reopen(bytes, client);
      if (failure !== undefined || deadlineMs <= this.now()) this.#end(this.#message, failure ?? overloaded);
      else {
        this.#isAgain = true;
        this.#resumed = first;
        this.#dispatch(this.#message);
        this.#isAgain = false;
        this.#resumed = undefined;
      }
      if (waiting.first === first) return;
      if (client.outstanding === 0) client.onSettled();
    }
  }

  /** Goes on with what waits in the pipeline that this one succeeds. */
  takeOver(former: Pipeline): void {
    const waiting = former.#waiting;
    if (waiting === undefined) return;
    waiting.stop();
    while (waiting.first !== undefined) {
      const { bytes, client } = waiting.shift();
      client.outstanding--;
      this.redispatch({ ...fresh, bytes, source: client }, false);
      if (client.outstanding === 0) client.onSettled();
    }
  }

  /** Gives up what waits. */
  stop(): void {
    const waiting = this.#waiting;
    if (waiting === undefined) return;
    waiting.stop();
    while (waiting.first !== undefined) {
      const { client } = waiting.shift();
      client.counters.held--;
      client.outstanding--;
      client.counters.discard('stopping');
    }
  }

  /** Where to? The message's identifier first, then what related messages did, then the strategy. */
  #route(message: Message): Route {
    const { source } = message;
    if (message.from === 'client') {
      message.client = source as Client;
      if (message.client.question !== undefined) return this.#routeQuestion(message, message.client.question.backend);
    } else {
      message.backend = (source as Link).backend;
      message.client = (source as Link).client;
    }

    const detected = this.#hooks.detectId.call(message);
    if (detected === undefined || detected === 0) return this.#unnamed(message);
    if (detected instanceof Exchange) {
      message.exchange = detected;
      message.reason = 'correlation';
      return (message.client = detected.client);
    }
    const named = this.#resolve(message, detected);
    if (named instanceof Client) {
      message.reason = 'identifier';
      return (message.client = named);
    }
    if (named instanceof Backend) {
      // On a dedicated link a backend that names itself echoes what its request carried: the message is for its client.
      if (named === message.backend && message.client !== undefined) return this.#unnamed(message);
      message.backend = named;
      message.reason = 'identifier';
      const isUsable = named.isUsable && named !== message.avoids;
      return isUsable ? named : this.#instead(message, this.#options.whenDown, backendDown);
    }
    return named === 'unknown' ? this.#instead(message, this.#options.whenGone, unknownBackend) : named;
  }

  /** Whomever it names, what a check asks is for the backend that is checked, and is sent once. */
  #routeQuestion(message: Message, backend: Backend): Route {
    const detected = this.#hooks.detectId.call(message);
    if (detected instanceof Refusal || detected instanceof Discard) return detected;
    if (detected !== undefined && !(detected instanceof Exchange)) this.#resolve(message, detected);
    if (this.#isAgain) return backendLost;
    message.reason = 'check';
    return (message.backend = backend);
  }

  /** The message carries no identifier. */
  #unnamed(message: Message): Route {
    if (message.from === 'client') return this.#choose(message, 'strategy');
    if (message.client === undefined) return noDestination;
    message.reason = 'link';
    return message.client;
  }

  /** Whom a `detectId` tap's answer means. */
  #resolve(message: Message, detected: Exclude<Detected, Exchange>): Route | 'unknown' {
    if (typeof detected === 'number') return this.#options.pool.byNumber(detected) ?? 'unknown';
    if (!('offset' in detected)) return detected;
    message.identifier.offset = detected.offset;
    message.identifier.length = detected.length;
    const start = message.start + detected.offset;
    const named = this.#options.identifiers.read(message.bytes, start, start + detected.length);
    return typeof named === 'string' ? faultOf(named) : named;
  }

  /** The message names a backend that cannot have it. */
  #instead(message: Message, policy: 'refuse' | 'rechoose', refusal: Refusal): Route {
    return policy === 'rechoose' && message.from === 'client' ? this.#choose(message, 'rechosen') : refusal;
  }

  #choose(message: Message, reason: 'strategy' | 'rechosen'): Route {
    const { affinity, pool } = this.#options;
    const related = affinity?.find(message);
    if (related?.isUsable && related !== message.avoids) {
      message.reason = 'affinity';
      message.backend = related;
      return related;
    }
    if (this.isStopping && reason === 'strategy') return stopping;
    let chosen = this.#hooks.chooseBackend.call(message, pool);
    if (chosen !== undefined && chosen === message.avoids) chosen = pool.leastBusy((each) => each !== message.avoids);
    if (chosen === undefined) return noBackend;
    message.reason = reason;
    message.backend = chosen;
    return chosen;
  }

  /** Copies the message to its destination's outbox. Answers why not, if it cannot. */
  #forward(message: Message, destination: Destination): Refusal | Discard | undefined {
    if (destination instanceof Client) {
      if (destination.closed || destination.closing) return clientGone;
      if (destination.question !== undefined) return this.#answerCheck(message, destination);
      if (message.length + message.growth > destination.longestMessageBytes) return tooLarge;
      if (this.#forwardIsTapped) this.#hooks.forward.call(message, destination);
      if (!this.#canTake(message, destination)) return slowClient;
      destination.outbox.append(message);
      destination.lastActivityMs = message.atMs;
      if (this.#options.pool.outliers !== undefined) this.#judge(message, this.#options.pool.outliers);
      if (message.exchange !== undefined) this.#answered(message.exchange, message.atMs);
      if (destination.finished) destination.onSettled();
    } else {
      const link = this.links.for(message.source, destination);
      if (link === undefined) return noDestination;
      const { outbox } = link;
      if (message.length + message.growth > link.longestMessageBytes) return tooLarge;
      if (!this.hasRoomOn(link)) return overloaded;
      if (this.#forwardIsTapped) this.#hooks.forward.call(message, link);
      const { exchange, reason } = message;
      if (reason === 'strategy' || reason === 'rechosen' || reason === 'replayed') {
        this.#options.affinity?.remember(message, destination);
      }
      if (exchange !== undefined) {
        if (this.#replays) this.#keepRequest(message, exchange);
        this.#options.exchanges!.carry(exchange, link);
      }
      outbox.append(message);
      if (outbox.waitingBytes > destination.pool.settings.queueBytes) outbox.flush();
      if (outbox.full && (message.from === 'client' || (message.source as Link).client !== undefined)) {
        message.source.stallOn(outbox);
      }
      if (reason !== 'check') this.accounting.sendTo(destination, message.atMs);
    }
    if (message.reason !== undefined) this.accounting.route(message.reason);
    return undefined;
  }

  /** What a backend answers to a check says nothing of how it treats clients. */
  #answerCheck(message: Message, standIn: Client): undefined {
    message.reason = 'check';
    if (this.#forwardIsTapped) this.#hooks.forward.call(message, standIn);
    standIn.outbox.append(message);
    if (message.exchange !== undefined) this.#options.exchanges?.close(message.exchange);
    this.accounting.route('check');
  }

  /** Whether more may be queued for a backend. */
  hasRoomOn({ outbox, backend }: Link): boolean {
    return outbox.waitingBytes <= 2 * backend.pool.settings.queueBytes;
  }

  /** Whether a client can take a message. Its own dedicated link is made to wait for it, others until the end of the turn at most. */
  #canTake(message: Message, client: Client): boolean {
    const { outbox } = client;
    if (outbox.waitingBytes === 0) return true;
    const isItsOwn = message.from === 'backend' && (message.source as Link).client === client;
    if (!isItsOwn) return this.hasRoom(client, message.length, message.source);
    if (outbox.full) outbox.flush();
    if (outbox.full) message.source.stallOn(outbox);
    return true;
  }

  /** Tells whether what a backend sends says that it has failed, and how long it has taken. */
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

  /**
   * A client that does not read must not make a link wait that others share: it is closed. That it reads shows at the end of the
   * turn, as TLS hands nothing over before: until then it may have twice as much, and whoever sends more waits.
   */
  hasRoom(client: Client, bytes: number, source?: Peer): boolean {
    const { outbox } = client;
    const { queueBytes } = this.limits;
    if (outbox.waitingBytes === 0 || outbox.waitingBytes + bytes <= queueBytes) return true;
    outbox.flush();
    if (outbox.waitingBytes === 0 || outbox.waitingBytes + bytes <= queueBytes) return true;
    if (outbox.waitingBytes > 2 * queueBytes) {
      this.#closeSlow(client);
      return false;
    }
    source?.stall();
    this.atTurnEnd(() => {
      if (outbox.waitingBytes > queueBytes) this.#closeSlow(client);
      source?.resume();
    });
    return true;
  }

  #closeSlow(client: Client): void {
    if (client.closing) return;
    const { outbox } = client;
    this.log.info({ client: client.address, queuedBytes: outbox.waitingBytes }, 'client reads too slowly: closed');
    outbox.discard('slow-client');
    client.destroy();
  }

  /** The message is refused or discarded. */
  #end(message: Message, outcome: Refusal | Discard): void {
    const { counters } = message;
    if (message.from === 'client' && message.exchange !== undefined) this.#options.exchanges?.close(message.exchange);
    const reply = outcome instanceof Discard ? outcome.reply : this.#refuse(message, outcome);
    const replied = reply !== undefined && this.#reply(message.source, reply);
    if (outcome instanceof Refusal && replied) counters.refuse(outcome.reason);
    else counters.discard(outcome.reason);
    if (this.#onDropIsTapped) this.#dropped(message, outcome, replied);
    if (outcome instanceof Refusal) {
      this.log.warn(
        { reason: outcome.reason, from: message.from, peer: nameOf(message.source), bytes: message.length },
        replied ? 'message refused' : 'message discarded',
      );
    }
    if (message.from === 'backend') {
      if (message.exchange !== undefined) this.#options.exchanges?.close(message.exchange);
    } else (message.source as Client).question?.lost(outcome.reason);
  }

  /**
   * Sends an answer of our own; false if there is no way. A client that does not read is not read from either, so that
   * replies cannot pile up; a backend gets none then, as others wait for what it sends.
   */
  #reply(peer: Client | Link, bytes: Uint8Array): boolean {
    const { outbox } = peer;
    if (peer.closing || (outbox.full && !(peer instanceof Client))) return false;
    peer.send(bytes);
    if (outbox.full && peer instanceof Client) {
      outbox.flush();
      if (outbox.full) peer.stallOn(outbox);
    }
    return true;
  }

  #dropped(message: Message, outcome: Refusal | Discard, replied: boolean): void {
    try {
      this.#hooks.onDrop.call(message, outcome, replied);
    } catch (error) {
      pluginFault(error, this.log);
    }
  }

  #refuse(message: Message, refusal: Refusal): Uint8Array | undefined {
    try {
      return this.#hooks.refuse.call(message, refusal);
    } catch (error) {
      pluginFault(error, this.log);
      return undefined;
    }
  }

  #answered(exchange: Exchange, atMs: number): void {
    exchange.backend.observeLatency(atMs - exchange.openedAtMs, atMs);
    this.#options.exchanges?.close(exchange);
    this.#waiting?.look();
  }

  /** A dedicated link's bytes, passed on as they came. */
  relay(link: Link, client: Client, bytes: Buffer, start: number, end: number): void {
    if (client.closing) return;
    this.accounting.relayedBytes += end - start;
    link.backend.pool.outliers?.succeeded(link.backend);
    client.lastActivityMs = this.now();
    client.outbox.appendBytes(bytes, start, end);
    if (client.outbox.full) client.outbox.flush();
    if (client.outbox.full) link.stallOn(client.outbox);
  }

  /** A link has connected. */
  greet(link: Link): void {
    try {
      this.#hooks.onLink.call(link);
    } catch (error) {
      pluginFault(error, this.log);
    }
  }

  /** The peer has closed, or took too long, before its message was whole. */
  cutShort(peer: Peer, reason: Reason): void {
    peer.counters.received++;
    peer.counters.discard(reason);
  }

  /**
   * The link is closed: requests it carried will not be answered. Those in `waiting` never left and are sent again.
   * @returns replays of those that it carried, which are held
   */
  abandon(link: Link, waiting: readonly TakenBack[]): readonly TakenBack[] {
    this.release(waiting);
    const { accounting, log } = this;
    const { abandoned, abandonedRefused } = accounting;
    const replays: TakenBack[] = [];
    this.#options.exchanges?.abandon(link, (exchange) => this.#lose(exchange, replays));
    const lost = accounting.abandoned - abandoned;
    if (lost === 0) return replays;
    const refused = accounting.abandonedRefused - abandonedRefused;
    const fields = { backend: link.backend.name, requests: lost, refused, replayed: replays.length };
    log.warn(fields, 'requests lost with their link');
    return replays;
  }

  /** A request that a backend has, and will not answer: it goes to another one, or its client is told at once. */
  #lose(exchange: Exchange, replays: TakenBack[]): void {
    const { client, backend, request } = exchange;
    if (client.question !== undefined) {
      client.question.lost('backend-lost');
      return;
    }
    this.accounting.abandoned++;
    if (client.closing) return;
    if (request !== undefined) {
      this.accounting.replays.received++;
      this.accounting.replays.held++;
      replays.push({ ...fresh, bytes: request, source: client, avoids: backend });
      return;
    }
    let reply: Uint8Array | undefined;
    try {
      reply = this.#options.facts.refuseAbandoned?.(exchange, backendLost);
    } catch (error) {
      pluginFault(error, this.log);
    }
    if (reply === undefined || !this.hasRoom(client, reply.length)) return;
    client.send(reply);
    this.accounting.abandonedRefused++;
  }

  /** Neither what is sent a second time is kept, nor what a check asks. */
  #keepRequest(message: Message, exchange: Exchange): void {
    const { facts, pool } = this.#options;
    const { replayBytes = defaultReplayBytes } = pool.settings;
    if (message.avoids !== undefined || message.reason === 'check') return;
    if (pool.keptBytes + message.length > replayBytes) return;
    if (facts.mayReplay!(message)) exchange.keepRequest(message);
  }

  /** Nobody waits any more for what a check has asked on that link. */
  forget(standIn: Client, link: Link): void {
    this.#options.exchanges?.forget(standIn, link);
  }

  /** Ends the exchanges of messages that were taken back. */
  release(waiting: readonly TakenBack[]): void {
    for (const { exchange, exchangeId } of waiting) {
      if (exchange !== undefined && exchange.id === exchangeId) this.#options.exchanges?.close(exchange);
    }
  }

  /** A message that never left, through the hooks again as it was received, unless it has waited for too long. */
  redispatch(taken: TakenBack, stopping: boolean): void {
    const { source, bytes, isOverdue, avoids } = taken;
    const counters = avoids === undefined ? source.counters : this.accounting.replays;
    counters.held--;
    const gone = source instanceof Client ? source.closed : source.state !== 'open';
    if (gone || stopping) {
      counters.discard(stopping ? 'stopping' : 'client-gone');
      return;
    }
    const message = this.#message;
    const failure = this.#reopen(bytes, source) ?? (isOverdue ? overloaded : undefined);
    message.counters = counters;
    message.avoids = avoids;
    if (failure !== undefined) {
      this.#end(message, failure);
      return;
    }
    this.accounting.redispatched++;
    this.#isAgain = true;
    this.#dispatch(message);
    this.#isAgain = false;
  }

  /** Makes a message that had been kept the one at hand. Answers what goes wrong. */
  #reopen(bytes: Buffer, source: Client | Link): Refusal | undefined {
    const message = this.#message;
    message.open(bytes, 0, bytes.length, source instanceof Client ? 'client' : 'backend', source);
    message.atMs = this.now();
    try {
      // The plugin parses the message again: what it keeps between hooks is of another one by now.
      this.#hooks.frame.call(bytes, 0, bytes.length, new Scan(message.from, source, this.limits, source.delimits));
      return undefined;
    } catch (error) {
      return pluginFault(error, this.log);
    }
  }
}

function faultOf(fault: TokenFault): Refusal | 'unknown' {
  return fault === 'forged' ? forgedIdentifier : fault === 'gone' ? clientGone : 'unknown';
}

function nameOf(source: Client | Link): string {
  return source instanceof Client ? source.address : source.backend.name;
}

/** What a plugin threw costs its message, never the others. */
function pluginFault(error: unknown, log: Logger): Refusal {
  const fault = error instanceof PluginError ? error : PluginError.threw('core', 'pipeline', error);
  log.error({ plugin: fault.plugin, hook: fault.hook, err: fault }, fault.message);
  return new Refusal('plugin-error', fault);
}
