/**
 * What can only be known by looking again and again: rates, recent times to answer, how long backends have been down, and the
 * history of the last quarter of an hour.
 */
import type { BackendFacts, BackendStats, BalancerStats, BalancerView, ListenerStats, ObserverScope } from 'pointsman';
import type { Hub } from './hub.ts';
import { type Losses, type Trouble, troublesOf } from './troubles.ts';

/** How often it looks. */
const lookMs = 1000;
/** The number of looks that rates are taken over: workers report once a second, but not when we look. */
const rateLooks = 3;
/** What several workers have reported before they heard of a change is old after that. */
const changeMs = 2000;
/** The number of looks that times to answer and losses are taken from. */
const mostLooks = 10;
/** The history has a point for this many looks, and this many points: 15 minutes. */
const historyLooks = 5;
const historyPoints = 180;

/** A backend as operators see it. */
export interface BackendRow extends BackendFacts {
  /** Its condition in one word, whatever the reason. */
  readonly status: 'up' | 'drain' | 'maint' | 'down' | 'failing' | 'ejected';
  /** The reason, as far as it is known. */
  readonly why: string;
  /** Its share of new work now, less than `weight` while it starts slowly. */
  readonly currentWeight: number;
  readonly checks: { readonly passed: number; readonly failed: number; readonly last?: string | undefined };
  readonly ejections: number;
  readonly failedConnects: number;
  readonly unanswered: number;
  readonly sessions: number;
  readonly messages: number;
  readonly messagesPerSecond: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  readonly downs: number;
  readonly downSeconds: number;
  readonly idleSeconds: number | null;
  readonly drained: boolean;
}

interface HookRate {
  readonly hook: string;
  readonly plugins: readonly string[];
  /** How often it runs; null: that is not counted. */
  readonly perSecond: number | null;
}

export interface ListenerRow {
  readonly name: string;
  readonly listen: string;
  readonly pool: string;
  readonly links: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly rates: Readonly<Record<string, number>>;
  /** How many messages a second are routed for each reason. */
  readonly routesPerSecond: Readonly<Record<string, number>>;
  readonly hooks: readonly HookRate[];
  readonly stats: ListenerStats | null;
}

export interface Overview {
  readonly at: string;
  readonly version: string;
  readonly phase: string;
  readonly workers: number;
  readonly uptimeSeconds: number;
  readonly logLevel: string;
  readonly troubles: readonly Trouble[];
  readonly listeners: readonly ListenerRow[];
  readonly backends: readonly BackendRow[];
}

/** One moment of the last quarter of an hour, all listeners together. */
export interface HistoryPoint {
  readonly at: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly forwardedPerSecond: number;
  readonly refusedPerSecond: number;
  readonly discardedPerSecond: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
}

/** The condition of a backend at the last look. */
interface Seen {
  status: BackendRow['status'];
  state: string;
  /** Since when it has that state. */
  stateAtMs: number;
  weight: number;
  downs: number;
  downMs: number;
}

export class Watch {
  readonly #balancer: BalancerView;
  readonly #scope: ObserverScope;
  readonly #hub: Hub;
  readonly #startedAtMs: number;
  readonly #looks: { readonly atMs: number; readonly stats: BalancerStats }[] = [];
  readonly #history: HistoryPoint[] = [];
  readonly #seen = new Map<string, Seen>();
  #count = 0;
  #cancel: () => void = () => {};

  constructor(balancer: BalancerView, scope: ObserverScope, hub: Hub) {
    this.#balancer = balancer;
    this.#scope = scope;
    this.#hub = hub;
    this.#startedAtMs = scope.clock.now();
    this.look();
    this.#later();
  }

  stop(): void {
    this.#cancel();
  }

  get history(): readonly HistoryPoint[] {
    return this.#history;
  }

  #later(): void {
    this.#cancel = this.#scope.clock.after(lookMs, () => {
      this.look();
      this.#later();
    });
  }

  /**
   * Looks at the state of the balancer, and reports what has changed.
   * @param again before its time, in place of the last look: rates are taken over whole seconds
   */
  look(again = false): void {
    const nowMs = this.#scope.clock.now();
    const last = again ? this.#looks.pop() : this.#looks.at(-1);
    const lastMs = last?.atMs ?? nowMs;
    this.#looks.push({ atMs: nowMs, stats: this.#balancer.stats() });
    if (this.#looks.length > mostLooks + 1) this.#looks.shift();
    for (const row of this.backends()) this.#compare(row, nowMs, nowMs - lastMs);
    if (!again && this.#count++ % historyLooks === 0) {
      this.#history.push(this.#point());
      if (this.#history.length > historyPoints) this.#history.shift();
    }
    if (this.#hub.hears('stats')) this.#hub.tell('stats', this.overview());
  }

  #compare(row: BackendRow, nowMs: number, elapsedMs: number): void {
    const key = `${row.pool} ${row.name}`;
    const { status, state, weight } = row;
    const seen = this.#seen.get(key);
    if (seen === undefined) {
      this.#seen.set(key, { status, state, stateAtMs: nowMs, weight, downs: isDown(status) ? 1 : 0, downMs: 0 });
      return;
    }
    if (isDown(seen.status)) seen.downMs += elapsedMs;
    if (isDown(status) && !isDown(seen.status)) seen.downs++;
    if (seen.state !== state) seen.stateAtMs = nowMs;
    if (seen.status !== status || seen.state !== state || seen.weight !== weight) {
      const { pool, name: backend, why } = row;
      const at = new Date().toISOString();
      this.#hub.tell('state', { at, pool, backend, status, was: seen.status, state, weight, why });
      Object.assign(seen, { status, state, weight });
    }
  }

  overview(): Overview {
    const { control, clock } = this.#scope;
    const [listeners, backends] = [this.listeners(), this.backends()];
    return {
      at: new Date().toISOString(),
      version: control.version,
      phase: control.phase,
      workers: control.workers,
      uptimeSeconds: Math.round((clock.now() - this.#startedAtMs) / 100) / 10,
      logLevel: control.logLevel,
      troubles: troublesOf(
        listeners.map(({ name, pool }) => ({ name, pool, ...this.#losses(name) })),
        backends,
        this.#balancer.certificates(),
        Date.now(),
      ),
      listeners,
      backends,
    };
  }

  listeners(): ListenerRow[] {
    return this.#scope.control.listeners().map(({ listener: name, listen, pool, links, hooks }) => {
      const stats = this.#last.listeners[name];
      const rate = (count: (stats: ListenerStats) => number) =>
        this.#rate((all) => (all.listeners[name] ? count(all.listeners[name]) : 0));
      const rates = Object.fromEntries(Object.entries(counts).map(([what, count]) => [what, rate(count)]));
      return {
        name,
        listen,
        pool,
        links,
        connections: stats?.connections.open ?? 0,
        inFlight: stats === undefined ? 0 : stats.exchanges.open + stats.affinity.inFlight,
        rates,
        routesPerSecond: this.#rates(name, ({ routes }) => routes),
        hooks: hooks.map(({ hook, plugins }) => ({ hook, plugins, perSecond: ratesOfHooks[hook]?.(rates) ?? null })),
        stats: stats ?? null,
      };
    });
  }

  backends(): BackendRow[] {
    const { listeners } = this.#last;
    const feeding = new Map<string, string[]>();
    for (const { listener, pool } of this.#scope.control.listeners()) {
      feeding.set(pool, [...(feeding.get(pool) ?? []), listener]);
    }
    return this.#balancer.backends().map((facts) => {
      const names = feeding.get(facts.pool) ?? [];
      const each = names.flatMap((listener) => listeners[listener]?.backends[facts.name] ?? []);
      const [stats] = each; // what is of the pool is the same in all of them
      const messagesOf = (all: BalancerStats) =>
        sum(names, (listener) => all.listeners[listener]?.backends[facts.name]?.messages ?? 0);
      const [p50Ms, p99Ms] = this.#quantiles(
        (all) => all.listeners[names[0] ?? '']?.backends[facts.name]?.latencyCounts,
      );
      const seen = this.#seen.get(`${facts.pool} ${facts.name}`);
      const isOld = seen?.state !== facts.state || this.#scope.clock.now() - seen.stateAtMs < changeMs;
      const drained = facts.state === 'drain' && stats?.drained === true && !isOld;
      return {
        ...facts,
        ...statusOf(facts, stats, drained),
        currentWeight: stats?.weight ?? facts.weight,
        checks: stats?.checks ?? { passed: 0, failed: 0 },
        ejections: stats?.ejections ?? 0,
        failedConnects: stats?.failedConnects ?? 0,
        unanswered: stats?.unanswered ?? 0,
        sessions: stats?.links ?? 0,
        messages: messagesOf(this.#last),
        messagesPerSecond: this.#rate(messagesOf),
        inFlight: stats?.inFlight ?? 0,
        queued: sum(each, ({ queued }) => queued),
        p50Ms,
        p99Ms,
        downs: seen?.downs ?? 0,
        downSeconds: Math.round((seen?.downMs ?? 0) / 1000),
        idleSeconds: stats?.idleSeconds ?? null,
        drained,
      };
    });
  }

  get #last(): BalancerStats {
    return this.#looks.at(-1)?.stats ?? { listeners: {} };
  }

  #losses(listener: string): Losses {
    const lost = (count: (stats: ListenerStats) => number) =>
      this.#rate(({ listeners: { [listener]: stats } }) => (stats === undefined ? 0 : count(stats)), mostLooks);
    return {
      refusedPerSecond: this.#rates(listener, lostFor('refusedFor'), mostLooks),
      discardedPerSecond: this.#rates(listener, lostFor('discardedFor'), mostLooks),
      unansweredPerSecond: lost(({ exchanges }) => exchanges.expired + exchanges.abandoned),
      turnedAwayPerSecond: lost(({ connections }) => connections.turnedAway),
    };
  }

  /** How fast each count of a listener grows, a second. */
  #rates(
    listener: string,
    countsOf: (stats: ListenerStats) => Readonly<Record<string, number>>,
    looks?: number,
  ): Record<string, number> {
    const of = ({ listeners: { [listener]: stats } }: BalancerStats) => (stats === undefined ? {} : countsOf(stats));
    return Object.fromEntries(
      Object.keys(of(this.#last)).map((what) => [what, this.#rate((stats) => of(stats)[what] ?? 0, looks)]),
    );
  }

  /** How fast a count has been growing recently, a second. */
  #rate(count: (stats: BalancerStats) => number, looks = rateLooks): number {
    const last = this.#looks.at(-1);
    const first = this.#looks.at(-1 - looks) ?? this.#looks[0];
    if (last === undefined || first === undefined || last.atMs <= first.atMs) return 0;
    const perSecond = ((count(last.stats) - count(first.stats)) * 1000) / (last.atMs - first.atMs);
    return Math.round(Math.max(0, perSecond) * 10) / 10;
  }

  /** The recent median and 99th percentile of what is counted by class. */
  #quantiles(
    countsOf: (stats: BalancerStats) => Readonly<Record<string, number>> | undefined,
  ): [number | null, number | null] {
    const after = countsOf(this.#last) ?? {};
    const before = this.#looks.length > 1 ? (countsOf(this.#looks[0]!.stats) ?? {}) : {};
    const classes = Object.entries(after)
      .map(([ms, count]) => ({ ms: Number(ms), count: count - (before[ms] ?? 0) }))
      .filter(({ count }) => count > 0)
      .sort((one, other) => one.ms - other.ms);
    const total = sum(classes, ({ count }) => count);
    const quantile = (share: number) => {
      let left = total * share;
      return classes.find(({ count }) => (left -= count) <= 0)?.ms ?? null;
    };
    return [quantile(0.5), quantile(0.99)];
  }

  #point(): HistoryPoint {
    const listeners = Object.values(this.#last.listeners);
    const rateOf = (count: (stats: ListenerStats) => number) =>
      this.#rate((all) => sum(Object.values(all.listeners), count));
    const pools = new Map(this.#scope.control.listeners().map(({ pool, listener }) => [pool, listener]));
    const [p50Ms, p99Ms] = this.#quantiles((all) => {
      const total: Record<string, number> = {};
      for (const listener of pools.values()) {
        for (const { latencyCounts } of Object.values(all.listeners[listener]?.backends ?? {})) {
          for (const [ms, count] of Object.entries(latencyCounts)) total[ms] = (total[ms] ?? 0) + count;
        }
      }
      return total;
    });
    return {
      at: new Date().toISOString(),
      connections: sum(listeners, ({ connections }) => connections.open),
      inFlight: sum(pools.values(), (listener) =>
        sum(Object.values(this.#last.listeners[listener]?.backends ?? {}), ({ inFlight }) => inFlight),
      ),
      forwardedPerSecond: rateOf(counts.forwarded),
      refusedPerSecond: rateOf(counts.refused),
      discardedPerSecond: rateOf(counts.discarded),
      p50Ms,
      p99Ms,
    };
  }
}

const isDown = (status: BackendRow['status']) => status === 'down' || status === 'failing' || status === 'maint';

function statusOf(
  { state }: BackendFacts,
  stats: BackendStats | undefined,
  drained: boolean,
): Pick<BackendRow, 'status' | 'why'> {
  if (state === 'maint') return { status: 'maint', why: 'an operator has taken it out' };
  const last = stats?.checks.last;
  if (stats?.up === false) return { status: 'down', why: (!stats.passing && last) || 'it cannot be reached' };
  if (stats?.passing === false) return { status: 'failing', why: last ?? 'its checks fail' };
  if (stats?.ejected === true) return { status: 'ejected', why: 'it stands out for failures or slowness' };
  if (state === 'drain') {
    return {
      status: 'drain',
      why: drained ? 'has drained: it may be stopped' : 'an operator lets it finish what it has',
    };
  }
  return { status: 'up', why: last ?? '' };
}

function sum<Item>(items: Iterable<Item>, of: (item: Item) => number): number {
  let total = 0;
  for (const item of items) total += of(item);
  return total;
}

/** Messages of both sides by reason, without those that nobody misses. */
const lostFor =
  (what: 'refusedFor' | 'discardedFor') =>
  ({ fromClients, fromBackends }: ListenerStats): Record<string, number> => {
    const total: Record<string, number> = {};
    for (const { [what]: counts, ordinary } of [fromClients, fromBackends]) {
      for (const [reason, count] of Object.entries(counts)) {
        total[reason] = (total[reason] ?? 0) + count - (ordinary[what][reason] ?? 0);
      }
    }
    return total;
  };

const routed = ({ routes }: ListenerStats) => sum(Object.values(routes), (count) => count);

/** The counts that rates are taken of. */
const counts = {
  accepted: ({ connections }: ListenerStats) => connections.accepted,
  closed: ({ connections }: ListenerStats) => connections.accepted - connections.open,
  received: ({ fromClients, fromBackends }: ListenerStats) => fromClients.received + fromBackends.received,
  requests: ({ fromClients }: ListenerStats) => fromClients.received,
  answers: ({ fromBackends }: ListenerStats) => fromBackends.received,
  chosen: ({ routes }: ListenerStats) => routes.strategy + routes.rechosen,
  routed,
  forwarded: ({ fromClients, fromBackends }: ListenerStats) => fromClients.forwarded + fromBackends.forwarded,
  refused: ({ fromClients, fromBackends }: ListenerStats) => fromClients.refused + fromBackends.refused,
  discarded: ({ fromClients, fromBackends }: ListenerStats) => fromClients.discarded + fromBackends.discarded,
} as const;

type Rates = Readonly<Record<string, number>>;

/** How often the hooks run, where that is counted. */
const ratesOfHooks: Readonly<Record<string, (rates: Rates) => number | undefined>> = {
  onConnect: ({ accepted }) => accepted,
  frame: ({ received }) => received,
  detectId: ({ received }) => received,
  chooseBackend: ({ chosen }) => chosen,
  insertId: ({ routed }) => routed,
  forward: ({ forwarded }) => forwarded,
  refuse: ({ refused }) => refused,
  onDrop: ({ refused = 0, discarded = 0 }) => Math.round((refused + discarded) * 10) / 10,
  onDisconnect: ({ closed }) => closed,
};
