import { describe, expect, it } from 'vitest';
import { latencyBucketMs } from '../../core/pool.ts';
import { embed } from '../support/embedded.ts';
import { lines, turns } from '../support/lines.ts';
import { poolOf } from '../support/pool.ts';

const names = (pool: ReturnType<typeof poolOf>) => pool.available.map(({ name }) => name);

describe('a pool', () => {
  it('gives new work to backends that are up, ready, of some weight, and read what they are sent', () => {
    const pool = poolOf('a', 'b', 'c', ['idle', 0]);
    const [a, b, c] = pool.backends as [
      (typeof pool.backends)[0],
      (typeof pool.backends)[0],
      (typeof pool.backends)[0],
    ];
    expect(names(pool)).toEqual(['a', 'b', 'c']);
    pool.setUp(a, false);
    pool.setState(b, 'drain');
    expect(names(pool)).toEqual(['c']);
    pool.setState(c, 'maint');
    expect(names(pool)).toEqual([]);
    pool.setState(b, 'ready');
    pool.setUp(a, true);
    pool.setFull(a, true);
    expect(names(pool)).toEqual(['b']);
    pool.setFull(b, true);
    expect(names(pool)).toEqual(['a', 'b']);
  });

  it('shows a new list whenever a weight changes, so that strategies reckon anew', () => {
    const pool = poolOf('a', 'b');
    const before = pool.available;
    pool.setWeight(pool.backends[0]!, 5);
    expect(pool.available).not.toBe(before);
    pool.setWeight(pool.backends[1]!, 0);
    expect(names(pool)).toEqual(['a']);
  });
});

describe('a backend that drains', () => {
  it('gets what names it and what belongs to its sessions, and nothing new', async () => {
    const rig = await embed({ pipeline: [[lines], [turns]], links: 'shared', backends: ['a', 'b'] });
    const client = rig.client();
    client.send('!group first\n');
    expect(rig.backend('a').text()).toBe('@a #1 !group first\n');
    const pool = rig.balancer.pools[0]!;
    pool.setState(pool.byName('a')!, 'drain');
    client.send('new\n@a named\n!group again\nnew\n');
    expect(rig.backend('a').text()).toBe('@a #3 named\n@a #4 !group again\n');
    expect(rig.backend('b').text()).toBe('@b #2 new\n@b #5 new\n');
    expect(rig.stats().backends.a).toMatchObject({ state: 'drain', messages: 3 });
  });

  it('shows since when it has got nothing', async () => {
    const rig = await embed({ pipeline: [[lines], [turns]], links: 'shared', backends: ['a', 'b'] });
    const client = rig.client();
    expect(rig.stats().backends.a!.idleSeconds).toBeUndefined();
    rig.advance(1000);
    client.send('one\n');
    rig.advance(2500);
    expect(rig.stats().backends.a!.idleSeconds).toBe(2.5);
  });
});

describe('a backend in maintenance', () => {
  it('gets nothing: what names it is treated as if it were down', async () => {
    for (const whenDown of ['refuse', 'rechoose'] as const) {
      const rig = await embed({
        links: 'shared',
        pipeline: [[lines], [turns]],
        backends: ['a', 'b'],
        identifiers: { whenDown },
      });
      const client = rig.client();
      const pool = rig.balancer.pools[0]!;
      pool.setState(pool.byName('a')!, 'maint');
      client.send('@a named\n');
      expect(rig.backend('a').text()).toBe('');
      expect([client.text(), rig.backend('b').text()]).toEqual(
        whenDown === 'refuse' ? ['error backend-down\n', ''] : ['', '@b #1 named\n'],
      );
      rig.stats();
    }
  });
});

it('counts times to answer in classes, each of which holds what lies below its end and above that of the one before', () => {
  for (const milliseconds of [0, 0.06, 0.0625, 0.1, 0.99, 1, 1.24, 1.25, 7, 59_999, 200_000]) {
    const [backend] = poolOf('a').backends;
    backend!.observeLatency(milliseconds, 1);
    const bucket = backend!.latencyCounts.indexOf(1);
    expect(milliseconds).toBeLessThan(latencyBucketMs(bucket));
    if (bucket > 0) expect(milliseconds).toBeGreaterThanOrEqual(latencyBucketMs(bucket - 1));
  }
  const [backend] = poolOf('a').backends;
  for (const milliseconds of [300_000, 1e9, 1e12]) backend!.observeLatency(milliseconds, 1);
  expect(backend!.latencyCounts.at(-1)).toBe(3);
});

it('counts answers beyond 2^32', () => {
  const [backend] = poolOf('a').backends;
  backend!.latencyCounts[0] = 2 ** 32 - 1;
  backend!.observeLatency(0, 1);
  expect(backend!.latencyCounts[0]).toBe(2 ** 32);
});
