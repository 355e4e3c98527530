/**
 * Looks after the health of a pool as long as the balancer runs: runs its checks, ejects outliers, lets backends that have recovered start
 * slowly, and notices when one has drained. What is known of a backend is kept with it (pool.ts).
 */
import { Checks } from './checks.ts';
import { type BackendNews, logBackendNews } from './links.ts';
import { Outliers } from './outliers.ts';
import type { Logger } from './plugin.ts';
import type { Backend, Pool, PoolWatcher } from './pool.ts';
import type { Runtime } from './runtime/runtime.ts';

/** In how many steps the weight of a backend that starts slowly rises. */
const slowStartSteps = 10;
const defaultDrainedSeconds = 60;
/** How often one is looked at that would have drained if it did not wait for answers. */
const drainingMs = 1000;

interface Services {
  readonly runtime: Runtime;
  readonly log: Logger & { child?(fields: object): Logger };
  /** Told what has changed. Undefined: that is logged. */
  readonly onBackendNews?: ((news: BackendNews) => void) | undefined;
}

export class Health implements PoolWatcher {
  readonly #pool: Pool;
  readonly #runtime: Runtime;
  readonly #log: Logger;
  readonly #tell: (news: BackendNews) => void;
  readonly #checks: Checks;
  readonly #outliers: Outliers | undefined;
  /** Backends that start slowly, and that drain, with how to stop their timers. */
  readonly #starting = new Map<Backend, () => void>();
  readonly #draining = new Map<Backend, () => void>();

  /** @throws PluginError if a check plugin cannot be used so */
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
    const isChecked = (pool.settings.checks ?? []).length > 0;
    for (const backend of pool.backends) {
      if (!isChecked) pool.setPassing(backend, true); // an earlier config may have checked it
      if (backend.state === 'drain') this.onState(backend);
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
    for (const [backend, cancel] of this.#starting) {
      cancel();
      this.#pool.setWeightShare(backend, 1);
    }
    for (const cancel of this.#draining.values()) cancel();
    this.#starting.clear();
    this.#draining.clear();
  }

  onRecovery(backend: Backend): void {
    const { slowStartSeconds = 0 } = this.#pool.settings;
    if (slowStartSeconds > 0) this.#startSlowly(backend, (slowStartSeconds * 1000) / slowStartSteps, 1);
  }

  #startSlowly(backend: Backend, stepMs: number, step: number): void {
    this.#starting.get(backend)?.();
    this.#starting.delete(backend);
    if (step < slowStartSteps) {
      const cancel = this.#runtime.after(stepMs, () => this.#startSlowly(backend, stepMs, step + 1));
      this.#starting.set(backend, cancel);
    }
    this.#pool.setWeightShare(backend, step / slowStartSteps);
  }

  onState(backend: Backend): void {
    this.#draining.get(backend)?.();
    this.#draining.delete(backend);
    if (backend.state !== 'drain') return;
    this.#report(backend, 'drain');
    this.#lookLater(backend, this.#runtime.now(), this.#drainedMs);
  }

  get #drainedMs(): number {
    return (this.#pool.settings.drainedSeconds ?? defaultDrainedSeconds) * 1000;
  }

  /** A backend that drains has drained when nobody has sent it anything for a while, and nobody waits for its answer. */
  #lookLater(backend: Backend, sinceMs: number, milliseconds: number): void {
    const cancel = this.#runtime.after(milliseconds, () => {
      this.#draining.delete(backend);
      const idleMs = this.#runtime.now() - Math.max(sinceMs, backend.lastMessageAtMs);
      const left = this.#drainedMs - idleMs;
      if (left > 0 || backend.inFlight > 0) this.#lookLater(backend, sinceMs, Math.max(left, drainingMs));
      else this.#report(backend, 'drain', undefined, true);
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
