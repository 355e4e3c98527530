/** The benchmark: npm run bench -- --help. What it measures, and how to read that, is in README.md. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus, release, tmpdir, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { type Balancer, balancers, pointsmanOnNode, versionOf } from './balancers.ts';
import { Bench, type Cell, type Scenario } from './bench.ts';
import { barChart, curveChart } from './chart.ts';
import { protocols } from './dialects.ts';
import { axes, growthPanels, growthScenarios, growthTable } from './growth.ts';
import { type Idle, idleTable, measureIdle } from './idle.ts';
import { cellName, faultsOf, type Result, summarize, table } from './report.ts';
import { figuresOf, figuresOfIdle, judge, targetTable } from './targets.ts';

const help = `Measures pointsman and what is installed beside it, in turn: CPU time per message pair above all.

  --quick            one short round without the paced cell, under two minutes
  --growth           how the cost of a pair grows with message size, clients, backends, plugins and identifiers, instead
  --idle N           the start, and the memory of N idle connections, instead
  --node 24,26       pointsman also on these versions of Node.js, installed when first asked for
  --rounds N         how often everything is measured (5; of --growth 3)
  --seconds N        for how long each time (2; of --growth 1), after --warm-seconds N (1.5; of --growth 0.5)
  --only A,B,…       only these balancers, protocols and cells: ${balancers.map(({ name }) => name).join(', ')};
                     ${protocols.join(', ')}; 50x1, 1000x1, 50x16, 50x1@15000 or any other CLIENTSxWINDOW[@PAIRS_PER_SECOND]
                     with --growth also ${axes.map(({ name }) => name).join(', ')}
  --message-bytes N  how long requests are (as is usual in each protocol: 200, 128 and 608)
  --backends N       how many backends there are (3)
  --dialog N         requests in a row of which all but the first carry an identifier (5)
  --out FOLDER       where the JSON and SVG files go (${join(tmpdir(), 'pointsman-bench')})
  --profile FOLDER   where a CPU profile of each pointsman goes
`;

const { values } = parseArgs({
  options: {
    help: { type: 'boolean', default: false },
    quick: { type: 'boolean', default: false },
    growth: { type: 'boolean', default: false },
    node: { type: 'string', default: '' },
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

/** What a run takes its time for, unless it is told otherwise. */
const usual = values.quick
  ? { rounds: 1, seconds: 0.7, warmSeconds: 0.6 }
  : values.growth
    ? { rounds: 3, seconds: 1, warmSeconds: 0.5 }
    : { rounds: 5, seconds: 2, warmSeconds: 1.5 };
const rounds = Number(values.rounds ?? usual.rounds);
const seconds = Number(values.seconds ?? usual.seconds);
const warmSeconds = Number(values['warm-seconds'] ?? usual.warmSeconds);

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
const nodeVersions = values.node.split(',').filter((version) => version !== '');
const chosenBalancers = [
  ...named(
    balancers,
    ({ name }) => name,
    balancers.filter(({ together, workers = 1, isObserved }) => !together && workers === 1 && !isObserved),
  ),
  ...nodeVersions.map(pointsmanOnNode),
].filter((balancer) => {
  const why = balancer.missing();
  if (why !== undefined) console.error(`${balancer.name} is left out: ${why}`);
  return why === undefined;
});
const chosenCells = namedCells();
const chosenAxes = named(axes, ({ name }) => name, axes);

/** All but the protocol and the load. */
const scenario = {
  messageBytes: Number(values['message-bytes']),
  backends: Number(values.backends),
  dialogMessages: Number(values.dialog),
  idlePlugins: 0,
};

/** Everything once in each round, so that what disturbs the machine for a while disturbs all alike. */
async function compare(bench: Bench): Promise<void> {
  const results: Result[] = chosenCells.flatMap((cell) =>
    chosenProtocols.flatMap((protocol) =>
      balancersOf(protocol).map((balancer) => ({ cell, protocol, balancer: balancer.name, rounds: [] })),
    ),
  );
  await inRounds(
    results,
    (result) => `${cellName(result.cell)} ${result.protocol} ${result.balancer}`,
    (result) => {
      const balancer = chosenBalancers.find(({ name }) => name === result.balancer)!;
      return bench.measure(balancer, { ...scenario, ...result.cell, protocol: result.protocol }, protocols);
    },
  );
  const summaries = summarize(results);
  const verdicts = judge(figuresOf(summaries));
  process.stdout.write(table(summaries) + targetTable(verdicts));
  save('results.json', { summaries, verdicts, results });
  save('chart.svg', barChart(summaries));
  failOn(summaries.some(({ faults }) => faults !== ''));
}

/** Of one balancer, pointsman unless another is named: what counts is the shape of the curves. */
async function grow(bench: Bench): Promise<void> {
  const [balancer] = chosenBalancers;
  if (balancer === undefined) throw new Error('there is nothing to measure');
  const those = chosenProtocols.filter((protocol) => balancer.protocols?.includes(protocol) ?? true);
  const results = growthScenarios(chosenAxes, those, { ...scenario, clients: 50, window: 16 });
  await inRounds(
    results,
    ({ axis, value, scenario: { protocol } }) => `${axis}: ${value} ${protocol}`,
    (result) => bench.measure(balancer, result.scenario, protocols),
  );
  process.stdout.write(growthTable(results));
  save('growth.json', { balancer: balancer.name, results });
  save('growth.svg', curveChart(growthPanels(results)));
  failOn(faultsOf(results.flatMap((result) => result.rounds)) !== '');
}

async function idle(bench: Bench, connections: number, folder: string): Promise<void> {
  const [protocol] = chosenProtocols;
  const found: Idle[] = [];
  for (const balancer of balancersOf(protocol!)) {
    const site = await bench.site({ ...scenario, protocol: protocol!, clients: connections, window: 1 });
    found.push(await measureIdle(balancer, site, connections, folder));
  }
  const verdicts = judge(figuresOfIdle(found));
  process.stdout.write(idleTable(found) + targetTable(verdicts));
  save('idle.json', { idle: found, verdicts });
}

function balancersOf(protocol: Scenario['protocol']): Balancer[] {
  return chosenBalancers.filter((balancer) => balancer.protocols?.includes(protocol) ?? true);
}

async function inRounds<Entry extends { readonly rounds: unknown[] }>(
  entries: readonly Entry[],
  describe: (entry: Entry) => string,
  measure: (entry: Entry) => Promise<Entry['rounds'][number]>,
): Promise<void> {
  const progress = (text: string) => process.stderr.isTTY && process.stderr.write(`\r\x1b[K${text}`);
  for (let round = 1; round <= rounds; round++) {
    for (const entry of entries) {
      progress(`round ${round} of ${rounds}: ${describe(entry)}`);
      try {
        entry.rounds.push(await measure(entry));
      } catch (cause) {
        throw new Error(`${describe(entry)} could not be measured`, { cause });
      }
    }
  }
  progress('');
}

/** Writes text as it is, and results with what there is to know about the run. */
function save(name: string, content: string | object): void {
  const file = join(values.out, name);
  mkdirSync(values.out, { recursive: true });
  const machine = {
    cpu: cpus()[0]?.model,
    cpus: availableParallelism(),
    memoryMebibytes: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
  };
  const versions = Object.fromEntries(chosenBalancers.map((balancer) => [balancer.name, versionOf(balancer)]));
  const run = { date: new Date().toISOString(), machine, versions, options: values, rounds, seconds, warmSeconds };
  writeFileSync(
    file,
    typeof content === 'string' ? content : `${JSON.stringify({ ...run, ...content }, undefined, 2)}\n`,
  );
  console.log(file);
}

function failOn(faults: boolean): void {
  if (faults) process.exitCode = 1;
}

async function main(): Promise<void> {
  if (values.help) return void process.stdout.write(help);
  if (words.size > 0) throw new Error(`--only: there is no ${[...words].join(', ')}`);
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-bench-'));
  const bench = new Bench({ seconds, warmSeconds }, folder, values.profile);
  try {
    if (values.idle !== undefined) await idle(bench, Number(values.idle), folder);
    else if (values.growth) await grow(bench);
    else await compare(bench);
  } finally {
    await bench.stop();
    rmSync(folder, { recursive: true });
  }
}

await main();
