/** What an operator on call has to know first: what is wrong now, in sentences. */
import type { CertificateFacts } from 'pointsman';
import type { BackendRow, ListenerRow } from './watch.ts';

export interface Trouble {
  /** `bad`: work is lost, or cannot be done; `warn`: something is not as it should be. */
  readonly severity: 'bad' | 'warn';
  readonly listener?: string;
  readonly pool?: string;
  readonly text: string;
}

/** What one listener lost in the last seconds; ordinary reasons are left out. */
export interface Losses {
  readonly refusedPerSecond: Readonly<Record<string, number>>;
  readonly discardedPerSecond: Readonly<Record<string, number>>;
  readonly unansweredPerSecond: number;
  readonly turnedAwayPerSecond: number;
}

/** How many backends of a pool with the same trouble are listed one by one, and how many are named beyond that. */
const mostApart = 3;
const dayMs = 86_400_000;
/** How many days before a certificate expires that is told. */
const expiryDays = 14;

/**
 * @param listeners with what each has lost recently
 * @param nowMs in milliseconds since 1970
 * @returns the worst first
 */
export function troublesOf(
  listeners: readonly (Pick<ListenerRow, 'name' | 'pool'> & Losses)[],
  backends: readonly BackendRow[],
  certificates: readonly CertificateFacts[],
  nowMs: number,
): Trouble[] {
  const troubles = [
    ...listeners.flatMap((one) => withoutBackend(one, backends)),
    ...unwell(backends),
    ...expiring(certificates, nowMs),
  ];
  for (const { name: listener, ...lost } of listeners) {
    const warn = (text: string) => troubles.push({ severity: 'warn', listener, text: `${listener} ${text}` });
    for (const [verb, reasons] of [
      ['refuses', lost.refusedPerSecond],
      ['discards', lost.discardedPerSecond],
    ] as const) {
      const told = Object.entries(reasons)
        .filter(([, rate]) => rate > 0)
        .sort(([, one], [, other]) => other - one);
      if (told.length === 0) continue;
      const sum = told.reduce((total, [, rate]) => total + rate, 0);
      warn(`${verb} ${sum.toFixed(1)} messages/s: ${told.map(([reason]) => reason).join(', ')}`);
    }
    if (lost.unansweredPerSecond > 0) warn(`has ${lost.unansweredPerSecond.toFixed(1)} requests/s without an answer`);
    if (lost.turnedAwayPerSecond > 0) warn(`turns away ${lost.turnedAwayPerSecond.toFixed(1)} clients/s`);
  }
  return troubles.sort((one, other) => Number(other.severity === 'bad') - Number(one.severity === 'bad'));
}

function withoutBackend(
  { name, pool }: Pick<ListenerRow, 'name' | 'pool'>,
  backends: readonly BackendRow[],
): readonly Trouble[] {
  const takesWork = ({ status, weight }: BackendRow) => status === 'up' && weight > 0;
  if (backends.some((row) => row.pool === pool && takesWork(row))) return [];
  return [{ severity: 'bad', listener: name, pool, text: `${name} has no backend in ${pool} that takes new work` }];
}

function* unwell(backends: readonly BackendRow[]): Iterable<Trouble> {
  for (const status of ['down', 'failing', 'ejected'] as const) {
    const severity = status === 'ejected' ? 'warn' : 'bad';
    for (const pool of new Set(backends.map((row) => row.pool))) {
      const rows = backends.filter((row) => row.pool === pool && row.status === status);
      if (rows.length <= mostApart) {
        for (const { name, why } of rows) yield { severity, pool, text: `${pool}/${name} is ${status}: ${why}` };
      } else {
        const all = backends.filter((row) => row.pool === pool).length;
        const named = rows.slice(0, mostApart).map(({ name }) => name);
        yield {
          severity,
          pool,
          text: `${rows.length} of ${all} backends of ${pool} are ${status}: ${named.join(', ')}, …`,
        };
      }
    }
  }
}

function* expiring(certificates: readonly CertificateFacts[], nowMs: number): Iterable<Trouble> {
  for (const { expiresAtMs, ...shown } of certificates) {
    const whose = `the certificate of ${'listener' in shown ? shown.listener : shown.pool}`;
    const days = Math.ceil((expiresAtMs - nowMs) / dayMs);
    if (days <= 0) yield { severity: 'bad', ...shown, text: `${whose} has expired` };
    else if (days <= expiryDays) yield { severity: 'warn', ...shown, text: `${whose} expires within ${days} d` };
  }
}
