/**
 * Observers: plugins that look at the balancer as a whole, for metrics, logs and administration. There is one of each, however many
 * processes share the work; their taps in pipelines talk to it over a channel.
 */
import type { BalancerStats } from '../balancer.ts';
import { checkNoPromise, PluginError } from '../errors.ts';
import { Faults } from '../faults.ts';
import type { Clock, Logger } from '../plugin.ts';
import type { BackendState, PluginUse, Settings } from '../settings.ts';
import type { Channel } from './channel.ts';
import type { ConnectionPage, ConnectionQuery } from './connections.ts';
import { type Control, noControl } from './control.ts';
import { type LogFile, type LogFileOptions, openLogFile } from './log-file.ts';

/** The balancer as observers see it: where several processes share the work, numbers are sums, and orders go to all of them. */
export interface BalancerView {
  /** Everything counted since the start. */
  stats(): BalancerStats;
  /**
   * Changes a backend until the config says otherwise: its state, its share of new work, or both.
   * @throws PointsmanError POINTSMAN_UNKNOWN_NAME if there is no such pool or backend
   */
  setBackend(pool: string, backend: string, change: BackendChange): void;
  /** The backends of all pools as the config has them, with later changes. Their condition is in `stats()`. */
  backends(): readonly BackendFacts[];
  /** The certificates that we show, as the config has them. */
  certificates(): readonly CertificateFacts[];
  /** The client connections that are open, page by page. */
  connections(query: ConnectionQuery): Promise<ConnectionPage>;
  /** Closes a client connection at once; false if there is none with that id. */
  closeConnection(id: string): Promise<boolean>;
}

export interface BackendFacts {
  readonly pool: string;
  readonly name: string;
  readonly address: string;
  readonly number: number | undefined;
  /** Its share of new work, from 0. */
  readonly weight: number;
  readonly priority: number;
  readonly state: BackendState;
}

/** Of a certificate that we show with its chain: to the clients of a listener, or to the backends of a pool. */
export type CertificateFacts = ({ readonly listener: string } | { readonly pool: string }) & {
  /** When the first one of the chain expires, in milliseconds since 1970. */
  readonly expiresAtMs: number;
};

export interface BackendChange {
  readonly state?: BackendState | undefined;
  /** From 0. */
  readonly weight?: number | undefined;
}

/** What an observer gets besides the balancer. */
export interface ObserverScope {
  /** A child logger that names the observer. Never log payload. */
  readonly log: Logger;
  readonly clock: Clock;
  /** To all of its pipelines, and from them. */
  readonly channel: Channel;
  /** What it runs in: the config, the log, and how to end it. */
  readonly control: Control;
  /**
   * Opens a log of its own. What cannot be written is counted, and told by the name of the observer.
   * @throws Error (rejects with) that says why the file cannot be opened
   */
  openLog(options: LogFileOptions): Promise<LogFile>;
  /** Runs before the first listener opens. Open sockets, files and timers here. */
  onStart(start: () => void | Promise<void>): void;
  /** Runs after the last listener has closed. */
  onStop(stop: () => void | Promise<void>): void;
}

/** What observers observe: one process, or the primary of several. */
export interface Observable extends BalancerView {
  /** Hands on to the pipelines what the observer of that place in the config says. */
  order(observer: number, value: unknown): void;
  /** Called with what one of its pipelines says. */
  onReport: (observer: number, value: unknown) => void;
  /** What goes wrong in the process that the observers are in. */
  readonly faults: Faults;
}

/** A balancer of which there is nothing to see: for validating a config, and for plugins under test. */
export const noBalancer: Readonly<Omit<Observable, 'onReport'>> = {
  stats: () => ({ listeners: {} }),
  backends: () => [],
  certificates: () => [],
  connections: async () => ({ connections: [] }),
  closeConnection: async () => false,
  setBackend() {},
  order() {},
  faults: new Faults(),
};

/** The certificates of a config. */
export function certificatesOf({ listeners, pools }: Settings): CertificateFacts[] {
  const facts: CertificateFacts[] = [];
  for (const { name: listener, tls } of listeners) {
    if (tls?.certificateExpiresAtMs !== undefined) facts.push({ listener, expiresAtMs: tls.certificateExpiresAtMs });
  }
  for (const { name: pool, tls } of pools) {
    if (tls?.certificateExpiresAtMs !== undefined) facts.push({ pool, expiresAtMs: tls.certificateExpiresAtMs });
  }
  return facts;
}

interface Services {
  readonly clock: Clock;
  readonly log: Logger & { child?(fields: object): Logger };
  /** Undefined: there is nothing to control. */
  readonly control?: Control | undefined;
}

export class Observers {
  readonly #starts: (() => Promise<void>)[] = [];
  readonly #stops: (() => Promise<void>)[] = [];
  readonly #log: Logger;

  /** @throws PluginError if an observer's `observe` throws */
  constructor(uses: readonly PluginUse[], balancer: Observable, { clock, log, control = noControl }: Services) {
    this.#log = log;
    const hearers = uses.map(() => [] as ((value: unknown) => void)[]);
    balancer.onReport = (observer, value) => {
      for (const hear of hearers[observer] ?? []) hear(value);
    };
    for (const [index, { plugin, options }] of uses.entries()) {
      const { name } = plugin;
      const guard = (what: string, callback: () => void | Promise<void>) => async () => {
        try {
          await callback();
        } catch (cause) {
          throw PluginError.threw(name, what, cause);
        }
      };
      const guarded = (what: string, callback: () => void | Promise<void>) =>
        void guard(what, callback)().catch((error: Error) => log.error({ err: error }, error.message));
      const scope: ObserverScope = {
        log: log.child?.({ plugin: name }) ?? log,
        clock: {
          now: clock.now,
          random: clock.random,
          randomBytes: clock.randomBytes,
          after: (milliseconds, callback) => clock.after(milliseconds, () => guarded('clock.after', callback)),
        },
        channel: {
          send: (value) => balancer.order(index, value),
          onMessage: (hear) =>
            void hearers[index]!.push((value) => guarded('channel', () => hear(value) as void | Promise<void>)),
        },
        control,
        openLog: (options) => openLogFile(options, balancer.faults.ofLog(name)),
        onStart: (start) => void this.#starts.push(guard('onStart', start)),
        onStop: (stop) => void this.#stops.push(guard('onStop', stop)),
      };
      try {
        checkNoPromise(name, 'observe', plugin.observe?.(balancer, options as never, scope));
      } catch (cause) {
        throw PluginError.threw(name, 'observe', cause);
      }
    }
  }

  /** @throws PluginError (rejects with) if one cannot start */
  async start(): Promise<void> {
    for (const start of this.#starts) await start();
  }

  async stop(): Promise<void> {
    for (const stop of this.#stops) {
      await stop().catch((error: Error) => this.#log.error({ err: error }, error.message));
    }
  }
}
