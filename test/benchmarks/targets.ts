/** What pointsman is to reach, and whether it does. Nothing fails because of it: the figures are for people to read. */
import { type Protocol, protocols } from './dialects.ts';
import type { Idle } from './idle.ts';
import { aligned, type Ratios, type Summary } from './report.ts';

const figures = {
  cpuToHaproxy: 'CPU per pair to haproxy',
  cpuToKamailio: 'CPU per pair to kamailio',
  p99ToHaproxy: 'p99 to haproxy',
  startMilliseconds: 'start, ms',
  mebibytesBefore: 'MiB before the first connection',
  kibibytesEach: 'KiB per idle connection',
  cpuToDirectCalls: 'CPU per pair to direct calls, no kernel',
  cpuToUnobserved: 'CPU per pair to pointsman',
  cpuWithMetrics: 'CPU per pair with metrics to without',
  cpuWithTraces: 'CPU per pair with traces of 1 in 1000 to without',
} as const satisfies Record<keyof Ratios | string, string>;

/** One figure of pointsman, as it is or as it shall be at most. */
interface Figure {
  readonly figure: keyof typeof figures;
  /** Undefined: not of one cell. */
  readonly cell?: string;
  readonly protocol?: Protocol;
  readonly value: number;
}

const binaryAndNdjson: readonly Protocol[] = ['ndjson', 'length-prefixed'];
const sip: readonly Protocol[] = ['sip'];

/** As issues 3 and 7 have them, on Node.js 20. */
const targets: readonly Figure[] = [
  ...each('50x1', protocols, 'cpuToHaproxy', 0.8),
  ...each('50x1', sip, 'cpuToKamailio', 0.5),
  ...each('1000x1', protocols, 'cpuToHaproxy', 0.65),
  ...each('1000x1', sip, 'cpuToKamailio', 0.45),
  ...each('50x16', binaryAndNdjson, 'cpuToHaproxy', 1),
  ...each('50x16', sip, 'cpuToHaproxy', 1.6),
  ...each('50x16', sip, 'cpuToKamailio', 0.08),
  ...each('50x1', protocols, 'p99ToHaproxy', 1),
  ...each('50x1@15000', protocols, 'p99ToHaproxy', 2),
  { figure: 'startMilliseconds', value: 400 },
  { figure: 'mebibytesBefore', value: 64 },
  { figure: 'kibibytesEach', value: 12 },
  ...protocols.map((protocol): Figure => ({ figure: 'cpuToDirectCalls', protocol, value: 1.15 })),
  ...each('50x1', protocols, 'cpuWithMetrics', 1.03),
  ...each('50x16', protocols, 'cpuWithMetrics', 1.03),
  ...each('50x1', protocols, 'cpuWithTraces', 1.03),
  ...each('50x16', protocols, 'cpuWithTraces', 1.03),
];

function each(cell: string, those: readonly Protocol[], figure: Figure['figure'], value: number): Figure[] {
  return those.map((protocol) => ({ figure, cell, protocol, value }));
}

/** What is added by observers, where there is pointsman without them beside it. */
const observed = { 'pointsman-metrics': 'cpuWithMetrics', 'pointsman-traces': 'cpuWithTraces' } as const;

/** A row that has faults does not count. */
export function figuresOf(summaries: readonly Summary[]): Figure[] {
  const sound = summaries.filter(({ faults }) => faults === '');
  const own = sound
    .filter(({ balancer }) => balancer === 'pointsman')
    .flatMap(({ cell, protocol, ratios }) =>
      (Object.keys(ratios) as (keyof Ratios)[]).flatMap((figure) => {
        const value = ratios[figure];
        return value === undefined ? [] : { figure, cell, protocol, value };
      }),
    );
  const withObservers = Object.entries(observed).flatMap(([name, figure]) =>
    sound.flatMap(({ balancer, cell, protocol, ratios: { cpuToUnobserved: value } }) =>
      balancer === name && value !== undefined ? { figure, cell, protocol, value } : [],
    ),
  );
  return [...own, ...withObservers];
}

export function figuresOfIdle(all: readonly Idle[]): Figure[] {
  const found = all.find(({ balancer }) => balancer === 'pointsman');
  if (found === undefined) return [];
  const names = ['startMilliseconds', 'mebibytesBefore', 'kibibytesEach'] as const;
  return names.map((figure) => ({ figure, value: found[figure] }));
}

/** A target and what was measured. */
export interface Verdict {
  readonly target: Figure;
  readonly measured: number;
  readonly met: boolean;
}

/** About the targets whose figures are among those that were measured. */
export function judge(measured: readonly Figure[]): Verdict[] {
  return targets.flatMap((target) => {
    const { figure, cell, protocol } = target;
    const found = measured.find((it) => it.figure === figure && it.cell === cell && it.protocol === protocol);
    return found === undefined ? [] : { target, measured: found.value, met: found.value <= target.value };
  });
}

export function targetTable(verdicts: readonly Verdict[]): string {
  if (verdicts.length === 0) return '';
  const rows = verdicts.map(({ target, measured, met }) => [
    [target.cell, target.protocol].filter((word) => word !== undefined).join(' '),
    figures[target.figure],
    `≤ ${target.value}`,
    Number(measured.toPrecision(3)).toString(),
    met ? 'met' : 'not met',
  ]);
  return `\n${aligned([['target', '', 'at most', 'measured', ''], ...rows])}`;
}
