import { type DiscardOptions, discard, type Hooks } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { embed, type RigOptions, type Wire } from '../support/embedded.ts';
import { guest, lines, turns } from '../support/lines.ts';

const shared = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines], [turns]], links: 'shared', ...options });
const dedicated = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated', ...options });

/** Answers every line on a shared link as the protocol wants it, with the backend's name. */
function answer(link: Wire, name: string): void {
  for (const line of link.text().split('\n').filter(Boolean)) {
    const id = /#\d+/.exec(line)?.[0];
    link.send(`${id} ${name} got ${line.slice(line.indexOf(id!) + id!.length + 1)}\n`);
  }
}

describe('a message from a client', () => {
  it('that names nobody goes where the strategy says, with the identifier of that backend', async () => {
    const rig = await shared();
    const alice = rig.client();
    alice.send('one\ntwo\n');
    expect(rig.backend('a').text()).toBe('@a #1 one\n');
    expect(rig.backend('b').text()).toBe('@b #2 two\n');
    expect(rig.stats().routes.strategy).toBe(2);
  });

  it('that names a backend goes there', async () => {
    const rig = await shared();
    rig.client().send('@c one\n@c two\n@b three\n');
    expect(rig.backend('c').text()).toBe('@c #1 one\n@c #2 two\n');
    expect(rig.backend('b').text()).toBe('@b #3 three\n');
    expect(rig.stats().routes.identifier).toBe(3);
  });

  it('follows the related messages before it', async () => {
    const rig = await shared();
    rig.client().send('!g one\nother\n!g two\n');
    expect(rig.backend('a').text()).toBe('@a #1 !g one\n@a #3 !g two\n');
    expect(rig.stats().routes).toMatchObject({ strategy: 2, affinity: 1 });
  });

  it('is the same however the bytes are cut', async () => {
    const bytes = '@a one\n+\n!g two\n!g three\n';
    for (let cut = 0; cut <= bytes.length; cut++) {
      const rig = await shared();
      const alice = rig.client();
      alice.send(bytes.slice(0, cut));
      alice.send(bytes.slice(cut));
      expect(rig.backend('a').text()).toBe('@a #1 one\n@a #2 !g two\n@a #3 !g three\n');
      expect(alice.text()).toBe('-\n');
    }
    const rig = await shared();
    const alice = rig.client();
    for (const byte of bytes) alice.send(byte);
    expect(rig.backend('a').text()).toBe('@a #1 one\n@a #2 !g two\n@a #3 !g three\n');
  });

  it('shares one write with the others of its turn', async () => {
    const rig = await shared({ backends: ['a'] });
    const wires = [rig.client(), rig.client(), rig.client()];
    for (const wire of wires) (wire as unknown as { peer: { send(b: Buffer): void } }).peer.send(Buffer.from('x\ny\n'));
    rig.runtime.settle();
    expect(rig.backend('a').link.writes.map(String)).toEqual([
      '@a #1 x\n@a #2 y\n@a #3 x\n@a #4 y\n@a #5 x\n@a #6 y\n',
    ]);
  });
});

describe('an answer', () => {
  it('finds the client whose request it answers, though both used one link', async () => {
    const rig = await shared({ backends: ['a'] });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('hello\n');
    bob.send('hi\n');
    rig.backend('a').link.send('#2 for bob\n#1 for alice\n');
    expect(alice.text()).toBe('for alice\n');
    expect(bob.text()).toBe('for bob\n');
    expect(rig.stats().fromBackends).toMatchObject({ received: 2, forwarded: 2 });
    expect(rig.stats().exchanges.open).toBe(0);
  });

  it('to nobody, or a second one, is discarded and counted', async () => {
    const rig = await shared({ backends: ['a'] });
    const alice = rig.client();
    alice.send('hello\n');
    rig.backend('a').link.send('#1 once\n#1 twice\n#7 what\nnonsense\n');
    expect(alice.text()).toBe('once\n');
    expect(rig.stats().fromBackends).toMatchObject({
      received: 4,
      forwarded: 1,
      discardedFor: { 'no-destination': 3 },
    });
  });

  it('from a backend that was not asked does not count', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    const alice = rig.client();
    alice.send('@a hello\n');
    rig.backend('b').link.send('#1 I am a\n');
    expect(alice.text()).toBe('');
    rig.backend('a').link.send('#1 really\n');
    expect(alice.text()).toBe('really\n');
  });

  it('on a dedicated link goes to its client', async () => {
    const rig = await dedicated();
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('@a one\n');
    bob.send('@a two\n');
    expect(rig.backend('a').links).toHaveLength(2);
    rig.backend('a').links[1]!.send('to bob\n');
    expect(bob.text()).toBe('to bob\n');
    expect(rig.stats().routes.link).toBe(1);
  });

  it('is relayed unread on a dedicated link if the protocol need not see it', async () => {
    const rig = await dedicated({ pipeline: [[lines, { shared: false, relays: true }], [turns]] });
    const alice = rig.client();
    alice.send('@a one\n');
    rig.backend('a').link.send('#1 two\n');
    expect(alice.text()).toBe('#1 two\n');
    expect(rig.stats()).toMatchObject({ relayedBytes: 7, fromBackends: { received: 0 } });
  });
});

describe('an identifier', () => {
  const keys = [{ id: 'k1', secret: Buffer.alloc(32, 1) }];

  it('comes back to the same backend, signed, on another instance', async () => {
    const first = await shared({ keys });
    first.client().send('one\n');
    const [token] = /@\S+/.exec(first.backend('a').text())!;
    expect(token).toMatch(/^@[a-z2-7]+$/);
    const second = await shared({ keys });
    second.client().send(`${token} two\n`);
    expect(second.backend('a').text()).toBe(`${token} #1 two\n`);
  });

  it('that was tampered with is refused, and the connection goes on', async () => {
    const rig = await shared({ keys });
    const alice = rig.client();
    alice.send('one\n');
    const [token] = /@\S+/.exec(rig.backend('a').text())!;
    for (let i = 1; i < token.length; i++) {
      const forged = token.slice(0, i) + (token[i] === 'a' ? 'b' : 'a') + token.slice(i + 1);
      alice.send(`${forged} x\n`);
      expect(alice.text()).toBe('error forged-identifier\n');
    }
    alice.send('@a x\n');
    expect(alice.text()).toBe('error forged-identifier\n');
    alice.send(`${token} y\n`);
    expect(rig.backend('a').text()).toContain(' y\n');
  });

  it('of an older key still verifies and is written anew with the first', async () => {
    const old = await shared({ keys });
    old.client().send('one\n');
    const [token] = /@\S+/.exec(old.backend('a').text())!;
    const rotated = await shared({ keys: [{ id: 'k2', secret: Buffer.alloc(32, 2) }, ...keys] });
    rotated.client().send(`${token} two\n`);
    const sent = rotated.backend('a').text();
    expect(sent).toMatch(/ two\n$/);
    expect(sent).not.toContain(token);
  });

  it('of a backend that is down is refused, or another is chosen, as the policy says', async () => {
    const refusing = await shared();
    refusing.backend('b').down();
    refusing.advance(2000);
    const alice = refusing.client();
    alice.send('@b one\n');
    expect(alice.text()).toBe('error backend-down\n');

    const rechoosing = await shared({ identifiers: { whenDown: 'rechoose' } });
    rechoosing.backend('b').down();
    rechoosing.advance(2000);
    rechoosing.client().send('@b one\n');
    expect(rechoosing.backend('a').text()).toBe('@a #1 one\n');
    expect(rechoosing.stats().routes.rechosen).toBe(1);
  });

  it('of a backend that is gone from the config is refused, or another is chosen', async () => {
    const refusing = await shared();
    const alice = refusing.client();
    alice.send('@z one\n');
    expect(alice.text()).toBe('error unknown-backend\n');
    const rechoosing = await shared({ identifiers: { whenDown: 'rechoose' } });
    rechoosing.client().send('@z one\n');
    expect(rechoosing.backend('a').text()).toBe('@a #1 one\n');
  });

  it('of a backend that is down or gone is refused in any case if it answers what that has asked', async () => {
    const rig = await shared({ identifiers: { whenDown: 'rechoose' } });
    rig.backend('b').down();
    const alice = rig.client();
    alice.send('@b =one\n@z =two\n');
    expect(alice.text()).toBe('error backend-down\nerror unknown-backend\n');
    for (const backend of rig.backends) expect(backend.text()).toBe('');
  });
});

describe('bad input', () => {
  it('is refused in the words of the protocol', async () => {
    const rig = await shared();
    const alice = rig.client();
    alice.send('?what\nfine\n');
    expect(alice.text()).toBe('error question\n');
    expect(rig.backend('a').text()).toContain('fine');
    expect(rig.stats().fromClients).toMatchObject({ received: 2, forwarded: 1, refusedFor: { question: 1 } });
  });

  it('that is discarded may be answered', async () => {
    const rig = await shared();
    const alice = rig.client();
    alice.send('bye\n');
    expect(alice.text()).toBe('ciao\n');
    expect(rig.stats().fromClients.discardedFor).toEqual({ bye: 1 });
  });

  it('that is discarded is counted as ordinary if the plugin says so', async () => {
    const [ping, junk] = [discard('ping', { ordinary: true }), discard('junk')];
    const sorter = guest((hooks) =>
      hooks.detectId.tap({ name: 'guest', stage: -1 }, (message) =>
        message.view().toString() === 'ping\n' ? ping : junk,
      ),
    );
    const rig = await embed({ pipeline: [[lines], [turns], [sorter]] });
    rig.client().send('ping\nping\njunk\n');
    expect(rig.stats().fromClients).toMatchObject({
      discardedFor: { ping: 2, junk: 1 },
      ordinary: { refusedFor: {}, discardedFor: { ping: 2 } },
    });
    expect(rig.stats().fromClients.ordinary.discardedFor).not.toHaveProperty('junk');
  });

  it('is not answered with text, nor with what is no option', () => {
    const written = (options: unknown) => () => discard('ping', options as DiscardOptions);
    expect(written({ reply: 'pong' })).toThrow('a reply is bytes, not text');
    for (const wrong of ['pong', Buffer.from('pong')]) {
      expect(written(wrong)).toThrow('write discard(reason, { reply, ordinary })');
    }
  });

  it('that breaks the framing is answered and closes the connection, and nobody else notices', async () => {
    const rig = await shared();
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('ok\nbroken\0\nnever seen\n');
    expect(alice.text()).toBe('error nul\n');
    expect(alice.ended).toBe(true);
    bob.send('still here\n');
    answer(rig.backend('b').link, 'b');
    expect(bob.text()).toBe('b got still here\n');
    rig.advance(6000);
    expect(alice.closed).toBe(true);
  });

  it('longer than the limit closes the connection before it is buffered', async () => {
    const rig = await shared({ limits: { messageBytes: 100 } });
    const alice = rig.client();
    alice.send('x'.repeat(99));
    expect(alice.ended).toBe(false);
    alice.send('x');
    expect(alice.text()).toBe('error too-large\n');
    expect(alice.ended).toBe(true);
  });

  it('whose header dribbles in is cut off at the deadline', async () => {
    const rig = await shared({ limits: { headerSeconds: 10 } });
    const alice = rig.client();
    for (let second = 0; second < 12; second++) {
      alice.send('x');
      rig.advance(1000);
    }
    expect(alice.ended).toBe(true);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'header-timeout': 1 });
  });

  it('that makes a plugin throw costs the message, and the plugin is named', async () => {
    const rig = await shared();
    const alice = rig.client();
    alice.send('boom\nlater\nfine\n');
    expect(alice.text()).toBe('error plugin-error\nerror plugin-error\n');
    expect(rig.backend('a').text()).toContain('fine');
    expect(rig.logged).toContainEqual(expect.objectContaining({ level: 'error', text: '[lines] detectId: boom' }));
    expect(rig.logged).toContainEqual(
      expect.objectContaining({
        text: '[lines] detectId: answered a promise, but is to be synchronous',
      }),
    );
  });

  it('finds no backend when all are down', async () => {
    const rig = await shared();
    for (const backend of rig.backends) backend.down();
    rig.advance(2000);
    const alice = rig.client();
    alice.send('hello\n');
    expect(alice.text()).toBe('error no-backend\n');
  });
});

describe('a keepalive', () => {
  it('is answered also if it comes in two pieces, and is no header that dribbles in', async () => {
    const rig = await shared();
    const alice = rig.client();
    rig.advance(100);
    alice.send('+');
    alice.send('\n');
    rig.advance(20_000);
    expect(alice.text()).toBe('-\n');
    expect(alice.ended).toBe(false);
  });
});

describe('a message', () => {
  it('that makes room for others while it is handled is dealt with first', async () => {
    const gate = guest((hooks) => {
      hooks.onLink.tap('guest', (link) => link.hold());
      hooks.detectId.tap({ name: 'guest', stage: -1 }, (message) => {
        if (message.from === 'backend' && message.view().toString().startsWith('WELCOME')) {
          (message.source as { release(): void }).release();
        }
        return undefined;
      });
    });
    const rig = await dedicated({
      pipeline: [[lines, { shared: false }], [turns], [gate]],
      backends: ['a'],
      linkQueueBytes: 20,
    });
    const alice = rig.client();
    const sent = Array.from({ length: 12 }, (_, i) => `@a line ${i}\n`).join('');
    alice.send(sent);
    rig.backend('a').link.send('WELCOME to a\n');
    expect(alice.text()).toBe('WELCOME to a\n');
    expect(rig.backend('a').text()).toBe(sent);
    expect(rig.stats()).toMatchObject({ fromBackends: { received: 1, forwarded: 1 }, fromClients: { forwarded: 12 } });
  });

  it.each([
    ['insertId', (hooks: Hooks) => hooks.insertId.tap('guest', () => 1 as never)],
    ['detectId', (hooks: Hooks) => hooks.detectId.tap({ name: 'guest', stage: -1 }, () => ({}) as never)],
    ['detectId', (hooks: Hooks) => hooks.detectId.tap({ name: 'guest', stage: -1 }, (m) => m.span(1, 99))],
    ['refuse', (hooks: Hooks) => hooks.refuse.tap({ name: 'guest', stage: -1 }, () => 5 as never)],
  ])('that a plugin answers wrongly in %s costs the message, and the plugin is named', async (hook, tap) => {
    const rig = await shared({ pipeline: [[lines], [turns], [guest((hooks) => tap(hooks))]] });
    const alice = rig.client();
    alice.send(hook === 'refuse' ? '?x\n' : 'x\n');
    if (hook !== 'refuse') expect(alice.text()).toBe('error plugin-error\n');
    rig.stats();
    expect(JSON.stringify(rig.logged)).toContain(`[guest] ${hook}: answered`);
  });

  it('is refused if the ids of its relatives cannot be told', async () => {
    const odd = guest((hooks, scope) => {
      scope.protocol({
        identifiers: 'text',
        correlates: true,
        relatedIds() {
          throw new Error('odd');
        },
      });
      hooks.frame.tap('guest', (bytes, start, end) => {
        const at = bytes.indexOf(10, start);
        return at < 0 || at >= end ? 'more' : at + 1 - start;
      });
      hooks.refuse.tap('odd', () => Buffer.from('no\n'));
    });
    const rig = await embed({ pipeline: [[odd], [turns]], links: 'shared', backends: ['a'] });
    const alice = rig.client();
    alice.send('x\n');
    rig.stats();
    expect(rig.backend('a').text()).toBe('');
    expect(alice.text()).toBe('no\n');
  });

  it('that waited for room is not overdue when it leaves', async () => {
    const rig = await shared({ backends: ['a'], linkQueueBytes: 20, limits: { replySeconds: 10 } });
    const alice = rig.client();
    rig.backend('a').link.pause();
    alice.send('one one one\ntwo two two\nthree three\nfour four\n');
    rig.advance(30_000);
    rig.backend('a').link.resume();
    const ids = [
      ...rig
        .backend('a')
        .text()
        .matchAll(/#(\d+) (four)/g),
    ].map((match) => match[1]);
    expect(ids).toHaveLength(1);
    expect(alice.text()).toBe('error backend-lost one one one\nerror backend-lost two two two\n'); // which had left
    rig.advance(1000);
    rig.backend('a').link.send(`#${ids[0]} yes\n`);
    expect(alice.text()).toBe('yes\n');
  });

  it('that is refused when its client is about to be closed is discarded, as no reply goes out', async () => {
    const rig = await shared({ backends: ['a', 'b'] });
    rig.advance(2000);
    rig.backend('a').hang();
    rig.backend('a').link.reset();
    const alice = rig.client();
    alice.send('@a 1\n\0');
    expect(alice.text()).toBe('error nul\n');
    rig.advance(5000);
    expect(alice.text()).toBe('');
    expect(rig.stats().fromClients.refused).toBe(1);
  });
});

describe('a client', () => {
  it('is not read from either if it does not read our replies, so that they cannot pile up', async () => {
    const rig = await shared({ limits: { queueBytes: 1000 } });
    const alice = rig.client();
    alice.pause();
    for (let i = 0; i < 2000; i++) alice.send('?no\n');
    expect(rig.stats().fromClients.received).toBeLessThan(200);
    alice.resume();
    expect(rig.stats().fromClients).toMatchObject({ received: 2000, refused: 2000 });
    expect(alice.text().length).toBe(2000 * 'error question\n'.length);
  });
});

describe('what is relayed', () => {
  const relaying = async () => {
    const rig = await dedicated({ pipeline: [[lines, { shared: false, relays: true }], [turns]] });
    const alice = rig.client();
    alice.send('@a one\n@b two\n');
    return { rig, alice };
  };

  it('comes message by message, whatever other links bring meanwhile', async () => {
    const { rig, alice } = await relaying();
    rig.backend('a').link.send('of a');
    rig.backend('b').link.send('of b\n');
    rig.backend('a').link.send('lice\nand');
    expect(alice.text()).toBe('of b\nof alice\n');
    expect(rig.stats()).toMatchObject({ relayedBytes: 14, fromBackends: { received: 0 } });
  });

  it('is no part of a message whose link has broken', async () => {
    const { rig, alice } = await relaying();
    rig.backend('a').link.send('whole\nhal');
    rig.backend('a').link.reset();
    alice.send('@a three\n');
    rig.backend('a').link.send('whole again\n');
    expect(alice.text()).toBe('whole\nwhole again\n');
    expect(rig.stats().fromBackends).toMatchObject({ received: 1, discardedFor: { 'cut-short': 1 } });
  });

  it('counts as traffic, so that the client is not closed for idleness', async () => {
    const rig = await dedicated({
      pipeline: [[lines, { shared: false, relays: true }], [turns]],
      limits: { idleSeconds: 20 },
    });
    const alice = rig.client();
    alice.send('@a go\n');
    for (let i = 0; i < 5; i++) {
      rig.advance(8000);
      rig.backend('a').link.send('tick\n');
    }
    expect(alice.ended).toBe(false);
    expect(alice.text()).toBe('tick\n'.repeat(5));
  });
});
