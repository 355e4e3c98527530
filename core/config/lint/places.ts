/** Paths to the plugins that a config uses. */
import type { ListenerSettings, PluginUse } from '../../settings.ts';
import type { Draft } from '../build.ts';
import type { Path } from '../path.ts';

/** The path of a plugin of that name in its pipeline; of the last one if there are several. */
export function entryPath({ name, pipeline }: ListenerSettings, plugin: string): Path {
  const index = pipeline.findLastIndex((use) => use.plugin.name === plugin);
  return ['listeners', name, 'pipeline', index, plugin];
}

/** The path of an observer. */
export function observerPath({ config }: Draft, { plugin, options }: PluginUse): Path {
  // Those before it may be left out, and there may be others of its name.
  const index = config.observers!.findIndex((entry) => entry?.[plugin.name] === options);
  return ['observers', index, plugin.name];
}
