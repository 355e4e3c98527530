/** Adds up the statistics of several workers to those of one balancer. */
import type { BackendStats, DirectionStats, ListenerStats } from '../accounting.ts';
import type { BalancerStats } from '../balancer.ts';
import type { FaultStats } from '../faults.ts';

const noStats: BalancerStats = { listeners: {} };

/**
 * Counts add up. A backend is up, passing and not ejected if it is so for any worker (`upIn` says for how many), drained if it is so
 * for all, idle since any gave it a message, and its latency is the mean of those that have one, each weighted by the messages it is
 * made from.
 */
export function totalOf(workers: readonly BalancerStats[]): BalancerStats {
  const names = new Set(workers.flatMap(({ listeners }) => Object.keys(listeners)));
  const listeners: Record<string, ListenerStats> = {};
  for (const name of names) {
    const parts = workers.flatMap((stats) => stats.listeners[name] ?? []);
    const counts = sum(parts, ['backends']) as unknown as Omit<ListenerStats, 'backends'>;
    listeners[name] = { ...counts, backends: backendsOf(parts) };
  }
  const faults = workers.flatMap(({ faults }) => faults ?? []);
  return { listeners, ...(faults.length > 0 && { faults: sum(faults) as unknown as FaultStats }) };
}

/** The members of a backend's statistics that do not add up. */
const notCounts = [
  'up',
  'upIn',
  'state',
  'drained',
  'passing',
  'ejected',
  'weight',
  'checks',
  'latencyMs',
  'idleSeconds',
] as const;

function backendsOf(parts: readonly ListenerStats[]): Record<string, BackendStats> {
  const names = new Set(parts.flatMap(({ backends }) => Object.keys(backends)));
  const total: Record<string, BackendStats> = {};
  for (const name of names) {
    const each = parts.flatMap(({ backends }) => backends[name] ?? []);
    const counts = sum(each, notCounts) as unknown as Omit<BackendStats, (typeof notCounts)[number]>;
    const idle = each.flatMap(({ idleSeconds }) => idleSeconds ?? []);
    const upIn = each.reduce((count, { up, upIn = up ? 1 : 0 }) => count + upIn, 0);
    const measured = each.filter(({ latencyMs, messages }) => latencyMs > 0 && messages > 0);
    const messages = measured.reduce((count, backend) => count + backend.messages, 0);
    const latencyMs = measured.reduce((mean, backend) => mean + (backend.latencyMs * backend.messages) / messages, 0);
    total[name] = {
      up: upIn > 0,
      upIn,
      state: each[0]!.state,
      drained: each.every(({ drained }) => drained),
      passing: each.some(({ passing }) => passing),
      ejected: each.every(({ ejected }) => ejected),
      weight: Math.max(...each.map(({ weight }) => weight)),
      checks: {
        passed: each.reduce((count, { checks }) => count + checks.passed, 0),
        failed: each.reduce((count, { checks }) => count + checks.failed, 0),
        last: each.findLast(({ checks }) => checks.last !== undefined)?.checks.last,
      },
      ...counts,
      latencyMs: Math.round(latencyMs * 1000) / 1000,
      idleSeconds: idle.length === 0 ? undefined : Math.min(...idle),
    };
  }
  return total;
}

/**
 * What remains of the statistics of a worker that has ended without a word: what it held is discarded, what waited for an
 * answer is abandoned, nothing is open. What it counted after it last said so is lost.
 */
export function remainsOf(stats: BalancerStats = noStats): BalancerStats {
  const listeners: Record<string, ListenerStats> = {};
  for (const [name, last] of Object.entries(stats.listeners)) {
    const { connections, exchanges, affinity } = last;
    listeners[name] = {
      ...last,
      fromClients: withoutHeld(last.fromClients),
      fromBackends: withoutHeld(last.fromBackends),
      replays: withoutHeld(last.replays),
      checks: withoutHeld(last.checks),
      connections: { ...connections, open: 0 },
      exchanges: { ...exchanges, open: 0, abandoned: exchanges.abandoned + exchanges.open },
      affinity: { ...affinity, entries: 0, inFlight: 0 },
      queued: 0,
      queuedBytes: 0,
      backends: Object.fromEntries(
        Object.entries(last.backends).map(([backend, stats]) => [
          backend,
          { ...stats, ...forNobody, linkStates: { connecting: 0, greeting: 0, open: 0, closed: 0 }, queued: 0 },
        ]),
      ),
    };
  }
  return { listeners, faults: stats.faults };
}

/** The condition of a backend as seen by nobody: values that let those of others prevail. */
const forNobody = {
  up: false,
  upIn: 0,
  passing: false,
  ejected: true,
  drained: true,
  inFlight: 0,
  links: 0,
  latencyMs: 0,
} as const;

/** Nor has anything been counted. */
const uncounted = {
  ...forNobody,
  weight: 0,
  checks: { passed: 0, failed: 0, last: undefined },
  ejections: 0,
  failedConnects: 0,
  unanswered: 0,
  latencyCounts: {},
  idleSeconds: undefined,
} as const;

/** The backends' statistics without what another listener tells of the same backends: only what this one has done with them. */
export function withoutBackends({ listeners }: BalancerStats): BalancerStats {
  const own = Object.entries(listeners).map(([name, stats]) => {
    const backends = Object.entries(stats.backends).map(([backend, its]) => [backend, { ...its, ...uncounted }]);
    return [name, { ...stats, backends: Object.fromEntries(backends) }];
  });
  return { listeners: Object.fromEntries(own) };
}

function withoutHeld(direction: DirectionStats): DirectionStats {
  const { held, discarded, discardedFor } = direction;
  if (held === 0) return direction;
  return {
    ...direction,
    held: 0,
    discarded: discarded + held,
    discardedFor: { ...discardedFor, 'worker-ended': (discardedFor['worker-ended'] ?? 0) + held },
  };
}

/** Numbers, and mappings of them to any depth. */
interface Counts {
  readonly [name: string]: number | Counts;
}

/**
 * Adds member by member, so that what is counted elsewhere is added up here without being named.
 * @param except members to leave out
 */
function sum(parts: readonly object[], except: readonly string[] = []): Counts {
  const total: Record<string, number | Counts> = {};
  for (const part of parts as readonly Counts[]) {
    for (const [name, value] of Object.entries(part)) {
      if (except.includes(name)) continue;
      const before = total[name];
      if (typeof value === 'object') total[name] = sum([(before as Counts | undefined) ?? {}, value]);
      else total[name] = ((before as number | undefined) ?? 0) + value;
    }
  }
  return total;
}
