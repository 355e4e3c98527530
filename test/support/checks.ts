/** A pool whose backends are checked, on virtual sockets. */
import { Checks } from '../../core/health/checks.ts';
import type { PluginDefinition } from '../../core/plugin.ts';
import { Pool } from '../../core/pool.ts';
import { VirtualBackend } from '../../core/rehearsal/rig.ts';
import { formatAddress } from '../../core/runtime/address.ts';
import { VirtualRuntime } from '../../core/runtime/virtual.ts';
import { type PoolSettings, timingOf } from '../../core/settings.ts';
import { optionsOf } from './embedded.ts';
import { poolSettings } from './pool.ts';

const quiet = () => {};

/**
 * Backends a and b, checked every second without jitter unless the options say otherwise.
 * @param checks plugins with the options that a config would give
 * @param settings of the pool
 */
export function checked(
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  checks: readonly (readonly [PluginDefinition<any>, object?])[],
  settings: Partial<PoolSettings> = {},
) {
  const runtime = new VirtualRuntime();
  const pool = new Pool({ ...poolSettings('a', 'b'), ...settings });
  const backends = pool.backends.map(({ name, address }) => new VirtualBackend(runtime, name, formatAddress(address)));
  const news: string[] = [];
  const errors: string[] = [];
  const log = { debug: quiet, info: quiet, warn: quiet, error: (_fields: object, text = '') => void errors.push(text) };
  const uses = checks.map(([plugin, given]) => {
    const options = optionsOf(plugin, { intervalSeconds: 1, timeoutSeconds: 0.5, jitterPercent: 0, ...given });
    return { plugin, options, timing: timingOf(options) };
  });
  const runner = new Checks(pool, uses, { runtime, log }, ({ name, passing }, error) => {
    news.push(passing ? `${name} passes` : `${name} fails: ${error}`);
  });
  return {
    runtime,
    pool,
    backends,
    runner,
    errors,
    /** Moves the clock; answers what was news meanwhile. */
    advance(milliseconds: number): string[] {
      runtime.advance(milliseconds);
      return news.splice(0);
    },
  };
}
