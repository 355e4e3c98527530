/** Backends as a table for people, with as many columns as there is room for. */
import type { BackendRow } from './admin-client.ts';
import { type Line, printable, type Style } from './terminal/lines.ts';
import { type Column, table } from './terminal/table.ts';

/** A state is shown by a shape and a word, and by a colour if there are colours. */
const looks: Readonly<Record<string, readonly [shape: string, style: Style]>> = {
  up: ['●', 'green'],
  drain: ['◐', 'yellow'],
  ejected: ['◌', 'yellow'],
  maint: ['○', 'dim'],
  down: ['✖', 'red'],
  failing: ['✖', 'red'],
};

const milliseconds = (value: number | null) => (value === null ? '-' : value.toPrecision(3).replace(/\.?0+$/, ''));

const styleOf = ({ status }: BackendRow): Style => looks[status]?.[1] ?? 'dim';
const count = (title: string, of: (row: BackendRow) => string | number, spare?: number): Column<BackendRow> => ({
  title,
  of: (row) => String(of(row)),
  isNumber: true,
  ...(spare !== undefined && { spare }),
});

const columns: readonly Column<BackendRow>[] = [
  {
    title: '  backend',
    of: ({ status, pool, name }) => `${looks[status]?.[0] ?? '?'} ${printable(`${pool}/${name}`)}`,
    style: styleOf,
  },
  { title: 'state', of: ({ status }) => status, style: styleOf },
  count('msg/s', ({ messagesPerSecond }) => messagesPerSecond.toFixed(1)),
  count('p50 ms', ({ p50Ms }) => milliseconds(p50Ms)),
  count('p99 ms', ({ p99Ms }) => milliseconds(p99Ms)),
  count('in flight', ({ inFlight }) => inFlight),
  count('queued', ({ queued }) => queued, 1),
  count('errors', ({ failedConnects, unanswered }) => failedConnects + unanswered, 2),
  count('weight', ({ weight }) => weight, 4),
  count('links', ({ sessions }) => sessions, 5),
  count('messages', ({ messages }) => messages, 6),
  { title: 'why', of: ({ why }) => printable(why), style: () => 'dim', spare: 3, leastWidth: 16 },
];

/** A line of titles, then one for each backend; none is wider than `width`. */
export const backendTable = (rows: readonly BackendRow[], width: number): Line[] => table(columns, rows, width);
