/** Statistics of a balancer with one listener, `edge`, that has seen nothing except what a test says. */
import { Accounting, Counters, type DirectionStats, type ListenerStats } from '../../core/accounting.ts';
import type { BalancerStats } from '../../core/balancer.ts';

export const direction = (counts: Partial<DirectionStats> = {}): DirectionStats => ({
  ...new Counters().stats(),
  ...counts,
});

export function statsOf(edge: Partial<ListenerStats> = {}): BalancerStats {
  return {
    listeners: {
      edge: {
        fromClients: direction(),
        fromBackends: direction(),
        replays: direction(),
        checks: direction(),
        routes: new Accounting(0).routes,
        connections: { open: 0, accepted: 0, turnedAway: 0 },
        exchanges: { open: 0, expired: 0, abandoned: 0, refused: 0 },
        affinity: { entries: 0, evicted: 0, inFlight: 0 },
        redispatched: 0,
        relayedBytes: 0,
        unknownIdentifiers: 0,
        queued: 0,
        queuedBytes: 0,
        backends: {},
        ...edge,
      },
    },
  };
}
