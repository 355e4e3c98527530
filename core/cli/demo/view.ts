/** The live view and the lines of the log, as functions of what the journal holds. */
import { counted } from '../output.ts';
import { cut, fit, justify, type Line, type Piece, printable, type Style } from '../terminal/lines.ts';
import type { Size } from '../terminal/screen.ts';
import { host } from './backend.ts';
import type { Entry, Lane } from './journal.ts';

/** What is shown besides the journal. */
export interface Scene {
  readonly lanes: readonly Lane[];
  readonly elapsedSeconds: number;
  readonly configPath: string;
}

const reasonStyles: Readonly<Record<string, Style>> = { strategy: 'yellow', affinity: 'cyan', identifier: 'green' };

const reasonWidth = 'identifier'.length;
/** Beyond that the eye loses the line. */
const widestView = 100;
const widestBar = 20;
/** How much of a message is logged. */
const loggedCharacters = 160;
const you = 'you';

/** The view: as many lines as the terminal has rows. */
export function render(scene: Scene, { columns: available, rows }: Size): Line[] {
  const { lanes } = scene;
  const columns = Math.min(available, widestView);
  const head = heading(scene, columns);
  const foot = footer(scene, columns);
  // Of each lane all but its messages has a fixed number of lines; what is left is shared among the messages.
  const fixed = head.length + foot.length + lanes.length * fixedLaneLines + (lanes.length - 1);
  const messages = Math.max(1, Math.floor((rows - fixed) / lanes.length));
  const blocks = lanes.flatMap((lane, i) => [...(i > 0 ? [[]] : []), ...laneBlock(lane, columns, messages)]);
  const room = Math.max(0, rows - head.length - foot.length);
  const body = [...blocks, ...blankLines(room)].slice(0, room);
  return [...head, ...body, ...foot].slice(0, rows);
}

const blankLines = (count: number) => Array.from({ length: Math.max(0, count) }, (): Line => []);

const legend: Line = [
  ['strategy', 'yellow'],
  ' chose it · ',
  ['identifier', 'green'],
  ' names it · ',
  ['affinity', 'cyan'],
  ': a related message went there',
];

function heading({ lanes, elapsedSeconds }: Scene, columns: number): Line[] {
  const messages = lanes.reduce((sum, lane) => sum + lane.messages, 0);
  const clock = `${Math.floor(elapsedSeconds / 60)}:${String(Math.floor(elapsedSeconds) % 60).padStart(2, '0')}`;
  const title: Line = [['pointsman', 'bold'], '  one connection, many sessions, each at its backend'];
  return [justify(title, [[`${messages} messages  ${clock}`, 'dim']], columns), cut(legend, columns), []];
}

function footer({ configPath }: Scene, columns: number): Line[] {
  return [justify([['Ctrl-C', 'bold'], ' stops'], [[`config: ${configPath}`, 'dim']], columns)];
}

const fixedLaneLines = 4;

function laneBlock(lane: Lane, columns: number, messages: number): Line[] {
  const { protocol, port } = lane;
  const recent = lane.recent.slice(-messages).map((entry) => entryLine(lane, entry, columns));
  return [
    cut([[protocol.name, 'bold'], `  ${host}:${port}  `, [aboutLane(lane), 'dim']], columns),
    backendsLine(lane, columns),
    ...recent,
    ...blankLines(messages - recent.length),
    proofLine(lane, columns),
    cut([['  try  ', 'dim'], protocol.tryIt(port)], columns),
  ];
}

/** Who chooses, and whether the port is another than usual. */
export function aboutLane({ protocol, port }: Lane): string {
  const strategy = `strategy: ${protocol.pipeline.at(-1)!.plugin}`;
  return port === protocol.port ? strategy : `${strategy}, port ${protocol.port} was in use`;
}

/** The backends side by side, each with a bar as long as its share of the busiest one's messages. */
function backendsLine({ backends, recent }: Lane, columns: number): Line {
  const most = Math.max(1, ...backends.values());
  const latest = recent.at(-1)?.backend;
  const cell = Math.floor((columns - 2) / backends.size);
  const cells = Array.from(backends, ([name, messages]): Line => {
    const room = Math.min(widestBar, cell - name.length - String(most).length - 4);
    const label: Piece = name === latest ? [name, 'bold'] : name;
    return fit([label, ' ', [bar(messages / most, room), 'green'], ` ${messages}`], cell);
  });
  return cut(['  ', ...cells.flat()], columns);
}

const eighths = ['', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];

function bar(share: number, room: number): string {
  const length = Math.round(share * Math.max(0, room) * 8);
  return '█'.repeat(Math.floor(length / 8)) + eighths[length % 8];
}

/** `10:41:07 s2   {"backend":"json-2","session":"s2","n":3}   → json-2  identifier` */
function entryLine(lane: Lane, entry: Entry, columns: number): Line {
  const backendWidth = Math.max(...Array.from(lane.backends.keys(), (name) => name.length));
  const session: Piece = entry.session === undefined ? [fitted(you, 4), 'bold', 'magenta'] : fitted(entry.session, 4);
  const left: Line = ['  ', [timeOf(entry), 'dim'], ' ', session, ' '];
  const right = destination(entry, backendWidth);
  const room = columns - (2 + 8 + 1 + 4 + 1) - (2 + backendWidth + 1 + reasonWidth) - 1;
  return cut([...left, ...fit(told(entry), Math.max(0, room)), ' ', ...right], columns);
}

function told({ told: [before, identifier, behind] }: Entry): Line {
  return [printable(before), [printable(identifier), 'green'], printable(behind)];
}

function destination({ backend, reason }: Entry, backendWidth: number): Line {
  if (backend === undefined) return [[`✗ ${reason}`, 'red']];
  return ['→ ', [fitted(backend, backendWidth), 'bold'], ' ', [reason, reasonStyles[reason] ?? 'magenta']];
}

/** That sessions stay put: all of them in one number, and where the open ones are. */
function proofLine(lane: Lane, columns: number): Line {
  const { sessionsBegun, sessionsMoved } = lane;
  const verdict: Piece =
    sessionsMoved === 0
      ? [`✓ ${counted(sessionsBegun, 'session')}, none moved`, 'green']
      : [`✗ ${sessionsMoved} of ${sessionsBegun} sessions moved`, 'red'];
  const open = [...lane.sessions.values()].filter(({ messages }) => messages > 0);
  const places = open.map(({ name, messages, backends }) => `${name} ${[...backends].join('+')} ×${messages}`);
  return cut(['  ', verdict, [`  ${places.join('  ')}`, 'dim']], columns);
}

/** An entry as a line of the log: the same facts, to be read by people and by `grep`. */
export function logLine(lane: Lane, entry: Entry): string {
  const outcome = entry.backend === undefined ? `refused: ${entry.reason}` : `-> ${entry.backend} ${entry.reason}`;
  const [before, identifier, behind] = entry.told;
  const facts = [timeOf(entry), fitted(lane.protocol.name, 15), fitted(entry.session ?? you, 4), fitted(outcome, 22)];
  return `${facts.join(' ')} ${printable(before + identifier + behind).slice(0, loggedCharacters)}`;
}

const fitted = (text: string, width: number) => text.padEnd(width);
const timeOf = ({ at }: Entry) => at.toTimeString().slice(0, 8);
