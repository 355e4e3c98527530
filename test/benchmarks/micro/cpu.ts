/** CPU time of things that are done over and over. */
import { medianOf } from '../report.ts';

export interface Subject {
  /** How many things one call of `body` does. */
  readonly count: number;
  body(): void;
}

export interface Cost {
  /** The least of many samples, since all that disturbs (compilers, other processes) only adds. */
  readonly leastNanoseconds: number;
  /** Says how much that was. */
  readonly medianNanoseconds: number;
}

const longestMs = 30_000;

/**
 * What each of the things costs. Samples of all subjects are taken in turn, so that what disturbs the machine for a while
 * disturbs all alike; the first half, in which code is still being compiled, does not count.
 * @param samples how many count, of `sampleMs` of CPU time each
 */
export function cpuOf(subjects: readonly Subject[], samples = 40, sampleMs = 50): Cost[] {
  const taken: number[][] = subjects.map(() => []);
  const deadline = performance.now() + longestMs * subjects.length;
  for (let round = 0; round < 2 * samples && performance.now() < deadline; round++) {
    for (const [i, subject] of subjects.entries()) taken[i]!.push(sample(subject, sampleMs * 1000));
  }
  return taken.map((all) => {
    const settled = all.slice(-Math.ceil(all.length / 2));
    return { leastNanoseconds: Math.min(...settled), medianNanoseconds: medianOf(settled) };
  });
}

/** What one of the things costs in nanoseconds, over so much CPU time. */
export function sample({ count, body }: Subject, microseconds: number): number {
  let calls = 0;
  let used = 0;
  for (const start = process.cpuUsage(); used < microseconds; calls++) {
    body();
    const { user, system } = process.cpuUsage(start);
    used = user + system;
  }
  return (used * 1000) / (calls * count);
}
