/** All metrics: their names, what they mean, and where their values come from. */
import type { BalancerStats, BalancerView } from 'pointsman';
import type { Histogram, OpenMetricsContentType, Registry } from 'prom-client';
import { Definer, type PromClient } from './definer.ts';
import { type Gathered, outcomes, responseBounds } from './measured.ts';

export function metricsOf(
  client: PromClient,
  version: string,
  balancer: Pick<BalancerView, 'certificates'>,
  stats: () => BalancerStats,
  gathered: Gathered,
): Registry<OpenMetricsContentType> {
  const registry = new client.Registry<OpenMetricsContentType>();
  const define = new Definer(client, registry as unknown as Registry, stats);
  define.gauge('build_info', 'Which version runs, on which Node.js: 1.', ['version', 'node'], (add) => {
    add({ version, node: process.version }, 1);
  });
  ofClients(define);
  ofMessages(define, gathered);
  ofRouting(define);
  ofRequests(define);
  ofBackends(define);
  ofWorkOfBackends(define, gathered);
  ofProcess(define, balancer);
  registry.registerMetric(responsesOf(client, gathered));
  ofHooks(define, gathered);
  return registry;
}

function ofClients(define: Definer): void {
  define.ofListeners(
    'gauge',
    'connections',
    'Client connections that are open.',
    ({ connections }) => connections.open,
  );
  define.ofListeners(
    'counter',
    'connections_accepted_total',
    'Clients that connected.',
    ({ connections }) => connections.accepted,
  );
  define.ofListeners(
    'counter',
    'connections_turned_away_total',
    'Clients that were turned away.',
    ({ connections }) => connections.turnedAway,
  );
}

/** Messages, and what happens to them. */
function ofMessages(define: Definer, gathered: Gathered): void {
  define.ofDirections(
    'counter',
    'messages_received_total',
    'Messages that came, whole: the sum of forwarded, refused, discarded and held.',
    ({ received }) => received,
  );
  define.ofDirections(
    'counter',
    'messages_forwarded_total',
    'Messages handed to the socket of their destination.',
    ({ forwarded }) => forwarded,
  );
  define.ofDirections('gauge', 'messages_held', 'Messages in queues.', ({ held }) => held);
  define.ofReasons('messages_refused_total', "Messages whose sender got the protocol's error reply.", 'refusedFor');
  define.ofDirections(
    'counter',
    'frame_errors_total',
    'Messages whose end could not be told, refused or discarded: most cost their connection.',
    ({ frameErrors }) => frameErrors,
  );
  define.ofReasons(
    'messages_discarded_total',
    'Messages that were dropped; ordinary: nobody misses them.',
    'discardedFor',
  );
  define.counter(
    'message_bytes_total',
    'Bytes of the messages that were forwarded, as they came.',
    ['listener', 'from'],
    (add) => {
      for (const [listener, bytes] of gathered.bytes) {
        add({ listener, from: 'client' }, bytes.client);
        add({ listener, from: 'backend' }, bytes.backend);
      }
    },
  );
}

/** Where messages go, and what waits on the way. */
function ofRouting(define: Definer): void {
  define.counter(
    'routes_total',
    'Messages routed, by why they went where they went.',
    ['listener', 'reason'],
    (add) => {
      for (const [listener, { routes }] of define.listeners()) {
        for (const [reason, count] of Object.entries(routes)) add({ listener, reason }, count);
      }
    },
  );
  define.ofListeners(
    'counter',
    'identifiers_unknown_total',
    'Messages that name a backend that the pool does not have: refused, or rechosen.',
    ({ unknownIdentifiers }) => unknownIdentifiers,
  );
  define.ofListeners(
    'counter',
    'messages_redispatched_total',
    'Messages that went to another backend as the first could not be reached.',
    ({ redispatched }) => redispatched,
  );
  define.ofListeners(
    'counter',
    'relayed_bytes_total',
    'Bytes from backends that dedicated links passed on unread.',
    ({ relayedBytes }) => relayedBytes,
  );
  define.ofListeners('gauge', 'queue_bytes', 'Bytes in queues and in sockets.', ({ queuedBytes }) => queuedBytes);
}

/** Requests that wait for their answer, and ids of related messages. */
function ofRequests(define: Definer): void {
  define.ofListeners('gauge', 'exchanges', 'Requests that wait for their answer.', ({ exchanges }) => exchanges.open);
  define.ofListeners(
    'counter',
    'exchanges_expired_total',
    'Requests whose answer did not come in time.',
    ({ exchanges }) => exchanges.expired,
  );
  define.ofListeners(
    'counter',
    'exchanges_abandoned_total',
    'Requests whose link broke before they were answered.',
    ({ exchanges }) => exchanges.abandoned,
  );
  define.ofListeners(
    'gauge',
    'affinity_entries',
    'Ids of related messages that are remembered.',
    ({ affinity }) => affinity.entries,
  );
  define.ofListeners(
    'counter',
    'affinity_evicted_total',
    'Ids that were forgotten before their time.',
    ({ affinity }) => affinity.evicted,
  );
}

/** The condition of backends. */
function ofBackends(define: Definer): void {
  define.ofBackends('gauge', 'backend_up', 'Whether the backend can be connected to.', ({ up }) => Number(up));
  define.ofBackends('gauge', 'backend_passing', 'Whether its checks pass; 1 if it has none.', ({ passing }) =>
    Number(passing),
  );
  define.ofBackends('gauge', 'backend_ejected', 'Whether it gets no new work as it stands out.', ({ ejected }) =>
    Number(ejected),
  );
  define.gauge('backend_state', 'What it is let do: 1 for its state.', ['listener', 'backend', 'state'], (add) => {
    for (const [listener, { backends }] of define.listeners()) {
      for (const [backend, its] of Object.entries(backends)) {
        for (const state of ['ready', 'drain', 'maint']) add({ listener, backend, state }, Number(its.state === state));
      }
    }
  });
  define.ofBackends('gauge', 'backend_weight', 'Its share of new work.', ({ weight }) => weight);
  define.gauge('backend_links', 'Connections to it, by their state.', ['listener', 'backend', 'state'], (add) => {
    for (const [listener, { backends }] of define.listeners()) {
      for (const [backend, { linkStates }] of Object.entries(backends)) {
        for (const [state, count] of Object.entries(linkStates)) add({ listener, backend, state }, count);
      }
    }
  });
}

/** The work of backends. */
function ofWorkOfBackends(define: Definer, gathered: Gathered): void {
  define.ofBackends(
    'counter',
    'backend_connect_failures_total',
    'Connects to it that failed.',
    ({ failedConnects }) => failedConnects,
  );
  define.ofBackends('gauge', 'backend_in_flight', 'Requests that wait for its answer.', ({ inFlight }) => inFlight);
  define.counter(
    'backend_messages_total',
    'Messages to and from it, by what became of them.',
    ['listener', 'backend', 'from', 'outcome'],
    (add) => {
      for (const { listener, of } of gathered.backends.values()) {
        for (const outcome of outcomes) {
          for (const [from, count] of Object.entries(of[outcome]))
            add({ listener, backend: of.name, from, outcome }, count);
        }
      }
    },
  );
  define.ofBackends('counter', 'backend_ejections_total', 'How often it was ejected.', ({ ejections }) => ejections);
  define.ofBackends(
    'counter',
    'backend_unanswered_total',
    'Requests that it has not answered: overdue, or lost with their link.',
    ({ unanswered }) => unanswered,
  );
  define.counter('backend_checks_total', 'Its checks, by how they went.', ['listener', 'backend', 'outcome'], (add) => {
    for (const [listener, { backends }] of define.listeners()) {
      for (const [backend, { checks }] of Object.entries(backends)) {
        add({ listener, backend, outcome: 'passed' }, checks.passed);
        add({ listener, backend, outcome: 'failed' }, checks.failed);
      }
    }
  });
}

/** What belongs to the process rather than to its messages: certificates, reloads, errors, logs. */
function ofProcess(define: Definer, balancer: Pick<BalancerView, 'certificates'>): void {
  define.gauge(
    'certificate_expiry_timestamp_seconds',
    'When the certificate that clients (or backends) are shown expires, or the first of its chain, in seconds since 1970.',
    ['listener', 'pool'],
    (add) => {
      for (const { expiresAtMs, ...of } of balancer.certificates()) add(of, expiresAtMs / 1000);
    },
  );
  define.counter('reloads_total', 'Reloads of the config, by how they went.', ['outcome'], (add) => {
    add({ outcome: 'succeeded' }, define.stats().reloads?.succeeded ?? 0);
    add({ outcome: 'refused' }, define.stats().reloads?.failed ?? 0);
  });
  define.gauge('reload_seconds', 'How long the last one that succeeded took.', [], (add) => {
    add({}, (define.stats().reloads?.lastMilliseconds ?? 0) / 1000);
  });
  define.gauge('reload_timestamp_seconds', 'When it did, in seconds since 1970; 0: none has.', [], (add) => {
    add({}, (define.stats().reloads?.lastAt ?? 0) / 1000);
  });

  define.counter(
    'uncaught_errors_total',
    'Errors that nobody caught: in timers of plugins, most likely.',
    [],
    (add) => {
      add({}, define.stats().faults?.uncaught ?? 0);
    },
  );
  define.ofLogs(
    'log_write_errors_total',
    'Writes of the log of the process, or of an observer, that failed: a full disk, or nobody who reads.',
    ({ writeErrors }) => writeErrors,
  );
  define.ofLogs(
    'log_lines_dropped_total',
    'Lines of it that were dropped: the disk, or whoever reads it, does not keep up.',
    ({ droppedLines }) => droppedLines,
  );
}

function ofHooks(define: Definer, gathered: Gathered): void {
  define.counter('hook_seconds_total', 'Time in hooks, of the calls that were measured.', ['hook', 'plugin'], (add) => {
    for (const { hook, plugin, seconds } of gathered.hooks.values()) add({ hook, plugin }, seconds);
  });
  define.counter('hook_calls_total', 'Calls of hooks that were measured.', ['hook', 'plugin'], (add) => {
    for (const { hook, plugin, calls } of gathered.hooks.values()) add({ hook, plugin }, calls);
  });
}

/** A histogram that was filled elsewhere: prom-client's own takes one observation at a time. */
function responsesOf(client: PromClient, gathered: Gathered): Histogram<'listener' | 'backend'> {
  const name = 'pointsman_response_seconds';
  const help = 'Time from a request to its answer, where the protocol tells which answers which.';
  const histogram = new client.Histogram({ name, help, labelNames: ['listener', 'backend'], registers: [] });
  const read = async () => {
    const values = [...gathered.backends.values()].flatMap(({ listener, of: { name: backend, responses } }) => {
      let sum = 0;
      const labels = { listener, backend };
      const buckets = Array.from(responses.counts, (count, index) => {
        sum += count;
        const le = responseBounds[index] ?? '+Inf';
        return { labels: { ...labels, le }, value: sum, metricName: `${name}_bucket` };
      });
      return [
        ...buckets,
        { labels, value: responses.seconds[0]!, metricName: `${name}_sum` },
        { labels, value: sum, metricName: `${name}_count` },
      ];
    });
    return { name, help, type: 'histogram', values, aggregator: 'sum' } as never;
  };
  return Object.assign(histogram, { get: read, getForPromString: read });
}
