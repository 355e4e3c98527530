/**
 * The balancer: pools and listeners as the settings say. The whole of it runs in one process on one event
 * loop; where there are several workers (workers/), each has one of its own.
 */
import type { ListenerStats } from './accounting.ts';
import { PipelineEnd } from './channel.ts';
import { Clients, type Identity } from './clients.ts';
import type { Services } from './compose.ts';
import { type ConnectionPage, type ConnectionQuery, connectionAt, connectionsOf } from './connections.ts';
import { PointsmanError } from './errors.ts';
import { Health } from './health.ts';
import type { BackendNews } from './links.ts';
import { Listener } from './listener.ts';
import type { BackendChange, BackendFacts, Observable } from './observers.ts';
import { Pool } from './pool.ts';
import { formatAddress } from './runtime/address.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Settings } from './settings.ts';
import { type Handover, Siblings } from './siblings.ts';

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
}

export interface BalancerStats {
  readonly listeners: Readonly<Record<string, ListenerStats>>;
}

export class Balancer implements Observable {
  readonly listeners: readonly Listener[];
  readonly pools: readonly Pool[];
  /** Set by whoever runs the observers; until then they hear nothing. */
  onReport: Observable['onReport'] = () => {};
  /** The clients of other processes. */
  readonly siblings: Siblings | undefined;
  readonly #clients: Clients;
  readonly #runtime: Runtime;
  readonly #observers: readonly PipelineEnd[];
  readonly #health: readonly Health[];

  /** @throws PluginError if a plugin cannot be applied */
  constructor(settings: Settings, options: BalancerOptions) {
    const { runtime, log, identity, onBackendNews, handOver } = options;
    const clients = new Clients(runtime, identity);
    this.#clients = clients;
    this.#runtime = runtime;
    this.siblings = handOver && new Siblings(runtime, handOver);
    const observers = (settings.observers ?? []).map((use, index) => {
      return { use, end: new PipelineEnd((value) => this.onReport(index, value)) };
    });
    this.#observers = observers.map(({ end }) => end);
    const services: Services = {
      runtime,
      log,
      keys: settings.keys,
      clients,
      siblings: this.siblings,
      observers,
      onBackendNews,
    };
    this.pools = settings.pools.map((pool) => new Pool(pool));
    this.#health = this.pools.map((pool) => new Health(pool, services));
    this.listeners = settings.listeners.map((listener) => {
      const pool = this.pools.find(({ name }) => name === listener.pool);
      if (pool === undefined) {
        throw new PointsmanError(
          'POINTSMAN_CONFIG',
          `listener ${listener.name} feeds the pool ${listener.pool}, which is not there`,
        );
      }
      return new Listener(listener, pool, services);
    });
  }

  /**
   * Opens all listeners, or none.
   * @throws PointsmanError (rejects with) if an address cannot be opened
   */
  async start(): Promise<void> {
    try {
      for (const listener of this.listeners) await listener.start();
      for (const health of this.#health) health.start();
    } catch (error) {
      await this.stop({ deadlineSeconds: 0 });
      throw error;
    }
  }

  /** Stops accepting, lets outstanding answers through until the deadline, closes everything. */
  async stop({ deadlineSeconds }: { deadlineSeconds: number }): Promise<void> {
    for (const health of this.#health) health.stop();
    await Promise.all(this.listeners.map((listener) => listener.stop(deadlineSeconds)));
  }

  /** Another process has found a backend up or down: who thinks otherwise connects to find out. */
  look({ pool, backend, up }: Pick<BackendNews, 'pool' | 'backend' | 'up'>): void {
    for (const listener of this.listeners) if (listener.settings.pool === pool) listener.look(backend, up);
  }

  /** Sends on what another process has taken in for one of our clients; false if that is gone, or does not read. */
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

  async connections(query: ConnectionQuery): Promise<ConnectionPage> {
    return connectionsOf(this.#clients, query, this.#runtime.now());
  }

  async closeConnection(id: string): Promise<boolean> {
    const client = connectionAt(this.#clients, id);
    client?.destroy();
    return client !== undefined;
  }

  stats(): BalancerStats {
    return {
      listeners: Object.fromEntries(this.listeners.map((listener) => [listener.settings.name, listener.stats()])),
    };
  }
}

export const unknownBackend = (pool: string, backend: string): PointsmanError =>
  new PointsmanError('POINTSMAN_UNKNOWN_NAME', `there is no backend "${backend}" in a pool "${pool}"`);
