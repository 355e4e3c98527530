/**
 * Looks after the health of a pool as long as the balancer runs: runs its checks, ejects outliers, lets backends that have recovered start
 * slowly, and notices when one has drained. What is known of a backend is kept with it (pool.ts).
 */

import { type BackendNews, logBackendNews } from '../links.ts';
import type { Logger } from '../plugin.ts';
import type { Backend, Pool, PoolWatcher } from '../pool.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { Checks } from './checks.ts';
import { Outliers } from './outliers.ts';

/** In how many steps the weight of a backend rises during slow start. */
const slowStartSteps = 10;
/** How often to look again at a backend that would have drained if it did not owe answers. */
const drainingMs = 1000;

interface Services {
  readonly runtime: Runtime;
  readonly log: Logger & { child?(fields: object): Logger };
  /** Called with each change. Undefined: changes are logged. */
  readonly onBackendNews?: ((news: BackendNews) => void) | undefined;
}

export class Health implements PoolWatcher {
  readonly #pool: Pool;
  readonly #runtime: Runtime;
  readonly #log: Logger;
  readonly #tell: (news: BackendNews) => void;
  readonly #checks: Checks;
  readonly #outliers: Outliers | undefined;
  /** Backends in slow start, and backends that drain, each with a function that stops its timer. */
  readonly #starting = new Map<Backend, () => void>();
  readonly #draining = new Map<Backend, () => void>();

  /** @throws PluginError if a check plugin cannot be used with its options */
  constructor(pool: Pool, services: Services) {
    const { runtime, log, onBackendNews } = services;
    this.#pool = pool;
    this.#runtime = runtime;
    this.#log = log.child?.({ pool: pool.name }) ?? log;
    this.#tell = onBackendNews ?? ((news) => logBackendNews(log, news));
    this.#checks = new Checks(pool, pool.settings.checks ?? [], services, (backend, error) =>
      this.#report(backend, 'checks', error),
    );
    const { outliers } = pool.settings;
    this.#outliers =
      outliers && new Outliers(pool, outliers, runtime, (backend, error) => this.#report(backend, 'ejection', error));
  }

  start(): void {
    const pool = this.#pool;
    pool.watcher = this;
    const { checks = [], outliers } = pool.settings;
    // Before a reload the pool may have had another config; what that has begun goes on, if it is of interest still.
    for (const backend of pool.backends) {
      if (checks.length === 0) pool.setPassing(backend, true);
      if (outliers === undefined && backend.ejected) pool.setEjected(backend, false);
      if (backend.weightShare < 1) this.#startSlowly(backend, Math.round(backend.weightShare * slowStartSteps));
      if (backend.drain?.isOver !== true) this.onState(backend);
    }
    this.#checks.start();
    pool.outliers = this.#outliers;
    this.#outliers?.start();
  }

  stop(): void {
    if (this.#pool.watcher === this) this.#pool.watcher = undefined;
    if (this.#pool.outliers === this.#outliers) this.#pool.outliers = undefined;
    this.#checks.stop();
    this.#outliers?.stop();
    for (const cancel of [...this.#starting.values(), ...this.#draining.values()]) cancel();
    this.#starting.clear();
    this.#draining.clear();
  }

  onRecovery(backend: Backend): void {
    this.#startSlowly(backend, 1);
  }

  #startSlowly(backend: Backend, step: number): void {
    const { slowStartSeconds = 0 } = this.#pool.settings;
    this.#starting.get(backend)?.();
    this.#starting.delete(backend);
    const isOver = step === slowStartSteps || slowStartSeconds === 0;
    if (!isOver) {
      const stepMs = (slowStartSeconds * 1000) / slowStartSteps;
      this.#starting.set(
        backend,
        this.#runtime.after(stepMs, () => this.#startSlowly(backend, step + 1)),
      );
    }
    const share = isOver ? 1 : step / slowStartSteps;
    if (backend.weightShare !== share) this.#pool.setWeightShare(backend, share);
  }

  onState(backend: Backend): void {
    this.#draining.get(backend)?.();
    this.#draining.delete(backend);
    if (backend.state !== 'drain') {
      backend.drain = undefined;
      return;
    }
    if (backend.drain === undefined) {
      backend.drain = { sinceMs: this.#runtime.now(), isOver: false };
      this.#report(backend, 'drain');
    }
    this.#lookLater(backend, backend.drain);
  }

  #lookLater(backend: Backend, drain: NonNullable<Backend['drain']>, leastMs = 0): void {
    const cancel = this.#runtime.after(Math.max(leastMs, backend.quietDueMs(this.#runtime.now())), () => {
      this.#draining.delete(backend);
      if (!backend.hasDrained(this.#runtime.now())) this.#lookLater(backend, drain, drainingMs);
      else {
        drain.isOver = true;
        this.#report(backend, 'drain', undefined, true);
      }
    });
    this.#draining.set(backend, cancel);
  }

  onPanic(): void {
    const { available, isPanicking } = this.#pool;
    if (isPanicking) {
      this.#log.warn({ backends: available.length }, 'too few backends are healthy: checks and ejections are ignored');
    } else {
      this.#log.info({ backends: available.length }, 'enough backends are healthy again');
    }
  }

  #report(
    backend: Backend,
    aspect: BackendNews['aspect'],
    error?: string,
    up = aspect !== 'drain' && error === undefined,
  ): void {
    this.#tell({ listener: undefined, pool: this.#pool.name, backend: backend.name, aspect, up, error });
  }
}
