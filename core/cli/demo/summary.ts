/** What the demo has shown, in figures. */
import { balances, type DirectionStats } from '../../accounting.ts';
import type { BalancerStats } from '../../balancer.ts';
import type { Lane } from './journal.ts';

/** Every session stayed at one backend, and every message is accounted for. */
export function isAllWell(lanes: readonly Lane[], { listeners }: BalancerStats): boolean {
  return lanes.every((lane) => lane.sessionsMoved === 0) && balances(...Object.values(listeners));
}

export function summary(lanes: readonly Lane[], { listeners }: BalancerStats): string {
  const why = ['strategy', 'affinity', 'identifier'];
  const sessions = [
    ['', 'sessions', 'messages', ...why, 'stayed put'],
    ...lanes.map((lane) => [
      lane.protocol.name,
      lane.sessionsBegun,
      lane.messages,
      ...why.map((reason) => lane.reasons.get(reason) ?? 0),
      lane.sessionsMoved === 0 ? 'yes' : `no: ${lane.sessionsMoved}`,
    ]),
  ];
  const outcomes = [
    ['', 'received', '=', 'forwarded', '+', 'refused', '+', 'discarded', '+', 'held'],
    ...Object.entries(listeners).flatMap(([name, { fromClients, fromBackends }]) => [
      [`${name}, from clients`, ...equation(fromClients)],
      [`${name}, from backends`, ...equation(fromBackends)],
    ]),
  ];
  return `${table(sessions, '  ')}\nEvery message has one outcome:\n${table(outcomes, ' ')}`;
}

function equation({ received, forwarded, refused, discarded, held }: DirectionStats): Cell[] {
  return [received, '=', forwarded, '+', refused, '+', discarded, '+', held];
}

type Cell = string | number;

/** Lines whose cells stand below each other: those of the first column begin there, those of the others end there. */
function table(rows: readonly (readonly Cell[])[], gap: string): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => String(row[column]).length)));
  const lines = rows.map((row) =>
    row.map((cell, i) => (i === 0 ? String(cell).padEnd(widths[0]!) : String(cell).padStart(widths[i]!))).join(gap),
  );
  return `${lines.join('\n')}\n`;
}
