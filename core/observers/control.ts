/**
 * What observers can know of, and do to, that which the balancer runs in: the config it was made from, the log, and how to reload
 * or end it. Whoever runs a balancer implements it; `pointsman run` does in cli/control.ts.
 */
import type { ListenerFacts } from '../rehearsal/explain.ts';

export interface Control {
  readonly version: string;
  /** How many processes share the work. */
  readonly workers: number;
  /** `running` as long as all listeners are open. */
  readonly phase: 'starting' | 'running' | 'stopping';
  /** The config as it was written, `${env:…}` and all, without its tests; other secrets are masked. */
  config(): unknown;
  /** What each listener is made of. */
  listeners(): readonly ListenerFacts[];
  /** The plugins that the config can use. */
  plugins(): readonly { readonly name: string; readonly summary: string; readonly usedBy: readonly string[] }[];
  /**
   * What would become of bytes that a client sent, on virtual sockets: as JSON, in the form of `pointsman explain --format json`.
   * @throws PointsmanError POINTSMAN_UNKNOWN_NAME (rejects with) if there is no such listener or backend
   */
  explain(listener: string, sending: ExplainedSending): Promise<unknown>;
  readonly logLevel: string;
  /** @param level one of `logLevels` */
  setLogLevel(level: string): void;
  readonly logLevels: readonly string[];
  /** Reads the config again. Answers what is wrong with it, and then leaves all as it is. Undefined: it cannot. */
  readonly reload?: (() => Promise<readonly string[]>) | undefined;
  /** Stops accepting, waits some time for answers that are due, and ends, as on SIGTERM. */
  stop(): void;
}

export interface ExplainedSending {
  readonly bytes: Buffer;
  /** The backend that sends them; undefined: a client does. */
  readonly backend?: string | undefined;
  /** The client's IP address; undefined: one of those for documentation. */
  readonly clientAddress?: string | undefined;
}

/** Where nobody has given anything to control: in tests, or in a program that embeds a balancer. */
export const noControl: Control = {
  version: '',
  workers: 1,
  phase: 'running',
  config: () => ({}),
  listeners: () => [],
  plugins: () => [],
  explain: async () => ({}),
  logLevel: 'info',
  logLevels: [],
  setLogLevel() {},
  stop() {},
};
