/** A few seeds of the simulation; `npm run simulate` runs as many as there is time for. */
import { describe, expect, it } from 'vitest';
import { run } from './run.ts';

const seeds = 25;

describe('the balancer among peers that fail in every way', () => {
  it('loses, doubles, cuts, mixes up and makes up nothing, stays within its bounds and leaves nothing behind', async () => {
    let messages = 0;
    for (let seed = 1; seed <= seeds; seed++) {
      const { failure, messages: received } = await run(seed);
      if (failure !== undefined) {
        throw new Error(`seed ${seed}:\n${failure.lastEvents.join('\n')}`, { cause: failure.error });
      }
      messages += received;
    }
    expect(messages).toBeGreaterThan(100 * seeds);
  }, 120_000);

  it('does the same for the same seed', async () => {
    const traces = [await run(7), await run(7), await run(8)].map(({ trace }) => trace);
    expect(traces[1]).toBe(traces[0]);
    expect(traces[2]).not.toBe(traces[0]);
  });
});
