/** Checks the options about the health of backends: priorities, outlier detection, health checks. */
import { PluginError } from '../../errors.ts';
import { Checks } from '../../health/checks.ts';
import { Pool } from '../../pool.ts';
import { dryServices } from '../../services.ts';
import type { CheckUse, PoolSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import { type Path, valueAt } from '../path.ts';
import { addFault } from './plugin-faults.ts';

export function lintHealth(draft: Draft, pool: PoolSettings): void {
  const path = ['pools', pool.name];
  lintOutliers(draft, pool);
  for (const [index, use] of (pool.checks ?? []).entries()) {
    const entry = [...path, 'checks', index, use.plugin.name];
    lintCheck(draft, pool, use, entry);
    try {
      new Checks(new Pool(pool), [use], dryServices([]), () => {});
    } catch (error) {
      if (!(error instanceof PluginError)) throw error;
      addFault(draft, entry, error);
    }
  }
}

function lintOutliers({ written, findings }: Draft, { name, backends, minimumUp = 1, outliers }: PoolSettings): void {
  const path = ['pools', name];
  if (outliers !== undefined && outliers.maxEjectionSeconds < outliers.baseEjectionSeconds) {
    const message = `maxEjectionSeconds is less than baseEjectionSeconds, ${outliers.baseEjectionSeconds}`;
    const member = valueAt(written, [...path, 'outliers', 'maxEjectionSeconds']) === undefined ? 'base' : 'max';
    const at = [...path, 'outliers', `${member}EjectionSeconds`];
    findings.add(at, { rule: 'contradicting-limits', stage: 'lint', message });
  }
  if (minimumUp > 1 && new Set(backends.map(({ priority = 0 }) => priority)).size === 1) {
    const message = 'all backends are of one priority, so that this has no effect';
    findings.warn('priority-without-effect', [...path, 'minimumUp'], message);
  }
  if (outliers?.consecutiveFailures === 0 && outliers.latencyFactor === undefined) {
    const message = 'neither consecutiveFailures nor latencyFactor ejects anybody, so that this has no effect';
    findings.warn('outliers-without-effect', [...path, 'outliers'], message);
  }
}

/** @param entry the check's path in the config */
function lintCheck({ findings }: Draft, { backends }: PoolSettings, { timing }: CheckUse, entry: Path): void {
  const { intervalSeconds, timeoutSeconds, port, over } = timing;
  if (timeoutSeconds >= intervalSeconds) {
    const message = `an attempt may take ${timeoutSeconds} s, but the next one begins after ${intervalSeconds} s; let timeoutSeconds be less than intervalSeconds`;
    findings.add([...entry, 'timeoutSeconds'], { rule: 'check-timing', stage: 'lint', message });
  }
  if (port === undefined) return;
  const at = [...entry, 'port'];
  if (over === 'link') {
    const message = "links lead to the port of the backend's address";
    findings.add(at, { rule: 'check-port', stage: 'lint', message });
  } else if (backends.some(({ address }) => address.transport === 'unix')) {
    const message = 'a backend of this pool is a unix socket, which has no ports';
    findings.add(at, { rule: 'check-port', stage: 'lint', message });
  }
}
