/** Checks limits against each other: that none exceeds another one which makes it meaningless. */
import { Admission } from '../../limits/admission.ts';
import type { LoadLimits, PoolSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import { type Path, valueAt } from '../path.ts';

const loads = ['inFlight', 'messagesPerSecond', 'burstMessages'] as const;
const neverSoMany = 'there are never so many';

/** @param pool of the listener; undefined: it is not in order */
export function lintListenerLimits(draft: Draft, name: string, pool: PoolSettings | undefined): void {
  const own = (limit: string): Path => ['listeners', name, 'limits', limit];
  const ofListener = (larger: string, smaller: string, why: string) => check(draft, own(larger), own(smaller), why);
  ofListener('headerBytes', 'messageBytes', 'a header is part of its message');
  ofListener('messageBytes', 'queueBytes', 'one message is more than may wait for a client');
  ofListener('connectionsPerAddress', 'connections', neverSoMany);
  ofListener('inFlightPerAddress', 'inFlight', neverSoMany);
  ofListener('messagesPerSecondPerAddress', 'messagesPerSecond', neverSoMany);
  ofListener('burstMessagesPerAddress', 'burstMessages', neverSoMany);
  ofListener('headerSeconds', 'idleSeconds', 'a client that sends no byte is closed before');
  if (pool === undefined) return;

  const ofPool = (larger: string, smaller: Path, why: string) =>
    check(draft, own(larger), ['pools', pool.name, ...smaller], why);
  ofPool('messageBytes', ['queueBytes'], 'one message is more than may wait for a backend');
  ofPool('messageBytes', ['replayBytes'], 'such a message is never kept to be sent again');
  for (const load of loads) ofPool(load, ['limits', load], neverSoMany);

  const limits = draft.config.listeners![name]!.limits;
  const path = own('reservedPercent');
  if (valueAt(draft.written, path) === undefined) return;
  if (!Admission.isNeeded({ settings: pool }, limits)) {
    draft.findings.warn('limit-without-effect', path, 'there is no limit of rate or load to reserve a part of');
  } else if (limits.reservedPercent === 100) {
    contradict(draft, path, 'reservedPercent is 100: limits of rate and load let no new work in at all');
  }
}

export function lintPoolLimits(draft: Draft, pool: PoolSettings): void {
  const path = ['pools', pool.name];
  const limitsOf = (limits: LoadLimits | undefined) => limits ?? pool.backendLimits;
  for (const load of loads) {
    const whole: Path = [...path, 'limits', load];
    check(draft, [...path, 'backendLimits', load], whole, neverSoMany);
    for (const { name } of pool.backends) check(draft, [...path, 'backends', name, 'limits', load], whole, neverSoMany);
    const parts = pool.backends.map(({ limits }) => limitsOf(limits)?.[load] ?? 0);
    const sum = parts.reduce((sum, part) => sum + part, 0);
    const most = pool.limits?.[load] ?? 0;
    if (most > sum && !parts.includes(0)) {
      contradict(draft, whole, `${load} is ${most}, but those of the backends add up to ${sum}: ${neverSoMany}`);
    }
  }
  lintPanic(draft, pool);
  lintMinimumUp(draft, pool);
}

/** Backends that get new work when all is well. */
const inService = ({ backends }: PoolSettings) =>
  backends.filter(({ weight, state = 'ready' }) => weight > 0 && state === 'ready');

function lintPanic(draft: Draft, pool: PoolSettings): void {
  const { panicPercent = 0, checks = [], outliers } = pool;
  const path = ['pools', pool.name, 'panicPercent'];
  const count = inService(pool).length;
  if (panicPercent === 0 || count === 0) return;
  if (checks.length === 0 && outliers === undefined) {
    draft.findings.warn('limit-without-effect', path, 'there are neither "checks" nor "outliers" to be ignored');
  } else if ((count - 1) * 100 < count * panicPercent) {
    const left = Math.floor(((count - 1) * 100) / count);
    const message = `panicPercent is ${panicPercent}, but one of ${count} backends that fails leaves ${left}: it is never taken out`;
    contradict(draft, path, message);
  }
}

function lintMinimumUp(draft: Draft, pool: PoolSettings): void {
  const { minimumUp = 1 } = pool;
  const priorities = inService(pool).map(({ priority = 0 }) => priority);
  const last = Math.max(...priorities);
  const before = priorities.filter((priority) => priority < last).length;
  if (before === 0 || minimumUp <= before) return;
  const message = `minimumUp is ${minimumUp}, of which ${before} come before priority ${last}: that always gets new work as well`;
  contradict(draft, ['pools', pool.name, 'minimumUp'], message);
}

/** Warns of a limit that exceeds another one; only if both are written in the config, as defaults are generous. */
function check(draft: Draft, larger: Path, smaller: Path, why: string): void {
  const [beyond, bound] = [larger, smaller].map((path) =>
    valueAt(draft.written, path) === undefined ? 0 : Number(valueAt(draft.config, path)),
  );
  // 0 is no limit.
  if (bound === 0 || beyond! <= bound!) return;
  const isBeside = larger.slice(0, -1).join('/') === smaller.slice(0, -1).join('/');
  const whose = isBeside ? '' : ` of pool "${smaller[1]}"`;
  contradict(draft, larger, `${larger.at(-1)} is ${beyond}, but ${smaller.at(-1)}${whose} is ${bound}: ${why}`);
}

function contradict({ findings }: Draft, path: Path, message: string): void {
  findings.add(path, { rule: 'contradicting-limits', stage: 'lint', severity: 'warning', message });
}
