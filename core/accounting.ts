/**
 * Accounting: every message received has exactly one outcome, so that at every instant, in each direction, `received = forwarded +
 * refused + discarded + held`.
 *
 * A request whose backend goes away has been forwarded, and still counts as that, whatever is done for its client then: it is
 * counted as `abandoned` in addition. If it is sent to another backend, that replay is a message of the balancer's own, counted
 * separately: as received when it is made, and with one outcome like any other. So a count is never taken back. What checks ask
 * over links are messages of the balancer's own too, and counted separately.
 */
import type { RouteReason } from './message.ts';
import { ordinaryReasons, type Reason } from './outcome.ts';
import type { Backend } from './pool.ts';
import type { BackendState } from './settings.ts';

/** The messages of one listener that come from one side, or its replays. */
export class Counters {
  received = 0;
  /** Handed to the destination's socket. */
  forwarded = 0;
  /** Their sender got the protocol's error reply. */
  refused = 0;
  discarded = 0;
  /** Queued for a peer that cannot take them yet. */
  held = 0;
  /** The refused and discarded messages whose end could not be found. */
  frameErrors = 0;
  readonly refusedFor = new Map<Reason, number>();
  readonly discardedFor = new Map<Reason, number>();
  /** The refused and discarded messages that nobody misses. */
  readonly ordinary = { refusedFor: new Map<Reason, number>(), discardedFor: new Map<Reason, number>() };

  refuse(reason: Reason): void {
    this.refused++;
    add(this.refusedFor, reason, 1);
    if (ordinaryReasons.has(reason)) add(this.ordinary.refusedFor, reason, 1);
  }

  /** @param isOrdinary the discard says that nobody misses the message; some reasons imply it anyway */
  discard(reason: Reason, count = 1, isOrdinary = false): void {
    if (count === 0) return;
    this.discarded += count;
    add(this.discardedFor, reason, count);
    if (isOrdinary || ordinaryReasons.has(reason)) add(this.ordinary.discardedFor, reason, count);
  }

  stats(): DirectionStats {
    return {
      received: this.received,
      forwarded: this.forwarded,
      refused: this.refused,
      discarded: this.discarded,
      held: this.held,
      frameErrors: this.frameErrors,
      refusedFor: Object.fromEntries(this.refusedFor),
      discardedFor: Object.fromEntries(this.discardedFor),
      ordinary: {
        refusedFor: Object.fromEntries(this.ordinary.refusedFor),
        discardedFor: Object.fromEntries(this.ordinary.discardedFor),
      },
    };
  }
}

function add(counts: Map<Reason, number>, reason: Reason, count: number): void {
  counts.set(reason, (counts.get(reason) ?? 0) + count);
}

/** Everything that one listener counts. */
export class Accounting {
  readonly client = new Counters();
  readonly backend = new Counters();
  readonly replays = new Counters();
  /** What checks ask over links: messages of the balancer's own. */
  readonly checks = new Counters();
  readonly routes: Record<RouteReason, number> = {
    identifier: 0,
    affinity: 0,
    strategy: 0,
    rechosen: 0,
    correlation: 0,
    link: 0,
    replayed: 0,
    check: 0,
  };
  /** Messages whose identifier names a backend that the pool does not have, whatever became of them. */
  unknownIdentifiers = 0;
  /** Clients that connected, and how many of them were turned away. */
  accepted = 0;
  turnedAway = 0;
  /** Messages that went to another backend because the first could not be reached. */
  redispatched = 0;
  /** Requests whose link broke before they were answered. They count as forwarded all the same. */
  abandoned = 0;
  /** Abandoned requests whose client got the protocol's error reply at once. */
  abandonedRefused = 0;
  /** Bytes from backends that dedicated links have relayed to clients. */
  relayedBytes = 0;
  /** Messages for each backend, by its index. */
  readonly toBackend: number[];

  /** @param backends how many the pool has */
  constructor(backends: number) {
    this.toBackend = Array.from({ length: backends }, () => 0);
  }

  /** Counts a routed message by its reason. (Compared, not looked up: a property by that name costs ten times as much.) */
  route(reason: RouteReason): void {
    const { routes } = this;
    if (reason === 'identifier') routes.identifier++;
    else if (reason === 'correlation') routes.correlation++;
    else if (reason === 'strategy') routes.strategy++;
    else if (reason === 'affinity') routes.affinity++;
    else if (reason === 'link') routes.link++;
    else if (reason === 'replayed') routes.replayed++;
    else if (reason === 'check') routes.check++;
    else routes.rechosen++;
  }

  /** Counts a message for a backend. */
  sendTo(backend: Backend, atMs: number): void {
    this.toBackend[backend.index] = (this.toBackend[backend.index] ?? 0) + 1;
    backend.lastMessageAtMs = atMs;
  }
}

/** Counts of messages from one side. `received = forwarded + refused + discarded + held`. */
export interface DirectionStats {
  readonly received: number;
  readonly forwarded: number;
  readonly refused: number;
  readonly discarded: number;
  readonly held: number;
  /** The refused and discarded messages whose end could not be found; most of them cost their connection. */
  readonly frameErrors: number;
  readonly refusedFor: CountsByReason;
  readonly discardedFor: CountsByReason;
  /**
   * The refused and discarded messages that nobody misses: the discard says so (`ordinary`), or whoever would have got them is
   * gone.
   */
  readonly ordinary: { readonly refusedFor: CountsByReason; readonly discardedFor: CountsByReason };
}

type CountsByReason = Readonly<Record<string, number>>;

/** Requests of protocols that correlate. */
interface ExchangeStats {
  /** Waiting for their answer. */
  readonly open: number;
  /** Given up on, as the answer did not come in time. */
  readonly expired: number;
  /** Lost with their link. */
  readonly abandoned: number;
  /** The expired and abandoned requests whose client got an error reply; others were replayed. */
  readonly refused: number;
}

export interface ListenerStats {
  readonly fromClients: DirectionStats;
  readonly fromBackends: DirectionStats;
  /** Clients' requests that were sent again because the backend that had them went away. */
  readonly replays: DirectionStats;
  /** Requests of checks over links. The answers are counted with those from backends. */
  readonly checks: DirectionStats;
  /** Messages routed, by the reason for their destination. */
  readonly routes: Readonly<Record<RouteReason, number>>;
  /** Messages whose identifier names a backend that the pool does not have: refused, or counted under `rechosen` as well. */
  readonly unknownIdentifiers: number;
  readonly connections: { readonly open: number; readonly accepted: number; readonly turnedAway: number };
  readonly exchanges: ExchangeStats;
  /** Ids remembered, and ids evicted. `inFlight` are requests, where exchanges do not count those. */
  readonly affinity: { readonly entries: number; readonly evicted: number; readonly inFlight: number };
  readonly redispatched: number;
  readonly relayedBytes: number;
  /**
   * Messages in queues, counted in the queues themselves: equals `held` of both directions, the replays and the checks together,
   * unless a backend has sent a message for a client of one listener over a link of another.
   */
  readonly queued: number;
  /** Bytes in queues, and with sockets that have not written them yet. */
  readonly queuedBytes: number;
  readonly backends: Readonly<Record<string, BackendStats>>;
}

export interface BackendStats {
  readonly up: boolean;
  readonly state: BackendState;
  /** It is draining, has been sent nothing for `drainedSeconds`, and owes no answer: it can be stopped. */
  readonly drained: boolean;
  /** In how many workers it is up, where several processes share the work. */
  readonly upIn?: number;
  /** What its checks say; true if there are none. */
  readonly passing: boolean;
  /** Outlier detection has ejected it: it gets no new work for a while. */
  readonly ejected: boolean;
  /** Its share of new work now: less than its configured weight during slow start. */
  readonly weight: number;
  /** The results of its checks; `last` is the plugin's name and its last result. */
  readonly checks: { readonly passed: number; readonly failed: number; readonly last: string | undefined };
  readonly ejections: number;
  /** Failed attempts to connect. */
  readonly failedConnects: number;
  /** Requests that were not answered: overdue, or lost with their link. */
  readonly unanswered: number;
  readonly messages: number;
  readonly inFlight: number;
  readonly links: number;
  /** The listener's links to it by state; closed ones will be opened again. */
  readonly linkStates: Readonly<Record<'connecting' | 'greeting' | 'open' | 'closed', number>>;
  /** Messages that wait for it. */
  readonly queued: number;
  readonly latencyMs: number;
  /** How many answers took at most this many milliseconds, and longer than the class before: four classes for each doubling. */
  readonly latencyCounts: Readonly<Record<string, number>>;
  /** How long ago it last got a message, in seconds; undefined: it never has. */
  readonly idleSeconds: number | undefined;
}

/**
 * Whether the identity holds in both directions of each listener. A message that waits for a client is held by the listener that
 * received it, but queued at the client's own listener, which may be another one: only the sums over all listeners of a pool must
 * agree.
 */
export function balances(...listeners: readonly ListenerStats[]): boolean {
  let waiting = 0;
  for (const { fromClients, fromBackends, replays, checks, queued } of listeners) {
    waiting += queued;
    for (const { received, forwarded, refused, discarded, held } of [fromClients, fromBackends, replays, checks]) {
      if (received !== forwarded + refused + discarded + held) return false;
      waiting -= held;
    }
  }
  return waiting === 0;
}
