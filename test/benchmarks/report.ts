/** From single measurements to the table: medians, how far apart they lie, and ratios within one round. */
import type { Cell } from './bench.ts';
import type { Protocol } from './dialects.ts';
import type { Faults, Measured } from './load.ts';

export interface Result {
  readonly cell: Cell;
  readonly protocol: Protocol;
  readonly balancer: string;
  readonly rounds: Measured[];
}

/** Medians of the rounds' ratios; undefined: the other was not measured. */
export interface Ratios {
  /** CPU time per pair, to HAProxy's and to Kamailio's. */
  readonly cpuToHaproxy: number | undefined;
  readonly cpuToKamailio: number | undefined;
  /** CPU time per pair, to that of pointsman without observers. */
  readonly cpuToUnobserved: number | undefined;
  /** The latency that 99 % of the pairs stay below, to HAProxy's. */
  readonly p99ToHaproxy: number | undefined;
}

export interface Summary {
  readonly cell: string;
  readonly protocol: Protocol;
  readonly balancer: string;
  readonly cpuMicrosecondsPerPair: number;
  /** From the least to the most of all rounds, as part of the median. */
  readonly spread: number;
  readonly ratios: Ratios;
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

export function summarize(results: readonly Result[]): Summary[] {
  return results.map((result) => {
    const { rounds, cell, protocol, balancer } = result;
    const median = (figure: (measured: Measured) => number) => medianOf(rounds.map(figure));
    const ratio = (name: string, figure: (measured: Measured) => number) => {
      const other = results.find((it) => it.balancer === name && it.cell === cell && it.protocol === protocol);
      return other && medianOf(rounds.map((measured, round) => figure(measured) / figure(other.rounds[round]!)));
    };
    const cpu = (measured: Measured) => measured.cpuMicrosecondsPerPair;
    const p99 = (measured: Measured) => measured.p99Milliseconds;
    const all = rounds.map(cpu);
    return {
      cell: cellName(cell),
      protocol,
      balancer,
      cpuMicrosecondsPerPair: median(cpu),
      spread: (Math.max(...all) - Math.min(...all)) / median(cpu),
      ratios: {
        cpuToHaproxy: ratio('haproxy', cpu),
        cpuToKamailio: ratio('kamailio', cpu),
        cpuToUnobserved: ratio('pointsman', cpu),
        p99ToHaproxy: ratio('haproxy', p99),
      },
      pairsPerSecond: median((measured) => measured.pairsPerSecond),
      p50Milliseconds: median((measured) => measured.p50Milliseconds),
      p99Milliseconds: median(p99),
      p999Milliseconds: median((measured) => measured.p999Milliseconds),
      residentMebibytes: median((measured) => measured.residentKibibytes) / 1024,
      faults: faultsOf(rounds),
    };
  });
}

/** What went wrong in any of the rounds; empty: nothing. */
export function faultsOf(rounds: readonly Measured[]): string {
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

const ratioText = (ratio: number | undefined) => ratio?.toFixed(2) ?? '–';

const columns: readonly (readonly [title: string, text: (summary: Summary) => string])[] = [
  ['CPU µs/pair', ({ cpuMicrosecondsPerPair }) => cpuMicrosecondsPerPair.toFixed(2)],
  ['spread', ({ spread }) => `${(100 * spread).toFixed(0)} %`],
  ['to haproxy', ({ ratios }) => ratioText(ratios.cpuToHaproxy)],
  ['to kamailio', ({ ratios }) => ratioText(ratios.cpuToKamailio)],
  ['to pointsman', ({ ratios }) => ratioText(ratios.cpuToUnobserved)],
  ['pairs/s', ({ pairsPerSecond }) => pairsPerSecond.toFixed(0)],
  ['p50 ms', ({ p50Milliseconds }) => p50Milliseconds.toFixed(2)],
  ['p99 ms', ({ p99Milliseconds }) => p99Milliseconds.toFixed(2)],
  ['to haproxy', ({ ratios }) => ratioText(ratios.p99ToHaproxy)],
  ['p99.9 ms', ({ p999Milliseconds }) => p999Milliseconds.toFixed(2)],
  ['MiB', ({ residentMebibytes }) => residentMebibytes.toFixed(0)],
  ['faults', ({ faults }) => faults || 'none'],
];

export function table(summaries: readonly Summary[]): string {
  const rows = [['', ...columns.map(([title]) => title)]];
  let group = '';
  for (const summary of summaries) {
    const heading = `${summary.cell} ${summary.protocol}`;
    if (heading !== group) rows.push([heading]);
    group = heading;
    rows.push([`  ${summary.balancer}`, ...columns.map(([, text]) => text(summary))]);
  }
  return aligned(rows);
}

/** Columns as wide as they must be: the first begins at the left, the others end at the right. A row of one cell is a heading. */
export function aligned(rows: readonly (readonly string[])[]): string {
  const whole = rows.filter((row) => row.length > 1);
  const widths = whole[0]!.map((_, column) => Math.max(...whole.map((row) => row[column]!.length)));
  const place = (text: string, column: number) =>
    column === 0 ? text.padEnd(widths[0]!) : text.padStart(widths[column]! + 2);
  return rows.map((row) => `${row.map(place).join('').trimEnd()}\n`).join('');
}
