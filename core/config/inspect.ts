/** Finds out what a plugin does, by applying it to a pipeline of its own that opens nothing. */
import { composePipeline } from '../compose.ts';
import type { HookName } from '../hooks.ts';
import type { PluginDefinition } from '../plugin.ts';
import { Pool } from '../pool.ts';
import { dryServices } from '../services.ts';
import { defaultLimits, type PoolSettings } from '../settings.ts';
import { withDefaults } from './validate.ts';

const address = { transport: 'tcp', host: '127.0.0.1', port: 0, path: '' } as const;

const poolSettings: PoolSettings = {
  name: 'pool',
  backends: [{ name: 'backend', address, weight: 1, number: 1 }],
  linksPerBackend: 1,
  queueBytes: defaultLimits.queueBytes,
  connectSeconds: 5,
  keepaliveSeconds: 0,
};

/** The hooks that a plugin taps with the options of its first sample; undefined if it cannot be applied with those. */
export function hooksOf(plugin: PluginDefinition): readonly HookName[] | undefined {
  if (plugin.apply === undefined) return [];
  const listener = { name: 'listener', listen: address, pool: 'pool', identifiers: {}, limits: defaultLimits };
  const pipeline = [{ plugin, options: withDefaults(plugin, plugin.samples?.[0]?.options ?? {}) }];
  try {
    const { hooks } = composePipeline({ ...listener, pipeline }, new Pool(poolSettings), dryServices([]));
    return [...new Set(hooks.taps.map(({ hook }) => hook))];
  } catch {
    return undefined;
  }
}
