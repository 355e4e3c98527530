import { describe, expect, it } from 'vitest';
import { Outliers } from '../../../core/health/outliers.ts';
import { Pool } from '../../../core/pool.ts';
import { VirtualRuntime } from '../../../core/runtime/virtual.ts';
import type { OutlierSettings } from '../../../core/settings.ts';
import lengthPrefixed from '../../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../../plugins/protocols/ndjson.ts';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import { embed } from '../../support/embedded.ts';
import { lines, turns } from '../../support/lines.ts';
import { poolSettings } from '../../support/pool.ts';

const settings: OutlierSettings = {
  consecutiveFailures: 3,
  baseEjectionSeconds: 10,
  maxEjectionSeconds: 25,
  maxEjectedPercent: 50,
};

function watch(given: Partial<OutlierSettings> = {}, ...names: string[]) {
  const runtime = new VirtualRuntime();
  const pool = new Pool(poolSettings(...(names.length === 0 ? ['a', 'b', 'c', 'd'] : names)));
  const told: string[] = [];
  const outliers = new Outliers(pool, { ...settings, ...given }, runtime, ({ name }, error) => {
    told.push(error === undefined ? `${name} is back` : `${name}: ${error}`);
  });
  outliers.start();
  const advance = (milliseconds: number) => {
    runtime.advance(milliseconds);
    return told.splice(0);
  };
  const backend = (name: string) => pool.byName(name)!;
  const fail = (name: string, times: number) => {
    for (let time = 0; time < times; time++) outliers.failed(backend(name), 'no answer');
    return told.splice(0);
  };
  return { runtime, pool, outliers, advance, backend, fail };
}

describe('failures in a row', () => {
  it('eject a backend: it gets no new work, and keeps what names it', () => {
    const { pool, backend, fail, advance } = watch();
    expect(fail('a', 2)).toEqual([]);
    expect(fail('a', 1)).toEqual(['a: 3 failures in a row, the last: no answer; for 10 s']);
    expect(pool.available.map(({ name }) => name)).toEqual(['b', 'c', 'd']);
    expect([backend('a').isUsable, backend('a').isHealthy, backend('a').ejections]).toEqual([true, false, 1]);
    expect(advance(9999)).toEqual([]);
    expect(advance(1)).toEqual(['a is back']);
    expect(pool.available.length).toBe(4);
  });

  it('begin anew with a success, and after an ejection', () => {
    const { outliers, backend, fail, advance } = watch();
    fail('a', 2);
    outliers.succeeded(backend('a'));
    expect(fail('a', 2)).toEqual([]);
    expect(fail('a', 1).length).toBe(1);
    advance(10_000);
    expect(fail('a', 2)).toEqual([]);
  });

  it('eject for longer each time, up to a maximum, until the backend has been good for long', () => {
    const { fail, advance } = watch();
    expect(fail('a', 3)[0]).toContain('for 10 s');
    advance(10_000);
    expect(fail('a', 3)[0]).toContain('for 20 s');
    advance(20_000);
    expect(fail('a', 3)[0]).toContain('for 25 s');
    advance(25_000);
    advance(24_999);
    expect(fail('a', 3)[0]).toContain('for 25 s');
    advance(25_000);
    advance(25_000);
    expect(fail('a', 3)[0]).toContain('for 10 s');
  });

  it('count links that break together once', () => {
    const { outliers, backend, advance } = watch();
    const breakOff = () => {
      for (let link = 0; link < 10; link++) outliers.broke(backend('a'), 'read ECONNRESET');
    };
    breakOff();
    advance(1000);
    breakOff();
    expect(advance(1000)).toEqual([]);
    breakOff();
    expect(advance(0)).toEqual(['a: 3 failures in a row, the last: read ECONNRESET; for 10 s']);
  });

  it('eject none where the pool says 0', () => {
    expect(watch({ consecutiveFailures: 0 }).fail('a', 100)).toEqual([]);
  });
});

describe('of the backends', () => {
  it('at most a share is ejected at once; who fails on follows when there is room', () => {
    const { fail, advance } = watch();
    fail('a', 3);
    expect(fail('b', 3).length).toBe(1);
    expect(fail('c', 3)).toEqual([]);
    expect(advance(10_000)).toEqual(['a is back', 'b is back']);
    expect(fail('c', 1).length).toBe(1);
  });

  it('one may be ejected however small the share, but not the last that is healthy', () => {
    const small = watch({ maxEjectedPercent: 0 }, 'a', 'b');
    expect(small.fail('a', 3).length).toBe(1);
    expect(watch({ maxEjectedPercent: 100 }, 'a').fail('a', 3)).toEqual([]);
    const { pool, backend, fail } = watch({ maxEjectedPercent: 100 }, 'a', 'b', 'c');
    pool.setUp(backend('b'), false);
    pool.setState(backend('c'), 'drain');
    expect(fail('a', 3)).toEqual([]);
  });
});

describe('latencies', () => {
  /** Each backend answers ten times in that many milliseconds. */
  function answer({ outliers, backend }: ReturnType<typeof watch>, latencies: object, times = 10) {
    for (const [name, milliseconds] of Object.entries(latencies)) {
      for (let time = 0; time < times; time++) outliers.took(backend(name), milliseconds);
    }
  }

  it('eject who is slower than the median by the factor', () => {
    const rig = watch({ latencyFactor: 3 });
    answer(rig, { a: 10, b: 12, c: 14, d: 30 });
    expect(rig.advance(10_000)).toEqual([]);
    answer(rig, { a: 10, b: 12, c: 14, d: 40 });
    expect(rig.advance(10_000)).toEqual(['d: answers took 40 ms on average, with the others 12 ms; for 10 s']);
  });

  it('are those of the last ten seconds', () => {
    const rig = watch({ latencyFactor: 3 });
    answer(rig, { d: 1000 });
    rig.advance(10_000);
    answer(rig, { a: 10, b: 12, c: 14, d: 12 });
    expect(rig.advance(10_000)).toEqual([]);
  });

  it('are not compared where few have answered, or few times, or nobody is slow', () => {
    const rig = watch({ latencyFactor: 3 });
    answer(rig, { a: 10, d: 1000 });
    expect(rig.advance(10_000)).toEqual([]);
    answer(rig, { a: 10, b: 10, c: 10 });
    answer(rig, { d: 1000 }, 9);
    expect(rig.advance(10_000)).toEqual([]);
    answer(rig, { a: 0.1, b: 0.1, c: 0.1, d: 0.9 });
    expect(rig.advance(10_000)).toEqual([]);
  });

  it('are not looked at where the pool does not say so', () => {
    expect(watch().runtime.timers).toBe(0);
  });
});

it('leaves no timer behind when it stops, and goes on where it was when it starts anew', () => {
  const { runtime, pool, outliers, fail, advance, backend } = watch({ latencyFactor: 2 });
  fail('a', 3);
  advance(4000);
  outliers.stop();
  expect([runtime.timers, backend('a').ejected]).toEqual([0, true]);
  const told: string[] = [];
  const next = new Outliers(pool, settings, runtime, ({ name }, error) => void told.push(error ?? `${name} is back`));
  next.start();
  advance(5999);
  expect(told).toEqual([]);
  advance(1);
  expect(told).toEqual(['a is back']);
  for (let time = 0; time < 3; time++) next.failed(backend('a'), 'no answer');
  expect(told.at(-1)).toContain('for 20 s');
});

describe('in a balancer', () => {
  const pool = { outliers: { ...settings, consecutiveFailures: 2 } };
  const isEjected = (rig: Awaited<ReturnType<typeof embed>>, name: string) => rig.stats().backends[name]!.ejected;

  it('an answer that the protocol takes for a failure counts, and any other one begins anew', async () => {
    const rig = await embed({ pipeline: [[ndjson, { correlation: 'id' }], [roundRobin]], pool, backends: ['a', 'b'] });
    const client = rig.client();
    const ask = (answer: string) => {
      client.send('{"backend":"a","id":7}\n');
      const [id] = /"id":\d+/.exec(rig.backend('a').text())!;
      rig.backend('a').link.send(`{${id},${answer}}\n`);
      expect(client.text()).toContain(answer);
    };
    ask('"error":{"code":-32603}');
    ask('"error":{"code":-32601}');
    ask('"error":{"code":-32603}');
    ask('"error":null');
    ask('"error":{"code":-32603}');
    expect(isEjected(rig, 'a')).toBe(false);
    ask('"error":{"code":-32603}');
    expect(isEjected(rig, 'a')).toBe(true);
    expect(rig.logged).toEqual([
      {
        level: 'warn',
        backend: 'a',
        error: '2 failures in a row, the last: its answer says so; for 10 s',
        text: 'backend is ejected',
      },
    ]);
  });

  it('is seen on dedicated links as well, which else would be relayed unread', async () => {
    const failure = { codes: [] };
    const pipeline: Parameters<typeof embed>[0]['pipeline'] = [[ndjson, { stamp: [], failure }], [roundRobin]];
    const rig = await embed({ pipeline, pool, backends: ['a', 'b'] });
    rig.client().send('{"backend":"a"}\n');
    rig.backend('a').link.send('{"error":"busy"}\n{"error":"busy"}\n');
    expect(isEjected(rig, 'a')).toBe(true);
  });

  it('a field of a binary protocol may say so', async () => {
    const options = { length: { size: 1 }, id: { offset: 1, size: 1 }, failure: { offset: 2, size: 1, values: [9] } };
    const rig = await embed({ pipeline: [[lengthPrefixed, options], [roundRobin]], pool, backends: ['a', 'b'] });
    const client = rig.client();
    client.send(Buffer.from('020100', 'hex'));
    rig.backend('a').link.send(Buffer.from('020109' + '020108' + '020109' + '0101', 'hex'));
    expect(isEjected(rig, 'a')).toBe(false);
    rig.backend('a').link.send(Buffer.from('020109', 'hex'));
    expect(isEjected(rig, 'a')).toBe(true);
  });

  it('requests that are never answered count', async () => {
    const rig = await embed({ pipeline: [[lines], [turns]], links: 'shared', pool, limits: { replySeconds: 2 } });
    rig.client().send('@a one\n@a two\n');
    rig.advance(1900);
    expect(isEjected(rig, 'a')).toBe(false);
    rig.advance(1200);
    expect(isEjected(rig, 'a')).toBe(true);
  });

  it('links that break and backends that cannot be reached count', async () => {
    const rig = await embed({ pipeline: [[lines], [turns]], links: 'shared', pool });
    rig.advance(5000);
    rig.backend('a').link.reset();
    expect(isEjected(rig, 'a')).toBe(false);
    rig.advance(5000);
    rig.backend('a').down();
    expect(isEjected(rig, 'a')).toBe(true);
  });

  it('bytes that are relayed unread are a success', async () => {
    const pipeline: Parameters<typeof embed>[0]['pipeline'] = [[lines, { shared: false, relays: true }], [turns]];
    const rig = await embed({ pipeline, links: 'dedicated', pool });
    const client = rig.client();
    client.send('@a one\n');
    rig.advance(2000);
    rig.backend('a').link.reset();
    client.send('@a two\n');
    rig.backend('a').link.send('answer\n');
    rig.advance(2000);
    rig.backend('a').link.reset();
    expect(isEjected(rig, 'a')).toBe(false);
  });
});
