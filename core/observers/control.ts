/**
 * What observers can know about, and do to, whatever runs the balancer: its config, the log, and how to reload or end it. Whoever
 * runs a balancer implements it; for `pointsman run` that is cli/run/control.ts.
 */
import type { ListenerFacts } from '../rehearsal/explain.ts';

export interface Control {
  readonly version: string;
  /** How many processes share the work. */
  readonly workers: number;
  /** `running` while all listeners are open. */
  readonly phase: 'starting' | 'running' | 'stopping';
  /** The config as it was written, with `${env:…}` references, but without its tests; other secrets are masked. */
  config(): unknown;
  /** What each listener is made of. */
  listeners(): readonly ListenerFacts[];
  /** The plugins that the config can use. */
  plugins(): readonly { readonly name: string; readonly summary: string; readonly usedBy: readonly string[] }[];
  /**
   * What would happen to bytes that a client sent, on virtual sockets: as JSON, in the form of `pointsman explain --format json`.
   * @throws PointsmanError POINTSMAN_UNKNOWN_NAME (rejects with) if there is no such listener or backend
   */
  explain(listener: string, sending: ExplainedSending): Promise<unknown>;
  readonly logLevel: string;
  /** @param level one of `logLevels` */
  setLogLevel(level: string): void;
  readonly logLevels: readonly string[];
  /**
   * Reads the config again. Returns what is wrong with it, if anything, in which case nothing changes. Undefined: it cannot be
   * reloaded.
   */
  readonly reload?: (() => Promise<readonly string[]>) | undefined;
  /** Stops accepting, waits for answers that are due, and ends, as on SIGTERM. */
  stop(): void;
}

export interface ExplainedSending {
  readonly bytes: Buffer;
  /** The backend that sends them; undefined: a client does. */
  readonly backend?: string | undefined;
  /** The client's IP address; undefined: one of those for documentation. */
  readonly clientAddress?: string | undefined;
}

/** For tests, and programs that embed a balancer: there is nothing to control. */
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
