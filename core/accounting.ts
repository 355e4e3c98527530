/**
 * Accounting: every message that was received has exactly one outcome, so that at every instant, in each direction,
 * `received = forwarded + refused + discarded + held`.
 *
 * A request whose backend goes away has been forwarded, and stays so, whatever is done for its client then: it is `abandoned`
 * besides. If it is sent to another backend, that replay is a message of the balancer's own. It is counted apart, as received
 * when it is taken up, and has one outcome like all others. So nothing that has been counted is ever taken back. What checks ask
 * over links are messages of its own as well, and counted apart.
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
  /** Those of the refused and discarded whose end could not be told. */
  frameErrors = 0;
  readonly refusedFor = new Map<Reason, number>();
  readonly discardedFor = new Map<Reason, number>();
  /** Those of them that nobody misses. */
  readonly ordinary = { refusedFor: new Map<Reason, number>(), discardedFor: new Map<Reason, number>() };

  refuse(reason: Reason): void {
    this.refused++;
    add(this.refusedFor, reason, 1);
    if (ordinaryReasons.has(reason)) add(this.ordinary.refusedFor, reason, 1);
  }

  /** @param isOrdinary the discard has said so; some reasons are so anyway */
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

/** All that one listener counts. */
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
  /** Requests whose link broke before they were answered. They have been forwarded, and stay so. */
  abandoned = 0;
  /** Those of them whose client got the protocol's error reply at once. */
  abandonedRefused = 0;
  /** Bytes that dedicated links relayed, backend to client: messages that nobody counts. */
  relayedBytes = 0;
  /** Messages for each backend, by its index. */
  readonly toBackend: number[];

  /** @param backends how many the pool has */
  constructor(backends: number) {
    this.toBackend = Array.from({ length: backends }, () => 0);
  }

  /** Counts a message that has been routed, by why. (Compared, not looked up: a property of that name costs ten times as much.) */
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
  /** Those of the refused and discarded whose end could not be told: most cost their connection. */
  readonly frameErrors: number;
  readonly refusedFor: CountsByReason;
  readonly discardedFor: CountsByReason;
  /** Those of them that nobody misses: the discard says so (`ordinary`), or whoever would have got them has gone. */
  readonly ordinary: { readonly refusedFor: CountsByReason; readonly discardedFor: CountsByReason };
}

type CountsByReason = Readonly<Record<string, number>>;

/** Requests that correlate. */
interface ExchangeStats {
  /** They wait for their answer. */
  readonly open: number;
  /** Given up on: the answer did not come in time. */
  readonly expired: number;
  /** Lost with their link. */
  readonly abandoned: number;
  /** Those of the expired and the abandoned whose client got an error reply; others were taken up as replays. */
  readonly refused: number;
}

export interface ListenerStats {
  readonly fromClients: DirectionStats;
  readonly fromBackends: DirectionStats;
  /** Requests of clients that were sent again, as the backend that had them went away. */
  readonly replays: DirectionStats;
  /** What checks have asked over links. The answers are among those from backends. */
  readonly checks: DirectionStats;
  /** Messages routed, by why they went where they went. */
  readonly routes: Readonly<Record<RouteReason, number>>;
  /** Messages whose identifier names a backend that the pool does not have: refused, or counted under `rechosen` as well. */
  readonly unknownIdentifiers: number;
  readonly connections: { readonly open: number; readonly accepted: number; readonly turnedAway: number };
  readonly exchanges: ExchangeStats;
  /** Ids that are remembered, and were pushed out; those in flight are requests, where exchanges do not count them. */
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
  /** It drains, nobody has sent it anything for `drainedSeconds`, and nobody waits for its answer: it may be stopped. */
  readonly drained: boolean;
  /** For how many workers it is up, where several share the work. */
  readonly upIn?: number;
  /** What its checks say; true if there are none. */
  readonly passing: boolean;
  /** It gets no new work for a while, as it stands out. */
  readonly ejected: boolean;
  /** Its share of new work now: less than it has been given as long as it starts slowly. */
  readonly weight: number;
  /** How its checks went; `last` is the plugin's name and what came of it. */
  readonly checks: { readonly passed: number; readonly failed: number; readonly last: string | undefined };
  readonly ejections: number;
  /** Connects that failed. */
  readonly failedConnects: number;
  /** Requests whose answer did not come: overdue, or lost with their link. */
  readonly unanswered: number;
  readonly messages: number;
  readonly inFlight: number;
  readonly links: number;
  /** The listener's links to it, by how far they are; those that are closed will be opened again. */
  readonly linkStates: Readonly<Record<'connecting' | 'greeting' | 'open' | 'closed', number>>;
  /** Messages that wait for it. */
  readonly queued: number;
  readonly latencyMs: number;
  /** How many answers took no longer than so many milliseconds, and longer than the class before: four classes for each doubling. */
  readonly latencyCounts: Readonly<Record<string, number>>;
  /** How long ago it last got a message, in seconds; undefined: it never has. */
  readonly idleSeconds: number | undefined;
}

/**
 * True if the identity holds in both directions of each listener. What waits for a client is held by the listener that has received
 * it, and queued at the client's own, which may be another one: only all listeners of a pool together have as much in queues as they hold.
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
