import { definePlugin, type PluginDefinition, Type } from 'pointsman';
import { expect, it } from 'vitest';
import { VirtualBackend } from '../../core/rehearsal/rig.ts';
import { formatAddress } from '../../core/runtime/address.ts';
import type { BackendSettings, ListenerSettings, PoolSettings, Settings } from '../../core/settings.ts';
import { embed, optionsOf, type Rig, type RigOptions } from '../support/embedded.ts';
import { guest, lines, turns } from '../support/lines.ts';

const edge = (options: Partial<RigOptions> = {}) =>
  embed({ pipeline: [[lines], [turns]], links: 'shared', backends: ['a', 'b'], ...options });

const use = (plugin: PluginDefinition) => ({ plugin, options: optionsOf(plugin) });

async function reload(rig: Rig, settings: Settings): Promise<void> {
  await rig.runtime.until(rig.balancer.reload(settings));
  expect(rig.balancer.stats().reloads!.succeeded).toBeGreaterThan(0);
  rig.stats();
}

const withPool = ({ settings }: Rig, pool: Partial<PoolSettings>): Settings => ({
  ...settings,
  pools: [{ ...settings.pools[0]!, ...pool }],
});

const withListener = ({ settings }: Rig, listener: Partial<ListenerSettings>): Settings => ({
  ...settings,
  listeners: [{ ...settings.listeners[0]!, ...listener }],
});

const backendsOf = ({ settings }: Rig) => settings.pools[0]!.backends;

function backend(rig: Rig, name: string, host: string, number: number): [VirtualBackend, BackendSettings] {
  const address = { transport: 'tcp', host, port: 7000, path: '' } as const;
  return [new VirtualBackend(rig.runtime, name, formatAddress(address)), { name, address, weight: 1, number }];
}

it('gives work to a backend that has been added, and keeps links, clients and what they wait for', async () => {
  const rig = await edge();
  const alice = rig.client();
  alice.send('1\n');
  const [c, settings] = backend(rig, 'c', '10.0.0.3', 3);
  await reload(rig, withPool(rig, { backends: [...backendsOf(rig), settings] }));
  for (const text of ['2', '3', '4']) alice.send(`${text}\n`);
  expect(c.text()).toContain('@c #');
  rig.backend('a').link.send('#1 one\n');
  expect(alice.text()).toBe('one\n');
  expect(rig.backend('a').wires).toHaveLength(1);
  expect(rig.stats().connections).toEqual({ open: 1, accepted: 1, turnedAway: 0 });
});

it('lets a backend that is gone answer what it has, sends it nothing more, and closes its link then', async () => {
  const rig = await edge();
  const alice = rig.client();
  alice.send('1\n2\n');
  const link = rig.backend('b').link;
  await reload(rig, withPool(rig, { backends: backendsOf(rig).slice(0, 1) }));
  alice.send('3\n@b 4\n');
  rig.advance(2000);
  expect(rig.backend('b').text()).toBe('@b #2 2\n');
  expect(link.closed).toBe(false);
  link.send('#2 two\n');
  expect(alice.text()).toBe('error unknown-backend\ntwo\n');
  rig.advance(2000);
  expect(link.closed).toBe(true);
  expect(rig.backend('a').text()).toBe('@a #1 1\n@a #3 3\n');
});

it('lets plugins write the identifier of a backend that is gone into its answers', async () => {
  const seen: (string | undefined)[] = [];
  const spy = () =>
    guest((hooks) => {
      hooks.insertId.tap('guest', (message, token) => {
        if (message.from === 'backend') seen.push(token?.text.toString());
        return undefined;
      });
    });
  const rig = await edge({ pipeline: [[spy()], [lines], [turns]] });
  rig.client().send('1\n2\n');
  await reload(rig, withPool(rig, { backends: backendsOf(rig).slice(0, 1) }));
  rig.backend('b').link.send('#2 two\n');
  expect(seen).toEqual(['b']);
});

it('gives up on a backend that is gone when its answers are overdue', async () => {
  const rig = await edge({ limits: { replySeconds: 10 } });
  rig.client().send('1\n2\n');
  const link = rig.backend('b').link;
  await reload(rig, withPool(rig, { backends: backendsOf(rig).slice(0, 1) }));
  rig.advance(12_000);
  expect(link.closed).toBe(true);
  expect(rig.stats().exchanges).toMatchObject({ open: 0, expired: 2 });
});

it('sends what waits for a backend that is gone to another, in its order', async () => {
  const rig = await edge({ backends: ['a', 'b'] });
  rig.backend('b').link.pause();
  const alice = rig.client();
  for (let each = 1; each <= 8; each++) alice.send(`${each}\n`);
  expect(rig.stats().queued).toBeGreaterThan(0);
  await reload(rig, withPool(rig, { backends: backendsOf(rig).slice(0, 1) }));
  const texts = [
    ...rig
      .backend('a')
      .text()
      .matchAll(/ (\d)\n/g),
  ].map(([, text]) => text);
  expect(texts.filter((text) => '1357'.includes(text!))).toEqual(['1', '3', '5', '7']);
  expect(texts.filter((text) => '468'.includes(text!))).toEqual(['4', '6', '8']);
  expect(rig.stats()).toMatchObject({ redispatched: 3, queued: 0 });
});

it('reaches a backend at its new address, and hears the old one out', async () => {
  const rig = await edge({ backends: ['a'] });
  const alice = rig.client();
  alice.send('1\n');
  const old = rig.backend('a').link;
  const [moved, settings] = backend(rig, 'a', '10.0.0.9', 1);
  await reload(rig, withPool(rig, { backends: [settings] }));
  alice.send('@a 2\n');
  expect(moved.text()).toBe('@a #2 2\n');
  old.send('#1 one\n');
  moved.link.send('#2 two\n');
  expect(alice.text()).toBe('one\ntwo\n');
  rig.advance(2000);
  expect(old.closed).toBe(true);
});

it('changes weights and states in place, but not what an operator has changed and the config has not', async () => {
  const rig = await edge();
  const [a, b] = backendsOf(rig) as [BackendSettings, BackendSettings];
  rig.balancer.setBackend('pool', 'b', { state: 'drain' });
  await reload(rig, withPool(rig, { backends: [{ ...a, weight: 5 }, b] }));
  expect(rig.stats().backends).toMatchObject({ a: { weight: 5, state: 'ready' }, b: { weight: 1, state: 'drain' } });
  expect(rig.backend('a').wires).toHaveLength(1);
});

/** Puts a mark before each line; what it keeps for a client is how many it has seen. */
const marking = (mark: string, staysWithClients?: boolean) =>
  guest((hooks, scope) => {
    const count = scope.perClient(() => ({ messages: 0 }));
    scope.protocol({ identifiers: 'text', correlates: false, ...(staysWithClients && { staysWithClients }) });
    hooks.frame.tap('guest', (bytes, start, end) => {
      const newline = bytes.indexOf(0x0a, start);
      return newline < 0 || newline >= end ? 'more' : newline + 1 - start;
    });
    hooks.insertId.tap('guest', (message) => {
      if (message.from === 'client') message.splice(0, 0, Buffer.from(`${mark}${++count(message.client!).messages} `));
      return undefined;
    });
  });

it('moves clients and their links to other plugin code between two messages', async () => {
  const rig = await embed({ pipeline: [[marking('old')], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  alice.send('1\nhal');
  await reload(rig, withListener(rig, { pipeline: [use(marking('new')), use(turns)] }));
  alice.send('f\n');
  expect(rig.backend('a').text()).toBe('old1 1\nnew1 half\n');
  expect(rig.backend('a').wires).toHaveLength(1);
  rig.backend('a').link.send('hello\n');
  expect(alice.text()).toBe('hello\n');
});

it('leaves plugins whose code stays what they know of clients', async () => {
  const plugin = marking('same', true);
  const rig = await embed({ pipeline: [[plugin], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  alice.send('1\n');
  await reload(rig, withListener(rig, { limits: { ...rig.settings.listeners[0]!.limits, idleSeconds: 7 } }));
  alice.send('2\n');
  expect(rig.backend('a').text()).toBe('same1 1\nsame2 2\n');
});

it('lets clients finish with the plugin code they began with where that says so', async () => {
  const rig = await embed({ pipeline: [[marking('old', true)], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  await reload(rig, withListener(rig, { pipeline: [use(marking('new', true)), use(turns)] }));
  alice.send('1\n');
  rig.client().send('2\n');
  expect(rig.backend('a').text()).toBe('old1 1\nnew1 2\n');
  expect(rig.balancer.stats().listeners.edge!.connections).toMatchObject({ open: 2, accepted: 2 });
});

it('counts on when the last client of a listener that had to go has left', async () => {
  const rig = await embed({ pipeline: [[marking('old', true)], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  alice.send('1\n');
  await reload(rig, withListener(rig, { pipeline: [use(marking('new', true)), use(turns)] }));
  alice.reset();
  rig.advance(2000);
  await rig.settle();
  expect(rig.balancer.stats().listeners.edge).toMatchObject({
    fromClients: { received: 1, forwarded: 1 },
    connections: { open: 0, accepted: 1 },
  });
});

it('counts nothing as in flight any more for a listener that has left', async () => {
  const rig = await edge({ pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  alice.send('!session 1\n');
  const [pool] = rig.balancer.pools;
  expect(pool!.backends[0]!.inFlight).toBe(1);
  await reload(rig, withListener(rig, { listen: { ...rig.settings.listeners[0]!.listen, port: 6000 } }));
  alice.reset();
  rig.advance(2000);
  await rig.settle();
  expect(pool!.backends[0]!.inFlight).toBe(0);
});

it.each(['dedicated', 'shared'] as const)(
  'finds a backend again that a listener has found down before it left: %s links',
  async (links) => {
    const rig = await edge({ pipeline: [[lines, { shared: links === 'shared' }], [turns]], links, backends: ['a'] });
    const alice = rig.client();
    rig.advance(2000);
    const listen = { ...rig.settings.listeners[0]!.listen, port: 6000 };
    await reload(rig, withListener(rig, { listen }));
    rig.backend('a').hang();
    if (links === 'shared') rig.backend('a').wires[0]!.reset();
    else alice.send('1\n');
    rig.advance(6000);
    expect(rig.stats().backends.a!.up).toBe(false);
    alice.reset();
    rig.advance(2000);
    await rig.settle();
    rig.backend('a').up();
    rig.advance(30_000);
    await rig.settle();
    expect(rig.stats().backends.a!.up).toBe(true);
  },
);

it('finds a backend again that was down when its pool had no listener for a while', async () => {
  const rig = await edge({ pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated', backends: ['a'] });
  const alice = rig.client();
  rig.backend('a').down();
  alice.send('1\n');
  alice.reset();
  await rig.runtime.until(rig.balancer.reload({ ...rig.settings, listeners: [] }));
  rig.advance(2000);
  await rig.settle();
  await reload(rig, rig.settings);
  expect(rig.stats().backends.a!.up).toBe(false);
  rig.backend('a').up();
  rig.advance(30_000);
  expect(rig.stats().backends.a!.up).toBe(true);
});

it('reads tokens of the key before the new one', async () => {
  const [k1, k2] = ['k1', 'k2'].map((id, index) => ({ id, secret: Buffer.alloc(32, index + 1) })) as never as [
    never,
    never,
  ];
  const rig = await edge({ keys: [k1] });
  const alice = rig.client();
  alice.send('1\n');
  const [, token] = /^@(\S+)/.exec(rig.backend('a').text())!;
  await reload(rig, { ...rig.settings, keys: [k2, k1] });
  alice.send(`@${token} 2\n`);
  const [, fresh] = /^@(\S+) #2 2\n$/.exec(rig.backend('a').text())!;
  expect(fresh).not.toBe(token);
  alice.send(`@${fresh} 3\n`);
  expect(rig.backend('a').text()).toContain(' 3\n');
});

it('remembers where related messages went', async () => {
  const rig = await edge();
  const alice = rig.client();
  alice.send('1\n!group 2\n');
  const [c, settings] = backend(rig, 'c', '10.0.0.3', 3);
  await reload(rig, withPool(rig, { backends: [...backendsOf(rig), settings] }));
  rig.backend('b').take();
  for (const text of ['3', '4', '5']) alice.send(`!group ${text}\n`);
  expect(
    rig
      .backend('b')
      .text()
      .match(/!group/g),
  ).toHaveLength(3);
  expect(c.text()).toBe('');
});

it('starts new plugins before it stops old ones', async () => {
  const order: string[] = [];
  const spy = (name: string) =>
    guest((_hooks, scope) => {
      scope.onStart(() => void order.push(`start ${name}`));
      scope.onStop(() => void order.push(`stop ${name}`));
    });
  const rig = await edge({ pipeline: [[lines], [turns], [spy('old')]] });
  await reload(rig, withListener(rig, { pipeline: [use(lines as never), use(turns), use(spy('new'))] }));
  await rig.stop();
  expect(order).toEqual(['start old', 'start new', 'stop old', 'stop new']);
});

it.each<[string, (rig: Rig) => Settings, string]>([
  [
    'a plugin cannot be applied',
    (rig) =>
      withListener(rig, {
        pipeline: [
          use(
            guest(() => {
              throw new Error('odd');
            }),
          ),
        ],
      }),
    '[guest] apply: odd',
  ],
  [
    'a plugin cannot start',
    (rig) =>
      withListener(rig, {
        pipeline: [
          use(lines as never),
          use(turns),
          use(guest((_hooks, scope) => scope.onStart(() => Promise.reject(new Error('cannot'))))),
        ],
      }),
    '[guest] onStart: cannot',
  ],
  [
    'an address cannot be opened',
    (rig) => {
      const [listener] = rig.settings.listeners as [ListenerSettings];
      const listen = { ...listener.listen, port: 6000 };
      return {
        ...rig.settings,
        listeners: [listener, { ...listener, name: 'two', listen }, { ...listener, name: 'three', listen }],
      };
    },
    'listener three cannot listen on tcp://192.0.2.1:6000: listen EADDRINUSE tcp://192.0.2.1:6000',
  ],
])('changes nothing if %s', async (_what, settingsFor, message) => {
  const rig = await edge();
  const alice = rig.client();
  const settings = settingsFor(rig);
  const removed = { ...settings, pools: [{ ...settings.pools[0]!, backends: backendsOf(rig).slice(0, 1) }] };
  await expect(rig.balancer.reload(removed)).rejects.toThrow(message);
  alice.send('1\n2\n');
  expect([rig.backend('a').text(), rig.backend('b').text()]).toEqual(['@a #1 1\n', '@b #2 2\n']);
  expect(rig.balancer.stats().reloads).toMatchObject({ succeeded: 0, failed: 1 });
  expect(rig.balancer.listeners).toHaveLength(1);
  expect(rig.runtime.dial({ transport: 'tcp', host: '192.0.2.1', port: 6000, path: '' }, '', 1)).toBe(undefined);
});

it('feeds another pool: new clients get its backends, those that are there finish with the old ones', async () => {
  const rig = await edge({ backends: ['a'] });
  const alice = rig.client();
  alice.send('1\n');
  const [b, settings] = backend(rig, 'b', '10.0.0.7', 1);
  const other = { ...rig.settings.pools[0]!, name: 'other', backends: [settings] };
  await reload(rig, { ...withListener(rig, { pool: 'other' }), pools: [other] });
  const bob = rig.client();
  bob.send('2\n');
  alice.send('3\n');
  expect([b.text(), rig.backend('a').text()]).toEqual(['@b #1 2\n', '@a #1 1\n@a #2 3\n']);
  const { link } = rig.backend('a');
  link.send('#1 one\n#2 three\n');
  b.link.send('#1 two\n');
  expect([alice.text(), bob.text()]).toEqual(['one\nthree\n', 'two\n']);
  expect(rig.balancer.stats().listeners.edge).toMatchObject({
    fromClients: { received: 3, forwarded: 3 },
    connections: { open: 2, accepted: 2 },
  });
  alice.reset();
  rig.advance(2000);
  await rig.settle();
  expect([link.closed, b.link.closed]).toEqual([true, false]);
});

it('goes on with what waits for a backend with room, by the limits that there are now', async () => {
  const rig = await edge({ backends: ['a'], pool: { backendLimits: { inFlight: 1 }, queueSeconds: 5 } });
  const alice = rig.client();
  alice.send('1\n2\n3\n');
  expect(rig.stats().queued).toBe(2);
  await reload(rig, withPool(rig, { backendLimits: { inFlight: 2 } }));
  expect(rig.backend('a').text()).toBe('@a #1 1\n@a #2 2\n');
  expect(rig.stats().queued).toBe(1);
  rig.backend('a').link.send('#1 one\n');
  expect(rig.backend('a').text()).toBe('@a #3 3\n');
  expect(alice.text()).toBe('one\n');
});

it('limits a backend that had no limits, in a pool that had none', async () => {
  const rig = await edge({ backends: ['a'] });
  await reload(rig, withPool(rig, { backends: [{ ...backendsOf(rig)[0]!, limits: { inFlight: 1 } }] }));
  const alice = rig.client();
  alice.send('1\n2\n');
  expect(rig.backend('a').text()).toBe('@a #1 1\n');
  expect(alice.text()).toBe('error overloaded\n');
});

it('counts what is known of backends once, though a listener that they have too leaves', async () => {
  const rig = await edge();
  rig.backend('a').down();
  rig.advance(1000);
  const alice = rig.client();
  const dedicated = { ...use(lines as never), options: { shared: false, relays: false } };
  const settings = withListener(rig, { pipeline: [dedicated, use(turns)] });
  await reload(rig, { ...settings, pools: [{ ...settings.pools[0]!, links: 'dedicated' }] });
  const counts = () => rig.balancer.stats().listeners.edge!.backends.a!.failedConnects;
  const [a] = rig.balancer.pools[0]!.backends;
  expect([rig.balancer.stats().listeners.edge!.connections.open, counts()]).toEqual([1, a!.failedConnects]);
  alice.end();
  rig.advance(5000);
  await rig.settle();
  expect([rig.balancer.stats().listeners.edge!.connections.open, counts()]).toEqual([0, a!.failedConnects]);
  expect(a!.failedConnects).toBeGreaterThan(1);
});

it('lets queues have the lengths that there are now', async () => {
  const rig = await edge({ backends: ['a'] });
  const alice = rig.client();
  rig.backend('a').link.pause();
  await reload(rig, withPool(rig, { queueBytes: 1000 }));
  for (let i = 0; i < 100; i++) alice.send(`${'x'.repeat(50)}\n`);
  expect(rig.stats()).toMatchObject({ fromClients: { refused: 0 }, queuedBytes: expect.toSatisfy((n) => n < 1100) });
  rig.backend('a').link.resume();
  expect(rig.stats().fromClients.forwarded).toBe(100);
  alice.pause();
  const { limits } = rig.settings.listeners[0]!;
  await reload(rig, withListener(rig, { limits: { ...limits, queueBytes: 100 } }));
  for (let i = 0; i < 10; i++) alice.send('?\n');
  expect(rig.stats().fromClients.refused).toBeLessThan(10); // it is not read from
});

it('opens a listener that is new, and lets the clients of one that is gone finish', async () => {
  const rig = await edge();
  const alice = rig.client();
  const [listener] = rig.settings.listeners as [ListenerSettings];
  const listen = { ...listener.listen, port: 6000 };
  await reload(rig, { ...rig.settings, listeners: [{ ...listener, name: 'other', listen }] });
  expect(() => rig.client()).toThrow('nobody listens');
  expect(rig.runtime.dial(listen, '198.51.100.2', 1)).toBeDefined();
  alice.send('1\n');
  rig.backend('a').links[0]!.send('#1 one\n');
  expect(alice.text()).toBe('one\n');
  expect(rig.balancer.stats().listeners.edge).toMatchObject({
    fromClients: { forwarded: 1 },
    connections: { open: 1 },
  });
});

it('refuses new sessions while it stops, and lets those go on that there are', async () => {
  const rig = await edge();
  const alice = rig.client();
  alice.send('1\n');
  const stopped = rig.balancer.stop({ deadlineSeconds: 10 });
  await rig.settle();
  alice.send('2\n@a 3\n');
  rig.backend('a').link.send('#1 one\n#2 three\n');
  expect(alice.text()).toBe('error stopping\none\nthree\n');
  expect(rig.stats().fromClients.refusedFor).toEqual({ stopping: 1 });
  rig.advance(100);
  await rig.settle();
  alice.end();
  rig.advance(100);
  await rig.runtime.until(stopped);
  expect(alice.closed).toBe(true);
});

it('waits no longer for a listener that has left than for others when it stops', async () => {
  const rig = await edge();
  const alice = rig.client();
  alice.send('1\n');
  await reload(rig, withListener(rig, { listen: { ...rig.settings.listeners[0]!.listen, port: 6000 } }));
  alice.reset();
  rig.advance(2000);
  await rig.settle();
  const stopped = rig.balancer.stop({ deadlineSeconds: 1 });
  await rig.settle();
  rig.advance(1000);
  await rig.runtime.until(stopped);
  expect(rig.runtime.timers).toBe(0);
  expect(rig.balancer.stats().listeners.edge!.exchanges).toMatchObject({ open: 0, abandoned: 1 });
});

it('lets pipelines hear observers that run, and none that were refused', async () => {
  const heard: unknown[] = [];
  const observer = definePlugin({
    name: 'observer',
    summary: 'For one test.',
    pointsman: '^1',
    options: Type.Object({}),
    apply: (_hooks, _options, { channel }) => channel.onMessage((value) => heard.push(value)),
  });
  const rig = await edge();
  const observers = [use(observer)];
  await reload(rig, { ...rig.settings, observers });
  const impossible = { ...withListener(rig, { proxyProtocol: { from: ['192.0.2.1'] } }), observers };
  await expect(rig.balancer.reload(impossible)).rejects.toThrow('cannot change without a restart');
  rig.balancer.order(0, 'first');
  expect(heard).toEqual(['first']);
  await reload(rig, { ...withListener(rig, { identifiers: { whenDown: 'rechoose' } }), observers });
  rig.balancer.order(0, 'second');
  expect(heard).toEqual(['first', 'first', 'second']);
});

it('gives a reload up whose plugin does not start, which holds up neither the next one nor the end', async () => {
  const rig = await edge();
  const never = () => guest((_hooks, scope) => scope.onStart(() => new Promise(() => {})));
  const stuck = withListener(rig, { pipeline: [use(lines as never), use(turns), use(never())] });
  const refused = rig.balancer.reload(stuck);
  const next = rig.balancer.reload(rig.settings);
  await rig.settle();
  rig.advance(30_000);
  await expect(refused).rejects.toThrow('a plugin takes more than 30 s to start, or to stop');
  await rig.runtime.until(next);
  const last = rig.balancer.reload(stuck);
  await rig.settle();
  await Promise.all([rig.stop(), expect(last).rejects.toThrow('no reload: the balancer is stopping')]);
});

it('opens no address for a plugin that has started too late', async () => {
  const rig = await edge();
  let start = () => {};
  const late = guest((_hooks, scope) =>
    scope.onStart(
      () =>
        new Promise((resolve) => {
          start = resolve;
        }),
    ),
  );
  const [listener] = rig.settings.listeners as [ListenerSettings];
  const listen = { ...listener.listen, port: 6000 };
  const pipeline = [use(lines as never), use(turns), use(late)];
  const refused = rig.balancer.reload({
    ...rig.settings,
    listeners: [listener, { ...listener, name: 'other', listen, pipeline }],
  });
  await rig.settle();
  rig.advance(30_000);
  await expect(refused).rejects.toThrow('more than 30 s');
  start();
  await rig.settle();
  expect(rig.runtime.dial(listen, '198.51.100.2', 1)).toBeUndefined();
});

it('refuses a reload while it stops', async () => {
  const rig = await edge();
  await rig.stop();
  await expect(rig.balancer.reload(rig.settings)).rejects.toThrow('no reload: the balancer is stopping');
});

it('holds clients that are connected to the limits of their address as they are now, and counts what they wait for', async () => {
  const rig = await edge({ backends: ['a'], limits: { reservedPercent: 0 } });
  const limited = (limits: object) =>
    reload(rig, withListener(rig, { limits: { ...rig.settings.listeners[0]!.limits, ...limits } }));
  const alice = rig.client();
  alice.send('1\n2\n');
  await limited({ inFlightPerAddress: 3 });
  alice.send('3\n4\n');
  expect(alice.text()).toBe('error overloaded\n');
  for (const id of [1, 2, 3]) rig.backend('a').link.send(`#${id} done\n`);
  alice.text();
  await limited({ messagesPerSecondPerAddress: 1, burstMessagesPerAddress: 2 });
  alice.send('5\n6\n7\n');
  expect(alice.text()).toBe('error rate-limited\n');
  await limited({});
  alice.send('8\n9\n');
  expect(alice.text()).toBe('');
});

it('tells observers when the new certificates expire', async () => {
  const rig = await edge();
  expect(rig.balancer.certificates()).toEqual([]);
  for (const certificateExpiresAtMs of [5000, 7000]) {
    await reload(rig, withPool(rig, { tls: { verify: true, certificateExpiresAtMs } }));
    expect(rig.balancer.certificates()).toEqual([{ pool: 'pool', expiresAtMs: certificateExpiresAtMs }]);
  }
});
