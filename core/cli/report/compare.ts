/** What two configs do differently with the same messages. */
import { basename } from 'node:path';
import type { Connection } from '../../capture/clients.ts';
import type { Difference, Pair } from '../../rehearsal/compare.ts';
import type { MessageRecord } from '../../rehearsal/recorder.ts';
import type { CaptureEnd } from '../explain/capture.ts';
import { counted } from '../output.ts';
import { differenceLines, preview } from './bytes.ts';
import { captureInJson, captureLines, whereInJson, whereInWords } from './capture.ts';
import { jsonLine } from './explain-json.ts';
import { columns, destination, reasons } from './explain-text.ts';
import { indented, styleWith } from './style.ts';
import { Tally } from './tally.ts';

/** What the two configs are called. */
interface Names {
  readonly first: string;
  readonly second: string;
}

/** Where a message stands in a capture. */
interface Where {
  readonly connection: Connection;
  readonly timeMicros: number;
}

interface CompareReport {
  /** How many messages the two treat differently, so far. */
  readonly differing: number;
  /** Answers what is to be printed of a message: nothing if there is no difference. */
  pair(pair: Pair, differences: readonly Difference[], where: Where | undefined): string;
  /** @param capture undefined: there was none */
  end(capture: CaptureEnd | undefined): string;
}

/** How many messages differ in what; one can differ in several. */
class Totals {
  messages = 0;
  differing = 0;
  readonly byDifference: Record<Difference, number> = {
    framing: 0,
    outcome: 0,
    destination: 0,
    reason: 0,
    reply: 0,
    bytes: 0,
  };
  readonly first = new Tally();
  readonly second = new Tally();

  add({ first, second }: Pair, differences: readonly Difference[]): void {
    this.messages++;
    if (first !== undefined) this.first.add(first);
    if (second !== undefined) this.second.add(second);
    if (differences.length > 0) this.differing++;
    for (const difference of differences) this.byDifference[difference]++;
  }
}

/** For people. */
export function compareText(limit: number, paths: Names, colours: boolean): CompareReport {
  const style = styleWith(colours);
  const names = shortened(paths);
  const totals = new Totals();
  const width = Math.max(names.first.length, names.second.length) + 2;
  const label = (name: string) => name.padEnd(width);
  const bytesLabels = { expected: label(names.first), got: label(names.second) };
  return {
    get differing() {
      return totals.differing;
    },
    pair: (pair, differences, where) => {
      totals.add(pair, differences);
      if (differences.length === 0 || totals.differing > limit) return '';
      const { first, second, offset } = pair;
      const place = where === undefined ? `byte ${offset}` : whereInWords(where.connection, where.timeMicros, offset);
      const lines = [
        `${style('bold', `message ${totals.messages}`)} ${place}: ${differences.join(', ')}`,
        ...indented(2, [label(names.first) + inWords(first), label(names.second) + inWords(second)]),
      ];
      const changed = bytesThatDiffer(pair, differences);
      if (changed !== undefined) {
        lines.push(
          `  ${changed.what}`,
          ...indented(4, differenceLines(changed.first, changed.second, false, bytesLabels)),
        );
      }
      lines.push('  as it came', ...indented(4, preview((first ?? second)!.received, mostLines)));
      return `${lines.join('\n')}\n\n`;
    },
    end: (capture) => {
      const left = totals.differing - limit;
      const lines = left > 0 ? [`… and ${left} more that differ`, ''] : [];
      lines.push(style('bold', 'summary'), ...indented(2, totalLines(totals)), '');
      lines.push(style('bold', 'both'), ...indented(2, columns(tallyRows(totals, names))));
      if (capture !== undefined) lines.push('', style('bold', 'capture'), ...indented(2, captureLines(capture)));
      return `${lines.join('\n')}\n`;
    },
  };
}

/** Without their directories, if that tells them apart. */
function shortened(paths: Names): Names {
  const [first, second] = [basename(paths.first), basename(paths.second)];
  return first === second ? paths : { first, second };
}

/** How many lines are shown of a message that differs. */
const mostLines = 6;

/**
 * For programs, a line of JSON each: `{ type: "difference", number, time, connection, offset, differences, first, second }`, time
 * and connection null where there is no capture, and at the end `{ type: "summary", … }`.
 */
export function compareJson(limit: number, names: Names): CompareReport {
  const totals = new Totals();
  return {
    get differing() {
      return totals.differing;
    },
    pair: (pair, differences, where) => {
      totals.add(pair, differences);
      if (differences.length === 0 || totals.differing > limit) return '';
      const { offset, first, second } = pair;
      const place =
        where === undefined
          ? { time: null, connection: null, offset }
          : whereInJson(where.connection, where.timeMicros, offset);
      return jsonLine({
        type: 'difference',
        number: totals.messages,
        ...place,
        differences,
        first: first ?? null,
        second: second ?? null,
      });
    },
    end: (capture) => {
      const { messages, differing, byDifference, first, second } = totals;
      return jsonLine({
        type: 'summary',
        shown: Math.min(differing, limit),
        messages,
        differing,
        byDifference,
        first: { config: names.first, ...first },
        second: { config: names.second, ...second },
        connections: capture?.connections ?? null,
        capture: capture === undefined ? null : captureInJson(capture),
      });
    },
  };
}

/** What one config does with a message. */
function inWords(record: MessageRecord | undefined): string {
  if (record === undefined) return 'sees no message that begins there, or has closed the connection';
  const { outcome, received, sent } = record;
  switch (outcome?.kind) {
    case 'forwarded': {
      const why = outcome.reason === undefined ? '' : `: ${reasons[outcome.reason]}`;
      const changed = sent === undefined || sent.equals(received) ? 'as it came' : `${sent.length} bytes out`;
      return `to ${destination(outcome.to)}${why}; ${counted(received.length, 'byte')} in, ${changed}`;
    }
    case 'refused':
    case 'discarded':
      return `${outcome.kind}: ${outcome.reason}; ${counted(received.length, 'byte')} in`;
    case 'skipped':
      return `skips ${counted(received.length, 'byte')} that belong to no message`;
    case 'incomplete':
      return `waits for more: ${counted(received.length, 'byte')} have come`;
    case undefined:
      return `takes ${counted(received.length, 'byte')}`;
  }
}

function bytesThatDiffer({ first, second }: Pair, differences: readonly Difference[]) {
  if (differences.includes('bytes')) return { what: 'as it leaves', first: first!.sent!, second: second!.sent! };
  const replies = [first, second].map((record) =>
    record?.outcome !== undefined && 'reply' in record.outcome ? record.outcome.reply : undefined,
  );
  const [one, other] = replies;
  if (!differences.includes('reply') || one === undefined || other === undefined) return undefined;
  return { what: 'the reply', first: one, second: other };
}

function totalLines({ messages, differing, byDifference }: Totals): string[] {
  const rows = [
    ['messages', `${messages}`],
    ['treated alike', `${messages - differing}`],
  ];
  if (differing > 0) rows.push(['differ', `${differing}`]);
  for (const [name, number] of Object.entries(byDifference)) if (number > 0) rows.push([`  in ${name}`, `${number}`]);
  return columns(rows);
}

/** The counts of both, side by side. */
function tallyRows({ first, second }: Totals, names: Names): string[][] {
  const rows: string[][] = [['', names.first, names.second]];
  const add = (
    name: string,
    of: (tally: Tally) => number,
    parts?: (tally: Tally) => Readonly<Record<string, number>>,
  ) => {
    if (of(first) + of(second) === 0) return;
    rows.push([name, `${of(first)}`, `${of(second)}`]);
    if (parts === undefined) return;
    const [one, other] = [parts(first), parts(second)];
    for (const part of [...new Set([...Object.keys(one), ...Object.keys(other)])].sort()) {
      rows.push([`  ${part}`, `${one[part] ?? 0}`, `${other[part] ?? 0}`]);
    }
  };
  add(
    'forwarded',
    (tally) => tally.forwarded,
    (tally) => tally.byDestination,
  );
  add(
    'refused',
    (tally) => tally.refused,
    (tally) => tally.refusedByReason,
  );
  add(
    'discarded',
    (tally) => tally.discarded,
    (tally) => tally.discardedByReason,
  );
  add('skipped', (tally) => tally.skipped);
  add('incomplete', (tally) => tally.incomplete);
  return rows;
}
