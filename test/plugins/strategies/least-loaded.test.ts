import { describe, expect, it } from 'vitest';
import type { Backend } from '../../../core/pool.ts';
import leastLoaded from '../../../plugins/strategies/least-loaded.ts';
import { embed } from '../../support/embedded.ts';
import { lines } from '../../support/lines.ts';
import { poolOf, randomNumbers, strategyOn } from '../../support/pool.ts';

const inFlight = { metric: 'in-flight' };
const latency = { metric: 'latency' };

/** So many messages, each of which stays in flight. */
function load(count: number, choose: () => Backend | undefined): void {
  for (let i = 0; i < count; i++) choose()!.inFlight++;
}

describe('least-loaded', () => {
  it('takes the backend with the fewest requests in flight', () => {
    const pool = poolOf('a', 'b', 'c');
    const choose = strategyOn(pool, leastLoaded, inFlight);
    for (const [index, count] of [3, 1, 2].entries()) pool.backends[index]!.inFlight = count;
    expect(choose()?.name).toBe('b');
  });

  it('takes the backend with the fewest links', () => {
    const pool = poolOf('a', 'b');
    const choose = strategyOn(pool, leastLoaded, { metric: 'connections' });
    pool.backends[0]!.connections = 2;
    pool.backends[1]!.connections = 1;
    pool.backends[1]!.inFlight = 9;
    expect(choose()?.name).toBe('b');
  });

  it('fills backends in proportion to their weights', () => {
    const pool = poolOf(['a', 1], ['b', 3], ['c', 6]);
    load(1000, strategyOn(pool, leastLoaded, inFlight));
    expect(pool.backends.map((backend) => backend.inFlight)).toEqual([100, 300, 600]);
  });

  it('lets those that tie take turns, in proportion to their weights', () => {
    const choose = strategyOn(poolOf(['a', 1], ['b', 1], ['c', 2]), leastLoaded, inFlight);
    expect(Array.from({ length: 8 }, () => choose()?.name).join(' ')).toBe('c a b c c a b c');
  });

  it('takes neither a backend that is down nor one of weight 0', () => {
    const pool = poolOf('a', 'b', ['spare', 0]);
    const choose = strategyOn(pool, leastLoaded, inFlight);
    pool.backends[1]!.inFlight = 100;
    pool.setUp(pool.backends[0]!, false);
    expect(choose()?.name).toBe('b');
  });

  it('answers nothing for an empty pool', () => {
    const pool = poolOf('a');
    pool.setUp(pool.backends[0]!, false);
    expect(strategyOn(pool, leastLoaded, inFlight)()).toBeUndefined();
  });

  describe('by latency', () => {
    it('weighs the time to answer by the requests that wait', () => {
      const pool = poolOf('fast', 'slow');
      const choose = strategyOn(pool, leastLoaded, latency);
      pool.byName('fast')!.latencyMs = 10;
      pool.byName('slow')!.latencyMs = 40;
      load(100, choose);
      expect(pool.byName('fast')!.inFlight).toBe(80);
      expect(pool.byName('slow')!.inFlight).toBe(20);
    });

    it('tries a new backend with one request and waits for its answer', () => {
      const pool = poolOf('old', 'new');
      const choose = strategyOn(pool, leastLoaded, latency);
      pool.byName('old')!.latencyMs = 20;
      load(10, choose);
      expect(pool.byName('new')!.inFlight).toBe(1);
    });

    it('tries a slow backend again when it has been idle for 10 seconds, and no sooner', () => {
      const pool = poolOf('fast', 'slow');
      let now = 0;
      const choose = strategyOn(pool, leastLoaded, latency, { now: () => now });
      pool.byName('fast')!.latencyMs = 10;
      choose();
      choose();
      pool.byName('slow')!.latencyMs = 10_000;
      const chosen: string[] = [];
      for (; now < 25_000; now += 100) chosen.push(choose()!.name);
      expect(chosen.flatMap((name, index) => (name === 'slow' ? [index * 100] : []))).toEqual([10_000, 20_000]);
    });

    it('counts requests in flight where no answer is ever measured', () => {
      const pool = poolOf(['a', 1], ['b', 3]);
      load(40, strategyOn(pool, leastLoaded, latency));
      expect(pool.backends.map((backend) => backend.inFlight)).toEqual([10, 30]);
    });
  });

  describe('in a large pool', () => {
    const large = () => poolOf(...Array.from({ length: 100 }, (_, index) => [`b${index}`, 1 + (index % 4)] as const));

    it('stays nearly as even as if all were compared, weights included', () => {
      const pool = large();
      load(25_000, strategyOn(pool, leastLoaded, inFlight));
      // All of weight 1 would have 100 each if all were compared; drawn one at a time they would have 70 to 130.
      for (const backend of pool.backends) {
        expect(Math.abs(backend.inFlight / backend.weight - 100)).toBeLessThan(8);
      }
    });

    it('never takes the most loaded one', () => {
      const pool = large();
      const choose = strategyOn(pool, leastLoaded, inFlight);
      pool.backends[50]!.inFlight = 1;
      for (let i = 0; i < 10_000; i++) expect(choose()).not.toBe(pool.backends[50]);
    });

    it('draws from the backends that are up now', () => {
      const pool = large();
      const choose = strategyOn(pool, leastLoaded, inFlight);
      const random = randomNumbers(7);
      for (let i = 0; i < 2000; i++) {
        const backend = pool.backends[Math.floor(random() * pool.backends.length)]!;
        pool.setUp(backend, !backend.up);
        const chosen = choose();
        if (chosen === undefined) expect(pool.available).toEqual([]);
        else expect(pool.available).toContain(chosen);
      }
    });
  });

  it('gives the next message to the backend that has answered', async () => {
    const rig = await embed({ pipeline: [[lines], [leastLoaded]] });
    const client = rig.client();
    client.send('one\ntwo\nthree\n');
    expect(rig.backends.map((backend) => backend.text())).toEqual(['@a #1 one\n', '@b #2 two\n', '@c #3 three\n']);
    rig.backend('b').link.send('#2 done\n');
    client.send('four\n');
    expect(rig.backend('b').text()).toBe('@b #4 four\n');
    rig.stats();
    await rig.stop();
  });

  it('by latency prefers the backend that answers sooner', async () => {
    const rig = await embed({ pipeline: [[lines], [leastLoaded, latency]], backends: ['slow', 'fast'] });
    const client = rig.client();
    client.send('one\ntwo\n');
    rig.advance(10);
    rig.backend('fast').link.send('#2 done\n');
    rig.advance(90);
    rig.backend('slow').link.send('#1 done\n');
    for (const backend of rig.backends) backend.take();
    client.send('three\nfour\nfive\n');
    expect(rig.backends.map((backend) => backend.text().split('\n').length - 1)).toEqual([0, 3]);
    await rig.stop();
  });
});
