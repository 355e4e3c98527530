/** Checks that a config makes sense as a whole, down to the plugins' `apply`, which opens nothing. */
import type { ListenerSettings, PoolSettings } from '../settings.ts';
import type { Built, Draft } from './build.ts';
import { lintAddresses, lintCircle } from './lint/addresses.ts';
import { lintHealth } from './lint/health.ts';
import { lintKeys, someKey } from './lint/keys.ts';
import { lintListenerLimits, lintPoolLimits } from './lint/limits.ts';
import { lintNames, lintReferences } from './lint/names.ts';
import { lintPipeline } from './lint/pipeline.ts';
import { lintObserver } from './lint/plugin-faults.ts';
import { lintPool } from './lint/pool.ts';
import { lintTransport } from './lint/transport.ts';
import { lintLimitsOfWorkers } from './lint/workers.ts';
import { membersOf } from './path.ts';

export function lint(draft: Draft, built: Built): void {
  const { config, findings } = draft;
  const listeners = [...built.listeners.values()];
  const inOrder = listeners.filter(({ name }) => findings.isSound(['listeners', name]));
  lintNames(draft);
  lintReferences(draft);
  lintKeys(draft);
  for (const pool of built.pools.values()) {
    lintPool(draft, pool);
    lintPoolLimits(draft, pool);
    lintHealth(draft, pool);
  }
  lintAddresses(draft, listeners, built.observers);
  for (const listener of inOrder) {
    const pool = built.pools.get(listener.pool);
    lintTransport(draft, listener);
    lintListenerLimits(draft, listener.name, pool);
    lintLimitsOfWorkers(draft, listener);
    lintCircle(draft, listener, pool);
  }
  const keys = findings.isSound(['keys']) ? built.keys : [someKey];
  for (const listener of listeners) {
    const pool = poolOf(draft, built, listener);
    if (pool !== undefined) lintPipeline(draft, listener, pool, keys, built.observers);
  }
  for (const use of built.observers) lintObserver(draft, use);
  if (Object.keys(config.listeners ?? {}).length === 0 && findings.isSound(['listeners'])) {
    findings.add([], { rule: 'no-listener', stage: 'lint', message: 'the config has no listeners' });
  }
}

/** Stands in for a pool that is not in order, and gives no cause for findings. */
const somePool: Omit<PoolSettings, 'name'> = {
  backends: [],
  links: undefined,
  linksPerBackend: 1,
  queueBytes: 1,
  connectSeconds: 1,
  keepaliveSeconds: 0,
};

/**
 * The pool that a listener feeds, or a stand-in if that is not in order, so that the pipeline is checked all the same. Undefined:
 * there is no such pool.
 */
function poolOf({ config }: Draft, { pools }: Built, { pool: name }: ListenerSettings): PoolSettings | undefined {
  return pools.get(name) ?? (membersOf(config.pools).includes(name) ? { ...somePool, name } : undefined);
}
