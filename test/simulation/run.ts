/** One run: a world is made from a seed, lives for a number of steps, and is stopped in the midst of it or when all is well. */
import { createHash } from 'node:crypto';
import { World } from './world.ts';

/** Most runs are short; in long ones numbers come round. */
const stepsPerRun = { short: 250, long: 2500 };
const linesKept = 60;

export interface Run {
  readonly seed: number;
  readonly steps: number;
  readonly virtualMs: number;
  /** Messages that the balancer received, from either side. */
  readonly messages: number;
  /** Of all that happened, in its order: equal for equal seeds. */
  readonly trace: string;
  /** What must not have happened; undefined: nothing. */
  readonly failure: { readonly error: Error; readonly lastEvents: readonly string[] } | undefined;
}

/** @param onEvent is told all that happens */
export async function run(seed: number, onEvent: (line: string) => void = () => {}): Promise<Run> {
  const hash = createHash('sha256');
  const last: string[] = [];
  let steps = 0;
  let world: World | undefined;
  const note = (what: string) => {
    const line = `${steps} ${Math.round(world?.runtime.now() ?? 0)} ms: ${what}`;
    hash.update(line);
    last.push(line);
    if (last.length > linesKept) last.shift();
    onEvent(line);
  };
  let failure: Run['failure'];
  try {
    world = new World(seed, note);
    await world.start();
    const { chance } = world;
    const endsWell = chance.percent(50);
    const until = world.isHasty || chance.percent(5) ? stepsPerRun.long : stepsPerRun.short;
    for (; steps < until; steps++) await world.act();
    if (endsWell) {
      await world.heal();
      await world.proveHealthy();
    }
    await world.stop(chance.below(20));
  } catch (error) {
    failure = { error: error as Error, lastEvents: last };
  }
  hash.update(JSON.stringify(world?.balancer.stats().listeners ?? {}));
  return {
    seed,
    steps,
    virtualMs: world?.runtime.now() ?? 0,
    messages: world?.messages ?? 0,
    trace: hash.digest('hex'),
    failure,
  };
}
