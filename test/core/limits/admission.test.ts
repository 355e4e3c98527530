import { describe, expect, it } from 'vitest';
import { embed, type RigOptions } from '../../support/embedded.ts';
import { lines, turns } from '../../support/lines.ts';

const shared = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines], [turns]], links: 'shared', backends: ['a', 'b'], ...options });

const ids = (text: string) => [...text.matchAll(/#(\d+) /g)].map(([, id]) => id!);

describe('a limited rate', () => {
  it('refuses what comes too fast, and lets in what the rate allows again', async () => {
    const rig = await shared({ limits: { messagesPerSecond: 10, burstMessages: 4, reservedPercent: 0 } });
    const [alice, bob] = [rig.client('198.51.100.1'), rig.client('198.51.100.2')];
    alice.send('1\n2\n3\n');
    bob.send('4\n5\n');
    expect(bob.text()).toBe('error rate-limited\n');
    rig.advance(100);
    bob.send('6\n7\n');
    expect(bob.text()).toBe('error rate-limited\n');
    expect(rig.stats().fromClients).toMatchObject({ received: 7, forwarded: 5, refusedFor: { 'rate-limited': 2 } });
  });

  it('of an address is that of all its clients, and of no others', async () => {
    const limits = { messagesPerSecondPerAddress: 10, burstMessagesPerAddress: 2, reservedPercent: 0 };
    const rig = await shared({ limits });
    const [alice, twin, bob] = [rig.client('198.51.100.1'), rig.client('198.51.100.1'), rig.client('198.51.100.2')];
    alice.send('1\n2\n3\n');
    twin.send('4\n');
    bob.send('5\n6\n');
    expect([alice.text(), twin.text(), bob.text()]).toEqual(['error rate-limited\n', 'error rate-limited\n', '']);
  });

  it('of an address is not lifted by connecting again', async () => {
    const limits = { messagesPerSecondPerAddress: 1, burstMessagesPerAddress: 3, reservedPercent: 0, replySeconds: 1 };
    const rig = await shared({ limits });
    const alice = rig.client();
    alice.send('1\n2\n3\n');
    alice.reset();
    rig.advance(900); // longer than it takes to forget whoever has nothing left to be known of
    const again = rig.client();
    again.send('4\n');
    expect(again.text()).toBe('error rate-limited\n');
  });

  it('of a pool is shared by all, and that of a backend sends new work elsewhere', async () => {
    const rig = await shared({
      pool: { limits: { messagesPerSecond: 5 }, backendLimits: { messagesPerSecond: 1, burstMessages: 2 } },
      limits: { reservedPercent: 0 },
    });
    const alice = rig.client();
    alice.send('@a 1\n@a 2\n@a 3\n');
    expect(alice.text()).toBe('error overloaded\n');
    alice.send('4\n5\n');
    expect(ids(rig.backend('b').text())).toHaveLength(2);
    alice.send('6\n');
    expect(alice.text()).toBe('error rate-limited\n');
  });
});

describe('limited requests in flight', () => {
  it('of a backend send new work elsewhere, and refuse it when there is no room', async () => {
    const rig = await shared({ pool: { backendLimits: { inFlight: 2 } } });
    const alice = rig.client();
    alice.send('@a 1\n@a 2\n');
    alice.send('3\n4\n5\n');
    expect(ids(rig.backend('a').text())).toHaveLength(2);
    expect(ids(rig.backend('b').text())).toHaveLength(2);
    expect(alice.text()).toBe('error overloaded\n');
    rig.backend('b').link.send('#3 done\n');
    alice.send('6\n');
    expect(alice.text()).toBe('done\n');
    expect(rig.stats().backends).toMatchObject({ a: { inFlight: 2 }, b: { inFlight: 2 } });
  });

  it('of one backend stand instead of those of its pool', async () => {
    const rig = await shared({
      backends: [{ name: 'a', limits: { inFlight: 3 } }],
      pool: { backendLimits: { inFlight: 1 } },
    });
    const alice = rig.client();
    alice.send('1\n2\n3\n4\n');
    expect(alice.text()).toBe('error overloaded\n');
  });

  it('of the pool count all backends together', async () => {
    const rig = await shared({ pool: { limits: { inFlight: 3 } } });
    const alice = rig.client();
    alice.send('1\n2\n3\n4\n@a 5\n');
    expect(alice.text()).toBe('error overloaded\n'.repeat(2));
  });

  it('of an address count all its clients, also those that have gone', async () => {
    const rig = await shared({ limits: { inFlightPerAddress: 2 } });
    const [alice, bob] = [rig.client('198.51.100.1'), rig.client('198.51.100.2')];
    alice.send('1\n2\n');
    alice.reset();
    const again = rig.client('198.51.100.1');
    again.send('3\n');
    bob.send('4\n');
    expect([again.text(), bob.text()]).toEqual(['error overloaded\n', '']);
    rig.backend('a').link.send('#1 done\n');
    again.send('5\n');
    expect(again.text()).toBe('');
  });

  it('leave their last part to what carries an identifier', async () => {
    const each: Partial<RigOptions>[] = [
      { limits: { inFlight: 10, reservedPercent: 20 } },
      { limits: { inFlightPerAddress: 10, reservedPercent: 20 } },
      { pool: { limits: { inFlight: 10 } }, limits: { reservedPercent: 20 } },
      { pool: { backendLimits: { inFlight: 10 } }, limits: { reservedPercent: 20 }, backends: ['a'] },
      { limits: { messagesPerSecond: 10, reservedPercent: 20 } },
    ];
    for (const options of each) {
      const rig = await shared(options);
      const alice = rig.client();
      alice.send('x\n'.repeat(9));
      expect(alice.text()).toMatch(/^error (overloaded|rate-limited)\n$/);
      alice.send('@a x\n@a x\n');
      expect(alice.text()).toBe('');
      alice.send('@a x\n');
      expect(alice.text()).toMatch(/^error (overloaded|rate-limited)\n$/);
    }
  });

  it('of load let pass what answers a backend', async () => {
    const rig = await shared({ pool: { limits: { inFlight: 2 }, backendLimits: { inFlight: 1 } } });
    const alice = rig.client();
    alice.send('1\n2\n@a =3\n@a 4\n');
    expect(rig.backend('a').text()).toBe('@a #1 1\n@a #3 =3\n');
    expect(alice.text()).toBe('error overloaded\n');
  });

  it('do not turn back what a backend sends', async () => {
    const rig = await shared({ limits: { messagesPerSecond: 2 } });
    const alice = rig.client();
    alice.send('1\n2\n');
    rig.backend('a').link.send('#1 done\n');
    rig.backend('b').link.send('#2 done\n');
    expect(alice.text()).toBe('done\ndone\n');
  });
});

describe('dedicated links', () => {
  it('of a backend are as many as its limit says; further clients go elsewhere', async () => {
    const rig = await embed({
      pipeline: [[lines, { shared: false }], [turns]],
      links: 'dedicated',
      backends: ['a', 'b'],
      pool: { backendLimits: { connections: 1 } },
    });
    const [alice, bob, carol] = [rig.client(), rig.client(), rig.client()];
    alice.send('@a 1\n');
    bob.send('2\n');
    expect(rig.backend('b').text()).toBe('@b 2\n');
    carol.send('3\n');
    expect(carol.text()).toBe('error overloaded\n');
    alice.send('4\n');
    expect(rig.backend('a').text()).toContain('4');
    alice.end();
    rig.backend('a').link.end();
    rig.advance(10);
    carol.send('5\n');
    expect(rig.backend('a').text()).toContain('5');
  });
});

describe('dedicated links of a pool', () => {
  it('are as many as its limit says, whichever backends they lead to; who has one goes on with it', async () => {
    const rig = await embed({
      pipeline: [[lines, { shared: false }], [turns]],
      links: 'dedicated',
      backends: ['a', 'b'],
      pool: { limits: { connections: 2 } },
    });
    const [alice, bob, carol] = [rig.client(), rig.client(), rig.client()];
    alice.send('1\n');
    bob.send('2\n');
    carol.send('3\n@a 4\n');
    expect(carol.text()).toBe('error overloaded\n'.repeat(2));
    // Its turn is that of the other backend, to which there is no link and may be none.
    alice.send('5\n6\n@a 7\n');
    expect(rig.backend('a').text()).toBe('@a 1\n@a 5\n@a 6\n@a 7\n');
    expect(alice.text()).toBe('');
    bob.reset();
    rig.advance(10);
    carol.send('8\n');
    expect(carol.text()).toBe('');
  });

  it('are counted no more when they have closed, in whatever way', async () => {
    const rig = await embed({
      pipeline: [[lines, { shared: false }], [turns]],
      links: 'dedicated',
      backends: ['a', 'b'],
      pool: { limits: { connections: 1 }, connectSeconds: 1 },
    });
    const pool = rig.balancer.pools[0]!;
    rig.client().send('@a 1\n');
    expect(pool.dedicatedLinks).toBe(1);
    rig.backend('a').link.reset();
    expect(pool.dedicatedLinks).toBe(0);
    rig.backend('b').hang();
    rig.client().send('@b 2\n');
    expect(pool.dedicatedLinks).toBe(1);
    rig.advance(2000);
    expect(pool.dedicatedLinks).toBe(0);
  });
});

describe('new requests that no backend has room for', () => {
  const queueing = (options: Partial<RigOptions> = {}) =>
    shared({ backends: ['a'], ...options, pool: { backendLimits: { inFlight: 1 }, queueSeconds: 2, ...options.pool } });

  it('wait, and are sent in their order as answers make room', async () => {
    const rig = await queueing();
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('1\n2\n');
    bob.send('3\n');
    expect(rig.stats()).toMatchObject({ queued: 2, fromClients: { received: 3, forwarded: 1, held: 2 } });
    for (const id of [1, 2, 3]) {
      expect(rig.backend('a').text()).toMatch(new RegExp(`#${id} ${id}\n$`));
      rig.backend('a').link.send(`#${id} done ${id}\n`);
    }
    expect([alice.text(), bob.text()]).toEqual(['done 1\ndone 2\n', 'done 3\n']);
    expect(rig.stats()).toMatchObject({ queued: 0, fromClients: { received: 3, forwarded: 3, held: 0 } });
  });

  it('are refused when they have waited as long as the pool says', async () => {
    const rig = await queueing();
    const alice = rig.client();
    alice.send('1\n2\n');
    rig.advance(1900);
    expect(alice.text()).toBe('');
    rig.advance(200);
    expect(alice.text()).toBe('error overloaded\n');
    expect(rig.stats()).toMatchObject({ queued: 0, fromClients: { refused: 1, held: 0 } });
  });

  it('let pass what carries an identifier', async () => {
    const rig = await queueing({ pool: { backendLimits: { inFlight: 10 } }, limits: { reservedPercent: 20 } });
    const alice = rig.client();
    alice.send(`${'x\n'.repeat(10)}@a y\n`);
    expect(rig.backend('a').text()).toContain('y');
    expect(rig.stats().queued).toBe(2);
  });

  it('are as many as the pool allows, in number and in bytes', async () => {
    for (const pool of [{ queueRequests: 2 }, { queueBytes: 10 }]) {
      const rig = await queueing({ pool });
      const alice = rig.client();
      alice.send('1\n1234\n5678\n90\n');
      expect(alice.text()).toBe('error overloaded\n');
      expect(rig.stats().queued).toBe(2);
    }
  });

  it('keep their client from being closed, and go with it', async () => {
    const rig = await queueing();
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('1\n');
    bob.send('2\n');
    bob.end();
    rig.runtime.settle();
    expect(bob.closed).toBe(false);
    rig.backend('a').link.send('#1 done\n');
    rig.backend('a').link.send('#2 done\n');
    expect(bob.text()).toBe('done\n');
    expect(bob.closed).toBe(true);

    alice.send('3\n4\n');
    alice.reset();
    rig.advance(100);
    expect(rig.stats()).toMatchObject({ queued: 0, fromClients: { held: 0, discardedFor: { 'client-gone': 1 } } });
  });

  it('are discarded when the balancer stops, and leave no timer', async () => {
    const rig = await queueing();
    rig.client().send('1\n2\n3\n');
    rig.runtime.settle();
    await rig.stop();
    expect(rig.balancer.stats().listeners.edge).toMatchObject({
      queued: 0,
      fromClients: { held: 0, discardedFor: { stopping: 2 } },
    });
    expect(rig.runtime.timers).toBe(0);
  });

  it('go to a backend that takes over when theirs breaks', async () => {
    const rig = await queueing({ backends: ['a', 'b'] });
    const alice = rig.client();
    alice.send('1\n2\n3\n');
    expect(rig.stats().queued).toBe(1);
    rig.advance(1500);
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('error backend-lost 1\n');
    rig.advance(40);
    expect(rig.stats().queued).toBe(0);
    expect(rig.backend('a').text()).toContain(' 3\n');
  });
});
