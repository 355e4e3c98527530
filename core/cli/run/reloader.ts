/** Reloads the config of a running balancer, as on SIGHUP. If the config is refused, nothing changes. */
import { isDeepStrictEqual } from 'node:util';
import type { Balancer } from '../../balancer.ts';
import { type Loaded, loadConfig } from '../../config/load.ts';
import type { Control } from '../../observers/control.ts';
import { Observers } from '../../observers/observers.ts';
import type { Clock, Logger } from '../../plugin.ts';
import type { Settings } from '../../settings.ts';
import type { Primary } from '../../workers/primary.ts';

/** A config that is in order. */
type Running = Loaded & { readonly settings: Settings };

interface ReloaderOptions {
  readonly paths: readonly string[];
  readonly balancer: Balancer | Primary;
  readonly clock: Clock;
  readonly log: Logger & { child(fields: object): Logger };
  readonly control: Control;
  /** What it begins with. */
  readonly running: Running;
  /** Told what a config has been read from that runs now, or that was refused. Undefined: nobody wants to know. */
  readonly onRead?: ((files: readonly string[]) => void) | undefined;
}

export class Reloader {
  /** What runs now. */
  running: Running;
  readonly #options: ReloaderOptions;
  #observers: Observers;
  #reloading: Promise<unknown> = Promise.resolve();

  /** @throws PluginError if an observer's `observe` throws */
  constructor(options: ReloaderOptions) {
    this.#options = options;
    this.running = options.running;
    this.#observers = this.#observersOf(options.running.settings);
  }

  #observersOf({ observers = [] }: Settings): Observers {
    const { balancer, clock, log, control } = this.#options;
    return new Observers(observers, balancer, { clock, log, control });
  }

  /** @throws PluginError (rejects with) if an observer cannot start */
  start(): Promise<void> {
    return this.#observers.start();
  }

  /** Waits for a reload that is under way. */
  async stop(): Promise<void> {
    await this.#reloading;
    await this.#observers.stop();
  }

  /**
   * Loads the config again, and goes on with it if it is in order. One reload waits for the other.
   * @returns what is wrong, which is logged too; empty if all is well
   */
  reload(): Promise<readonly string[]> {
    const { log } = this.#options;
    const reloaded = this.#reloading.then(async () => {
      const faults = await this.#reload().catch((error: Error) => [error.message]);
      for (const reason of faults) log.error({ reason }, 'reload refused: the config before stays');
      return faults;
    });
    this.#reloading = reloaded;
    return reloaded;
  }

  async #reload(): Promise<readonly string[]> {
    const { paths, log, onRead } = this.#options;
    const loaded = await loadConfig(paths, { tests: 'skip' });
    // What made the last one sound may be missing in this one.
    onRead?.([...loaded.files, ...(loaded.settings === undefined ? this.running.files : [])]);
    const texts = (severity: 'error' | 'warning') =>
      loaded.findings
        .filter((finding) => finding.severity === severity)
        .map(({ file, line, column, message }) => `${file}:${line}:${column}  ${message}`);
    for (const warning of texts('warning')) log.warn({ warning }, 'the config has a warning');
    const { settings } = loaded;
    if (settings === undefined) return texts('error');
    if ((settings.workers ?? 1) !== (this.running.settings.workers ?? 1)) {
      return ['the number of workers cannot change without a restart'];
    }
    await this.#change({ ...loaded, settings });
    return [];
  }

  async #change(next: Running): Promise<void> {
    const { balancer } = this.#options;
    const before = this.running;
    await balancer.reload(next.settings, next.origins);
    this.running = next;
    if (isDeepStrictEqual(before.settings.observers ?? [], next.settings.observers ?? [])) return;
    // The new ones may want the ports of the old ones.
    await this.#observers.stop();
    try {
      this.#observers = this.#observersOf(next.settings);
      await this.#observers.start();
    } catch (error) {
      await this.#observers.stop();
      await balancer.reload(before.settings, before.origins);
      this.running = before;
      this.#observers = this.#observersOf(before.settings);
      await this.#observers.start();
      throw error;
    }
  }
}
