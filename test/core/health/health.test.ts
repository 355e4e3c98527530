import { describe, expect, it } from 'vitest';
import { Health } from '../../../core/health/health.ts';
import type { BackendNews } from '../../../core/links.ts';
import { Pool } from '../../../core/pool.ts';
import { VirtualRuntime } from '../../../core/runtime/virtual.ts';
import type { PoolSettings } from '../../../core/settings.ts';
import tcpConnect from '../../../plugins/checks/tcp-connect.ts';
import { embed, optionsOf, type RigOptions } from '../../support/embedded.ts';
import { lines, turns } from '../../support/lines.ts';
import { poolSettings } from '../../support/pool.ts';

/** A balancer of lines with shared links. */
const balance = (pool: Partial<PoolSettings>, more: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines], [turns]], links: 'shared', pool, ...more });

type Rig = Awaited<ReturnType<typeof balance>>;

const available = (rig: Rig) => rig.balancer.pools[0]!.available.map(({ name }) => name);
const poolOf = (rig: Rig) => rig.balancer.pools[0]!;
const backendOf = (rig: Rig, name: string) => poolOf(rig).byName(name)!;

const check = (options: object) => ({
  plugin: tcpConnect,
  options: {},
  timing: optionsOf(tcpConnect, options) as never,
});

describe('checks of a balancer', () => {
  it('begin when it has started, and end when it stops', async () => {
    const rig = await balance({ checks: [check({ jitterPercent: 0 })] });
    rig.advance(5000);
    expect(rig.stats().backends.a).toMatchObject({ passing: true, checks: { passed: 3, failed: 0 } });
    await rig.stop();
    const { timers } = rig.runtime;
    rig.advance(60_000);
    expect([timers, rig.balancer.listeners[0]!.stats().backends.a!.checks.passed]).toEqual([0, 3]);
  });

  it('keep messages from a backend that fails them, also those that name it', async () => {
    const rig = await balance({ checks: [check({ jitterPercent: 0, fall: 1, port: 9000 })] });
    for (const host of ['10.0.0.1', '10.0.0.2']) rig.runtime.servers.set(`tcp://${host}:9000`, () => 'accept');
    rig.advance(1);
    // Nothing listens on port 9000 of c.
    expect(rig.stats().backends.c).toMatchObject({ up: true, passing: false, links: 1 });
    expect(rig.logged).toEqual([
      { level: 'warn', backend: 'c', error: 'tcp-connect: connect ECONNREFUSED', text: 'backend fails its checks' },
    ]);
    const client = rig.client();
    client.send('@c named\none\ntwo\nthree\n');
    expect(client.text()).toBe('error backend-down\n');
    expect(rig.backend('c').text()).toBe('');
  });
});

describe('slow start', () => {
  it('gives a backend that has recovered ever more of its weight', async () => {
    const rig = await balance({ slowStartSeconds: 10 }, { backends: ['a', { name: 'b', weight: 4 }] });
    const b = backendOf(rig, 'b');
    expect(b.weight).toBe(4);
    poolOf(rig).setUp(b, false);
    rig.advance(1000);
    poolOf(rig).setUp(b, true);
    expect(b.weight).toBeCloseTo(0.4);
    const before = poolOf(rig).available;
    rig.advance(1000);
    expect(poolOf(rig).available).not.toBe(before);
    expect(rig.stats().backends.b!.weight).toBe(0.8);
    rig.advance(7500);
    expect(b.weight).toBeCloseTo(3.6);
    poolOf(rig).setWeight(b, 2);
    expect(b.weight).toBeCloseTo(1.8);
    rig.advance(1000);
    expect(b.weight).toBe(2);
  });

  it('begins anew when the backend fails again meanwhile', async () => {
    const rig = await balance({ slowStartSeconds: 10 });
    const a = backendOf(rig, 'a');
    const flap = () => {
      poolOf(rig).setPassing(a, false);
      poolOf(rig).setPassing(a, true);
    };
    flap();
    rig.advance(5500);
    expect(a.weight).toBeCloseTo(0.6);
    flap();
    expect(a.weight).toBeCloseTo(0.1);
    rig.advance(9000);
    expect(a.weight).toBe(1);
  });

  it('is not for backends that are there from the beginning, nor without the option', async () => {
    const rig = await balance({ slowStartSeconds: 10 });
    expect(backendOf(rig, 'a').weight).toBe(1);
    const other = await balance({});
    other.backend('a').down();
    other.backend('a').up();
    other.advance(30_000);
    expect(backendOf(other, 'a').weight).toBe(1);
  });
});

describe('priorities', () => {
  const backends = ['a', 'b', { name: 'c', priority: 1 }, { name: 'd', priority: 2 }];

  it('keep backups for when no backend before them is healthy', async () => {
    const rig = await balance({}, { backends });
    expect(available(rig)).toEqual(['a', 'b']);
    poolOf(rig).setUp(backendOf(rig, 'a'), false);
    expect(available(rig)).toEqual(['b']);
    poolOf(rig).setPassing(backendOf(rig, 'b'), false);
    expect(available(rig)).toEqual(['c']);
    poolOf(rig).setState(backendOf(rig, 'c'), 'drain');
    expect(available(rig)).toEqual(['d']);
    poolOf(rig).setUp(backendOf(rig, 'a'), true);
    expect(available(rig)).toEqual(['a']);
  });

  it('add backups when fewer than `minimumUp` are healthy before them', async () => {
    const rig = await balance({ minimumUp: 2 }, { backends });
    expect(available(rig)).toEqual(['a', 'b']);
    poolOf(rig).setUp(backendOf(rig, 'a'), false);
    expect(available(rig)).toEqual(['b', 'c']);
    poolOf(rig).setUp(backendOf(rig, 'b'), false);
    expect(available(rig)).toEqual(['c', 'd']);
  });

  it('do not matter to messages that name a backup', async () => {
    const rig = await balance({}, { backends });
    rig.client().send('@d named\n');
    expect(rig.backend('d').text()).toBe('@d #1 named\n');
  });
});

describe('panic', () => {
  it('ignores checks when fewer backends are healthy than the pool says, but gives nothing to who cannot be reached', async () => {
    const rig = await balance({ panicPercent: 50 }, { backends: ['a', 'b', 'c', 'd'] });
    for (const name of ['a', 'b']) poolOf(rig).setPassing(backendOf(rig, name), false);
    expect(available(rig)).toEqual(['c', 'd']);
    poolOf(rig).setUp(backendOf(rig, 'c'), false);
    expect(available(rig)).toEqual(['a', 'b', 'd']);
    expect(rig.logged.at(-1)).toMatchObject({
      backends: 3,
      text: 'too few backends are healthy: checks and ejections are ignored',
    });
    rig.client().send('@a named\n');
    expect(rig.backend('a').text()).toBe('@a #1 named\n');
    poolOf(rig).setPassing(backendOf(rig, 'a'), true);
    expect(available(rig)).toEqual(['a', 'd']);
  });

  it('does not happen unless the pool says so', async () => {
    const rig = await balance({}, { backends: ['a', 'b'] });
    for (const name of ['a', 'b']) poolOf(rig).setPassing(backendOf(rig, name), false);
    expect(available(rig)).toEqual([]);
  });
});

const nothing = () => {};
const quiet = { debug: nothing, info: nothing, warn: nothing, error: nothing };
const tellTo =
  (told: string[]) =>
  ({ backend, aspect, up }: BackendNews) =>
    void told.push(`${backend} ${aspect} ${up}`);

/** The health of a pool of a and b, and what it tells. */
function watch(settings: Partial<PoolSettings>) {
  const runtime = new VirtualRuntime();
  const pool = new Pool({ ...poolSettings('a', 'b'), ...settings });
  const told: string[] = [];
  const health = new Health(pool, { runtime, log: quiet, onBackendNews: tellTo(told) });
  health.start();
  const advance = (milliseconds: number) => {
    runtime.advance(milliseconds);
    return told.splice(0);
  };
  return { runtime, pool, a: pool.backends[0]!, health, told, advance };
}

describe('a backend that drains', () => {
  it('is said to have drained, once, when it has had no message for a while', () => {
    const { runtime, pool, a, advance } = watch({ drainedSeconds: 10 });
    pool.setState(a, 'drain');
    expect(advance(9000)).toEqual(['a drain false']);
    a.lastMessageAtMs = runtime.now();
    expect(advance(9999)).toEqual([]);
    expect(advance(1)).toEqual(['a drain true']);
    a.lastMessageAtMs = runtime.now();
    expect(advance(100_000)).toEqual([]);
    expect(runtime.timers).toBe(0);
  });

  it('has not drained as long as it owes an answer', () => {
    const { runtime, pool, a, advance } = watch({ drainedSeconds: 10 });
    a.inFlight = 1;
    pool.setState(a, 'drain');
    expect(advance(30_000)).toEqual(['a drain false']);
    expect(a.hasDrained(runtime.now())).toBe(false);
    a.inFlight = 0;
    expect(a.hasDrained(runtime.now())).toBe(true);
    expect(advance(1000)).toEqual(['a drain true']);
  });

  it('has drained no more when somebody comes back to it, until it has been quiet again', () => {
    const { runtime, pool, a, advance } = watch({ drainedSeconds: 10 });
    pool.setState(a, 'drain');
    advance(10_000);
    a.lastMessageAtMs = runtime.now();
    advance(9999);
    expect(a.hasDrained(runtime.now())).toBe(false);
    advance(1);
    expect(a.hasDrained(runtime.now())).toBe(true);
    pool.setState(a, 'ready');
    expect(a.hasDrained(runtime.now())).toBe(false);
  });

  it('is forgotten when it is ready again', () => {
    const { runtime, pool, a, advance } = watch({});
    pool.setState(a, 'drain');
    pool.setState(a, 'ready');
    expect(advance(100_000)).toEqual(['a drain false']);
    expect(runtime.timers).toBe(0);
  });

  it('may do so from the beginning, as its config says', () => {
    const { backends } = poolSettings('a', 'b');
    const { advance } = watch({ drainedSeconds: 1, backends: [{ ...backends[0]!, state: 'drain' }, backends[1]!] });
    expect(advance(1000)).toEqual(['a drain false', 'a drain true']);
  });

  it('takes no timer along when the balancer stops', () => {
    const { runtime, pool, a, health, advance } = watch({ slowStartSeconds: 10 });
    pool.setUp(a, false);
    pool.setUp(a, true);
    pool.setState(pool.backends[1]!, 'drain');
    health.stop();
    expect([runtime.timers, advance(100_000)]).toEqual([0, ['b drain false']]);
  });
});

describe('when another config takes over', () => {
  /** Has the health of a pool looked after under other settings from now on, as a reload does. */
  function reload({ pool, runtime, health, told }: ReturnType<typeof watch>, settings: Partial<PoolSettings>) {
    health.stop();
    Object.assign(pool.settings, settings);
    const next = new Health(pool, { runtime, log: quiet, onBackendNews: tellTo(told) });
    next.start();
    return next;
  }

  it('a slow start goes on, or is over where there is none any more', () => {
    const rig = watch({ slowStartSeconds: 10 });
    rig.pool.setUp(rig.a, false);
    rig.pool.setUp(rig.a, true);
    rig.advance(3000);
    expect(rig.a.weight).toBeCloseTo(0.4);
    rig.health = reload(rig, { slowStartSeconds: 20 });
    expect(rig.a.weight).toBeCloseTo(0.4);
    rig.advance(2000);
    expect(rig.a.weight).toBeCloseTo(0.5);
    rig.health = reload(rig, { slowStartSeconds: undefined });
    expect([rig.a.weight, rig.runtime.timers]).toEqual([1, 0]);
  });

  it('a backend that drains is not said again to do so, nor to have drained', () => {
    const rig = watch({ drainedSeconds: 10 });
    rig.pool.setState(rig.a, 'drain');
    rig.advance(6000);
    rig.health = reload(rig, {});
    expect(rig.advance(10_000)).toEqual(['a drain true']);
    reload(rig, {});
    expect(rig.advance(100_000)).toEqual([]);
  });

  it('what earlier checks and outliers have found is forgotten where there are none any more', () => {
    const outliers = { consecutiveFailures: 1, baseEjectionSeconds: 9, maxEjectionSeconds: 9, maxEjectedPercent: 50 };
    const rig = watch({ outliers });
    rig.pool.setPassing(rig.a, false);
    rig.pool.outliers!.failed(rig.pool.backends[1]!, 'no answer');
    rig.pool.setPassing(rig.a, true);
    rig.pool.outliers!.failed(rig.pool.backends[1]!, 'no answer');
    rig.pool.setPassing(rig.a, false);
    expect(rig.pool.available).toEqual([]);
    reload(rig, { outliers: undefined });
    expect(rig.pool.available.map(({ name }) => name)).toEqual(['a', 'b']);
    expect([rig.pool.outliers, rig.runtime.timers]).toEqual([undefined, 0]);
  });
});
