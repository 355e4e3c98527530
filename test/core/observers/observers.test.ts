import { definePlugin, type PluginDefinition, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import type { Balancer } from '../../../core/balancer.ts';
import { Observers } from '../../../core/observers/observers.ts';
import { Rig } from '../../../core/rehearsal/rig.ts';
import { VirtualRuntime } from '../../../core/runtime/virtual.ts';
import { settingsWith } from '../../support/settings.ts';

const none = Type.Object({});

function watcher(definition: Omit<PluginDefinition, 'name' | 'summary' | 'pointsman' | 'options'>): PluginDefinition {
  return definePlugin({ name: 'watcher', summary: 'Watches.', pointsman: '^1', options: none, ...definition } as never);
}

async function watched(plugin: PluginDefinition) {
  const logged: string[] = [];
  const keep = (_fields: object, text = '') => void logged.push(text);
  const log = { debug() {}, info() {}, warn() {}, error: keep };
  const settings = settingsWith({ observers: [{ plugin, options: {} }] });
  const rig = await Rig.start(settings, { log });
  const observers = new Observers(settings.observers!, rig.balancer, { clock: rig.runtime, log });
  return { rig, observers, logged };
}

describe('an observer', () => {
  it('taps every pipeline, and hears there what was forwarded and what went nowhere', async () => {
    const seen: string[] = [];
    const { rig } = await watched(
      watcher({
        apply(hooks) {
          hooks.forward.tap('watcher', (message) => void seen.push(`${message.from} ${message.reason}`));
          hooks.onDrop.tap('watcher', (_message, { reason }, replied) => void seen.push(`${reason} ${replied}`));
        },
      }),
    );
    const alice = rig.client();
    alice.send('hello\n');
    alice.send('@nobody hello\n');
    rig.runtime.settle();
    expect(seen).toEqual(['client strategy', 'unknown-backend true']);
  });

  it('decides nothing, whatever its taps answer, and stops no message, whatever they throw', async () => {
    const { rig, logged } = await watched(
      watcher({
        apply(hooks, _options, { pool }) {
          hooks.chooseBackend.tap({ name: 'watcher', stage: -1 }, () => pool.byName('b'));
          hooks.forward.tap('watcher', () => {
            throw new Error('no room');
          });
        },
      }),
    );
    rig.client().send('hello\n');
    expect(rig.backend('a').link.take().toString()).toContain('hello');
    expect(logged).toEqual(['[watcher] forward: no room']);
  });

  it('finds fields by their name in messages that are whole, and times the calls of hooks that it chooses', async () => {
    const seen: unknown[] = [];
    const plugin = watcher({
      apply(hooks, _options, scope) {
        const size = scope.field('size');
        const nothing = scope.field('nothing');
        let isOn = false;
        hooks.detectId.tap({ name: 'watcher', stage: -1 }, (message) => {
          isOn = message.length > 4;
          seen.push({ ...size(message) }, nothing(message));
          return undefined;
        });
        hooks.onDrop.tap('watcher', (message) => void seen.push(size(message)));
        scope.timeHooks(
          () => isOn,
          (hook, plugin) => void seen.push(`${hook} ${plugin}`),
        );
      },
    });
    const framer = definePlugin({
      name: 'framer',
      summary: 'Frames lines.',
      pointsman: '^1',
      options: none,
      apply(hooks, _options, scope) {
        scope.protocol({ identifiers: 'text', keys: { size: ({ length }) => ({ offset: 0, length }) } });
        hooks.frame.tap('framer', (bytes, start, end) =>
          bytes[start] === 0x21 ? 'broken' : bytes.subarray(start, end).indexOf(0x0a) + 1 || 'more',
        );
      },
    });
    const [edge] = settingsWith().listeners;
    const pipeline = [{ plugin: framer as never, options: {} }, edge!.pipeline[1]!];
    const settings = settingsWith({
      pool: { links: undefined },
      listener: { pipeline },
      observers: [{ plugin, options: {} }],
    });
    const rig = await Rig.start(settings, { log: { debug() {}, info() {}, warn() {}, error() {} } });
    rig.client().send('one\ntwenty\n!');
    expect(seen).toEqual([
      { offset: 0, length: 4 },
      undefined,
      { offset: 0, length: 7 },
      undefined,
      'chooseBackend turns',
      'frame framer',
      undefined,
      'onDrop watcher',
    ]);
  });

  it('talks over its channel with its taps, and pipelines that begin later hear the last order', async () => {
    const reports: unknown[] = [];
    const plugin = watcher({
      apply(hooks, _options, { channel }) {
        let order: unknown = 'none';
        channel.onMessage((value) => {
          order = value;
        });
        hooks.onConnect.tap('watcher', () => void channel.send(order));
      },
      observe(_balancer, _options, { channel }) {
        channel.onMessage((value) => void reports.push(value));
        channel.send('first');
        channel.send('second');
      },
    });
    const { rig } = await watched(plugin);
    rig.client();
    await rig.settle();
    expect(reports).toEqual(['second']);
  });

  it('sees what has been counted, and changes what backends get', async () => {
    const { rig } = await watched(
      watcher({
        observe(balancer) {
          balancer.setBackend('pool', 'a', { state: 'drain' });
          balancer.setBackend('pool', 'b', { weight: 3 });
          expect(() => balancer.setBackend('pool', 'c', {})).toThrow('there is no backend "c" in a pool "pool"');
          expect(balancer.stats().listeners.edge?.backends.a?.state).toBe('drain');
        },
      }),
    );
    expect(rig.balancer.pools[0]?.available.map(({ name, weight }) => [name, weight])).toEqual([['b', 3]]);
  });

  it('is started and stopped by whoever runs it, and named in what goes wrong', async () => {
    const order: string[] = [];
    const { observers } = await watched(
      watcher({
        observe(_balancer, _options, scope) {
          scope.onStart(async () => void order.push('start'));
          scope.onStop(() => void order.push('stop'));
        },
      }),
    );
    await observers.start();
    await observers.stop();
    expect(order).toEqual(['start', 'stop']);

    const failing = await watched(
      watcher({ observe: (_balancer, _options, scope) => scope.onStart(() => Promise.reject(new Error('no port'))) }),
    );
    await expect(failing.observers.start()).rejects.toThrow('[watcher] onStart: no port');
    const broken = watcher({
      observe: () => {
        throw new Error('no way');
      },
    });
    const services = { clock: new VirtualRuntime(), log: { debug() {}, info() {}, warn() {}, error() {} } };
    expect(() => new Observers([{ plugin: broken, options: {} }], {} as Balancer, services)).toThrow(
      '[watcher] observe: no way',
    );
  });
});
