/** Makes inputs out of others, keeps those that run code which none has run before, and holds every one against its target. */
import { Random } from '../../core/conformance/random.ts';
import type { Watchdog } from '../support/watchdog.ts';
import type { Coverage } from './coverage.ts';

export interface Target {
  readonly name: string;
  /** Inputs to begin with. */
  readonly seeds: readonly Buffer[];
  /** What inputs are likely to contain. */
  readonly words: readonly string[];
  /** Forgets what earlier inputs have left. */
  refresh(): Promise<void>;
  /** Throws (rejects with) an AssertionError if what follows from the input must not be. */
  run(input: Buffer, random: Random): Promise<void>;
}

interface Failure {
  readonly input: Buffer;
  /** It does not fail alone, but after those before it. */
  readonly needsOthers: boolean;
  readonly error: Error;
}

export interface Outcome {
  /** The inputs to begin with the next time, best first. */
  readonly corpus: readonly Buffer[];
  readonly failure: Failure | undefined;
}

export interface EngineOptions {
  readonly seed: number;
  readonly corpus: readonly Buffer[];
  /** Undefined: inputs are made, but none is kept. */
  readonly coverage?: Coverage | undefined;
  readonly watchdog?: Watchdog | undefined;
  /** Asked before each input, with how many there were. */
  goesOn(inputs: number): boolean;
}

/** State piles up in a target; after so many inputs it begins afresh. */
const inputsPerRefresh = 500;
const longestInput = 8192;

export async function fuzz(
  target: Target,
  { seed, corpus, coverage, watchdog, goesOn }: EngineOptions,
): Promise<Outcome> {
  const random = new Random(seed);
  const pool = [...target.seeds, ...corpus];
  /** By how much new code they ran. */
  const kept: { input: Buffer; news: number }[] = [];
  await target.refresh();
  coverage?.news();
  for (let inputs = 0; goesOn(inputs); inputs++) {
    if (inputs % inputsPerRefresh === inputsPerRefresh - 1) await target.refresh();
    const input = inputs < pool.length ? pool[inputs]! : mutate(random, pool, target.words);
    watchdog?.note(input);
    try {
      await target.run(input, random);
    } catch (error) {
      return { corpus: [], failure: await examine(target, input, error as Error) };
    }
    const news = coverage?.news() ?? 0;
    if (news === 0) continue;
    kept.push({ input, news });
    pool.push(input);
  }
  watchdog?.rest();
  const best = kept.toSorted((one, other) => other.news - one.news).map(({ input }) => input);
  const seeds = new Set(target.seeds.map((input) => input.toString('latin1')));
  return { corpus: best.filter((input) => !seeds.has(input.toString('latin1'))), failure: undefined };
}

/** Whether it fails alone, too. */
async function examine(target: Target, input: Buffer, error: Error): Promise<Failure> {
  for (let seed = 1; seed <= 50; seed++) {
    await target.refresh();
    try {
      await target.run(input, new Random(seed));
    } catch (error) {
      return { input, needsOthers: false, error: error as Error };
    }
  }
  return { input, needsOthers: true, error };
}

function mutate(random: Random, pool: readonly Buffer[], words: readonly string[]): Buffer {
  let input = random.pick(pool);
  for (let rounds = 1 + random.below(3); rounds > 0; rounds--) input = change(random, input, pool, words);
  return input.subarray(0, longestInput);
}

function change(random: Random, input: Buffer, pool: readonly Buffer[], words: readonly string[]): Buffer {
  const at = random.below(input.length + 1);
  const end = at + random.below(input.length - at + 1);
  switch (random.below(7)) {
    case 0: // a word put in
      return Buffer.concat([input.subarray(0, at), Buffer.from(random.pick(words), 'latin1'), input.subarray(at)]);
    case 1: // a word in place of something
      return Buffer.concat([input.subarray(0, at), Buffer.from(random.pick(words), 'latin1'), input.subarray(end)]);
    case 2: {
      // the end of another
      const other = random.pick(pool);
      return Buffer.concat([input.subarray(0, at), other.subarray(random.below(other.length + 1))]);
    }
    case 3: // another behind it
      return Buffer.concat([input, random.pick(pool)]);
    case 4: // lines in another order, or twice
      return swapLines(random, input);
    case 5: // a piece left out
      return Buffer.concat([input.subarray(0, at), input.subarray(Math.min(end, at + 32))]);
    default:
      return random.mutate(input);
  }
}

function swapLines(random: Random, input: Buffer): Buffer {
  const lines = input.toString('latin1').split(/(?<=\n)/);
  const from = random.below(lines.length);
  const line = random.below(3) === 0 ? lines[from]! : lines.splice(from, 1)[0]!;
  lines.splice(random.below(lines.length + 1), 0, line);
  return Buffer.from(lines.join(''), 'latin1');
}
