import { describe, expect, it } from 'vitest';
import { PluginError } from '../../core/errors.ts';
import { type HookName, hookNames, PipelineHooks } from '../../core/hooks.ts';
import { refusal } from '../../core/outcome.ts';
import { Scan } from '../../core/scan.ts';
import { defaultLimits } from '../../core/settings.ts';
import { clientAt, messageFrom, poolOf } from '../support/pool.ts';

const client = clientAt('192.0.2.1');
const message = messageFrom(client, 'message');
const pool = poolOf('a', 'b');
const scan = new Scan('client', client, defaultLimits);
const synchronous = hookNames.filter((name) => name !== 'onConnect');

/** Calls a hook with so many arguments that every one has its own. */
function call(hooks: PipelineHooks, name: HookName, ...args: unknown[]): unknown {
  return (hooks[name] as unknown as { call(...args: unknown[]): unknown }).call(...args);
}

function tap(hooks: PipelineHooks, name: HookName, plugin: string, run: (...args: unknown[]) => unknown): void {
  (hooks.forPlugin(plugin)[name].tap as (name: string, run: unknown) => void)(plugin, run);
}

function thrownBy(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  throw new Error('nothing was thrown');
}

describe('PipelineHooks', () => {
  it('has the six hooks of a pipeline in their order, and four at the side', () => {
    expect(hookNames).toEqual([
      'onConnect',
      'frame',
      'detectId',
      'chooseBackend',
      'insertId',
      'forward',
      'refuse',
      'onDrop',
      'onLink',
      'onDisconnect',
    ]);
  });

  it('says which hooks there are where one is misspelt', () => {
    const hooks = new PipelineHooks().forPlugin('acme') as unknown as Record<string, unknown>;
    expect(() => hooks.fraem).toThrow('there is no hook "fraem"; there are onConnect, frame, detectId, ');
  });

  it('takes nothing but functions for taps', () => {
    expect(() => tap(new PipelineHooks(), 'frame', 'acme', undefined as never)).toThrow(
      new TypeError('hooks.frame.tap() needs a function'),
    );
  });

  it.each([
    ['mroe', 'answered "mroe", which is no length'],
    [{}, 'answered {}, which is no length'],
    [0, 'answered the length 0: no progress'],
    [Number.NaN, 'answered the length NaN: no progress'],
  ])('names the plugin whose frame answers %j', (answer, text) => {
    const hooks = new PipelineHooks();
    tap(hooks, 'frame', 'acme', () => answer);
    expect(thrownBy(() => call(hooks, 'frame', Buffer.alloc(4), 0, 4, scan))).toMatchObject({
      message: `[acme] frame: ${text}`,
    });
  });

  it('hands taps what it is called with', () => {
    const hooks = new PipelineHooks();
    const bytes = Buffer.from('xyz');
    let seen: unknown[] = [];
    hooks.forPlugin('acme').frame.tap('acme', (...args) => {
      seen = args;
      return 2;
    });
    expect(hooks.frame.call(bytes, 1, 3, scan)).toBe(2);
    expect(seen).toEqual([bytes, 1, 3, scan]);
  });

  describe('what plugins see', () => {
    it('can be tapped and neither called nor changed', () => {
      const view = new PipelineHooks().forPlugin('acme');
      expect(Object.keys(view)).toEqual(hookNames);
      expect(Object.isFrozen(view)).toBe(true);
      for (const name of hookNames) expect(Object.keys(view[name])).toEqual(['tap']);
    });

    it('names each tap after its plugin, whatever the tap calls itself', () => {
      const hooks = new PipelineHooks();
      hooks.forPlugin('acme').frame.tap('sip', () => 1);
      hooks.forPlugin('acme').detectId.tap({ name: 'sip', stage: 5 }, () => undefined);
      expect(hooks.taps).toEqual([
        { hook: 'frame', plugin: 'acme' },
        { hook: 'detectId', plugin: 'acme' },
      ]);
      expect(hooks.isTapped('frame')).toBe(true);
      expect(hooks.isTapped('refuse')).toBe(false);
    });
  });

  describe('order', () => {
    it('asks taps in the order they were made, until one answers', () => {
      const hooks = new PipelineHooks();
      const asked: string[] = [];
      for (const [plugin, answer] of [
        ['first', undefined],
        ['second', pool.backends[1]],
        ['third', pool.backends[0]],
      ] as const) {
        hooks.forPlugin(plugin).chooseBackend.tap(plugin, () => {
          asked.push(plugin);
          return answer;
        });
      }
      expect(hooks.chooseBackend.call(message, pool)?.name).toBe('b');
      expect(asked).toEqual(['first', 'second']);
    });

    it('lets a tap say when it runs: by stage, or before another plugin', () => {
      const hooks = new PipelineHooks();
      const asked: string[] = [];
      const forward = (plugin: string, options: { stage?: number; before?: string }) =>
        hooks.forPlugin(plugin).forward.tap({ name: plugin, ...options }, () => void asked.push(plugin));
      forward('late', { stage: 10 });
      forward('middle', {});
      forward('early', { stage: -10 });
      forward('guest', { before: 'middle' });
      hooks.forward.call(message, client);
      expect(asked).toEqual(['early', 'guest', 'middle', 'late']);
      expect(hooks.taps.map(({ plugin }) => plugin)).toEqual(asked);
    });
  });

  describe('guards', () => {
    it.each(synchronous)('names the plugin that throws in %s, and keeps the cause', (name) => {
      const hooks = new PipelineHooks();
      const cause = new Error('no such header');
      tap(hooks, name, 'acme', () => {
        throw cause;
      });
      const error = thrownBy(() => call(hooks, name, message));
      expect(error).toBeInstanceOf(PluginError);
      expect(error).toMatchObject({
        message: `[acme] ${name}: no such header`,
        cause,
        plugin: 'acme',
        hook: name,
        code: 'POINTSMAN_PLUGIN',
        fault: 'plugin',
      });
    });

    it('copes with whatever is thrown', () => {
      const hooks = new PipelineHooks();
      hooks.forPlugin('acme').detectId.tap('acme', () => {
        throw 'a string';
      });
      expect(() => hooks.detectId.call(message)).toThrow(new PluginError('acme', 'detectId', 'a string'));
    });

    it('blames whose detectId answers what names nobody', () => {
      const hooks = new PipelineHooks();
      tap(hooks, 'detectId', 'acme', () => 'a name');
      expect(() => hooks.detectId.call(message)).toThrow('[acme] detectId: answered what names nobody');
    });

    it('blames the innermost plugin when one hook runs in another', () => {
      const hooks = new PipelineHooks();
      hooks.forPlugin('inner').refuse.tap('inner', () => {
        throw new Error('lost');
      });
      hooks.forPlugin('outer').insertId.tap('outer', () => {
        hooks.refuse.call(message, refusal('overloaded'));
        return undefined;
      });
      expect(() => hooks.insertId.call(message, undefined)).toThrow('[inner] refuse: lost');
    });

    it.each(synchronous)('refuses a promise from a tap of %s', (name) => {
      const hooks = new PipelineHooks();
      tap(hooks, name, 'acme', () => Promise.resolve(undefined));
      expect(() => call(hooks, name, message)).toThrow(
        new PluginError('acme', name, 'answered a promise, but is to be synchronous'),
      );
    });

    it('swallows the rejection of a promise it has refused, which would end the process', async () => {
      const unhandled: unknown[] = [];
      const note = (reason: unknown) => unhandled.push(reason);
      process.on('unhandledRejection', note);
      try {
        const hooks = new PipelineHooks();
        tap(hooks, 'detectId', 'acme', async () => {
          throw new Error('later');
        });
        expect(() => hooks.detectId.call(message)).toThrow(PluginError);
        await new Promise((resolve) => setImmediate(resolve));
        expect(unhandled).toEqual([]);
      } finally {
        process.off('unhandledRejection', note);
      }
    });
  });

  describe('onConnect', () => {
    it('waits for taps one after another, until one turns the client away', async () => {
      const hooks = new PipelineHooks();
      const asked: string[] = [];
      const full = refusal('overloaded');
      hooks.forPlugin('patient').onConnect.tap('patient', async () => {
        asked.push('patient asked');
        await Promise.resolve();
        asked.push('patient answered');
        return undefined;
      });
      hooks.forPlugin('quick').onConnect.tap('quick', () => {
        asked.push('quick');
        return full;
      });
      hooks.forPlugin('last').onConnect.tap('last', () => {
        asked.push('last');
        return undefined;
      });
      expect(await hooks.onConnect.promise(client)).toBe(full);
      expect(asked).toEqual(['patient asked', 'patient answered', 'quick']);
    });

    it.each([
      [
        'throws',
        () => {
          throw new Error('no lookup');
        },
      ],
      ['rejects', () => Promise.reject(new Error('no lookup'))],
    ])('names the plugin that %s', async (_how, connect) => {
      const hooks = new PipelineHooks();
      hooks.forPlugin('acme').onConnect.tap('acme', connect);
      await expect(hooks.onConnect.promise(client)).rejects.toThrow(new PluginError('acme', 'onConnect', 'no lookup'));
    });
  });
});
