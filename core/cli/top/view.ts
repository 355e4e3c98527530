/** What `top` shows, as a function of what the balancer has answered: what is wrong first. */
import type { BackendRow } from '../admin-client.ts';
import { backendTable } from '../backend-table.ts';
import { counted } from '../output.ts';
import { cut, type Line, printable } from '../terminal/lines.ts';
import type { Size } from '../terminal/screen.ts';
import { type Column, table } from '../terminal/table.ts';

interface ListenerRow {
  readonly name: string;
  readonly listen: string;
  readonly pool: string;
  readonly connections: number;
  readonly inFlight: number;
  readonly rates: Readonly<Record<string, number>>;
  readonly routesPerSecond: Readonly<Record<string, number>>;
}

/** What the balancer answers, as far as it is shown. */
export interface Overview {
  readonly version: string;
  readonly phase: string;
  readonly workers: number;
  readonly uptimeSeconds: number;
  readonly troubles: readonly { readonly severity: string; readonly text: string }[];
  readonly listeners: readonly ListenerRow[];
  readonly backends: readonly BackendRow[];
}

export interface Scene {
  readonly overview: Overview;
  /** Of whom; undefined: that need not be said. */
  readonly url?: string;
  /** Why what is shown is old. */
  readonly fault?: string;
}

/** How many troubles are told of at most. */
const mostTroubles = 6;
/** Where there is room for so much, why messages go where they go stands beside the rates, else below them. */
const roomyColumns = 132;

/** In no more than so many lines, none of them wider than there are columns. */
export function view(scene: Scene, { columns, rows }: Size): Line[] {
  const { overview, url } = scene;
  const head = [...title(overview), ...troubleLines(scene), [], ...listenerLines(overview.listeners, columns), []];
  const foot: Line[] = url === undefined ? [] : [[], [['q', 'bold'], ' quits  ', [url, 'dim']]];
  const room = Math.max(0, rows - head.length - foot.length);
  const body = backendLines(overview.backends, columns, room);
  const blank = Number.isFinite(room) ? Array.from({ length: room - body.length }, (): Line => []) : [];
  const lines = [...head, ...body, ...blank, ...foot].slice(0, rows);
  return lines.map((line) => cut(line, columns));
}

function title({ version, phase, workers, uptimeSeconds }: Overview): Line[] {
  const processes = workers === 1 ? '1 process' : counted(workers, 'worker');
  const what = phase === 'running' ? phase : ([phase, 'yellow'] as const);
  return [[['pointsman', 'bold'], ` ${version}  `, what, `, ${processes}, up ${duration(uptimeSeconds)}`]];
}

function troubleLines({ overview: { troubles }, fault }: Scene): Line[] {
  if (fault !== undefined) return [[[`✖ ${printable(fault.split('\n')[0]!)}; this is how it was`, 'red']]];
  if (troubles.length === 0) return [[['✓ nothing is wrong', 'green']]];
  const lines = troubles.slice(0, mostTroubles).map(({ severity, text }): Line => {
    return severity === 'bad' ? [[`✖ ${printable(text)}`, 'red']] : [[`! ${printable(text)}`, 'yellow']];
  });
  const more = troubles.length - lines.length;
  return more === 0 ? lines : [...lines, [[`  and ${more} more`, 'dim']]];
}

const rateOf = (title: string, what: string): Column<ListenerRow> => ({
  title,
  of: ({ rates }) => (rates[what] ?? 0).toFixed(1),
  isNumber: true,
});

const listenerColumns: readonly Column<ListenerRow>[] = [
  { title: '  listener', of: ({ name }) => `  ${printable(name)}`, style: () => 'bold' },
  { title: 'clients', of: ({ connections }) => String(connections), isNumber: true },
  rateOf('requests/s', 'requests'),
  rateOf('answers/s', 'answers'),
  rateOf('refused/s', 'refused'),
  rateOf('discarded/s', 'discarded'),
  { title: 'in flight', of: ({ inFlight }) => String(inFlight), isNumber: true, spare: 1 },
];

const why: Column<ListenerRow> = { title: 'where to, and why', of: whyOf, leastWidth: 20 };

function listenerLines(listeners: readonly ListenerRow[], columns: number): Line[] {
  if (columns >= roomyColumns) return table([...listenerColumns, why], listeners, columns);
  const [head = [], ...lines] = table(listenerColumns, listeners, columns);
  return [head, ...lines.flatMap((line, index): Line[] => [line, [[`    ${whyOf(listeners[index]!)}`, 'dim']]])];
}

/** Why clients' messages go to the backend that they go to. */
const reasons = ['identifier', 'affinity', 'strategy', 'rechosen', 'replayed'];

function whyOf({ listen, pool, routesPerSecond }: ListenerRow): string {
  const rates = reasons.map((reason) => [reason, routesPerSecond[reason] ?? 0] as const);
  const sum = rates.reduce((total, [, rate]) => total + rate, 0);
  const shares = rates
    .filter(([, rate]) => rate > 0)
    .map(([reason, rate]) => `${reason} ${Math.round((rate * 100) / sum)} %`);
  return printable(`${listen} to ${pool}: ${shares.length === 0 ? 'no messages' : shares.join(', ')}`);
}

/** Those that are not up come first: where there is no room for all, the others are counted. */
function backendLines(backends: readonly BackendRow[], columns: number, room: number): Line[] {
  const isUp = ({ status }: BackendRow) => status === 'up';
  const sorted = [...backends.filter((row) => !isUp(row)), ...backends.filter(isUp)];
  if (sorted.length + 1 <= room) return backendTable(sorted, columns);
  const shown = Math.max(0, room - 2);
  const left = sorted.slice(shown);
  const down = left.filter((row) => !isUp(row)).length;
  const about = down === 0 ? 'all up' : `${down} of them not up`;
  return [...backendTable(sorted.slice(0, shown), columns), [[`  … ${left.length} more, ${about}`, 'dim']]];
}

/** The two largest units. */
function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const units = ['d', 'h', 'min', 's'];
  const first = parts.findIndex((part) => part > 0);
  if (first < 0) return '0 s';
  const told = parts.map((part, at) => `${part} ${units[at]}`);
  return told.slice(first, first + 2).join(' ');
}
