/** Checks what several processes that share the work cannot do: they share neither counts nor tables. */
import type { ListenerSettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import type { ComposedListener } from './pipeline.ts';

/** `auto` counts as more than one, so that a config is judged alike on every machine. */
const hasWorkers = ({ config, findings }: Draft) => config.workers !== 1 && findings.isSound(['workers']);

export function lintLimitsOfWorkers(draft: Draft, { name, limits }: ListenerSettings): void {
  if (!hasWorkers(draft)) return;
  const message = 'each worker counts for itself, so that one address may have as many connections to each of them';
  for (const limit of ['connectionsPerAddress', 'connectionsPerSecondPerAddress'] as const) {
    if (limits[limit] === 0) continue;
    const path = ['listeners', name, 'limits', limit];
    draft.findings.add(path, { rule: 'limit-per-worker', stage: 'lint', severity: 'warning', message });
  }
}

export function lintAffinityOfWorkers(draft: Draft, { listener, composed }: ComposedListener): void {
  if (!hasWorkers(draft) || composed.affinity === undefined || composed.messageKeys.length > 0) return;
  const message =
    'no worker knows where another has sent related messages that carry no identifier, ' +
    'should they come on other connections; choose by "hashing", as all workers do alike';
  draft.findings.warn('affinity-per-worker', ['listeners', listener.name, 'pipeline'], message);
}
