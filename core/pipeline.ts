/**
 * The pipeline: one message through the hooks. The same for messages from clients and from backends; what differs is
 * whom a message may name.
 *
 *     frame → detectId → (chooseBackend) → insertId → forward
 *
 * What stands behind a stage has a file of its own: routing.ts (detectId, chooseBackend), forwarding.ts (forward), dropping.ts
 * (refuse, onDrop); and what seldom happens: limits/ (admission, queues), abandoned.ts (links that close).
 */
import { Abandoned } from './abandoned.ts';
import type { Accounting } from './accounting.ts';
import { Client } from './client.ts';
import { Dropping, pluginFault } from './dropping.ts';
import { Forwarding, type ForwardingOptions } from './forwarding.ts';
import type { Framed, PipelineHooks } from './hooks.ts';
import type { Identifiers } from './identifiers.ts';
import type { Admission } from './limits/admission.ts';
import { Waiting, type WaitingRequest } from './limits/waiting.ts';
import type { Link } from './link.ts';
import { Message } from './message.ts';
import { anew, type TakenBack } from './outbox.ts';
import { Discard, Refusal } from './outcome.ts';
import type { Peer } from './peer.ts';
import type { ListenerFacts, Logger } from './plugin.ts';
import { Backend } from './pool.ts';
import { type Route, Routing, type RoutingOptions } from './routing.ts';
import type { Runtime } from './runtime/runtime.ts';
import { Scan } from './scan.ts';
import type { Limits } from './settings.ts';

const brokenFrame = new Refusal('broken-frame');
const tooLarge = new Refusal('too-large');
const backendLost = new Refusal('backend-lost');
const overloaded = new Refusal('overloaded');

export interface PipelineOptions extends RoutingOptions, ForwardingOptions {
  /** The listener whose pipeline it is. */
  readonly listener: ListenerFacts;
  /** Undefined: neither rate nor load is limited. */
  readonly admission: Admission | undefined;
}

export class Pipeline {
  readonly listener: ListenerFacts;
  readonly limits: Limits;
  readonly accounting: Accounting;
  readonly admission: Admission | undefined;
  readonly routing: Routing;
  readonly forwarding: Forwarding;
  readonly abandoned: Abandoned;
  /** New requests that wait for a backend with room for them. */
  readonly waiting: Waiting | undefined;
  readonly runtime: Runtime;
  readonly log: Logger;
  /** On dedicated links, what backends send passes no hook but `frame`. */
  readonly relaysAnswers: boolean;

  readonly #options: PipelineOptions;
  readonly #hooks: PipelineHooks;
  readonly #identifiers: Identifiers;
  readonly #dropping: Dropping;
  readonly #message = new Message();
  /** The message at hand has been admitted before. */
  #isAgain = false;

  constructor(options: PipelineOptions) {
    const { pool, facts, runtime } = options;
    this.#options = options;
    this.#hooks = options.hooks;
    this.#identifiers = options.identifiers;
    this.listener = options.listener;
    this.limits = options.limits;
    this.accounting = options.accounting;
    this.admission = options.admission;
    this.runtime = runtime;
    this.log = options.log;
    this.relaysAnswers = facts.relaysAnswers ?? false;
    if (options.admission !== undefined && (pool.settings.queueSeconds ?? 0) > 0) {
      this.waiting = new Waiting(pool.settings, runtime, (request, isLate) => this.#resume(request, isLate));
    }
    this.routing = new Routing(options);
    this.abandoned = new Abandoned(options, (client, bytes) => this.forwarding.hasRoom(client, bytes));
    this.forwarding = new Forwarding(options, this.abandoned, this.waiting);
    this.#dropping = new Dropping(options);
  }

  /**
   * Takes the messages out of `bytes[start, end)` one by one; returns how far it came. The peer keeps the rest.
   * @param relayTo whom they are passed on to as they are; whole, as what other links bring may come between
   */
  consume(peer: Peer, bytes: Buffer, start: number, end: number, relayTo?: Client): number {
    const { scan } = peer;
    let at = start;
    while (at < end && !peer.stalled) {
      if (scan.neededBytes > end - at) return at;
      const length = this.#frame(peer, bytes, at, end);
      if (length <= 0) return length < 0 ? end : at;
      if (scan.skipped > 0) scan.skipped = 0;
      else if (relayTo !== undefined) this.forwarding.relay(peer as Link, relayTo, bytes, at, at + length);
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

  /**
   * How many bytes from `at` make a whole message (or belong to none, and are skipped); 0: more must come; -1: the peer is closing.
   */
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
      if (peer.headerSinceMs === 0) peer.headerSinceMs = this.runtime.now();
      return 0;
    }
    if (framed === 'skip') {
      peer.headerSinceMs = 0;
      if (scan.reply !== undefined) this.#dropping.reply(scan.source, scan.reply);
      return scan.skipped;
    }
    return this.#lost(peer, bytes, at, end, framed instanceof Refusal ? framed : brokenFrame);
  }

  /** The end of the message at `at` cannot be found, so neither can the beginning of the next one, unless the transport tells. */
  #lost(peer: Peer, bytes: Buffer, at: number, end: number, refusal: Refusal): -1 {
    const { scan } = peer;
    this.#message.open(bytes, at, end, scan.from, scan.source);
    peer.counters.received++;
    peer.counters.frameErrors++;
    this.#dropping.drop(this.#message, refusal);
    if (!peer.delimits) peer.closeGently(refusal.reason);
    return -1;
  }

  /** What has come is all there is, and does not make a message. */
  breakOff(peer: Peer, bytes: Buffer, at: number, end: number): void {
    peer.scan.resume = 0;
    peer.scan.neededBytes = 0;
    peer.headerSinceMs = 0;
    this.#lost(peer, bytes, at, end, brokenFrame);
  }

  /** Takes one message, framed and counted, to its outcome. */
  #dispatch(message: Message): void {
    let end: Refusal | Discard | undefined;
    try {
      let route: Route | undefined = this.routing.route(message);
      if (this.admission !== undefined && message.from === 'client') route = this.#admit(message, route);
      if (route === undefined) return; // it waits
      if (route instanceof Refusal || route instanceof Discard) end = route;
      else {
        const { backend } = message;
        const token = backend === undefined ? undefined : this.#identifiers.ofBackend(backend);
        message.destination = route;
        if (message.avoids !== undefined) message.reason = 'replayed';
        end = this.#hooks.insertId.call(message, token) ?? this.forwarding.forward(message, route);
      }
    } catch (error) {
      end = pluginFault(error, this.log);
    }
    if (end !== undefined) this.#dropping.drop(message, end);
  }

  /** Admits a client's message: at once, after a wait, or for another backend. Undefined if it has to wait. */
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
    if (!(route instanceof Backend) || this.#options.facts.isAnswer?.(message)) return route;
    const mustWait = isNew && this.waiting?.isLine === true;
    const placed = mustWait ? undefined : admission.place(message, route, isNew, isChosen);
    if (placed === undefined) return isNew && this.waiting?.add(message, client) ? undefined : overloaded;
    placed.bucket?.take();
    return (message.backend = placed);
  }

  /** Takes a request that has waited for a backend through the hooks again. */
  #resume({ bytes, client }: WaitingRequest, isLate: boolean): void {
    const failure = this.#reopen(bytes, client) ?? (isLate ? overloaded : undefined);
    if (failure !== undefined) this.#dropping.drop(this.#message, failure);
    else this.#dispatchAgain(this.#message);
  }

  /** Takes a message that never left through the hooks again, as it was received, unless it has waited too long. */
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
    const isQuestion = source instanceof Client && source.question !== undefined; // which is asked once
    const failure = this.#reopen(bytes, source) ?? (isQuestion ? backendLost : isOverdue ? overloaded : undefined);
    message.counters = counters;
    message.avoids = avoids;
    if (failure !== undefined) {
      this.#dropping.drop(message, failure);
      return;
    }
    this.accounting.redispatched++;
    this.#dispatchAgain(message);
  }

  #dispatchAgain(message: Message): void {
    this.#isAgain = true;
    this.#dispatch(message);
    this.#isAgain = false;
  }

  /** Makes a message that was kept the one at hand. Returns what goes wrong. */
  #reopen(bytes: Buffer, source: Client | Link): Refusal | undefined {
    const message = this.#message;
    message.open(bytes, 0, bytes.length, source instanceof Client ? 'client' : 'backend', source);
    message.atMs = this.runtime.now();
    try {
      // The plugin parses the message again: what it keeps between hooks is of another one by now.
      this.#hooks.frame.call(bytes, 0, bytes.length, new Scan(message.from, source, this.limits, source.delimits));
      return undefined;
    } catch (error) {
      return pluginFault(error, this.log);
    }
  }

  /** Takes over what is waiting in the pipeline that this one succeeds. */
  takeOver(former: Pipeline): void {
    former.waiting?.handOver(({ bytes, client }) => this.redispatch({ ...anew, bytes, source: client }, false));
  }

  /** How many answers a client is waiting for, as exchanges or the protocol tell. Undefined: nobody can tell. */
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

  /**
   * Whether a client that has half-closed is known to have all its answers: from exchanges, from its links having ended, or from
   * the protocol.
   */
  hasAllAnswers(client: Client): boolean {
    if (client.links.size > 0 || client.outstanding > 0) return false;
    return this.forwarding.links.mode === 'dedicated' || this.answersDue(client) === 0;
  }

  /** A link has connected. */
  greet(link: Link): void {
    try {
      this.#hooks.onLink.call(link);
    } catch (error) {
      pluginFault(error, this.log);
    }
  }
}
