/** The plugin under test, and what can be known of it before a message has passed. */

import { composePipeline } from '../compose.ts';
import { withDefaults } from '../config/validate.ts';
import { Checks } from '../health/checks.ts';
import type { HookName } from '../hooks.ts';
import { noBalancer, Observers } from '../observers/observers.ts';
import type { PluginDefinition, ProtocolFacts, Sample } from '../plugin.ts';
import { Pool } from '../pool.ts';
import { dryServices } from '../services.ts';
import type { CheckTiming, PluginUse } from '../settings.ts';
import { Rig, type RigOptions, settingsWith } from './rig.ts';

/** The samples that go with one set of options. */
export interface Setting {
  readonly use: PluginUse;
  readonly samples: readonly Sample[];
  readonly taps: ReadonlySet<HookName>;
  readonly facts: ProtocolFacts;
  /** It asks for the keys of messages. */
  readonly takesKeys: boolean;
}

export interface Subject {
  readonly plugin: PluginDefinition;
  readonly samples: readonly Sample[];
  /** The options where a sample has none. */
  readonly options: unknown;
  /** One for each set of options under which the plugin can be applied. */
  readonly settings: readonly Setting[];
  /** What it taps under some of them. */
  readonly taps: ReadonlySet<HookName>;
  /** How long one piece of work may take, in milliseconds. */
  readonly patienceMs: number;
}

export function examine(
  plugin: PluginDefinition,
  samples: readonly Sample[],
  options: unknown,
  patienceMs: number,
): Subject {
  const groups = new Map<string, { options: unknown; samples: Sample[] }>();
  const groupOf = (options: unknown) => {
    const key = JSON.stringify(options);
    if (!groups.has(key)) groups.set(key, { options, samples: [] });
    return groups.get(key)!;
  };
  for (const sample of samples) groupOf(sample.options ?? options).samples.push(sample);
  if (samples.length === 0) groupOf(options);
  const settings = [...groups.values()].flatMap((group) => settle(plugin, group.options, group.samples) ?? []);
  const taps = new Set(settings.flatMap((setting) => [...setting.taps]));
  return { plugin, samples, options, settings, taps, patienceMs };
}

/** Undefined if the plugin cannot be applied so, which is for one of the cases to complain about. */
function settle(plugin: PluginDefinition, options: unknown, samples: readonly Sample[]): Setting | undefined {
  try {
    const use = { plugin, options: withDefaults(plugin, options) };
    const { hooks, facts, messageKeys } = applyAlone(use);
    const taps = new Set(hooks.taps.map(({ hook }) => hook));
    return { use, samples, taps, facts, takesKeys: messageKeys.length > 0 };
  } catch {
    return undefined;
  }
}

/**
 * Applies the plugin to a pipeline of its own that opens nothing.
 * @throws PluginError if it cannot be applied
 */
export function applyAlone(use: PluginUse, services = dryServices([])) {
  const { listeners, pools } = settingsWith([use]);
  return composePipeline(listeners[0]!, new Pool(pools[0]!), services);
}

/**
 * Makes a check of the plugin that opens nothing.
 * @throws PluginError if it cannot be made
 */
export function checkAlone(use: PluginUse, services = dryServices([])): void {
  const pool = new Pool(settingsWith([]).pools[0]!);
  new Checks(pool, [{ ...use, timing: use.options as CheckTiming }], services, () => {});
}

/**
 * Lets the plugin observe a balancer of which there is nothing to see.
 * @throws PluginError if it cannot
 */
export function observeAlone(use: PluginUse, { runtime, log } = dryServices([])): void {
  new Observers([use], { ...noBalancer, onReport() {} }, { clock: runtime, log });
}

/** A rig for the samples of one set of options. */
export function rigFor(setting: Setting, more: Omit<RigOptions, 'use' | 'frames' | 'chooses'> = {}): Promise<Rig> {
  const { use, taps } = setting;
  return Rig.open({ use, frames: taps.has('frame'), chooses: taps.has('chooseBackend'), ...more });
}

/** One thing that every plugin of some kind must do. */
export interface Case {
  readonly name: string;
  /** To which plugins it applies. */
  applies(subject: Subject): boolean;
  /** Throws (or rejects with) an AssertionError that says what is wrong. */
  run(subject: Subject): void | Promise<void>;
}
