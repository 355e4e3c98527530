/** Checks a pipeline: composes it from the plugins that can be applied, and checks how they fit together. */
import { type Composed, composePipeline } from '../../compose.ts';
import type { PluginError } from '../../errors.ts';
import { Pool } from '../../pool.ts';
import { dryServices } from '../../services.ts';
import type { KeySettings, ListenerSettings, PluginUse, PoolSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import type { Path } from '../path.ts';
import { lintAdvertised } from './addresses.ts';
import { someKey } from './keys.ts';
import { lintLoad } from './load.ts';
import { entryPath, observerPath } from './places.ts';
import { addFault, addRemark } from './plugin-faults.ts';
import { lintLinks, lintMessageKeys, lintNumbers, lintReplay } from './protocol.ts';
import { lintAffinityOfWorkers } from './workers.ts';

/** A listener with its pipeline composed. */
export interface ComposedListener {
  readonly listener: ListenerSettings;
  readonly pool: PoolSettings;
  readonly composed: Composed;
}

export function lintPipeline(
  draft: Draft,
  listener: ListenerSettings,
  pool: PoolSettings,
  keys: readonly KeySettings[],
  observers: readonly PluginUse[],
): void {
  const hasKeys = lintKeysFor(draft, listener, keys);
  const { composed, refusals } = composeWhatGoes(listener, pool, hasKeys ? keys : [someKey], observers);
  for (const [use, fault] of refusals) addFault(draft, pathOf(draft, listener, use), fault);

  // What is missing may be what those would do that cannot be applied.
  const isWhole = !listener.pipeline.some((use) => refusals.has(use));
  const subject = { listener, pool, composed };
  lintFramers(draft, subject, isWhole);
  if (isWhole) lintAffinityOfWorkers(draft, subject);
  lintStrategies(draft, subject, isWhole);

  const [framer] = composed.hooks.tappedBy('frame');
  if (framer === undefined) return; // the rest depends on what the protocol can do
  lintNumbers(draft, subject, framer);
  lintLinks(draft, subject, framer);
  lintLoad(draft, subject);
  if (composed.facts.advertises) lintAdvertised(draft, listener, framer);
  lintReplay(draft, subject, framer);
  lintAdvice(draft, subject, observers);
  lintMessageKeys(draft, subject, framer);
}

/** Whether there are the keys that a listener's identifiers need. */
function lintKeysFor(
  { findings }: Draft,
  { name, identifiers }: ListenerSettings,
  keys: readonly KeySettings[],
): boolean {
  const { mode } = identifiers;
  if (mode === undefined || mode === 'plain' || keys.length > 0) return true;
  const message = `${mode} identifiers need "keys"`;
  findings.add(['listeners', name, 'identifiers', 'mode'], { rule: 'keys-missing', stage: 'lint', message });
  return false;
}

/** Composes a pipeline from the plugins that can be applied; returns why the others cannot. */
function composeWhatGoes(
  listener: ListenerSettings,
  poolSettings: PoolSettings,
  keys: readonly KeySettings[],
  observers: readonly PluginUse[],
): { readonly composed: Composed; readonly refusals: ReadonlyMap<PluginUse, PluginError> } {
  const pool = new Pool(poolSettings);
  let refusals: ReadonlyMap<PluginUse, PluginError> | undefined;
  const leftOut = new Set<PluginUse>();
  for (;;) {
    const refused = new Map<PluginUse, PluginError>();
    const isLeft = (use: PluginUse) => !leftOut.has(use);
    const services = dryServices(keys, observers.filter(isLeft));
    const onRefusal = (use: PluginUse, fault: PluginError) => void refused.set(use, fault);
    const pipeline = listener.pipeline.filter(isLeft);
    const composed = composePipeline({ ...listener, pipeline }, pool, { ...services, onRefusal });
    refusals ??= refused; // what is refused later may just miss what has been left out
    if (refused.size === 0) return { composed, refusals };
    for (const use of refused.keys()) leftOut.add(use); // which may have tapped hooks before it threw
  }
}

/** Where a plugin of the pipeline, or an observer of all pipelines, stands in the config. */
function pathOf(draft: Draft, { name, pipeline }: ListenerSettings, use: PluginUse): Path {
  const index = pipeline.indexOf(use);
  return index < 0 ? observerPath(draft, use) : ['listeners', name, 'pipeline', index, use.plugin.name];
}

/** A pipeline has one protocol plugin. */
function lintFramers({ findings }: Draft, { listener, composed }: ComposedListener, isWhole: boolean): void {
  const [framer, ...others] = composed.hooks.tappedBy('frame');
  if (framer === undefined && isWhole) {
    const message = 'no plugin of this pipeline taps frame; add a protocol plugin';
    const path = ['listeners', listener.name, 'pipeline'];
    findings.add(path, { rule: 'no-protocol', stage: 'apply', message, atKey: true });
  }
  for (const plugin of others) {
    const message = `"${plugin}" taps frame, but "${framer}" does already; a pipeline has one protocol plugin`;
    findings.add(entryPath(listener, plugin), { rule: 'second-protocol', stage: 'apply', message, atKey: true });
  }
}

/** A pipeline has a strategy plugin, and none after one that always chooses. */
function lintStrategies({ findings }: Draft, { listener, composed }: ComposedListener, isWhole: boolean): void {
  const strategies = composed.hooks.tappedBy('chooseBackend');
  const always = new Set(listener.pipeline.flatMap(({ plugin }) => (plugin.alwaysChooses ? plugin.name : [])));
  const decisive = strategies.findIndex((name) => always.has(name));
  for (const idle of decisive < 0 ? [] : strategies.slice(decisive + 1)) {
    const message = `"${idle}" is never asked: "${strategies[decisive]}" before it always chooses a backend`;
    findings.warn('unreachable-tap', entryPath(listener, idle), message);
  }
  if (strategies.length === 0 && isWhole) {
    const message = 'no plugin of this pipeline taps chooseBackend; add a strategy plugin';
    const path = ['listeners', listener.name, 'pipeline'];
    findings.add(path, { rule: 'no-strategy', stage: 'apply', message, atKey: true });
  }
}

/** Warns of what plugins have said with `scope.advise`. */
function lintAdvice(draft: Draft, { listener, composed }: ComposedListener, observers: readonly PluginUse[]): void {
  for (const { plugin, text } of composed.advice) {
    const observer = observers.find((use) => use.plugin.name === plugin);
    const path = observer === undefined ? entryPath(listener, plugin) : observerPath(draft, observer);
    addRemark(draft, path, text, { rule: 'plugin-advises', stage: 'lint', severity: 'warning', message: text });
  }
}
