/** Counts messages by their outcome. */
import type { MessageRecord } from '../../rehearsal/recorder.ts';
import { columns, destination, reasons } from './explain-text.ts';

/** How many messages by something, under names that plugins and configs may choose. */
type Counts = Record<string, number>;

/** Stable names: what programs read. */
export class Tally {
  messages = 0;
  forwarded = 0;
  readonly byDestination: Counts = Object.create(null) as Counts;
  readonly byReason: Counts = Object.create(null) as Counts;
  refused = 0;
  readonly refusedByReason: Counts = Object.create(null) as Counts;
  discarded = 0;
  readonly discardedByReason: Counts = Object.create(null) as Counts;
  skipped = 0;
  incomplete = 0;

  add({ outcome }: MessageRecord): void {
    this.messages++;
    switch (outcome?.kind) {
      case 'forwarded':
        this.forwarded++;
        count(this.byDestination, destination(outcome.to));
        if (outcome.reason !== undefined) count(this.byReason, outcome.reason);
        break;
      case 'refused':
        this.refused++;
        count(this.refusedByReason, outcome.reason);
        break;
      case 'discarded':
        this.discarded++;
        count(this.discardedByReason, outcome.reason);
        break;
      case 'skipped':
        this.skipped++;
        break;
      case 'incomplete':
        this.incomplete++;
        break;
      case undefined:
        break;
    }
  }
}

function count(counts: Counts, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** A line for each count that is not 0. */
export function tallyLines(tally: Tally): string[] {
  const rows: string[][] = [];
  const add = (name: string, total: number, ...parts: readonly Counts[]) => {
    if (total === 0) return;
    rows.push([name, `${total}`]);
    for (const counts of parts) {
      for (const [part, number] of Object.entries(counts).sort(byCount)) rows.push([`  ${part}`, `${number}`]);
    }
  };
  const why = Object.fromEntries(
    Object.entries(tally.byReason).map(([reason, number]) => [reasons[reason as keyof typeof reasons], number]),
  );
  rows.push(['messages', `${tally.messages}`]);
  add('forwarded', tally.forwarded, tally.byDestination, why);
  add('refused', tally.refused, tally.refusedByReason);
  add('discarded', tally.discarded, tally.discardedByReason);
  add('no message, skipped', tally.skipped);
  add('incomplete', tally.incomplete);
  return columns(rows);
}

const byCount = ([nameOne, one]: [string, number], [nameOther, other]: [string, number]) =>
  other - one || (nameOne < nameOther ? -1 : 1);
