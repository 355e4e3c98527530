/** How long a protocol plugin takes for a message, and what it allocates: a report, since machines differ, not a verdict. */
import { Message } from '../message.ts';
import type { PluginDefinition } from '../plugin.ts';
import { Scan } from '../scan.ts';
import { collectGarbage, usedBytes } from './runaway.ts';
import { examine, rigFor, type Setting } from './subject.ts';

/** What one hook takes for one message. */
export interface Cost {
  readonly nanoseconds: number;
  readonly allocatedBytes: number;
}

/** The costs of a sample; undefined: the plugin does not tap the hook. */
export interface SampleSpeed {
  readonly sample: string;
  readonly frame: Cost;
  readonly detectId: Cost | undefined;
  readonly insertId: Cost | undefined;
}

const sampleMs = 20;
const samplesTaken = 10;
/** So few that no garbage is collected meanwhile. */
const allocations = 500;
const allocationSamples = 3;

/**
 * Measures a protocol plugin with those of its samples that clients send; others have nothing to measure.
 * @param options where a sample has none; undefined: the defaults
 */
export async function measureSpeed(
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  plugin: PluginDefinition<any>,
  options: unknown = {},
): Promise<SampleSpeed[]> {
  const speeds: SampleSpeed[] = [];
  for (const setting of examine(plugin, plugin.samples ?? [], options, 0).settings) {
    if (!setting.taps.has('frame')) continue;
    for (const { name, from, bytes } of setting.samples) {
      if (from !== 'backend') speeds.push(await measureSample(setting, name, Buffer.from(bytes)));
    }
  }
  return speeds;
}

async function measureSample({ use, taps, ...setting }: Setting, sample: string, bytes: Buffer): Promise<SampleSpeed> {
  const rig = await rigFor({ use, taps, ...setting }, { unwatched: true });
  const client = (await rig.client()).peer.socket.handler as Message['source'];
  const { hooks, exchanges } = rig.composed;
  const backend = rig.scope.pool.backends[0]!;
  const token = rig.scope.identifiers.ofBackend(backend);
  const message = new Message();
  const scan = new Scan('client', client, rig.scope.listener.limits);

  const frame = () => {
    scan.resume = 0;
    hooks.frame.call(bytes, 0, bytes.length, scan);
  };
  const detectId = () => {
    frame();
    message.open(bytes, 0, bytes.length, 'client', client);
    message.client = client as never;
    hooks.detectId.call(message);
  };
  const insertId = () => {
    detectId();
    message.backend = backend;
    hooks.insertId.call(message, token);
    if (message.exchange !== undefined) exchanges?.close(message.exchange);
  };
  // A hook needs those before it, so each costs what it adds to them.
  const bodies = [frame, ...(taps.has('detectId') ? [detectId] : []), ...(taps.has('insertId') ? [insertId] : [])];
  const costs = await costsOf(bodies);
  const added = costs.map((cost, i) => (i === 0 ? cost : difference(cost, costs[i - 1]!)));
  return {
    sample,
    frame: added[0]!,
    detectId: added[bodies.indexOf(detectId)],
    insertId: added[bodies.indexOf(insertId)],
  };
}

/** The least of many samples, taken in turn, since all that disturbs only adds. */
async function costsOf(bodies: readonly (() => void)[]): Promise<Cost[]> {
  const least = bodies.map(() => Number.POSITIVE_INFINITY);
  for (let taken = 0; taken < samplesTaken; taken++) {
    for (const [index, body] of bodies.entries()) {
      let calls = 0;
      let elapsedMs = 0;
      for (const start = performance.now(); elapsedMs < sampleMs; elapsedMs = performance.now() - start) {
        for (let i = 0; i < 100; i++, calls++) body();
      }
      least[index] = Math.min(least[index]!, (elapsedMs * 1e6) / calls);
    }
  }
  const costs: Cost[] = [];
  for (const [index, body] of bodies.entries()) {
    let allocatedBytes = Number.POSITIVE_INFINITY;
    for (let taken = 0; taken < allocationSamples; taken++) {
      await collectGarbage();
      const before = usedBytes();
      for (let i = 0; i < allocations; i++) body();
      allocatedBytes = Math.min(allocatedBytes, Math.max(0, (usedBytes() - before) / allocations));
    }
    costs.push({ nanoseconds: least[index]!, allocatedBytes });
  }
  return costs;
}

function difference(one: Cost, other: Cost): Cost {
  return {
    nanoseconds: Math.max(0, one.nanoseconds - other.nanoseconds),
    allocatedBytes: Math.max(0, one.allocatedBytes - other.allocatedBytes),
  };
}
