import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Backend } from '../../../core/pool.ts';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import { Turns } from '../../../plugins/strategies/turns.ts';
import { embed } from '../../support/embedded.ts';
import { lines } from '../../support/lines.ts';
import { poolOf, strategyOn } from '../../support/pool.ts';

const names = (count: number, choose: () => Backend | undefined): string =>
  Array.from({ length: count }, () => choose()?.name).join(' ');

describe('round-robin', () => {
  it('takes equal backends in turn', () => {
    expect(names(6, strategyOn(poolOf('a', 'b', 'c'), roundRobin, {}))).toBe('a b c a b c');
  });

  it('mixes unequal weights evenly, as nginx does', () => {
    expect(names(7, strategyOn(poolOf(['a', 5], ['b', 1], ['c', 1]), roundRobin, {}))).toBe('a a b a c a a');
  });

  it('gives each backend exactly its weight in every round, and stays close to its share all along', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 20 }), { minLength: 1, maxLength: 8 }), (weights) => {
        const pool = poolOf(...weights.map((weight, index) => [`b${index}`, weight] as const));
        const choose = strategyOn(pool, roundRobin, {});
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        const counts = weights.map(() => 0);
        for (let turn = 1; turn <= 2 * total; turn++) {
          counts[choose()!.index]!++;
          for (const [index, weight] of weights.entries()) {
            expect(Math.abs(counts[index]! - (turn * weight) / total)).toBeLessThan(weights.length);
          }
        }
        expect(counts).toEqual(weights.map((weight) => 2 * weight));
      }),
    );
  });

  it('takes the very turns that looking at every backend would give, whatever comes and goes', () => {
    const change = fc.record({ backend: fc.nat(9), weight: fc.nat(4), turns: fc.nat(30) });
    const weights = fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 10 });
    fc.assert(
      fc.property(weights, fc.array(change, { maxLength: 8 }), (weights, changes) => {
        const pool = poolOf(...weights.map((weight, index) => [`b${index}`, weight] as const));
        const choose = strategyOn(pool, roundRobin, {});
        const turns = new Turns();
        for (const { backend, weight, turns: count } of [{ backend: 0, weight: 1, turns: 30 }, ...changes]) {
          pool.setWeight(pool.backends[backend % weights.length]!, weight);
          for (let turn = 0; turn < count; turn++) {
            for (const each of pool.available) turns.offer(each);
            expect(choose()?.name).toBe(turns.take()?.name);
          }
        }
      }),
    );
  });

  it('goes on as before when it has taken a million turns', () => {
    const pool = poolOf(['a', 2], 'b');
    const choose = strategyOn(pool, roundRobin, {});
    const counts = [0, 0];
    for (let turn = 0; turn < 3_000_000; turn++) counts[choose()!.index]!++;
    expect(counts).toEqual([2_000_000, 1_000_000]);
    expect(names(6, choose)).toBe('a b a a b a');
  });

  it('passes over a backend that is down or of weight 0, and the others keep their turns', () => {
    const pool = poolOf('a', 'b', 'c', ['spare', 0]);
    const choose = strategyOn(pool, roundRobin, {});
    expect(names(2, choose)).toBe('a b');
    pool.setUp(pool.byName('b')!, false);
    // c has missed a turn by the round that was cut short.
    expect(names(6, choose)).toBe('c c a c a c');
    pool.setUp(pool.byName('b')!, true);
    expect(names(6, choose).split(' ').sort().join(' ')).toBe('a a b b c c');
  });

  it('answers nothing for an empty pool', () => {
    const pool = poolOf('a');
    pool.setUp(pool.byName('a')!, false);
    expect(strategyOn(pool, roundRobin, {})()).toBeUndefined();
  });

  it('spreads the messages of one connection', async () => {
    const rig = await embed({ pipeline: [[lines], [roundRobin]], backends: [{ name: 'a', weight: 2 }, { name: 'b' }] });
    rig.client().send('1\n2\n3\n4\n5\n6\n');
    expect(
      rig
        .backend('a')
        .text()
        .match(/\d(?=\n)/g),
    ).toEqual(['1', '3', '4', '6']);
    expect(
      rig
        .backend('b')
        .text()
        .match(/\d(?=\n)/g),
    ).toEqual(['2', '5']);
    await rig.stop();
  });
});
