/**
 * What observers add to a pair of request and answer. Balancers without any and with each of them run in processes of their own, as
 * code that several kinds of taps have passed through is slower, and are measured in turn, as whatever disturbs the machine disturbs all alike.
 */
import { fileURLToPath } from 'node:url';
import { trace } from '@opentelemetry/api';
import { BatchSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { Protocol } from '../dialects.ts';
import { processors, Running } from '../processes.ts';
import { aligned, medianOf } from '../report.ts';
import { sample } from './cpu.ts';
import { checkAccounts, clients, peersOf, window } from './pairs.ts';
import { Rig } from './rig.ts';

/** Entries of `observers` in a config. */
const kinds: Readonly<Record<string, readonly string[]>> = {
  'no observers': [],
  metrics: ['metrics: {}'],
  'metrics, 1 of 1000 calls timed': ['metrics: { hookSample: 1000 }'],
  'access-log: connections': ['access-log: {}'],
  'traces of 1 in 1000': ['traces: { messages: 1000 }'],
  'traces of all': ['traces: { messages: 1, spansPerSecond: 1000000 }'],
};
const samples = 40;
const sampleMicroseconds = 50_000;

/** In nanoseconds of CPU time a pair: with the peers that are made up, and those alone. */
interface Sample {
  readonly pair: number;
  readonly peers: number;
}

export async function measureObservers(protocol: Protocol): Promise<void> {
  const file = fileURLToPath(import.meta.url);
  const children = Object.keys(kinds).map((kind) => {
    return new Running(processors.balancer, process.execPath, [...process.execArgv, file, protocol, kind], {
      ipc: true,
    });
  });
  const taken: Sample[][] = children.map(() => []);
  try {
    for (let round = 0; round < 2 * samples; round++) {
      for (const [i, child] of children.entries()) taken[i]!.push(await child.ask<Sample>({}));
    }
  } finally {
    await Promise.all(children.map((child) => child.stop()));
  }
  const settled = taken.map((all) => all.slice(-samples));
  const ofPair = ({ pair }: Sample) => pair;
  const least = settled.map((all) => Math.min(...all.map(ofPair)) - Math.min(...all.map(({ peers }) => peers)));
  const added = settled.map((all) => medianOf(all.map(({ pair }, round) => pair - settled[0]![round]!.pair)));
  const rows = Object.keys(kinds).map((kind, i) => {
    const percent = (100 * (least[i]! - least[0]!)) / least[0]!;
    return [
      kind,
      least[i]!.toFixed(0),
      ...(i === 0
        ? ['', '', '']
        : [(least[i]! - least[0]!).toFixed(0), `${percent.toFixed(1)} %`, added[i]!.toFixed(0)]),
    ];
  });
  console.log(
    aligned([[`${protocol}: CPU ns/pair, no kernel`, 'least', 'added', '', 'added, median of rounds'], ...rows]),
  );
}

/** One of the processes. Spans go nowhere, in batches. */
async function serve(protocol: Protocol, observers: readonly string[]): Promise<void> {
  const exporter = {
    export: (_spans: unknown, done: (result: { code: number }) => void) => done({ code: 0 }),
    shutdown: async () => {},
  };
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new BatchSpanProcessor({ exporter })] }));
  const rig = await Rig.start(protocol, { clients, window, observers });
  const count = clients * window;
  const peers = peersOf(rig);
  const pair = () => {
    rig.exchange();
    for (const { socket } of rig.callers) socket.take();
  };
  process.on('message', () => {
    const taken = {
      pair: sample({ count, body: pair }, sampleMicroseconds),
      peers: sample({ count, body: peers }, sampleMicroseconds / 5),
    };
    checkAccounts(rig);
    process.send!(taken satisfies Sample);
  });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const [protocol, kind] = process.argv.slice(2);
  await serve(protocol as Protocol, kinds[kind!]!);
}
