/** The benchmark: npm run bench -- --help. What it measures, and how to read that, is in README.md. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { freePort } from '../support/programs.ts';
import { type Balancer, balancers, reference, type Site } from './balancers.ts';
import { chart } from './chart.ts';
import { type Protocol, protocols } from './dialects.ts';
import { measureIdle } from './idle.ts';
import type { Measured, Order } from './load.ts';
import { processors, Running } from './processes.ts';
import { type Cell, cellName, type Result, summarize, table } from './report.ts';

const help = `Measures pointsman and what is installed beside it, in turn: CPU time per message pair above all.

  --quick            one short round without the paced cell, under two minutes
  --rounds N         how often everything is measured (5)
  --seconds N        for how long each time (2), after --warm-seconds N (1.5)
  --only A,B,…       only these balancers, protocols and cells: ${balancers.map(({ name }) => name).join(', ')};
                     ${protocols.join(', ')}; 50x1, 1000x1, 50x16, 50x1@15000 or any other CLIENTSxWINDOW[@PAIRS_PER_SECOND]
  --message-bytes N  how long requests are (as is usual in each protocol: 200, 128 and 608)
  --backends N       how many backends there are (3)
  --dialog N         requests in a row of which all but the first carry an identifier (5)
  --out FOLDER       where results.json and chart.svg go (${join(tmpdir(), 'pointsman-bench')})
  --profile FOLDER   where a CPU profile of each pointsman goes
  --idle N           measure the start, and the memory of N idle connections, instead
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    rounds: { type: 'string' },
    seconds: { type: 'string' },
    'warm-seconds': { type: 'string' },
    only: { type: 'string', default: '' },
    'message-bytes': { type: 'string', default: '0' },
    backends: { type: 'string', default: '3' },
    dialog: { type: 'string', default: '5' },
    out: { type: 'string', default: join(tmpdir(), 'pointsman-bench') },
    profile: { type: 'string' },
    idle: { type: 'string' },
  },
});

const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
const seconds = Number(values.seconds ?? (values.quick ? 0.7 : 2));
const warmSeconds = Number(values['warm-seconds'] ?? (values.quick ? 0.6 : 1.5));

const saturated: readonly Cell[] = [
  { clients: 50, window: 1 },
  { clients: 1000, window: 1 },
  { clients: 50, window: 16 },
];
/** Lightly loaded: there is next to nothing to coalesce, and latencies mean something. */
const paced: Cell = { clients: 50, window: 1, pairsPerSecond: 15_000 };

// Words may come in any order. Of a kind that none of them names, everything is measured, but for what must be asked for.
const words = new Set(values.only.split(',').filter((word) => word !== ''));

function named<Thing>(all: readonly Thing[], nameOf: (thing: Thing) => string, byDefault: readonly Thing[]) {
  const found = all.filter((thing) => words.delete(nameOf(thing)));
  return found.length > 0 ? found : byDefault;
}

function namedCells(): readonly Cell[] {
  const cells = [...words].flatMap((word) => {
    const [, clients, window, pairsPerSecond] = /^([1-9]\d*)x([1-9]\d*)(?:@([1-9]\d*))?$/.exec(word) ?? [];
    if (clients === undefined) return [];
    words.delete(word);
    return {
      clients: Number(clients),
      window: Number(window),
      ...(pairsPerSecond && { pairsPerSecond: +pairsPerSecond }),
    };
  });
  if (cells.length > 0) return cells;
  return values.quick ? saturated : [...saturated, paced];
}

const chosenProtocols = named(protocols, String, protocols);
const chosenBalancers = named(
  balancers,
  ({ name }) => name,
  balancers.filter(({ together }) => together !== true),
).filter((balancer) => {
  const why = balancer.missing();
  if (why !== undefined) console.error(`${balancer.name} is left out: ${why}`);
  return why === undefined;
});
const chosenCells = namedCells();

/** Load generator and backends of one protocol; they stay for all measurements. */
interface Peers {
  readonly load: Running;
  readonly echo: Running;
  readonly backendPorts: readonly number[];
}

const node = (file: string) => ['--import', 'tsx', fileURLToPath(new URL(file, import.meta.url))];

async function startPeers(protocol: Protocol): Promise<Peers> {
  const dialect = [protocol, values['message-bytes']];
  const echo = new Running(processors.echo, process.execPath, [...node('echo.ts'), ...dialect, values.backends], {
    ipc: true,
  });
  const load = new Running(processors.load, process.execPath, [...node('load.ts'), ...dialect], { ipc: true });
  return { load, echo, backendPorts: await echo.message<number[]>() };
}

async function measure(
  balancer: Balancer,
  protocol: Protocol,
  cell: Cell,
  peers: ReadonlyMap<Protocol, Peers>,
  folder: string,
): Promise<Measured> {
  const sites: Site[] = [];
  for (const [each, { backendPorts }] of peers) {
    if (each === protocol || balancer.together) sites.push({ protocol: each, port: await freePort(), backendPorts });
  }
  const profile = values.profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${resolve(values.profile)}`];
  const [program, ...args] = balancer.command(sites, folder, profile);
  const running = new Running(processors.balancer, program, args);
  try {
    for (const { port } of sites) await running.listens(port);
    const order = (port: number): Order => ({
      ...cell,
      port,
      dialogMessages: Number(values.dialog),
      warmSeconds,
      seconds,
      pid: running.pid,
    });
    for (const site of sites) {
      if (site.protocol !== protocol) await run(peers.get(site.protocol)!, { ...order(site.port), seconds: 0 });
    }
    return await run(peers.get(protocol)!, order(sites.find((site) => site.protocol === protocol)!.port));
  } finally {
    await running.stop();
  }
}

async function run({ load }: Peers, order: Order): Promise<Measured> {
  load.child.send(order);
  return load.message<Measured>();
}

/** Everything once in each round, so that what disturbs the machine for a while disturbs all alike. */
async function measureAll(peers: ReadonlyMap<Protocol, Peers>, folder: string): Promise<Result[]> {
  const results: Result[] = chosenCells.flatMap((cell) =>
    chosenProtocols.flatMap((protocol) =>
      chosenBalancers
        .filter((balancer) => balancer.protocols?.includes(protocol) ?? true)
        .map((balancer) => ({ cell, protocol, balancer: balancer.name, rounds: [] })),
    ),
  );
  for (let round = 1; round <= rounds; round++) {
    for (const result of results) {
      const { cell, protocol, balancer } = result;
      progress(`round ${round} of ${rounds}: ${cellName(cell)} ${protocol} ${balancer}`);
      const found = chosenBalancers.find(({ name }) => name === balancer)!;
      result.rounds.push(await measure(found, protocol, cell, peers, folder));
    }
  }
  progress('');
  return results;
}

function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text}`);
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(help);
  if (words.size > 0) throw new Error(`--only: there is no ${[...words].join(', ')}`);
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-bench-'));
  const peers = new Map<Protocol, Peers>();
  try {
    const needed = chosenBalancers.some(({ together }) => together) ? protocols : chosenProtocols;
    for (const protocol of needed) peers.set(protocol, await startPeers(protocol));
    if (values.idle !== undefined) {
      const { backendPorts } = peers.get(chosenProtocols[0]!)!;
      for (const balancer of chosenBalancers.filter((each) => each.protocols?.includes(chosenProtocols[0]!) ?? true)) {
        const site = { protocol: chosenProtocols[0]!, port: await freePort(), backendPorts };
        console.log(await measureIdle(balancer, site, Number(values.idle), folder));
      }
      return;
    }
    const results = await measureAll(peers, folder);
    const summaries = summarize(results, reference);
    process.stdout.write(table(summaries));
    mkdirSync(values.out, { recursive: true });
    const machine = { cpu: cpus()[0]?.model, cpus: availableParallelism(), kernel: release(), node: process.version };
    const report = { date: new Date().toISOString(), machine, rounds, seconds, warmSeconds, summaries, results };
    writeFileSync(join(values.out, 'results.json'), `${JSON.stringify(report, undefined, 2)}\n`);
    writeFileSync(join(values.out, 'chart.svg'), chart(summaries));
    console.log(`\n${join(values.out, 'results.json')}, ${join(values.out, 'chart.svg')}`);
    if (summaries.some(({ faults }) => faults !== '')) process.exitCode = 1;
  } finally {
    for (const { load, echo } of peers.values()) await Promise.all([load.stop(), echo.stop()]);
    rmSync(folder, { recursive: true });
  }
}

await main();
