import { describe, expect, it } from 'vitest';
import { embed, type RigOptions } from '../support/embedded.ts';
import { guest, lines, turns } from '../support/lines.ts';

/** Requests that begin with `%` may be replayed. */
const replaying = ({ pool, ...options }: Partial<RigOptions> = {}) =>
  embed({
    pipeline: [[lines, { replayable: true }], [turns]],
    links: 'shared',
    backends: ['a', 'b'],
    pool: { replay: 'once', ...pool },
    ...options,
  });

describe('a request that may be replayed, when its link breaks', () => {
  it('is sent to another backend, whose answer reaches the client', async () => {
    const rig = await replaying();
    const alice = rig.client();
    alice.send('%1\n');
    expect(rig.backend('a').text()).toBe('@a #1 %1\n');
    rig.backend('a').link.reset();
    expect(rig.backend('b').text()).toBe('@b #2 %1\n');
    rig.backend('b').link.send('#2 done\n');
    expect(alice.text()).toBe('done\n');
    expect(rig.logged).toContainEqual(expect.objectContaining({ backend: 'a', requests: 1, refused: 0, replayed: 1 }));
  });

  it('stays forwarded, and is counted apart', async () => {
    const rig = await replaying();
    rig.client().send('%1\n%2\n3\n');
    rig.backend('a').link.reset();
    rig.backend('b').text();
    expect(rig.stats()).toMatchObject({
      fromClients: { received: 3, forwarded: 3, refused: 0 },
      replays: { received: 1, forwarded: 1 },
      exchanges: { open: 2, abandoned: 2, refused: 1 },
      routes: { strategy: 3, replayed: 1 },
    });
  });

  it('is sent before what had waited behind it', async () => {
    const rig = await replaying({ linkQueueBytes: 20 });
    rig.advance(2000);
    const { link } = rig.backend('a');
    link.pause();
    const alice = rig.client();
    alice.send('%1 one one one one one one\n%2\n%3\n%4\n%5\n');
    link.reset();
    rig.runtime.settle();
    const texts = [...rig.backend('b').text().matchAll(/%(\d)/g)].map(([, number]) => Number(number));
    expect(texts).toEqual([...texts].sort());
    expect(texts).toContain(1);
  });

  it('and names that backend is sent to another one only if the listener chooses anew', async () => {
    const refusing = await replaying();
    const rechoosing = await replaying({ identifiers: { whenDown: 'rechoose' } });
    for (const rig of [refusing, rechoosing]) {
      const alice = rig.client();
      alice.send('@a %1\n');
      rig.advance(2000);
      rig.backend('a').link.reset();
      const isRefusing = rig === refusing;
      expect(alice.text()).toBe(isRefusing ? 'error backend-down\n' : '');
      expect(rig.backend('b').text()).toBe(isRefusing ? '' : '@b #2 %1\n');
      expect(rig.backend('a').text()).toBe('@a #1 %1\n');
      expect(rig.stats().replays).toMatchObject(isRefusing ? { refused: 1 } : { forwarded: 1 });
    }
  });

  it('never goes back to the backend that had it, though that can be reached again', async () => {
    const rig = await replaying({ backends: ['a'] });
    rig.advance(2000);
    const alice = rig.client();
    alice.send('%1\n');
    rig.backend('a').link.reset();
    expect(rig.backend('a').links).toHaveLength(1);
    expect(rig.backend('a').text()).toBe('@a #1 %1\n');
    expect(alice.text()).toBe('error no-backend\n');
    expect(rig.stats()).toMatchObject({ exchanges: { open: 0, abandoned: 1 }, replays: { received: 1, refused: 1 } });
  });

  it('is not sent there either while it waits for another backend that cannot be reached', async () => {
    const rig = await replaying();
    rig.advance(2000);
    rig.backend('b').hang();
    rig.backend('b').link.reset();
    const alice = rig.client();
    alice.send('%1\n');
    expect(rig.backend('a').text()).toBe('@a #1 %1\n');
    rig.backend('a').link.reset();
    rig.runtime.settle();
    expect(rig.stats().replays).toMatchObject({ received: 1, held: 1 });
    rig.backend('b').down();
    rig.advance(6000);
    expect(rig.backend('a').text()).toBe('');
    expect(alice.text()).toBe('error no-backend\n');
    expect(rig.stats().replays).toMatchObject({ received: 1, refused: 1, held: 0 });
  });

  it('is replayed once: when the second backend goes away too, it is refused', async () => {
    const rig = await replaying({ backends: ['a', 'b', 'c'] });
    const alice = rig.client();
    alice.send('%1\n');
    rig.backend('a').link.reset();
    rig.runtime.settle();
    const texts = rig.backends.map((backend) => backend.text());
    const second = texts.findIndex((text) => text.includes('#2 %1'));
    expect(second).toBeGreaterThan(0);
    rig.backends[second]!.link.reset();
    expect(alice.text()).toBe('error backend-lost %1\n');
    for (const backend of rig.backends) expect(backend.text()).toBe('');
    expect(rig.stats()).toMatchObject({
      exchanges: { open: 0, abandoned: 2, refused: 1 },
      replays: { received: 1, forwarded: 1 },
    });
  });

  it('is answered once, whatever the first backend sends on its next link', async () => {
    const rig = await replaying();
    const alice = rig.client();
    rig.advance(2000);
    alice.send('%1\n');
    rig.backend('a').link.reset();
    rig.backend('a').link.send('#1 late\n#2 stolen\n');
    rig.backend('b').link.send('#2 done\n#2 twice\n');
    expect(alice.text()).toBe('done\n');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'no-destination': 3 });
  });

  it('is left alone when its client has gone', async () => {
    const rig = await replaying();
    const alice = rig.client();
    alice.send('%1\n');
    alice.reset();
    rig.backend('a').link.reset();
    expect(rig.backend('b').text()).toBe('');
    expect(rig.stats()).toMatchObject({ exchanges: { abandoned: 1, refused: 0 }, replays: { received: 0 } });
  });

  it('shows in its reason, so that plugins can mark it', async () => {
    const reasons: unknown[] = [];
    const watcher = guest((hooks) => hooks.forward.tap('guest', ({ reason }) => void reasons.push(reason)));
    const rig = await replaying({ pipeline: [[lines, { replayable: true }], [turns], [watcher]] });
    rig.client().send('%1\n');
    rig.backend('a').link.reset();
    rig.runtime.settle();
    expect(reasons).toEqual(['strategy', 'replayed']);
  });
});

describe('the memory of replayable requests', () => {
  it('is bounded: what finds no room is refused at once when its link breaks', async () => {
    const rig = await replaying({ pool: { replayBytes: 10 } });
    const alice = rig.client();
    alice.send('%12345\n');
    alice.send('x\n');
    alice.send('%6789\n');
    rig.runtime.settle();
    expect(rig.balancer.pools[0]!.keptBytes).toBe(7);
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('error backend-lost %6789\n');
    expect(rig.backend('b').text()).toContain('%12345\n');
    expect(rig.balancer.pools[0]!.keptBytes).toBe(0);
  });

  it('is given back with the answer, and when nobody waits any more', async () => {
    const rig = await replaying({ limits: { replySeconds: 5 } });
    const alice = rig.client();
    alice.send('%1\n%2\n');
    expect(rig.balancer.pools[0]!.keptBytes).toBe(6);
    rig.backend('a').link.send('#1 done\n');
    rig.runtime.settle();
    expect(rig.balancer.pools[0]!.keptBytes).toBe(3);
    rig.advance(7000);
    expect(rig.balancer.pools[0]!.keptBytes).toBe(0);
  });

  it('keeps nothing unless the pool says so', async () => {
    const rig = await replaying({ pool: { replay: 'never' } });
    const alice = rig.client();
    alice.send('%1\n');
    rig.runtime.settle();
    expect(rig.balancer.pools[0]!.keptBytes).toBe(0);
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('error backend-lost %1\n');
  });
});
