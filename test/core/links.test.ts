import { definePlugin, type Link, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { logBackendNews } from '../../core/links.ts';
import { embed, type RigOptions } from '../support/embedded.ts';
import { guest, lines, turns } from '../support/lines.ts';

const shared = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines], [turns]], links: 'shared', ...options });
const dedicated = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated', ...options });

/** Messages that begin with their length, one digit. */
const sized = definePlugin({
  name: 'sized',
  summary: 'Digit, then bytes.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks, _options, scope) {
    scope.protocol({ identifiers: 'text', correlates: true });
    hooks.frame.tap('sized', (bytes, start) => bytes[start]! - 0x30);
    hooks.detectId.tap('sized', (message) => (message.from === 'backend' ? first : undefined));
    let first: never;
    hooks.forward.tap('sized', (message) => {
      if (message.from === 'client') first = message.client as never;
    });
  },
});

describe('shared links', () => {
  it('are opened before the first message, one for each backend', async () => {
    const rig = await shared();
    expect(rig.backends.map((backend) => backend.links.length)).toEqual([1, 1, 1]);
    rig.client().send('@a x\n');
    rig.client().send('@a y\n');
    expect(rig.backend('a').links).toHaveLength(1);
  });

  it('that break are opened again, and the backend stays up if that works', async () => {
    const rig = await shared();
    rig.advance(5000);
    rig.backend('a').link.reset();
    rig.client().send('@a x\n');
    expect(rig.backend('a').text()).toBe('@a #1 x\n');
    expect(rig.logged).toEqual([]);
  });

  it('that the backend ends are opened again', async () => {
    const rig = await shared();
    rig.advance(5000);
    const alice = rig.client();
    rig.backend('a').link.end();
    alice.send('@a x\n');
    expect(rig.backend('a').text()).toBe('@a #1 x\n');
    expect(rig.backend('a').links).toHaveLength(1);
  });

  it('to a backend that refuses are tried again after growing, jittered waits', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.advance(2000);
    rig.backend('a').down();
    const attempts: number[] = [];
    const address = 'tcp://10.0.0.1:7000';
    rig.runtime.servers.set(address, () => {
      attempts.push(rig.runtime.now());
      return 'refuse';
    });
    rig.advance(60_000);
    const waits = attempts.slice(1).map((at, index) => at - attempts[index]!);
    expect(waits.length).toBeGreaterThan(6);
    expect(waits.length).toBeLessThan(16);
    for (const wait of waits) expect(wait).toBeLessThanOrEqual(10_000);
    expect(waits.at(-1)).toBeGreaterThanOrEqual(5000);
  });

  it('begin anew, without what plugins have sent while they were closed', async () => {
    let link: Link | undefined;
    const visitor = guest((hooks) =>
      hooks.onLink.tap('guest', (opened) => {
        link ??= opened;
      }),
    );
    const rig = await embed({ pipeline: [[lines], [turns], [visitor]], links: 'shared', backends: ['a'] });
    rig.backend('a').down();
    link!.send(Buffer.from('heartbeat\n'));
    rig.backend('a').up();
    rig.advance(10_000);
    rig.client().send('one\n');
    expect(rig.backend('a').text()).toBe('@a #1 one\n');
  });

  it('that break in the middle of a message begin with a fresh one', async () => {
    const rig = await embed({ pipeline: [[sized], [turns]], links: 'shared', backends: ['a'] });
    rig.advance(2000);
    const alice = rig.client();
    alice.send('3ab');
    rig.backend('a').link.send('9half');
    rig.backend('a').link.reset();
    rig.backend('a').link.send('3ok');
    expect(alice.text()).toBe('3ok');
  });

  it('whose framing was lost while they had something to write come back, and stay', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.advance(2000);
    const alice = rig.client();
    rig.backend('a').link.pause();
    alice.send('1\n');
    alice.send('2\n');
    const { link } = rig.backend('a');
    link.send('\0');
    link.resume();
    link.end();
    rig.advance(3000);
    rig.backend('a').text();
    alice.send('3\n');
    expect(rig.backend('a').text()).toMatch(/ 3\n$/);
    rig.advance(1000);
    expect(rig.backend('a').link.ended).toBe(false);
    alice.send('4\n');
    expect(rig.backend('a').text()).toMatch(/ 4\n$/);
  });

  it('whose framing was lost are opened afresh, also if the backend does not close', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.advance(2000);
    const alice = rig.client();
    rig.backend('a').link.send('\0');
    alice.send('1\n');
    rig.advance(10_000);
    expect(rig.backend('a').text()).toMatch(/ 1\n$/);
  });

  it('that the backend ends without reading what waits are closed, and opened afresh', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.advance(2000);
    const alice = rig.client();
    rig.backend('a').link.pause();
    alice.send('1\n');
    rig.backend('a').link.end();
    alice.send('2\n');
    rig.advance(30_000);
    expect(rig.backend('a').text()).toMatch(/ 2\n$/);
  });

  it('that the backend ends in the middle of a message have that counted once', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.backend('a').link.send('hal');
    rig.backend('a').link.end();
    rig.advance(1000);
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'cut-short': 1 });
  });

  it('that break as soon as they are open count as failures: the backend is down, and connects wait', async () => {
    const rig = await shared({ backends: ['a'] });
    let connects = 0;
    rig.runtime.servers.set('tcp://10.0.0.1:7000', (peer) => {
      connects++;
      rig.runtime.enqueue(() => peer.reset());
      return 'accept';
    });
    rig.backend('a').link.reset();
    const alice = rig.client();
    for (let i = 0; i < 100; i++) {
      alice.send('x\n');
      rig.advance(10);
    }
    expect(connects).toBeLessThan(20);
    rig.stats();
  });
});

describe('a backend that cannot be reached', () => {
  it('is left out by the strategy until it is back', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    rig.advance(2000);
    rig.backend('a').down();
    const alice = rig.client();
    alice.send('1\n2\n3\n');
    expect(rig.backend('a').text()).toBe('');
    expect(rig.backend('b').text()).toBe('@b #1 1\n@b #2 2\n@b #3 3\n');
    rig.advance(20_000);
    const { failedConnects } = rig.stats().backends.a!;
    expect(failedConnects).toBeGreaterThan(2);
    rig.backend('a').up();
    rig.advance(20_000);
    alice.send('4\n5\n');
    expect(rig.backend('a').text()).not.toBe('');
    expect(rig.stats().backends).toMatchObject({ a: { failedConnects }, b: { failedConnects: 0 } });
  });

  it('loses nothing: what was queued for it goes elsewhere as it came, in order', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    rig.advance(2000);
    rig.backend('a').hang();
    rig.backend('a').link.reset();
    const alice = rig.client();
    alice.send('!g 1\n!g 2\n!g 3\n');
    expect(rig.backend('b').text()).toBe('');
    expect(rig.stats().fromClients).toMatchObject({ received: 3, held: 3 });
    rig.advance(5000); // the connect times out
    expect(rig.backend('b').text()).toBe('@b #4 !g 1\n@b #5 !g 2\n@b #6 !g 3\n');
    expect(rig.stats().redispatched).toBe(3);
    rig.backend('b').link.send('#5 second\n#4 first\n');
    expect(alice.text()).toBe('second\nfirst\n');
  });

  it('has its pinned messages refused', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    rig.advance(2000);
    rig.backend('a').hang();
    rig.backend('a').link.reset();
    const alice = rig.client();
    alice.send('@a 1\n');
    expect(alice.text()).toBe('');
    rig.advance(5000);
    expect(alice.text()).toBe('error backend-down\n');
    expect(rig.stats()).toMatchObject({ exchanges: { open: 0 }, fromClients: { refused: 1, held: 0 } });
  });

  it('is found again although dedicated links are only opened when needed', async () => {
    const rig = await dedicated({ backends: ['a'] });
    rig.backend('a').down();
    const alice = rig.client();
    alice.send('1\n');
    expect(alice.text()).toBe('error no-backend\n');
    rig.backend('a').up();
    rig.advance(1000);
    alice.send('2\n');
    expect(rig.backend('a').text()).toBe('@a 2\n');
  });
});

describe('requests whose link breaks before they are answered', () => {
  it('are refused to their clients at once, and counted', async () => {
    const rig = await shared({ backends: ['a'] });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('1\n2\n');
    bob.send('3\n');
    rig.backend('a').link.send('#1 done\n');
    rig.advance(2000);
    rig.backend('a').down();
    expect(alice.text()).toBe('done\nerror backend-lost 2\n');
    expect(bob.text()).toBe('error backend-lost 3\n');
    // They have been forwarded, and stay so.
    expect(rig.stats()).toMatchObject({
      exchanges: { open: 0, abandoned: 2, refused: 2 },
      fromClients: { received: 3, forwarded: 3, refused: 0 },
    });
    expect(rig.stats().backends.a).toMatchObject({ up: false, inFlight: 0, unanswered: 2 });
    expect(rig.logged[0]).toMatchObject({ backend: 'a', requests: 2, refused: 2 });
  });

  it('leave those of other links alone', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    const alice = rig.client();
    alice.send('@a 1\n@b 2\n');
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('error backend-lost 1\n');
    rig.backend('b').link.send('#2 done\n');
    expect(alice.text()).toBe('done\n');
  });

  it('are refused once: what the backend answers on its next link reaches nobody', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n');
    rig.advance(2000);
    rig.backend('a').link.reset();
    rig.backend('a').link.send('#1 late\n');
    expect(alice.text()).toBe('error backend-lost 1\n');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'no-destination': 1 });
  });

  it('are refused as soon as the backend half-closes, and what still waits is sent on its next link', async () => {
    const rig = await shared({ backends: ['a'], linkQueueBytes: 20 });
    rig.advance(2000);
    const alice = rig.client();
    const { link } = rig.backend('a');
    link.pause();
    alice.send('sent sent sent sent sent\nwaits\n');
    link.end();
    rig.runtime.settle();
    expect(alice.text()).toBe('error backend-lost sent sent sent sent sent\n');
    rig.advance(10_000);
    expect(rig.backend('a').text()).toMatch(/^@a #\d+ waits\n$/);
    expect(rig.stats()).toMatchObject({ exchanges: { open: 1, abandoned: 1, refused: 1 } });
  });

  it('are refused to a client that has half-closed before it is closed', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n');
    alice.end();
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('error backend-lost 1\n');
    expect(alice.closed).toBe(true);
  });

  it('cost a client that does not read its connection, and no memory', async () => {
    const rig = await shared({ backends: ['a'], limits: { queueBytes: 100 } });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('1\n'.repeat(20));
    bob.send('2\n');
    alice.pause();
    rig.backend('a').link.reset();
    alice.resume();
    rig.runtime.settle();
    expect(alice.closed).toBe(true);
    expect(bob.text()).toBe('error backend-lost 2\n');
    const { abandoned, refused } = rig.stats().exchanges;
    expect(abandoned).toBe(21);
    expect(refused).toBeLessThan(12); // twice the queue, and one more
  });

  it('are only counted where the plugin does not know what to say', async () => {
    const clueless = definePlugin({
      ...lines,
      apply(hooks, options, scope) {
        const refuseAbandoned = () => {
          throw new Error('no idea');
        };
        const protocol: typeof scope.protocol = (facts) => scope.protocol({ ...facts, refuseAbandoned });
        lines.apply!(hooks, options, Object.create(scope, { protocol: { value: protocol } }));
      },
    });
    const rig = await shared({ pipeline: [[clueless], [turns]], backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n');
    rig.backend('a').link.reset();
    expect(alice.text()).toBe('');
    expect(rig.stats().exchanges).toMatchObject({ abandoned: 1, refused: 0 });
    expect(rig.logged[0]).toMatchObject({ level: 'error' });
  });
});

describe('requests that wait to be sent longer than an answer may take', () => {
  it('are refused, so that no answer can come to ids that were given anew; those behind them are sent', async () => {
    const rig = await shared({ backends: ['a'], linkQueueBytes: 100, limits: { replySeconds: 5 } });
    const [alice, bob] = [rig.client(), rig.client()];
    const { link } = rig.backend('a');
    link.pause();
    alice.send('sent\n');
    alice.send('waits\nwaits too\n');
    rig.advance(3000);
    bob.send('came later\n');
    rig.advance(3000);
    expect(alice.text()).toBe('error backend-lost sent\nerror overloaded\nerror overloaded\n');
    expect(rig.stats()).toMatchObject({
      fromClients: { received: 4, forwarded: 1, held: 1, refusedFor: { overloaded: 2 } },
      exchanges: { open: 1, expired: 3, refused: 1 },
    });
    link.resume();
    const got = rig.backend('a').text();
    expect(got).toMatch(/^@a #1 sent\n@a #\d+ came later\n$/);
    link.send(`${/#\d+ (?=came)/.exec(got)![0]}done\n`);
    expect(bob.text()).toBe('done\n');
    expect(rig.stats().exchanges.open).toBe(0);
  });

  it('are refused to a client that has half-closed before it is closed', async () => {
    const rig = await shared({ backends: ['a'], limits: { replySeconds: 5 } });
    const alice = rig.client();
    const { link } = rig.backend('a');
    link.pause();
    alice.send('sent\n');
    alice.send('waits\n');
    alice.end();
    rig.advance(6000);
    expect(alice.text()).toBe('error backend-lost sent\nerror overloaded\n');
    expect(alice.closed).toBe(true);
  });

  it('leave those alone whose backend reads in time', async () => {
    const rig = await shared({ backends: ['a'], limits: { replySeconds: 5 } });
    const alice = rig.client();
    const { link } = rig.backend('a');
    link.pause();
    alice.send('sent\n');
    rig.advance(3000);
    alice.send('waits\n');
    rig.advance(3000);
    link.resume();
    expect(rig.backend('a').text()).toBe('@a #1 sent\n@a #2 waits\n');
    link.send('#2 done\n');
    expect(alice.text()).toBe('error backend-lost sent\ndone\n');
    expect(rig.stats()).toMatchObject({ redispatched: 0, exchanges: { open: 0, expired: 1 } });
  });
});

describe('requests that a backend does not answer in time', () => {
  it('are refused to their clients, logged, and the answer that comes after all reaches nobody', async () => {
    const rig = await shared({ backends: ['a'], limits: { replySeconds: 5 } });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('one\ntwo\n');
    rig.advance(3000);
    bob.send('three\n');
    rig.advance(2500);
    expect(alice.text()).toBe('error backend-lost one\nerror backend-lost two\n');
    expect(rig.logged).toContainEqual(
      expect.objectContaining({ level: 'warn', backend: 'a', requests: 2, text: 'requests not answered in time' }),
    );
    const { link } = rig.backend('a');
    link.send('#1 late\n#3 done\n');
    expect(alice.text()).toBe('');
    expect(bob.text()).toBe('done\n');
    expect(rig.stats()).toMatchObject({
      fromBackends: { received: 2, forwarded: 1, discarded: 1 },
      exchanges: { open: 0, expired: 2, refused: 2, abandoned: 0 },
      backends: { a: { unanswered: 2 } },
    });
  });
});

describe('a hint of another worker', () => {
  const news = (up: boolean) => ({ pool: 'pool', backend: 'a', up });

  it('that a backend is up has a shared link connect at once', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.backend('a').down();
    rig.advance(30_000);
    rig.backend('a').up();
    rig.balancer.look(news(false)); // it knows
    rig.runtime.settle();
    expect(rig.stats().backends.a!.up).toBe(false);
    rig.balancer.look(news(true));
    rig.runtime.settle();
    expect(rig.stats().backends.a!.up).toBe(true);
    expect(rig.backend('a').links).toHaveLength(1);
  });

  it('that is wrong takes no backend out, and brings none in', async () => {
    for (const rig of [await shared({ backends: ['a'] }), await dedicated({ backends: ['a'] })]) {
      rig.balancer.look(news(false));
      rig.runtime.settle();
      expect(rig.stats().backends.a!.up).toBe(true);
      rig.backend('a').down();
      rig.balancer.look(news(false));
      rig.runtime.settle();
      expect(rig.stats().backends.a!.up).toBe(false);
      rig.balancer.look(news(true));
      rig.runtime.settle();
      expect(rig.stats().backends.a!.up).toBe(false);
    }
  });

  it('takes the place of the next try, so that hints do not multiply what is tried', async () => {
    const rig = await shared({ backends: ['a'] });
    rig.backend('a').down();
    rig.advance(5000);
    const { timers } = rig.runtime;
    for (let hint = 0; hint < 5; hint++) {
      rig.balancer.look(news(true));
      rig.runtime.settle();
    }
    expect(rig.runtime.timers).toBe(timers);
  });

  it('that a backend is down has it probed where no link would show it, and found again once it is back', async () => {
    const rig = await dedicated({ backends: ['a'] });
    rig.backend('a').down();
    expect(rig.stats().backends.a!.up).toBe(true);
    rig.balancer.look(news(false));
    rig.runtime.settle();
    expect(rig.stats().backends.a!.up).toBe(false);
    rig.advance(60_000);
    rig.backend('a').up();
    rig.balancer.look(news(true));
    rig.runtime.settle();
    expect(rig.stats().backends.a!.up).toBe(true);
    // The probe that was waiting has been replaced, not joined.
    expect(rig.backend('a').links).toEqual([]);
    await rig.stop();
    expect(rig.runtime.timers).toBe(0);
  });
});

describe('dedicated links', () => {
  it('are opened on first use and closed with their client', async () => {
    const rig = await dedicated();
    const alice = rig.client();
    expect(rig.backend('a').links).toHaveLength(0);
    alice.send('@a x\n');
    expect(rig.backend('a').links).toHaveLength(1);
    alice.reset();
    expect(rig.backend('a').links).toHaveLength(0);
    expect(rig.stats().backends.a).toMatchObject({ up: true, links: 0 });
  });

  it('pass a half-close on, and back, after everything before it', async () => {
    const rig = await dedicated();
    const alice = rig.client();
    alice.send('@a x\n');
    alice.end();
    const [link] = rig.backend('a').links;
    expect(link!.ended).toBe(true);
    link!.send('answer\n');
    expect(alice.text()).toBe('answer\n');
    expect(alice.closed).toBe(false);
    link!.end();
    expect(alice.closed).toBe(true);
  });

  it('that the backend ends are opened again for the next message', async () => {
    const rig = await dedicated();
    const alice = rig.client();
    alice.send('@a x\n');
    rig.backend('a').link.end();
    expect(alice.ended).toBe(false);
    alice.send('@a y\n');
    expect(rig.backend('a').text()).toBe('@a x\n@a y\n');
  });

  it('replay a handshake first, and hold what waits until it is answered', async () => {
    let release: () => void = () => {};
    const handshake = definePlugin({
      name: 'handshake',
      summary: 'Says hello.',
      pointsman: '^1',
      options: Type.Object({}),
      apply(hooks) {
        hooks.onLink.tap('handshake', (link) => {
          link.send(Buffer.from('HELLO\n'));
          link.hold();
          release = () => link.release();
        });
      },
    });
    const rig = await dedicated({ pipeline: [[lines, { shared: false }], [turns], [handshake]] });
    rig.client().send('@a x\n');
    expect(rig.backend('a').text()).toBe('HELLO\n');
    release();
    rig.runtime.settle();
    expect(rig.backend('a').text()).toBe('@a x\n');
  });

  it('that hold and release at once send the handshake first', async () => {
    const hello = guest((hooks) => {
      hooks.onLink.tap('guest', (link) => {
        link.send(Buffer.from('HELLO\n'));
        link.hold();
        link.release();
      });
    });
    const rig = await dedicated({ pipeline: [[lines, { shared: false }], [turns], [hello]] });
    rig.client().send('@a x\n');
    expect(rig.backend('a').text()).toBe('HELLO\n@a x\n');
  });

  it('whose client has gone are closed, also if the backend does not read', async () => {
    const rig = await dedicated({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n');
    rig.backend('a').link.pause();
    alice.send('2\n');
    alice.send('3\n');
    alice.reset();
    rig.advance(60_000);
    expect(rig.backend('a').links).toHaveLength(0);
    rig.stats();
  });

  it('whose client has gone are closed, also if the backend does not close', async () => {
    const rig = await dedicated({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n');
    const { link } = rig.backend('a');
    link.pause();
    alice.send('2\n3\n');
    alice.reset();
    link.resume();
    expect(rig.backend('a').text()).toBe('@a 1\n@a 2\n@a 3\n');
    expect([link.ended, link.closed]).toEqual([true, false]);
    rig.advance(5000);
    expect(link.closed).toBe(true);
  });

  it('pass a half-close on also to the backend that a message goes to instead', async () => {
    const rig = await dedicated({ backends: ['a', 'b'] });
    rig.backend('a').hang();
    const alice = rig.client();
    alice.send('1\n');
    alice.end();
    rig.advance(5000);
    expect(rig.backend('b').text()).toBe('@b 1\n');
    expect(rig.backend('b').link.ended).toBe(true);
    rig.backend('b').link.send('answer\n');
    rig.backend('b').link.end();
    expect(alice.text()).toBe('answer\n');
    expect(alice.closed).toBe(true);
  });

  it('pass a half-close on when the last message has left, which may have to go where all seemed said', async () => {
    const rig = await dedicated({ backends: ['a', 'b'] });
    const alice = rig.client();
    alice.send('1\n');
    expect(rig.backend('a').text()).toBe('@a 1\n');
    rig.backend('b').hang();
    alice.send('2\n');
    alice.end();
    const { link } = rig.backend('a');
    expect(link.ended).toBe(false);
    rig.advance(5000);
    expect(rig.backend('a').text()).toBe('@a 2\n');
    expect(link.ended).toBe(true);
    link.send('one\ntwo\n');
    link.end();
    expect(alice.text()).toBe('one\ntwo\n');
    expect(alice.closed).toBe(true);
    expect(rig.stats()).toMatchObject({ redispatched: 1, queued: 0 });
  });
});

describe('a client that half-closes', () => {
  it('still gets the answers it waits for, then the connection is closed', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n2\n');
    alice.end();
    rig.backend('a').link.send('#2 two\n');
    expect(alice.ended).toBe(false);
    rig.backend('a').link.send('#1 one\n');
    expect(alice.text()).toBe('two\none\n');
    expect(alice.closed).toBe(true);
  });

  it('in the middle of a message has that counted as cut short, and nothing of it is delivered', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\nhal');
    alice.end();
    expect(rig.backend('a').text()).toBe('@a #1 1\n');
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'cut-short': 1 });
  });

  it('and goes away after a half-close has its unfinished message counted once', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\nhal');
    alice.end();
    alice.reset();
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'cut-short': 1 });
  });

  it('while it waits for room has the rest of its messages dealt with', async () => {
    const rig = await shared({ backends: ['a'], linkQueueBytes: 20 });
    rig.advance(2000);
    const alice = rig.client();
    rig.backend('a').link.pause();
    alice.send('@a one one one\n@a two two two\n@a three three\n@a four four\n@a five five\n');
    alice.end();
    rig.backend('a').down();
    rig.advance(1);
    expect(rig.stats().fromClients.received).toBe(5);
    const lost = ['one one one', 'two two two'].map((text) => `error backend-lost ${text}\n`).join('');
    expect(alice.text()).toBe(lost + 'error backend-down\n'.repeat(3));
    expect(alice.closed).toBe(true);
  });
});

describe('a peer that does not read', () => {
  it('if it is a client of shared links, is closed when its queue is full; the others go on', async () => {
    const rig = await shared({ backends: ['a'], limits: { queueBytes: 100 } });
    const [slow, quick] = [rig.client(), rig.client()];
    slow.pause();
    slow.send('1\n2\n3\n4\n');
    quick.send('5\n');
    const line = 'x'.repeat(60);
    rig.backend('a').link.send(`#1 ${line}\n`);
    rig.backend('a').link.send(`#2 ${line}\n`);
    expect(slow.closed).toBe(true);
    rig.backend('a').link.send(`#5 fine\n#3 ${line}\n`);
    expect(quick.text()).toBe('fine\n');
    rig.stats();
  });

  it('is none that gets more in one turn than its queue holds, and has not had the time to read it, as with TLS', async () => {
    const rig = await shared({ backends: ['a'], limits: { queueBytes: 100 } });
    const alice = rig.client();
    alice.peer.takesLate = true;
    alice.send('1\n'.repeat(9));
    const line = 'x'.repeat(60);
    rig.backend('a').link.send(Array.from({ length: 9 }, (_, id) => `#${id + 1} ${line}\n`).join(''));
    expect(alice.text()).toBe(`${line}\n`.repeat(9));
    expect(alice.closed).toBe(false);
    expect(rig.stats().fromBackends).toMatchObject({ forwarded: 9, discarded: 0 });
  });

  it('and goes away has what waited for it counted', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('1\n2\n3\n');
    alice.pause();
    for (const id of [1, 2, 3]) rig.backend('a').link.send(`#${id} x\n`);
    expect(rig.stats().fromBackends).toMatchObject({ forwarded: 1, held: 2 });
    alice.reset();
    expect(rig.stats().fromBackends).toMatchObject({
      held: 0,
      discardedFor: { 'client-gone': 2 },
      ordinary: { discardedFor: { 'client-gone': 2 } },
    });
  });

  it('if it is the client of a dedicated link, makes the link wait', async () => {
    const rig = await dedicated({ limits: { queueBytes: 100 } });
    const alice = rig.client();
    alice.send('@a go\n');
    alice.pause();
    const { link } = rig.backend('a');
    const sent: string[] = [];
    for (let i = 0; i < 20; i++) {
      sent.push(`${i} ${'x'.repeat(30)}\n`);
      link.send(sent.at(-1)!);
    }
    expect(rig.stats().fromBackends.received).toBeLessThan(10);
    expect(alice.closed).toBe(false);
    alice.resume();
    expect(alice.text()).toBe(sent.join(''));
    expect(rig.stats().fromBackends).toMatchObject({ received: 20, forwarded: 20 });
  });

  it('if it is a backend, makes its clients wait, and nobody else', async () => {
    const rig = await shared({ backends: ['a', 'b'], linkQueueBytes: 100 });
    const [alice, bob] = [rig.client(), rig.client()];
    rig.backend('a').link.pause();
    const sent: string[] = [];
    for (let i = 0; i < 30; i++) {
      sent.push(`@a ${i} ${'x'.repeat(20)}\n`);
      alice.send(sent.at(-1)!);
    }
    bob.send('@b quick\n');
    expect(rig.backend('b').text()).toContain('quick');
    expect(rig.stats().fromClients.received).toBeLessThan(12);
    rig.backend('a').link.resume();
    expect(rig.backend('a').text().replace(/ #\d+/g, '')).toBe(sent.join(''));
    expect(rig.stats().fromClients).toMatchObject({ received: 31, forwarded: 31, refused: 0 });
  });
});

it('gives no new work to a backend that does not read, as long as another does', async () => {
  const rig = await shared({ backends: ['a', 'b'], linkQueueBytes: 100 });
  rig.backend('a').link.pause();
  rig.client().send(`@a ${'x'.repeat(60)}\n@a ${'x'.repeat(60)}\n`);
  rig.client().send(`@a ${'x'.repeat(60)}\n`);
  const alice = rig.client();
  for (let i = 0; i < 6; i++) alice.send(`${i}\n`);
  expect(rig.backend('b').text().match(/\d\n/g)).toHaveLength(6);
  rig.backend('a').link.resume();
  rig.backend('a').take();
  alice.send('6\n7\n');
  expect(rig.backend('a').text()).not.toBe('');
});

describe('messages taken back from a link', () => {
  it('are what was received, whatever was edited', async () => {
    const rig = await shared({ backends: ['a', 'b'], identifiers: { whenDown: 'rechoose' } });
    rig.advance(2000);
    rig.backend('a').hang();
    rig.backend('a').link.reset();
    const alice = rig.client();
    alice.send('@a !x replaced\nplain\n@a \n');
    rig.advance(5000);
    const lines = rig.backend('b').text();
    expect(lines.replace(/#\d+/g, '#')).toBe('@b # !x replaced\n@b # plain\n@b # \n');
  });
});

it('leaves nothing behind when it stops', async () => {
  const rig = await shared();
  const alice = rig.client();
  alice.send('x\n');
  rig.backend('c').down();
  await rig.stop();
  expect(alice.closed).toBe(true);
  expect(rig.backends.flatMap((backend) => backend.links)).toEqual([]);
  expect(rig.runtime.timers).toBe(0);
});

it('what is logged of a backend says whose it is', () => {
  const children: object[] = [];
  const quiet = { debug() {}, info() {}, warn() {}, error() {} };
  const child = (fields: object) => {
    children.push(fields);
    return quiet;
  };
  const news = { listener: 'edge', pool: 'calls', backend: 'a', aspect: 'link', up: true, error: undefined } as const;
  logBackendNews({ ...quiet, child }, news);
  expect(children).toEqual([{ listener: 'edge', pool: 'calls' }]);
});
