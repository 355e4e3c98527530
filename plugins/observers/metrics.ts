/**
 * Metrics for Prometheus. Nearly all is read from what the core counts, when somebody asks; taps only measure what it does not:
 * bytes, and how long answers and hooks take.
 */
import http from 'node:http';
import {
  type Backend,
  type BackendStats,
  type BalancerStats,
  type BalancerView,
  type DirectionStats,
  definePlugin,
  type ListenerStats,
  listenAt,
  type Side,
  serverAddress,
  Type,
} from 'pointsman';
import type { Histogram, OpenMetricsContentType, Registry } from 'prom-client';

/** Upper bounds of the buckets of response times, in seconds. */
const responseBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const responseBoundsMs = Float64Array.from(responseBounds, (seconds) => seconds * 1000);
/** How often what was measured in pipelines is gathered. */
const gatherMs = 1000;
/** Plugins make up reasons of their own; beyond so many for one listener they are one. */
const mostReasons = 64;

/** What one pipeline has measured since it last said so. */
interface Measured {
  readonly listener: string;
  readonly bytes: Readonly<Record<Side, number>>;
  readonly backends: readonly OfBackend[];
  readonly hooks: readonly (readonly [hook: string, plugin: string, seconds: number, calls: number])[];
}

/** Of the messages to one backend, and from it. */
interface OfBackend {
  readonly name: string;
  readonly forwarded: Record<Side, number>;
  readonly refused: Record<Side, number>;
  readonly discarded: Record<Side, number>;
  readonly responses: Durations;
}

/** In typed arrays, where numbers are counted up in place. */
interface Durations {
  /** One number: the sum. */
  readonly seconds: Float64Array;
  /** By bucket; the last one has no bound. */
  readonly counts: Float64Array;
}

const outcomes = ['forwarded', 'refused', 'discarded'] as const;

const newBackend = (name: string): OfBackend => ({
  name,
  forwarded: { client: 0, backend: 0 },
  refused: { client: 0, backend: 0 },
  discarded: { client: 0, backend: 0 },
  responses: { seconds: new Float64Array(1), counts: new Float64Array(responseBounds.length + 1) },
});

function addDuration({ seconds, counts }: Durations, milliseconds: number): void {
  let bucket = 0;
  while (bucket < responseBoundsMs.length && milliseconds > responseBoundsMs[bucket]!) bucket++;
  counts[bucket]!++;
  seconds[0]! += milliseconds / 1000;
}

export default definePlugin({
  name: 'metrics',
  summary: 'Answers GET /metrics for Prometheus, as text or OpenMetrics.',
  pointsman: '^1',
  options: Type.Object({
    listen: Type.String({
      default: 'tcp://127.0.0.1:9464',
      description: 'Where GET /metrics is answered: tcp://host:port or unix:/path.',
    }),
    hookSample: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      default: 0,
      description: 'Of so many calls of hooks one is measured; 0: none.',
    }),
    process: Type.Boolean({
      default: true,
      description:
        'Whether there are metrics of the process (CPU, memory, event loop); with several workers they are those of the primary.',
    }),
  }),

  apply(hooks, { hookSample }, scope) {
    let bytes: Record<Side, number> = { client: 0, backend: 0 };
    /** By the index of the backend. */
    let backends: OfBackend[] = [];
    const timed = new Map<string, [hook: string, plugin: string, seconds: number, calls: number]>();

    const of = ({ index, name }: Backend): OfBackend => (backends[index] ??= newBackend(name));
    hooks.forward.tap('metrics', (message) => {
      const { backend, exchange } = message;
      const counts = backend && of(backend);
      if (message.from === 'client') {
        bytes.client += message.length;
        if (counts !== undefined) counts.forwarded.client++;
        return;
      }
      bytes.backend += message.length;
      if (counts === undefined) return;
      counts.forwarded.backend++;
      if (exchange !== undefined) addDuration(counts.responses, message.atMs - exchange.openedAtMs);
    });
    hooks.onDrop.tap('metrics', ({ from, backend }, _outcome, replied) => {
      if (backend !== undefined) of(backend)[replied ? 'refused' : 'discarded'][from]++;
    });
    if (hookSample > 0) {
      scope.timeHooks(hookSample, (hook, plugin, milliseconds) => {
        const key = `${hook} ${plugin}`;
        const times = timed.get(key) ?? [hook, plugin, 0, 0];
        timed.set(key, times);
        times[2] += milliseconds / 1000;
        times[3]++;
      });
    }

    const report = () => {
      const measured: Measured = {
        listener: scope.listener.name,
        bytes,
        backends: backends.filter((each) => each !== undefined),
        hooks: [...timed.values()],
      };
      scope.channel.send(measured);
      bytes = { client: 0, backend: 0 };
      backends = [];
      timed.clear();
    };
    let cancel = () => {};
    const reportLater = () => {
      cancel = scope.clock.after(gatherMs, () => {
        report();
        reportLater();
      });
    };
    scope.onStart(reportLater);
    scope.onStop(() => {
      cancel();
      report();
    });
  },

  observe(balancer, options, scope) {
    try {
      serverAddress(options.listen);
    } catch (error) {
      throw new Error(`listen: ${(error as Error).message}`);
    }
    const gathered = new Gathered();
    scope.channel.onMessage((value) => gathered.add(value as Measured));
    let stop = async () => {};
    scope.onStart(async () => {
      // Loaded only where it is used: it takes a while.
      const client = await import('prom-client');
      // One look at the counts for all metrics, so that they go together.
      let stats = balancer.stats();
      const registry = metricsOf(client, scope.control.version, balancer, () => stats, gathered);
      if (options.process) client.collectDefaultMetrics({ register: registry });
      let busy = Promise.resolve();
      const server = http.createServer((request, response) => {
        const path = request.url?.replace(/\?.*/s, '');
        if (path !== '/metrics') return void response.writeHead(404).end('Metrics are at /metrics.\n');
        if (request.method !== 'GET' && request.method !== 'HEAD') {
          return void response.writeHead(405, { Allow: 'GET, HEAD' }).end();
        }
        const isOpen = /application\/openmetrics-text/.test(request.headers.accept ?? '');
        // One after the other: the registry has one format at a time.
        busy = busy.then(async () => {
          try {
            const type = isOpen ? client.Registry.OPENMETRICS_CONTENT_TYPE : client.Registry.PROMETHEUS_CONTENT_TYPE;
            registry.setContentType(type as OpenMetricsContentType);
            stats = balancer.stats();
            const text = await registry.metrics();
            response.writeHead(200, { 'Content-Type': registry.contentType }).end(text);
          } catch (error) {
            scope.log.error({ err: error }, 'metrics could not be gathered');
            response.writeHead(500).end();
          }
        });
      });
      await listenAt(server, options.listen);
      stop = () =>
        new Promise((resolve) => {
          server.close(() => resolve());
          server.closeAllConnections();
        });
      scope.log.info({ listen: options.listen }, 'metrics are at /metrics');
    });
    scope.onStop(() => stop());
  },
});

/** What all pipelines have measured. */
class Gathered {
  readonly bytes = new Map<string, Record<Side, number>>();
  readonly backends = new Map<string, { listener: string; of: OfBackend }>();
  readonly hooks = new Map<string, { hook: string; plugin: string; seconds: number; calls: number }>();

  add({ listener, bytes, backends, hooks }: Measured): void {
    const before = this.bytes.get(listener) ?? { client: 0, backend: 0 };
    this.bytes.set(listener, { client: before.client + bytes.client, backend: before.backend + bytes.backend });
    for (const each of backends) {
      const key = `${listener} ${each.name}`;
      const known = this.backends.get(key) ?? { listener, of: newBackend(each.name) };
      this.backends.set(key, known);
      for (const side of ['client', 'backend'] as const) {
        for (const outcome of outcomes) known.of[outcome][side] += each[outcome][side];
      }
      known.of.responses.seconds[0]! += each.responses.seconds[0]!;
      for (const [bucket, count] of each.responses.counts.entries()) known.of.responses.counts[bucket]! += count;
    }
    for (const [hook, plugin, seconds, calls] of hooks) {
      const key = `${hook} ${plugin}`;
      const known = this.hooks.get(key) ?? { hook, plugin, seconds: 0, calls: 0 };
      this.hooks.set(key, known);
      known.seconds += seconds;
      known.calls += calls;
    }
  }
}

type Client = typeof import('prom-client');

/** All metrics; each looks at the statistics when it is read. */
function metricsOf(
  client: Client,
  version: string,
  balancer: Pick<BalancerView, 'certificates'>,
  stats: () => BalancerStats,
  gathered: Gathered,
): Registry<OpenMetricsContentType> {
  const registry = new client.Registry<OpenMetricsContentType>();
  const registers = [registry as unknown as Registry];
  const listeners = () => Object.entries(stats().listeners);

  /** Metrics whose values are given anew by `read` when somebody asks: of counters the sums so far. */
  const define =
    (Kind: typeof client.Counter | typeof client.Gauge) =>
    <Label extends string>(
      name: string,
      help: string,
      labelNames: readonly Label[],
      read: (add: (labels: Readonly<Partial<Record<Label, string>>>, value: number) => void) => void,
    ): void => {
      new Kind<Label>({
        name: `pointsman_${name}`,
        help,
        labelNames,
        registers,
        collect() {
          this.reset();
          read((labels, value) => this.inc(labels, value));
        },
      });
    };
  const [counter, gauge] = [define(client.Counter), define(client.Gauge)];
  /** Requests that are sent a second time are a direction of their own, and so is what checks ask over links. */
  const directionsOf = ({ fromClients, fromBackends, replays, checks }: ListenerStats) => [
    ['client', fromClients] as const,
    ['backend', fromBackends] as const,
    ['replay', replays] as const,
    ['check', checks] as const,
  ];
  /** Of each listener one number. */
  const ofListeners = (kind: typeof counter, name: string, help: string, of: (stats: ListenerStats) => number) =>
    kind(name, help, ['listener'], (add) => {
      for (const [listener, its] of listeners()) add({ listener }, of(its));
    });
  /** Of each listener one number for each direction. */
  const ofDirections = (kind: typeof counter, name: string, help: string, of: (stats: DirectionStats) => number) =>
    kind(name, help, ['listener', 'from'], (add) => {
      for (const [listener, its] of listeners()) {
        for (const [from, direction] of directionsOf(its)) add({ listener, from }, of(direction));
      }
    });
  const ofReasons = (name: string, help: string, what: 'refusedFor' | 'discardedFor') =>
    counter(name, help, ['listener', 'from', 'reason', 'ordinary'], (add) => {
      for (const [listener, its] of listeners()) {
        for (const [from, direction] of directionsOf(its)) {
          for (const [index, [name, count]] of Object.entries(direction[what]).entries()) {
            const reason = index < mostReasons ? name : 'other';
            const ordinary = direction.ordinary[what][name] ?? 0;
            if (count > ordinary) add({ listener, from, reason, ordinary: 'false' }, count - ordinary);
            if (ordinary > 0) add({ listener, from, reason, ordinary: 'true' }, ordinary);
          }
        }
      }
    });
  const ofBackends = (kind: typeof counter, name: string, help: string, of: (stats: BackendStats) => number) =>
    kind(name, help, ['listener', 'backend'], (add) => {
      for (const [listener, { backends }] of listeners()) {
        for (const [backend, its] of Object.entries(backends)) add({ listener, backend }, of(its));
      }
    });

  gauge('build_info', 'Which version runs, on which Node.js: 1.', ['version', 'node'], (add) => {
    add({ version, node: process.version }, 1);
  });

  ofListeners(gauge, 'connections', 'Client connections that are open.', ({ connections }) => connections.open);
  ofListeners(
    counter,
    'connections_accepted_total',
    'Clients that connected.',
    ({ connections }) => connections.accepted,
  );
  ofListeners(
    counter,
    'connections_turned_away_total',
    'Clients that were turned away.',
    ({ connections }) => connections.turnedAway,
  );

  ofDirections(
    counter,
    'messages_received_total',
    'Messages that came, whole: the sum of forwarded, refused, discarded and held.',
    ({ received }) => received,
  );
  ofDirections(
    counter,
    'messages_forwarded_total',
    'Messages handed to the socket of their destination.',
    ({ forwarded }) => forwarded,
  );
  ofDirections(gauge, 'messages_held', 'Messages in queues.', ({ held }) => held);
  ofReasons('messages_refused_total', "Messages whose sender got the protocol's error reply.", 'refusedFor');
  ofDirections(
    counter,
    'frame_errors_total',
    'Messages whose end could not be told, refused or discarded: most cost their connection.',
    ({ frameErrors }) => frameErrors,
  );
  ofReasons('messages_discarded_total', 'Messages that were dropped; ordinary: nobody misses them.', 'discardedFor');
  counter(
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
  counter('routes_total', 'Messages routed, by why they went where they went.', ['listener', 'reason'], (add) => {
    for (const [listener, { routes }] of listeners()) {
      for (const [reason, count] of Object.entries(routes)) add({ listener, reason }, count);
    }
  });
  ofListeners(
    counter,
    'identifiers_unknown_total',
    'Messages that name a backend that the pool does not have: refused, or rechosen.',
    ({ unknownIdentifiers }) => unknownIdentifiers,
  );
  ofListeners(
    counter,
    'messages_redispatched_total',
    'Messages that went to another backend as the first could not be reached.',
    ({ redispatched }) => redispatched,
  );
  ofListeners(
    counter,
    'relayed_bytes_total',
    'Bytes from backends that dedicated links passed on unread.',
    ({ relayedBytes }) => relayedBytes,
  );
  ofListeners(gauge, 'queue_bytes', 'Bytes in queues and in sockets.', ({ queuedBytes }) => queuedBytes);

  ofListeners(gauge, 'exchanges', 'Requests that wait for their answer.', ({ exchanges }) => exchanges.open);
  ofListeners(
    counter,
    'exchanges_expired_total',
    'Requests whose answer did not come in time.',
    ({ exchanges }) => exchanges.expired,
  );
  ofListeners(
    counter,
    'exchanges_abandoned_total',
    'Requests whose link broke before they were answered.',
    ({ exchanges }) => exchanges.abandoned,
  );
  ofListeners(
    gauge,
    'affinity_entries',
    'Ids of related messages that are remembered.',
    ({ affinity }) => affinity.entries,
  );
  ofListeners(
    counter,
    'affinity_evicted_total',
    'Ids that were forgotten before their time.',
    ({ affinity }) => affinity.evicted,
  );

  ofBackends(gauge, 'backend_up', 'Whether the backend can be connected to.', ({ up }) => Number(up));
  ofBackends(gauge, 'backend_passing', 'Whether its checks pass; 1 if it has none.', ({ passing }) => Number(passing));
  ofBackends(gauge, 'backend_ejected', 'Whether it gets no new work as it stands out.', ({ ejected }) =>
    Number(ejected),
  );
  gauge('backend_state', 'What it is let do: 1 for its state.', ['listener', 'backend', 'state'], (add) => {
    for (const [listener, { backends }] of listeners()) {
      for (const [backend, its] of Object.entries(backends)) {
        for (const state of ['ready', 'drain', 'maint']) add({ listener, backend, state }, Number(its.state === state));
      }
    }
  });
  ofBackends(gauge, 'backend_weight', 'Its share of new work.', ({ weight }) => weight);
  gauge('backend_links', 'Connections to it, by their state.', ['listener', 'backend', 'state'], (add) => {
    for (const [listener, { backends }] of listeners()) {
      for (const [backend, { linkStates }] of Object.entries(backends)) {
        for (const [state, count] of Object.entries(linkStates)) add({ listener, backend, state }, count);
      }
    }
  });
  ofBackends(
    counter,
    'backend_connect_failures_total',
    'Connects to it that failed.',
    ({ failedConnects }) => failedConnects,
  );
  ofBackends(gauge, 'backend_in_flight', 'Requests that wait for its answer.', ({ inFlight }) => inFlight);
  counter(
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
  ofBackends(counter, 'backend_ejections_total', 'How often it was ejected.', ({ ejections }) => ejections);
  ofBackends(
    counter,
    'backend_unanswered_total',
    'Requests that it has not answered: overdue, or lost with their link.',
    ({ unanswered }) => unanswered,
  );
  counter('backend_checks_total', 'Its checks, by how they went.', ['listener', 'backend', 'outcome'], (add) => {
    for (const [listener, { backends }] of listeners()) {
      for (const [backend, { checks }] of Object.entries(backends)) {
        add({ listener, backend, outcome: 'passed' }, checks.passed);
        add({ listener, backend, outcome: 'failed' }, checks.failed);
      }
    }
  });

  gauge(
    'certificate_expiry_timestamp_seconds',
    'When the certificate that clients (or backends) are shown expires, or the first of its chain, in seconds since 1970.',
    ['listener', 'pool'],
    (add) => {
      for (const { expiresAtMs, ...of } of balancer.certificates()) add(of, expiresAtMs / 1000);
    },
  );
  counter('reloads_total', 'Reloads of the config, by how they went.', ['outcome'], (add) => {
    add({ outcome: 'succeeded' }, stats().reloads?.succeeded ?? 0);
    add({ outcome: 'refused' }, stats().reloads?.failed ?? 0);
  });
  gauge('reload_seconds', 'How long the last one that succeeded took.', [], (add) => {
    add({}, (stats().reloads?.lastMilliseconds ?? 0) / 1000);
  });
  gauge('reload_timestamp_seconds', 'When it did, in seconds since 1970; 0: none has.', [], (add) => {
    add({}, (stats().reloads?.lastAt ?? 0) / 1000);
  });

  counter('uncaught_errors_total', 'Errors that nobody caught: in timers of plugins, most likely.', [], (add) => {
    add({}, stats().faults?.uncaught ?? 0);
  });
  counter('log_write_errors_total', 'Writes of the log that failed.', [], (add) => {
    add({}, stats().faults?.logWrites ?? 0);
  });
  counter(
    'log_lines_dropped_total',
    'Lines of the log that were dropped: whoever reads it does not keep up.',
    [],
    (add) => {
      add({}, stats().faults?.logDrops ?? 0);
    },
  );

  registry.registerMetric(responsesOf(client, gathered));
  counter('hook_seconds_total', 'Time in hooks, of the calls that were measured.', ['hook', 'plugin'], (add) => {
    for (const { hook, plugin, seconds } of gathered.hooks.values()) add({ hook, plugin }, seconds);
  });
  counter('hook_calls_total', 'Calls of hooks that were measured.', ['hook', 'plugin'], (add) => {
    for (const { hook, plugin, calls } of gathered.hooks.values()) add({ hook, plugin }, calls);
  });
  return registry;
}

/** A histogram that was filled elsewhere: prom-client's own takes one observation at a time. */
function responsesOf(client: Client, gathered: Gathered): Histogram<'listener' | 'backend'> {
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
