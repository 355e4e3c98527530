/**
 * The balancer: the pools and listeners that the settings describe, in one process on one event loop. Where there are several
 * workers (workers/), each has a balancer of its own.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ListenerStats } from './accounting.ts';
import { Clients, type Identity } from './clients.ts';
import { PointsmanError } from './errors.ts';
import { type FaultStats, Faults } from './faults.ts';
import { Health } from './health/health.ts';
import type { BackendNews } from './links.ts';
import { Listener } from './listener.ts';
import { PipelineEnd } from './observers/channel.ts';
import { type ConnectionPage, type ConnectionQuery, connectionAt, connectionsOf } from './observers/connections.ts';
import {
  type BackendChange,
  type BackendFacts,
  type CertificateFacts,
  certificatesOf,
  type Observable,
} from './observers/observers.ts';
import { Pool } from './pool.ts';
import { changesOf, type Parts, reload, unknownPool } from './reload.ts';
import { formatAddress } from './runtime/address.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Services } from './services.ts';
import type { Settings } from './settings.ts';
import { type Handover, Siblings } from './workers/siblings.ts';
import { remainsOf, totalOf, withoutBackends } from './workers/totals.ts';

/** How long plugins may take to start, and others to stop, in a reload, so that the next reload is not held up. */
const reloadSeconds = 30;
const stopping = 'no reload: the balancer is stopping';

/** How often it is checked whether a leaving listener still has clients. */
const leavingMs = 1000;

export interface BalancerOptions {
  readonly runtime: Runtime;
  /** A pino logger, or what has its methods. */
  readonly log: Services['log'];
  /** Undefined: one of its own. */
  readonly identity?: Identity | undefined;
  /** Told when a backend goes down or comes up. Undefined: that is logged. */
  readonly onBackendNews?: Services['onBackendNews'];
  /** Takes messages to clients of other processes; calls back when they have left. Undefined: there are no other processes. */
  readonly handOver?: (handover: Handover, then: () => void) => void;
  /** Counts what goes wrong in the process. Undefined: nobody does. */
  readonly faults?: Faults | undefined;
}

export interface BalancerStats {
  readonly listeners: Readonly<Record<string, ListenerStats>>;
  readonly reloads?: ReloadStats;
  readonly faults?: FaultStats | undefined;
}

export interface ReloadStats {
  readonly succeeded: number;
  /** Reloads that were refused: the previous settings stayed. */
  readonly failed: number;
  /** When the last successful reload was, in milliseconds since 1970; undefined: there was none. */
  readonly lastAt: number | undefined;
  /** How long that took. */
  readonly lastMilliseconds: number | undefined;
}

export class Balancer implements Observable {
  /** Set by whoever runs the observers; until then they hear nothing. */
  onReport: Observable['onReport'] = () => {};
  readonly faults: Faults;
  /** The clients of other processes. */
  readonly siblings: Siblings | undefined;
  readonly #options: BalancerOptions;
  readonly #clients: Clients;
  #observers: readonly PipelineEnd[] = [];
  #services: Services;
  #parts: Parts;
  /** Listeners that were removed or replaced, and go on with the clients they have. */
  #leaving: readonly Listener[] = [];
  /** What listeners that have left had counted. */
  #remains: BalancerStats = { listeners: {} };
  #reloads: ReloadStats = { succeeded: 0, failed: 0, lastAt: undefined, lastMilliseconds: undefined };
  #reloading: Promise<unknown> = Promise.resolve();
  /** Lets the reload that is under way wait for nothing more. */
  #giveUp: (why: string) => void = () => {};
  /** Those of them that stop now. */
  readonly #ending = new Set<Listener>();
  #isStopping = false;
  #cancelLook: (() => void) | undefined;

  /** @throws PluginError if a plugin cannot be applied */
  constructor(settings: Settings, options: BalancerOptions) {
    const { runtime, identity, handOver, faults = new Faults() } = options;
    this.#options = options;
    this.faults = faults;
    this.#clients = new Clients(runtime, identity);
    this.siblings = handOver && new Siblings(runtime, handOver);
    this.#services = this.#servicesFor(settings);
    this.#observers = this.#services.observers!.map(({ end }) => end);
    const pools = settings.pools.map((pool) => new Pool(pool));
    const health = new Map(pools.map((pool) => [pool, new Health(pool, this.#services)]));
    const listeners = settings.listeners.map((listener) => {
      const pool = pools.find(({ name }) => name === listener.pool);
      if (pool === undefined) throw unknownPool(listener);
      return new Listener(listener, pool, this.#services);
    });
    this.#parts = { settings, listeners, pools, health };
  }

  get listeners(): readonly Listener[] {
    return this.#parts.listeners;
  }

  get pools(): readonly Pool[] {
    return this.#parts.pools;
  }

  /** Observers that stay keep their channels, and the last order sent over them. */
  #servicesFor(settings: Settings, before?: Settings): Services {
    const { runtime, log, onBackendNews } = this.#options;
    const uses = settings.observers ?? [];
    const stay = before !== undefined && isDeepStrictEqual(before.observers ?? [], uses);
    const observers = uses.map((use, index) => ({
      use,
      end: (stay ? this.#observers[index] : undefined) ?? new PipelineEnd((value) => this.onReport(index, value)),
    }));
    const { siblings } = this;
    return { runtime, log, keys: settings.keys, clients: this.#clients, siblings, observers, onBackendNews };
  }

  /**
   * Opens all listeners, or none.
   * @throws PointsmanError (rejects with) if an address cannot be opened
   */
  async start(): Promise<void> {
    try {
      for (const listener of this.listeners) await listener.start();
      for (const health of this.#parts.health.values()) health.start();
    } catch (error) {
      await this.stop({ deadlineSeconds: 0 });
      throw error;
    }
  }

  /**
   * Changes to other settings (reload.ts): no connection is dropped and no message lost. Reloads run one after the other.
   * @throws PointsmanError (rejects with) if it cannot; it then goes on with the settings it has
   */
  reload(settings: Settings): Promise<void> {
    const reloaded = this.#reloading.then(() => this.#reload(settings));
    this.#reloading = reloaded.catch(() => {});
    return reloaded;
  }

  async #reload(settings: Settings): Promise<void> {
    const { runtime, log } = this.#options;
    if (this.#isStopping) throw new PointsmanError('POINTSMAN_CONFIG', stopping);
    const givenUp = new Promise<never>((_, reject) => {
      this.#giveUp = (why) => reject(new PointsmanError('POINTSMAN_CONFIG', why));
    });
    givenUp.catch(() => {}); // nobody need wait for it
    const cancel = runtime.after(reloadSeconds * 1000, () =>
      this.#giveUp(`a plugin takes more than ${reloadSeconds} s to start, or to stop`),
    );
    const before = this.#parts.settings;
    const since = runtime.now();
    try {
      const services = this.#servicesFor(settings, before);
      const { parts, leaving, stops } = await reload(this.#parts, settings, services, givenUp);
      this.#services = services;
      this.#observers = services.observers!.map(({ end }) => end);
      this.#parts = parts;
      this.#leaving = [...this.#leaving, ...leaving];
      // Those take their backends from a pool that may have changed.
      for (const listener of this.#leaving) listener.followPool();
      for (const stop of stops) {
        await Promise.race([stop(), givenUp]).catch((error: Error) => log.error({ err: error }, error.message));
      }
    } catch (error) {
      this.#reloads = { ...this.#reloads, failed: this.#reloads.failed + 1 };
      throw error;
    } finally {
      cancel();
    }
    const milliseconds = Math.round(runtime.now() - since);
    const { succeeded } = this.#reloads;
    this.#reloads = { ...this.#reloads, succeeded: succeeded + 1, lastAt: Date.now(), lastMilliseconds: milliseconds };
    // Where there are other processes, that is said once for all of them.
    log[this.siblings === undefined ? 'info' : 'debug']({ milliseconds, ...changesOf(before, settings) }, 'reloaded');
    this.#lookAfterLeaving();
  }

  /** Listeners without clients have left. */
  #lookAfterLeaving(): void {
    this.#cancelLook?.();
    this.#cancelLook = undefined;
    const ended = this.#leaving.filter((listener) => listener.hasEnded);
    this.#leaving = this.#leaving.filter((listener) => !ended.includes(listener));
    for (const listener of ended) void this.#end(listener);
    if (this.#leaving.length === 0 || this.#isStopping) return;
    this.#cancelLook = this.#options.runtime.after(leavingMs, () => this.#lookAfterLeaving());
  }

  async #end(listener: Listener): Promise<void> {
    this.#ending.add(listener);
    await listener.stop(listener.settings.limits.replySeconds);
    this.#ending.delete(listener);
    // What it has found down is looked after by others from now on.
    const { pool } = listener.settings;
    for (const { name, up } of this.pools.find((each) => each.name === pool)?.backends ?? []) {
      if (!up) this.look({ pool, backend: name, up: true });
    }
    this.#remains = totalOf([this.#remains, withoutBackends(remainsOf(statsOf(listener)))]);
  }

  /** Stops accepting, lets outstanding answers through until the deadline, then closes everything. */
  async stop({ deadlineSeconds }: { deadlineSeconds: number }): Promise<void> {
    this.#isStopping = true;
    this.#cancelLook?.();
    this.#giveUp(stopping);
    await this.#reloading;
    for (const health of this.#parts.health.values()) health.stop();
    const all = [...this.#leaving, ...this.#ending, ...this.listeners];
    await Promise.all(all.map((listener) => listener.stop(deadlineSeconds)));
  }

  /** Another process has found a backend up or down: links that know otherwise connect to find out. */
  look({ pool, backend, up }: Pick<BackendNews, 'pool' | 'backend' | 'up'>): void {
    for (const listener of this.listeners) if (listener.settings.pool === pool) listener.look(backend, up);
  }

  /** Passes on what another process has received for one of our clients; false if the client is gone or does not read. */
  receive({ to, messages }: Handover): boolean {
    const client = this.#clients.at(to.slot, to.generation);
    if (client === undefined) return false;
    for (const message of messages) if (!client.pass(message)) return false;
    return true;
  }

  order(observer: number, value: unknown): void {
    this.#observers[observer]?.hear(value);
  }

  setBackend(poolName: string, name: string, { state, weight }: BackendChange): void {
    const pool = this.pools.find((each) => each.name === poolName);
    const backend = pool?.byName(name);
    if (pool === undefined || backend === undefined) throw unknownBackend(poolName, name);
    if (state !== undefined) pool.setState(backend, state);
    if (weight !== undefined) pool.setWeight(backend, weight);
  }

  backends(): BackendFacts[] {
    return this.pools.flatMap((pool) =>
      pool.backends.map(({ name, address, number, fullWeight, priority, state }) => {
        return { pool: pool.name, name, address: formatAddress(address), number, weight: fullWeight, priority, state };
      }),
    );
  }

  certificates(): CertificateFacts[] {
    return certificatesOf(this.#parts.settings);
  }

  async connections(query: ConnectionQuery): Promise<ConnectionPage> {
    return connectionsOf(this.#clients, query, this.#options.runtime.now());
  }

  async closeConnection(id: string): Promise<boolean> {
    const client = connectionAt(this.#clients, id);
    client?.destroy('operator');
    return client !== undefined;
  }

  stats(): BalancerStats {
    const leaving = [...this.#leaving, ...this.#ending].map((listener) => {
      const { name, pool } = listener.settings;
      const isSucceeded = this.listeners.some(({ settings }) => settings.name === name && settings.pool === pool);
      return isSucceeded ? withoutBackends(statsOf(listener)) : statsOf(listener);
    });
    const own = Object.fromEntries(this.listeners.map((listener) => [listener.settings.name, listener.stats()]));
    const isAlone = leaving.length === 0 && Object.keys(this.#remains.listeners).length === 0;
    const { listeners } = isAlone ? { listeners: own } : totalOf([{ listeners: own }, ...leaving, this.#remains]);
    return { listeners, reloads: this.#reloads, faults: this.faults.stats() };
  }
}

const statsOf = (listener: Listener): BalancerStats => ({
  listeners: { [listener.settings.name]: listener.stats() },
});

export const unknownBackend = (pool: string, backend: string): PointsmanError =>
  new PointsmanError('POINTSMAN_UNKNOWN_NAME', `there is no backend "${backend}" in a pool "${pool}"`);
