/** Backends as a table, for people. */
import type { BackendRow } from './admin-client.ts';
import { printable } from './demo/text.ts';
import type { Style } from './report/style.ts';

type Colour = Parameters<Style>[0];

/** States are told by a shape and a word, and by a colour where there are any. */
const looks: Readonly<Record<string, readonly [shape: string, colour: Colour]>> = {
  up: ['●', 'green'],
  drain: ['◐', 'yellow'],
  ejected: ['◌', 'yellow'],
  maint: ['○', 'dim'],
  down: ['✖', 'red'],
  failing: ['✖', 'red'],
};

const columns: readonly (readonly [title: string, of: (row: BackendRow) => string])[] = [
  ['weight', ({ weight }) => String(weight)],
  ['msg/s', ({ messagesPerSecond }) => messagesPerSecond.toFixed(1)],
  ['p50 ms', ({ p50Ms }) => milliseconds(p50Ms)],
  ['p99 ms', ({ p99Ms }) => milliseconds(p99Ms)],
  ['in flight', ({ inFlight }) => String(inFlight)],
  ['queued', ({ queued }) => String(queued)],
  ['links', ({ sessions }) => String(sessions)],
  ['messages', ({ messages }) => String(messages)],
];

const milliseconds = (value: number | null) => (value === null ? '-' : value.toPrecision(3).replace(/\.?0+$/, ''));

/** A line of titles, then one for each backend. */
export function backendTable(rows: readonly BackendRow[], style: Style): string[] {
  const names = rows.map(({ pool, name }) => `${pool}/${name}`);
  const nameWidth = Math.max('backend'.length, ...names.map(({ length }) => length));
  const cells = rows.map((row) => columns.map(([, of]) => of(row)));
  const widths = columns.map(([title], at) => Math.max(title.length, ...cells.map((row) => row[at]!.length)));
  const numbers = (row: readonly string[]) => row.map((cell, at) => cell.padStart(widths[at]!)).join('  ');
  const head = `  ${'backend'.padEnd(nameWidth)}  ${'state'.padEnd(7)}  ${numbers(columns.map(([title]) => title))}  why`;
  return [
    style('dim', head),
    ...rows.map((row, index) => {
      const [shape, colour] = looks[row.status] ?? ['?', 'dim'];
      const word = style(colour, `${shape} ${names[index]!.padEnd(nameWidth)}  ${row.status.padEnd(7)}`);
      return `${word}  ${numbers(cells[index]!)}  ${style('dim', printable(row.why))}`.trimEnd();
    }),
  ];
}
