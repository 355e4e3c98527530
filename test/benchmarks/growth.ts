/** How the cost of a pair grows: one thing at a time, from little to much, all else as usual. */
import { readFileSync } from 'node:fs';
import { pipelinePlugins } from './balancers.ts';
import type { Scenario } from './bench.ts';
import type { Panel } from './chart.ts';
import { leastMessageBytes, type Protocol } from './dialects.ts';
import type { Measured } from './load.ts';
import { aligned, faultsOf, medianOf } from './report.ts';

interface Axis {
  /** For `--only`. */
  readonly name: string;
  readonly title: string;
  readonly logarithmic: boolean;
  readonly values: readonly number[];
  /** What differs from the usual scenario, which is 50x16. */
  scenario(value: number): Partial<Scenario>;
}

/** Dialogs of so many messages never end in a benchmark. */
const endless = 1e9;

export const axes: readonly Axis[] = [
  {
    name: 'message-bytes',
    title: 'bytes of a request, 50x4',
    logarithmic: false,
    values: [100, 640, 4096, 16_384, 65_536],
    scenario: (messageBytes) => ({ messageBytes, window: 4 }),
  },
  {
    name: 'clients',
    title: 'clients, one request outstanding each',
    logarithmic: true,
    values: [1, 10, 100, 1000, 10_000],
    scenario: (clients) => ({ clients, window: 1 }),
  },
  {
    name: 'backends',
    title: 'backends, 50x16',
    logarithmic: true,
    values: [2, 10, 100, 1000],
    scenario: (backends) => ({ backends }),
  },
  {
    name: 'plugins',
    title: 'plugins in the pipeline, 50x16',
    logarithmic: false,
    values: [3, 6, 9, 12],
    scenario: (plugins) => ({ idlePlugins: plugins - pipelinePlugins }),
  },
  {
    name: 'identifiers',
    title: 'of 100 requests, those with an identifier, 50x16',
    logarithmic: false,
    values: [0, 50, 80, 100],
    scenario: (percent) => ({ dialogMessages: percent === 100 ? endless : 100 / (100 - percent) }),
  },
];

/** One point of one curve. */
export interface GrowthResult {
  readonly axis: string;
  readonly value: number;
  readonly scenario: Scenario;
  readonly rounds: Measured[];
}

/** @param usual what stays the same, but for the protocol and the load */
export function growthScenarios(
  those: readonly Axis[],
  protocols: readonly Protocol[],
  usual: Omit<Scenario, 'protocol'>,
): GrowthResult[] {
  const descriptors = fileDescriptors();
  return those.flatMap(({ title, values, scenario }) =>
    protocols.flatMap((protocol) =>
      values.flatMap((value) => {
        const whole: Scenario = { ...usual, protocol, ...scenario(value) };
        if (whole.messageBytes > 0 && whole.messageBytes < leastMessageBytes[protocol]) return [];
        if (whole.clients + whole.backends + 100 > descriptors) {
          console.error(`${title}: ${value} is left out: a process may have ${descriptors} files open (ulimit -Hn)`);
          return [];
        }
        return { axis: title, value, scenario: whole, rounds: [] };
      }),
    ),
  );
}

/** How many a process may have open; Node.js makes use of all of them. */
function fileDescriptors(): number {
  const limits = readFileSync('/proc/self/limits', 'latin1');
  return Number(/^Max open files +\S+ +(\d+)/m.exec(limits)?.[1] ?? Number.POSITIVE_INFINITY);
}

const measuredAxes = (results: readonly GrowthResult[]) =>
  axes.filter(({ title }) => results.some(({ axis }) => axis === title));

const cpuOf = ({ rounds }: GrowthResult) =>
  medianOf(rounds.map(({ cpuMicrosecondsPerPair }) => cpuMicrosecondsPerPair));

/** CPU time per pair in microseconds, one table for each axis. */
export function growthTable(results: readonly GrowthResult[]): string {
  return measuredAxes(results)
    .map(({ title, values }) => {
      const found = results.filter(({ axis }) => axis === title);
      const rows = [...new Set(found.map(({ scenario }) => scenario.protocol))].map((protocol) => {
        const its = found.filter(({ scenario }) => scenario.protocol === protocol);
        const cells = values.map((value) => its.find((result) => result.value === value));
        return [
          `  ${protocol}`,
          ...cells.map((result) => (result === undefined ? '–' : cpuOf(result).toFixed(2))),
          faultsOf(its.flatMap(({ rounds }) => rounds)) || 'none',
        ];
      });
      return `${title}: CPU µs/pair\n${aligned([['', ...values.map(String), 'faults'], ...rows])}`;
    })
    .join('\n');
}

export function growthPanels(results: readonly GrowthResult[]): Panel[] {
  return measuredAxes(results).map(({ title, logarithmic }) => {
    const found = results.filter(({ axis }) => axis === title);
    const names = [...new Set(found.map(({ scenario }) => scenario.protocol))];
    const curves = names.map((name) => ({
      name,
      points: found
        .filter(({ scenario }) => scenario.protocol === name)
        .map((result) => ({ x: result.value, y: cpuOf(result) })),
    }));
    return { title, logarithmic, curves };
  });
}
