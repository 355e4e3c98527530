/** The statistics of a listener: what it has counted, and what is in its queues, tables and links at this instant. */
import type { BackendStats, ListenerStats } from './accounting.ts';
import type { Client } from './client.ts';
import type { Composed } from './compose.ts';
import type { Link } from './link.ts';
import type { Links } from './links.ts';
import { type Backend, latencyBucketMs } from './pool.ts';

export interface ListenerParts {
  readonly composed: Composed;
  readonly clients: ReadonlySet<Client>;
  /** Those that checks over links speak for. */
  readonly standIns: Iterable<Client>;
  readonly links: Links;
  readonly backends: readonly Backend[];
  readonly nowMs: number;
}

export function listenerStats({ composed, clients, standIns, links, backends, nowMs }: ListenerParts): ListenerStats {
  const { accounting, exchanges, affinity, pipeline } = composed;
  let queued = pipeline.waiting?.length ?? 0;
  let queuedBytes = 0;
  const count = ({ outbox }: Client | Link) => {
    queued += outbox.queuedMessages;
    queuedBytes += outbox.waitingBytes;
  };
  for (const client of clients) count(client);
  for (const standIn of standIns) count(standIn);
  for (const link of links.all()) count(link);
  const linksTo = linksByBackend(links);
  return {
    fromClients: accounting.client.stats(),
    fromBackends: accounting.backend.stats(),
    replays: accounting.replays.stats(),
    checks: accounting.checks.stats(),
    routes: { ...accounting.routes },
    unknownIdentifiers: accounting.unknownIdentifiers,
    connections: { open: clients.size, accepted: accounting.accepted, turnedAway: accounting.turnedAway },
    exchanges: {
      open: exchanges?.size ?? 0,
      expired: exchanges?.expired ?? 0,
      abandoned: accounting.abandoned,
      refused: accounting.abandonedRefused,
    },
    affinity: {
      entries: affinity?.size ?? 0,
      evicted: affinity?.evicted ?? 0,
      inFlight: affinity?.inFlight ?? 0,
    },
    redispatched: accounting.redispatched,
    relayedBytes: accounting.relayedBytes,
    queued,
    queuedBytes,
    backends: Object.fromEntries(
      backends.map((backend) => [
        backend.name,
        backendStats(backend, accounting.toBackend[backend.index] ?? 0, linksTo[backend.index] ?? noLinks(), nowMs),
      ]),
    ),
  };
}

/** What a listener's links to one backend add up to. */
interface LinkSums {
  readonly linkStates: Record<'connecting' | 'greeting' | 'open' | 'closed', number>;
  queued: number;
}

const noLinks = (): LinkSums => ({ linkStates: { connecting: 0, greeting: 0, open: 0, closed: 0 }, queued: 0 });

/** By the backend's index. */
function linksByBackend(links: Links): LinkSums[] {
  const sums: LinkSums[] = [];
  for (const { backend, state, outbox } of links.all()) {
    const its = (sums[backend.index] ??= noLinks());
    its.linkStates[state === 'idle' ? 'closed' : state]++;
    its.queued += outbox.queuedMessages;
  }
  return sums;
}

/**
 * @param messages that the listener has sent to it
 * @param links the listener's; all else is the same for every listener
 */
function backendStats(backend: Backend, messages: number, links: LinkSums, nowMs: number): BackendStats {
  return {
    up: backend.up,
    state: backend.state,
    drained: backend.hasDrained(nowMs),
    passing: backend.passing,
    ejected: backend.ejected,
    weight: Math.round(backend.weight * 1000) / 1000,
    checks: { ...backend.checks },
    ejections: backend.ejections,
    failedConnects: backend.failedConnects,
    unanswered: backend.unanswered,
    messages,
    inFlight: backend.inFlight,
    links: backend.connections,
    linkStates: links.linkStates,
    queued: links.queued,
    latencyCounts: countsOf(backend),
    latencyMs: Math.round(backend.latencyMs * 1000) / 1000,
    idleSeconds: backend.lastMessageAtMs === 0 ? undefined : Math.round(nowMs - backend.lastMessageAtMs) / 1000,
  };
}

/** How the classes of latency are named. */
const latencyNames: string[] = [];

function countsOf({ latencyCounts }: Backend): Record<string, number> {
  const counts: Record<string, number> = {};
  for (let bucket = 0; bucket < latencyCounts.length; bucket++) {
    const count = latencyCounts[bucket]!;
    if (count > 0) counts[(latencyNames[bucket] ??= latencyBucketMs(bucket).toPrecision(3))] = count;
  }
  return counts;
}
