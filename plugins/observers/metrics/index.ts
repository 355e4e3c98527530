/**
 * Metrics for Prometheus. Nearly all of them are read from the core's counts when somebody asks; taps measure only what the core
 * does not count: bytes, and how long answers and hooks take.
 */
import { type Backend, definePlugin, listenAt, type Side, serverAddress, Type } from 'pointsman';
import type { OpenMetricsContentType } from 'prom-client';
import { metricsOf } from './exposed.ts';
import { addDuration, Gathered, type Measured, newBackend, type OfBackend } from './measured.ts';

/** How often pipelines report what they have measured. */
const gatherMs = 1000;

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
      // Loaded only where they are used: they take memory and a while.
      const [client, { createServer }] = await Promise.all([import('prom-client'), import('node:http')]);
      // One look at the counts for all metrics, so that they go together.
      let stats = balancer.stats();
      const registry = metricsOf(client, scope.control.version, balancer, () => stats, gathered);
      if (options.process) client.collectDefaultMetrics({ register: registry });
      let busy = Promise.resolve();
      const server = createServer((request, response) => {
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
