import { type Check, definePlugin, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { parseAddress } from '../../../core/runtime/address.ts';
import tcpConnect from '../../../plugins/checks/tcp-connect.ts';
import { checked } from '../../support/checks.ts';

const checkOf = (check: Check) =>
  definePlugin({ name: 'toy', summary: 'A toy.', pointsman: '^1', options: Type.Object({}), check: () => check });

/** Asks "?" and wants "!". */
const question = checkOf({
  onOpen: (attempt) => attempt.send(Buffer.from('?')),
  onBytes(attempt, received) {
    if (received.toString() === '!') attempt.pass();
    if (received.toString() === 'no') attempt.fail('it said no');
  },
});

describe('a backend that is checked', () => {
  it('fails after as many failures in a row as `fall` says, and passes after as many successes as `rise` says', () => {
    const { runner, backends, pool, advance } = checked([[tcpConnect, { rise: 2, fall: 3 }]]);
    const [a] = pool.backends;
    runner.start();
    expect(advance(1500)).toEqual([]);
    backends[0]!.down();
    expect(advance(2000)).toEqual([]);
    expect(advance(1000)).toEqual(['a fails: tcp-connect: connect ECONNREFUSED']);
    expect([a!.passing, a!.isUsable, a!.up]).toEqual([false, false, true]);
    expect(pool.available.map(({ name }) => name)).toEqual(['b']);
    backends[0]!.up();
    expect(advance(1000)).toEqual([]);
    expect(advance(1000)).toEqual(['a passes']);
    expect(a!.isUsable).toBe(true);
    expect(a!.checks).toEqual({ passed: 4, failed: 3, last: 'tcp-connect: passed in 0 ms' });
  });

  it('is believed at once the first time', () => {
    const { runner, backends, advance } = checked([[tcpConnect, { fall: 3 }]]);
    backends[1]!.down();
    runner.start();
    expect(advance(100)).toEqual(['b fails: tcp-connect: connect ECONNREFUSED']);
  });

  it('begins to count anew when one answer differs', () => {
    const { runner, backends, advance } = checked([[tcpConnect, { fall: 2 }]]);
    runner.start();
    advance(500);
    for (let round = 0; round < 3; round++) {
      backends[0]!.down();
      expect(advance(1000)).toEqual([]);
      backends[0]!.up();
      expect(advance(1000)).toEqual([]);
    }
  });

  it('must pass all of its checks', () => {
    const { runner, backends, advance } = checked([
      [tcpConnect, { rise: 1, fall: 1 }],
      [question, { rise: 1, fall: 1 }],
    ]);
    runner.start();
    expect(advance(600)).toEqual(['a fails: toy: no answer within 0.5 s', 'b fails: toy: no answer within 0.5 s']);
    advance(500);
    backends[0]!.links[0]!.send('!');
    expect(advance(0)).toEqual(['a passes']);
  });

  it('is asked on a connection of its own, which is closed when there is an answer', () => {
    const { runner, backends, advance } = checked([[question]]);
    runner.start();
    advance(100);
    expect(backends[0]!.link.text()).toBe('?');
    backends[0]!.link.send('!');
    advance(0);
    expect(backends[0]!.links).toEqual([]);
    advance(1000);
    expect(backends[0]!.wires.length).toBe(2);
  });

  it.each([
    ['says what is wrong', (send: (text: string) => void) => send('no'), 'it said no, but "no"'],
    [
      'answers something else',
      (send: (text: string) => void) => send('busy\u0000\r\nlater'),
      'no answer within 0.5 s, but "busy·"',
    ],
    [
      'answers without end',
      (send: (text: string) => void) => send('x'.repeat(70_000)),
      `more than 65536 bytes, and not the answer, but "${'x'.repeat(59)}…"`,
    ],
  ])('fails when it %s', (_when, answer, error) => {
    const { runner, backends, advance } = checked([[question]]);
    runner.start();
    advance(100);
    backends[1]!.link.send('!');
    answer((text) => backends[0]!.link.send(text));
    expect(advance(500)).toEqual([`a fails: toy: ${error}`]);
  });

  it('fails when it closes or resets the connection, or lets the connect hang', () => {
    for (const [fault, error] of [
      ['end', 'closed before it had answered'],
      ['reset', 'read ECONNRESET'],
      ['hang', 'no answer within 0.5 s'],
    ] as const) {
      const { runner, backends, advance } = checked([[question]]);
      if (fault === 'hang') backends[0]!.hang();
      runner.start();
      advance(100);
      backends[1]!.link.send('!');
      if (fault !== 'hang') backends[0]!.link[fault]();
      expect(advance(500)).toEqual([`a fails: toy: ${error}`]);
    }
  });

  it('is not asked in maintenance, and keeps what was known', () => {
    const { runner, backends, pool, advance } = checked([[tcpConnect, { fall: 1 }]]);
    runner.start();
    advance(500);
    pool.setState(pool.backends[0]!, 'maint');
    backends[0]!.down();
    expect(advance(10_000)).toEqual([]);
    pool.setState(pool.backends[0]!, 'ready');
    expect(advance(1000)).toEqual(['a fails: tcp-connect: connect ECONNREFUSED']);
  });

  it('is checked on another port if the check says so', () => {
    const { runner, runtime, advance } = checked([[tcpConnect, { port: 9000 }]]);
    let connects = 0;
    runtime.servers.set('tcp://127.0.0.1:9000', () => {
      connects++;
      return 'accept';
    });
    runner.start();
    expect(advance(100)).toEqual([]);
    expect(connects).toBe(2);
  });

  it('gets the header of the PROXY protocol that its links begin with', () => {
    const { runner, backends, advance } = checked([[question]], { proxyProtocol: 'v1' });
    runner.start();
    advance(100);
    expect(backends[0]!.link.text()).toBe('PROXY UNKNOWN\r\n?');
  });
});

it('leaves no timer and no connection behind when it stops', () => {
  const { runner, runtime, backends, advance } = checked([[question], [tcpConnect]]);
  runner.start();
  advance(100);
  expect(backends[0]!.links.length).toBe(1);
  runner.stop();
  expect(advance(0)).toEqual([]);
  expect([runtime.timers, backends[0]!.links.length]).toEqual([0, 0]);
});

it('spreads attempts over the interval by the jitter', () => {
  const { runner, runtime, pool, advance } = checked([[tcpConnect, { jitterPercent: 50, intervalSeconds: 10 }]], {
    backends: Array.from({ length: 50 }, (_, index) => ({
      name: `b${index}`,
      address: parseAddress(`tcp://127.0.0.1:${8000 + index}`),
      weight: 1,
    })),
  });
  const at = new Map<number, number[]>();
  for (const { address } of pool.backends) {
    runtime.servers.set(`tcp://127.0.0.1:${address.port}`, () => {
      at.set(address.port, [...(at.get(address.port) ?? []), runtime.now()]);
      return 'accept';
    });
  }
  runner.start();
  advance(100_000);
  const firsts = [...at.values()].map(([first]) => first!);
  expect(Math.max(...firsts)).toBeLessThanOrEqual(5000);
  expect(Math.max(...firsts) - Math.min(...firsts)).toBeGreaterThan(2500);
  const gaps = [...at.values()].flatMap((times) => times.slice(1).map((time, index) => time - times[index]!));
  expect(Math.min(...gaps)).toBeGreaterThanOrEqual(5000);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(15_000);
  expect(Math.max(...gaps) - Math.min(...gaps)).toBeGreaterThan(5000);
});

it('names the plugin that throws, and counts that as a failure', () => {
  const { runner, errors, advance } = checked([
    [
      checkOf({
        onOpen() {
          throw new Error('oops');
        },
      }),
    ],
  ]);
  runner.start();
  expect(advance(100)).toEqual(['a fails: toy: [toy] check.onOpen: oops', 'b fails: toy: [toy] check.onOpen: oops']);
  expect(errors[0]).toBe('[toy] check.onOpen: oops');
});
