/** The corpus and some hundred inputs made of it, for every target; `npm run fuzz` goes on from there. */
import { describe, expect, it } from 'vitest';
import { readCorpus } from './corpus.ts';
import { fuzz } from './engine.ts';
import { targets } from './targets.ts';

const inputsMade = 200;

describe('no input makes a target do wrong', () => {
  it.each(targets.map((target) => [target.name, target] as const))('%s', async (_name, target) => {
    const corpus = readCorpus(target.name);
    const most = corpus.length + target.seeds.length + inputsMade;
    const { failure } = await fuzz(target, { seed: 1, corpus, goesOn: (inputs) => inputs < most });
    expect(failure).toBeUndefined();
  });

  it('but it would be told: of a target that minds one byte, and of one that minds what came before', async () => {
    const picky = {
      name: 'picky',
      seeds: [Buffer.from('abc')],
      words: ['x'],
      refresh: async () => {},
      run: async (input: Buffer) => expect(input.includes('x')).toBe(false),
    };
    const found = await fuzz(picky, { seed: 1, corpus: [], goesOn: (inputs) => inputs < 1000 });
    expect(found.failure?.input.toString('latin1')).toContain('x');
    expect(found.failure?.needsOthers).toBe(false);

    let seen = 0;
    const forgetful = {
      ...picky,
      refresh: async () => {
        seen = 0;
      },
      run: async () => expect(seen++).toBeLessThan(10),
    };
    const second = await fuzz(forgetful, { seed: 1, corpus: [], goesOn: (inputs) => inputs < 1000 });
    expect(second.failure?.needsOthers).toBe(true);
  });
});
