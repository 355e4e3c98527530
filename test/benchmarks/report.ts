/** From single measurements to the table: medians, how far apart they lie, and ratios within one round. */
import type { Protocol } from './dialects.ts';
import type { Faults, Measured } from './load.ts';

export interface Cell {
  readonly clients: number;
  /** Requests outstanding for each client. */
  readonly window: number;
  readonly pairsPerSecond?: number | undefined;
}

export interface Result {
  readonly cell: Cell;
  readonly protocol: Protocol;
  readonly balancer: string;
  readonly rounds: Measured[];
}

export interface Summary {
  readonly cell: string;
  readonly protocol: Protocol;
  readonly balancer: string;
  readonly cpuMicrosecondsPerPair: number;
  /** From the least to the most of all rounds, as part of the median. */
  readonly spread: number;
  /** Median of the rounds' ratios of CPU time per pair; undefined: the reference was not measured. */
  readonly ratio: number | undefined;
  readonly pairsPerSecond: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly p999Milliseconds: number;
  readonly residentMebibytes: number;
  /** What went wrong, in all rounds; empty: nothing, and only then the figures count. */
  readonly faults: string;
}

export function cellName({ clients, window, pairsPerSecond }: Cell): string {
  return `${clients}x${window}${pairsPerSecond === undefined ? '' : `@${pairsPerSecond}`}`;
}

export function summarize(results: readonly Result[], reference: string): Summary[] {
  return results.map((result) => {
    const { rounds, cell, protocol, balancer } = result;
    const median = (figure: (measured: Measured) => number) => medianOf(rounds.map(figure));
    const cpu = rounds.map(({ cpuMicrosecondsPerPair }) => cpuMicrosecondsPerPair);
    const references = results.find(
      (other) => other.balancer === reference && other.cell === cell && other.protocol === protocol,
    )?.rounds;
    return {
      cell: cellName(cell),
      protocol,
      balancer,
      cpuMicrosecondsPerPair: medianOf(cpu),
      spread: (Math.max(...cpu) - Math.min(...cpu)) / medianOf(cpu),
      ratio: references && medianOf(cpu.map((value, round) => value / references[round]!.cpuMicrosecondsPerPair)),
      pairsPerSecond: median((measured) => measured.pairsPerSecond),
      p50Milliseconds: median((measured) => measured.p50Milliseconds),
      p99Milliseconds: median((measured) => measured.p99Milliseconds),
      p999Milliseconds: median((measured) => measured.p999Milliseconds),
      residentMebibytes: median((measured) => measured.residentKibibytes) / 1024,
      faults: faultsOf(rounds),
    };
  });
}

function faultsOf(rounds: readonly Measured[]): string {
  const kinds: readonly (keyof Faults)[] = ['lost', 'duplicated', 'misrouted', 'unsticky'];
  return kinds
    .map((kind) => [kind, rounds.reduce((sum, { faults }) => sum + faults[kind], 0)] as const)
    .filter(([, count]) => count > 0)
    .map(([kind, count]) => `${count} ${kind}`)
    .join(', ');
}

export function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

const columns: readonly (readonly [title: string, text: (summary: Summary) => string])[] = [
  ['CPU µs/pair', ({ cpuMicrosecondsPerPair }) => cpuMicrosecondsPerPair.toFixed(2)],
  ['spread', ({ spread }) => `${(100 * spread).toFixed(0)} %`],
  ['ratio', ({ ratio }) => ratio?.toFixed(2) ?? '–'],
  ['pairs/s', ({ pairsPerSecond }) => pairsPerSecond.toFixed(0)],
  ['p50 ms', ({ p50Milliseconds }) => p50Milliseconds.toFixed(2)],
  ['p99 ms', ({ p99Milliseconds }) => p99Milliseconds.toFixed(2)],
  ['p99.9 ms', ({ p999Milliseconds }) => p999Milliseconds.toFixed(2)],
  ['MiB', ({ residentMebibytes }) => residentMebibytes.toFixed(0)],
];

const nameWidth = 16;

export function table(summaries: readonly Summary[]): string {
  const lines = [[' '.repeat(nameWidth), ...columns.map(([title]) => title.padStart(11)), '  faults'].join('')];
  let group = '';
  for (const summary of summaries) {
    const heading = `${summary.cell} ${summary.protocol}`;
    if (heading !== group) lines.push(heading);
    group = heading;
    const figures = columns.map(([, text]) => text(summary).padStart(11));
    lines.push([`  ${summary.balancer}`.padEnd(nameWidth), ...figures, `  ${summary.faults || 'none'}`].join(''));
  }
  return `${lines.join('\n')}\n`;
}
