import { refusal } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { embed, type Rig, type RigOptions } from '../support/embedded.ts';
import { guest, lines, turns } from '../support/lines.ts';

const edge = (visitor: ReturnType<typeof guest> | undefined, options: Partial<RigOptions> = {}) =>
  embed({
    pipeline: [[lines], [turns], ...(visitor === undefined ? [] : [[visitor] as const])],
    links: 'shared',
    ...options,
  });

/** Lets promises that are due settle, and what follows from them. */
async function promises(rig: Awaited<ReturnType<typeof embed>>): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
  rig.runtime.settle();
}

describe('a client', () => {
  it('is turned away when there are too many, and let in when one has gone', async () => {
    const rig = await edge(undefined, { limits: { connections: 2 } });
    const [alice, bob, carol] = [rig.client(), rig.client(), rig.client()];
    expect([alice.closed, bob.closed, carol.closed]).toEqual([false, false, true]);
    alice.reset();
    expect(rig.client().closed).toBe(false);
    expect(rig.stats().connections).toEqual({ open: 2, accepted: 4, turnedAway: 1 });
  });

  it('is turned away when there are too many from its address', async () => {
    const rig = await edge(undefined, { limits: { connectionsPerAddress: 1 } });
    expect(rig.client('198.51.100.1').closed).toBe(false);
    expect(rig.client('198.51.100.1').closed).toBe(true);
    expect(rig.client('198.51.100.2').closed).toBe(false);
  });

  it('is turned away when it connects too often from its address', async () => {
    const rig = await edge(undefined, { limits: { connectionsPerSecondPerAddress: 1 } });
    const closed = (address: string) => rig.client(address).closed;
    expect([closed('198.51.100.1'), closed('198.51.100.1'), closed('198.51.100.2')]).toEqual([false, true, false]);
    rig.advance(1000);
    expect([closed('198.51.100.1'), rig.stats().connections.turnedAway]).toEqual([false, 1]);
  });

  it('is turned away if it is not among those allowed, or among those denied', async () => {
    const rig = await edge(undefined, { listener: { allow: ['198.51.100.0/24'], deny: ['198.51.100.7'] } });
    const closed = (address: string) => rig.client(address).closed;
    expect(['198.51.100.1', '198.51.100.7', '203.0.113.1', ''].map(closed)).toEqual([false, true, true, false]);
    expect(rig.stats().connections.turnedAway).toBe(2);
  });

  it('without an address, on a unix socket, is not counted by address', async () => {
    const rig = await edge(undefined, { limits: { connectionsPerAddress: 1 } });
    expect([rig.client(''), rig.client('')].map(({ closed }) => closed)).toEqual([false, false]);
  });

  it('that says nothing for too long is closed, unless it waits for an answer', async () => {
    const rig = await edge(undefined, { limits: { idleSeconds: 20 } });
    const [idle, waiting] = [rig.client(), rig.client()];
    waiting.send('x\n');
    rig.advance(30_000);
    expect([idle.ended, waiting.ended]).toEqual([true, false]);
    rig.backend('a').link.send('#1 late\n');
    rig.advance(30_000);
    expect(waiting.ended).toBe(true);
  });

  it('that does not close after we did is cut off', async () => {
    const rig = await edge(undefined, { limits: { idleSeconds: 5 } });
    const alice = rig.client();
    rig.advance(6000);
    expect([alice.ended, alice.closed]).toEqual([true, false]);
    rig.advance(7000);
    expect(alice.closed).toBe(true);
  });

  it('is not read from while an onConnect tap makes up its mind', async () => {
    let admit: () => void = () => {};
    const rig = await edge(
      guest((hooks) => {
        hooks.onConnect.tap('guest', () => new Promise((resolve) => (admit = () => resolve(undefined))));
      }),
    );
    const alice = rig.client();
    alice.send('x\n');
    expect(rig.stats().fromClients.received).toBe(0);
    admit();
    await promises(rig);
    expect(rig.backend('a').text()).toBe('@a #1 x\n');
  });

  it.each([
    ['refuses it', () => refusal('unwelcome')],
    ['throws', () => Promise.reject(new Error('no idea'))],
  ])('is turned away if an onConnect tap %s', async (_what, tap) => {
    const rig = await edge(guest((hooks) => hooks.onConnect.tap('guest', tap)));
    const alice = rig.client();
    await promises(rig);
    expect(alice.closed).toBe(true);
    expect(rig.stats().connections).toMatchObject({ open: 0, turnedAway: 1 });
    expect(rig.logged.at(-1)).toMatchObject({ text: 'client turned away' });
  });

  it('has its own state in every plugin, dropped when it closes', async () => {
    const seen: string[] = [];
    const rig = await edge(
      guest((hooks, scope) => {
        const count = scope.perClient(() => ({ messages: 0 }));
        hooks.forward.tap('guest', (message) => void count(message.client!).messages++);
        hooks.onDisconnect.tap('guest', (client) => void seen.push(`${count(client).messages}`));
      }),
    );
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send('1\n2\n');
    bob.send('3\n');
    alice.reset();
    bob.reset();
    expect(seen).toEqual(['2', '1']);
  });

  it('is turned away if an onConnect tap answers what is no refusal, and the plugin is named', async () => {
    const rig = await edge(guest((hooks) => hooks.onConnect.tap('guest', () => ({ reason: 'x' }) as never)));
    const alice = rig.client();
    await promises(rig);
    expect(alice.closed).toBe(true);
    expect(JSON.stringify(rig.logged)).toContain('[guest] onConnect: answered');
  });

  it('is closed at the deadline if the plugin cannot say how many answers are due', async () => {
    const odd = guest((hooks, scope) => {
      scope.protocol({
        identifiers: 'text',
        correlates: true,
        answersDue() {
          throw new Error('odd');
        },
      });
      hooks.frame.tap('guest', (_bytes, start, end) => end - start);
    });
    const rig = await embed({ pipeline: [[odd], [turns]], links: 'shared', backends: ['a'] });
    const alice = rig.client();
    alice.end();
    expect(rig.logged).toHaveLength(1);
    rig.advance(70_000);
    expect(alice.closed).toBe(true);
  });
});

describe('when it stops', () => {
  const stopping = async (rig: Rig, deadlineSeconds = 10) => {
    let isOver = false;
    const stopped = rig.balancer.stop({ deadlineSeconds }).then(() => {
      isOver = true;
    });
    await rig.settle();
    return { stopped, isOver: () => isOver };
  };
  /** Lets time pass, and whatever waits for it. */
  const pass = async (rig: Rig, milliseconds: number) => {
    for (let past = 0; past < milliseconds; past += 20) {
      rig.advance(20);
      await rig.settle();
    }
  };

  it('closes clients that wait for nothing at once, the others as soon as they have their answers', async () => {
    const rig = await edge(undefined);
    const [idle, waiting] = [rig.client(), rig.client()];
    waiting.send('x\n');
    const { isOver } = await stopping(rig);
    expect([idle.ended, waiting.ended]).toEqual([true, false]);
    idle.end();
    await pass(rig, 2000);
    rig.backend('a').link.send('#1 late\n');
    await pass(rig, 20);
    expect([waiting.text(), waiting.ended, isOver()]).toEqual(['late\n', true, false]);
    waiting.end();
    await pass(rig, 20);
    expect([isOver(), rig.logged]).toEqual([true, []]);
  });

  it('waits a second for clients to close their end, not longer', async () => {
    const rig = await edge(undefined);
    const alice = rig.client();
    const { isOver } = await stopping(rig);
    await pass(rig, 900);
    expect([alice.ended, alice.closed, isOver()]).toEqual([true, false, false]);
    await pass(rig, 200);
    expect([alice.closed, isOver()]).toEqual([true, true]);
  });

  it('says at the deadline what it has cut off', async () => {
    const rig = await edge(undefined);
    const [alice, bob, idle] = [rig.client(), rig.client(), rig.client()];
    alice.send('x\ny\n');
    bob.send('z\n');
    idle.end();
    const { isOver } = await stopping(rig, 3);
    await pass(rig, 3100);
    expect([isOver(), alice.closed, bob.closed]).toEqual([true, true, true]);
    expect(rig.logged.slice(0, 1)).toEqual([
      { level: 'warn', connections: 2, requests: 3, queued: 0, text: 'cut off at the deadline' },
    ]);
  });

  it('takes a client for idle that has been quiet for a second, where nobody counts answers', async () => {
    const rig = await embed({ pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated' });
    const [idle, busy] = [rig.client(), rig.client()];
    rig.advance(1000);
    busy.send('x\n');
    const { isOver } = await stopping(rig);
    expect([idle.ended, busy.ended]).toEqual([true, false]);
    idle.end();
    await pass(rig, 600);
    rig.backend('a').link.send('first\n');
    await pass(rig, 600);
    rig.backend('a').link.send('second\n');
    await pass(rig, 900);
    expect([busy.text(), busy.ended]).toEqual(['first\nsecond\n', false]);
    await pass(rig, 200);
    busy.end();
    await pass(rig, 20);
    expect([busy.ended, isOver(), rig.logged]).toEqual([true, true, []]);
  });
});

it('gives plugins a start before it opens and a stop after it has closed', async () => {
  const order: string[] = [];
  const rig = await edge(
    guest((_hooks, scope) => {
      order.push('apply');
      scope.onStart(async () => void order.push('start'));
      scope.onStop(() => void order.push('stop'));
    }),
  );
  expect(order).toEqual(['apply', 'start']);
  await rig.stop();
  expect(order).toEqual(['apply', 'start', 'stop']);
});

it('gives plugins secrets that replicas with the same key share, one for each use', async () => {
  const secrets: string[] = [];
  const spy = guest((_hooks, scope) => {
    secrets.push(...['one', 'two'].map((label) => Buffer.from(scope.secret(label)).toString('hex')));
  });
  const keys = [{ id: 'k1', secret: Buffer.alloc(32, 1) }];
  await edge(spy, { keys });
  await edge(spy, { keys });
  await edge(spy, { keys: [{ id: 'k1', secret: Buffer.alloc(32, 2) }] });
  const [one, two, again, andAgain, other] = secrets;
  expect([again, andAgain]).toEqual([one, two]);
  expect(new Set([one, two, other]).size).toBe(3);
  expect(one).toHaveLength(16);
});

it('says which plugin it cannot apply', async () => {
  await expect(
    edge(
      guest(() => {
        throw new Error('does not suit me');
      }),
    ),
  ).rejects.toThrow('[guest] apply: does not suit me');
  await expect(edge(guest((_hooks, scope) => scope.protocol({ identifiers: 'text' })))).rejects.toThrow(
    '[guest] apply: a pipeline has one protocol, and another plugin has declared it',
  );
  await expect(edge(guest((_hooks, scope) => scope.protocol({ identifiers: 'txt' as never })))).rejects.toThrow(
    '[guest] apply: scope.protocol() needs "identifiers", one of text, raw, number, not "txt"',
  );
});

it('names the plugin whose timer throws, and goes on', async () => {
  const rig = await edge(
    guest((_hooks, scope) => {
      scope.onStart(() => {
        scope.clock.after(100, () => {
          throw new Error('tick');
        });
      });
    }),
  );
  rig.advance(1000);
  await promises(rig);
  expect(JSON.stringify(rig.logged)).toContain('[guest] clock.after: tick');
});

it('names the plugin that does not stop, and stops the others', async () => {
  const order: string[] = [];
  const rig = await edge(
    guest((_hooks, scope) => {
      scope.onStop(() => {
        throw new Error('stuck');
      });
      scope.onStop(() => void order.push('second'));
    }),
  );
  await rig.stop();
  expect(order).toEqual(['second']);
  expect(JSON.stringify(rig.logged)).toContain('[guest] onStop: stuck');
});

it('names the plugin that does not start, and opens nothing', async () => {
  await expect(
    edge(
      guest((_hooks, scope) => {
        scope.onStart(() => Promise.reject(new Error('cannot')));
      }),
    ),
  ).rejects.toThrow('[guest] onStart: cannot');
});
