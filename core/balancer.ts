/** The balancer: pools and listeners as the settings say. The whole of it runs in one process on one event loop. */
import type { ListenerStats } from './accounting.ts';
import { Clients } from './clients.ts';
import type { Services } from './compose.ts';
import { PointsmanError } from './errors.ts';
import { Listener } from './listener.ts';
import { Pool } from './pool.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { Settings } from './settings.ts';

export interface BalancerOptions {
  readonly runtime: Runtime;
  /** A pino logger, or what has its methods. */
  readonly log: Services['log'];
}

export interface BalancerStats {
  readonly listeners: Readonly<Record<string, ListenerStats>>;
}

export class Balancer {
  readonly listeners: readonly Listener[];
  readonly pools: readonly Pool[];

  /** @throws PluginError if a plugin cannot be applied */
  constructor(settings: Settings, options: BalancerOptions) {
    const { runtime, log } = options;
    const services: Services = { runtime, log, keys: settings.keys, clients: new Clients(runtime) };
    this.pools = settings.pools.map((pool) => new Pool(pool));
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
    } catch (error) {
      await this.stop({ deadlineSeconds: 0 });
      throw error;
    }
  }

  /** Stops accepting, lets outstanding answers through until the deadline, closes everything. */
  async stop({ deadlineSeconds }: { deadlineSeconds: number }): Promise<void> {
    await Promise.all(this.listeners.map((listener) => listener.stop(deadlineSeconds)));
  }

  stats(): BalancerStats {
    return {
      listeners: Object.fromEntries(this.listeners.map((listener) => [listener.settings.name, listener.stats()])),
    };
  }
}
