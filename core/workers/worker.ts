/**
 * A worker: a process that balances like any other, as the primary tells it to. Node.js ends it when the channel to the primary
 * breaks, so that none is left behind.
 */
import { Balancer } from '../balancer.ts';
import { createLog, type Log, setLogLevel } from '../cli/log.ts';
import { surviveUncaught } from '../cli/run/survive.ts';
import { builtinPlugins } from '../config/builtins.ts';
import { loadPlugin } from '../config/plugins.ts';
import { PointsmanError } from '../errors.ts';
import { Faults } from '../faults.ts';
import type { ConnectionPage } from '../observers/connections.ts';
import { nodeRuntime } from '../runtime/node.ts';
import type { Settings } from '../settings.ts';
import { type Assignment, type FromWorker, type Question, type ToWorker, unpackSettings } from './messages.ts';

/** How many reports of observers' pipelines may wait for a primary that does not keep up; further ones are dropped. */
const mostReports = 1000;
let reports = 0;

/** How often counts are sent to the primary. */
const reportMs = 1000;

/** Sends something to the primary; calls back when it has left. */
function tell(message: FromWorker, then = () => {}): void {
  if (process.connected) process.send!(message, undefined, undefined, then);
}

let log: Log | undefined;
const faults = new Faults();

function report(observer: number, value: unknown): void {
  if (reports >= mostReports) return;
  reports++;
  tell({ type: 'report', observer, value }, () => reports--);
}

async function settingsOf({ settings, origins }: Pick<Assignment, 'settings' | 'origins'>): Promise<Settings> {
  const plugins = [...builtinPlugins];
  for (const { specifier, configFile } of origins) plugins.push(await loadPlugin(specifier, configFile));
  return unpackSettings(settings, plugins);
}

async function start(assignment: Assignment): Promise<Balancer> {
  const { worker, identity, logLevel, changes, orders } = assignment;
  log = await createLog({ level: logLevel, stream: process.stdout, faults, worker });
  surviveUncaught(process, faults, log);
  const balancer = new Balancer(await settingsOf(assignment), {
    runtime: nodeRuntime({ isWorker: true }),
    log,
    identity,
    faults,
    onBackendNews: (news) => tell({ type: 'news', news }),
    handOver: (handover, then) => tell({ type: 'handover', handover }, then),
  });
  balancer.onReport = report;
  for (const { pool, backend, change } of changes) balancer.setBackend(pool, backend, change);
  for (const [observer, value] of orders) balancer.order(observer, value);
  await balancer.start();
  tell({ type: 'started' });
  return balancer;
}

let balancer: Balancer | undefined;

async function hear(message: ToWorker): Promise<void> {
  switch (message.type) {
    case 'start':
      balancer = await start(message.assignment);
      reportLater(balancer);
      break;
    case 'look':
      balancer?.look(message.news);
      break;
    case 'change':
      if (balancer?.backends().some(({ pool, name }) => pool === message.pool && name === message.backend)) {
        balancer.setBackend(message.pool, message.backend, message.change);
      } // else a reload has removed it meanwhile
      break;
    case 'order':
      balancer?.order(message.observer, message.value);
      break;
    case 'reload':
      try {
        await balancer?.reload(await settingsOf(message));
        tell({ type: 'reloaded' });
      } catch (error) {
        const code = error instanceof PointsmanError ? error.code : 'POINTSMAN_WORKER';
        tell({ type: 'reloaded', fault: { code, message: (error as Error).message } });
      }
      break;
    case 'siblings':
      balancer?.siblings?.set(message.instances);
      break;
    case 'handover':
      if (!balancer?.receive(message.handover)) tell({ type: 'gone', place: message.handover.to });
      break;
    case 'gone':
      balancer?.siblings?.gone(message.place);
      break;
    case 'ask':
      tell({ type: 'answer', id: message.id, answer: await answerTo(message) });
      break;
    case 'log-level':
      if (log !== undefined) setLogLevel(log, message.level);
      break;
    case 'stop':
      await balancer!.stop(message);
      // What a plugin has left open does not keep the process.
      tell({ type: 'stats', stats: balancer!.stats(), final: true }, () => process.exit());
      break;
  }
}

async function answerTo(question: Question): Promise<ConnectionPage | boolean> {
  if ('close' in question) return (await balancer?.closeConnection(question.close)) ?? false;
  return (await balancer?.connections(question.connections)) ?? { connections: [] };
}

/** Each report is sent only after the one before has left. */
function reportLater(balancer: Balancer): void {
  setTimeout(
    () => tell({ type: 'stats', stats: balancer.stats(), final: false }, () => reportLater(balancer)),
    reportMs,
  );
}

// Signals are the primary's business: a terminal sends its own to all processes, and only the primary knows which one to make of it.
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => {});
// That nobody reads any more, or that a disk is full, is no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => faults.log.writeErrors++);

/** What changes the balancer happens in the order it is said. Nothing else waits for a reload, or until it has stopped. */
const inOrder: readonly ToWorker['type'][] = ['start', 'reload', 'change', 'order'];

// One after the other: what is said while it starts is for the balancer that it will be.
let heard = Promise.resolve();
process.on('message', (message: ToWorker) => {
  const waits = balancer === undefined || inOrder.includes(message.type);
  const done = (waits ? heard : Promise.resolve())
    .then(() => hear(message))
    .catch((error: unknown) => {
      if (!(error instanceof PointsmanError)) throw error;
      tell({ type: 'failed', code: error.code, message: error.message }, () => process.exit(1));
    });
  if (waits) heard = done;
});
tell({ type: 'ready' });
