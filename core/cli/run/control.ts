/** What observers can know about `pointsman run`, and do to it. */
import type { PluginOrigin } from '../../config/load.ts';
import { maskConfig } from '../../config/mask.ts';
import { PointsmanError } from '../../errors.ts';
import type { Control, ExplainedSending } from '../../observers/control.ts';
import type { BalancerView } from '../../observers/observers.ts';
import type { PluginDefinition } from '../../plugin.ts';
import { converse, describeListener, type ListenerFacts } from '../../rehearsal/explain.ts';
import type { Settings } from '../../settings.ts';
import { type LogLevel, logLevels } from '../output.ts';
import { explainJson } from '../report/explain-json.ts';
import { packageVersion } from '../version.ts';

/** A config that has been loaded and is in order. */
interface Running {
  readonly settings: Settings;
  readonly plugins: readonly PluginDefinition[];
  readonly written: unknown;
  readonly origins: readonly PluginOrigin[];
}

/** The most messages that are explained at once: traffic has to wait meanwhile. */
const mostExplained = 100;

interface RunControlOptions {
  /** What runs now. */
  readonly running: () => Running;
  readonly balancer: BalancerView;
  readonly logLevel: LogLevel;
  readonly onLogLevel: (level: LogLevel) => void;
  readonly stop: () => void;
  readonly reload?: Control['reload'];
}

export class RunControl implements Control {
  readonly version = packageVersion();
  readonly logLevels = logLevels;
  readonly stop: () => void;
  readonly reload: Control['reload'];
  phase: Control['phase'] = 'starting';
  #logLevel: LogLevel;
  readonly #options: RunControlOptions;
  /** Made when first asked for: it composes every pipeline once more. */
  #described: { readonly of: Settings; readonly listeners: readonly ListenerFacts[] } | undefined;

  constructor(options: RunControlOptions) {
    this.#options = options;
    this.#logLevel = options.logLevel;
    this.stop = options.stop;
    this.reload = options.reload;
  }

  get workers(): number {
    return this.#options.running().settings.workers ?? 1;
  }

  config(): unknown {
    const { written, plugins } = this.#options.running();
    return maskConfig(written, plugins);
  }

  listeners(): readonly ListenerFacts[] {
    const { settings } = this.#options.running();
    if (this.#described?.of !== settings) {
      const listeners = settings.listeners.map(({ name }) => describeListener(settings, name));
      this.#described = { of: settings, listeners };
    }
    return this.#described.listeners;
  }

  plugins(): ReturnType<Control['plugins']> {
    const { settings, plugins } = this.#options.running();
    const uses = [
      ...settings.listeners.map(({ name, pipeline }) => ({ user: `listener ${name}`, uses: pipeline })),
      ...settings.pools.map(({ name, checks = [] }) => ({ user: `pool ${name}`, uses: checks })),
      { user: 'observers', uses: settings.observers ?? [] },
    ];
    return plugins.map(({ name, summary }) => {
      const usedBy = uses.filter(({ uses }) => uses.some(({ plugin }) => plugin.name === name));
      return { name, summary, usedBy: usedBy.map(({ user }) => user) };
    });
  }

  async explain(
    listener: string,
    { bytes, backend, clientAddress = '198.51.100.1' }: ExplainedSending,
  ): Promise<unknown> {
    const { settings } = this.#options.running();
    const pool = settings.listeners.find(({ name }) => name === listener)?.pool;
    if (pool === undefined) throw new PointsmanError('POINTSMAN_UNKNOWN_NAME', `there is no listener "${listener}"`);
    // As operators have made it since, and nobody watches.
    const changed = this.#options.balancer.backends();
    const pools = settings.pools.map((each) => ({
      ...each,
      backends: each.backends.map((one) => {
        const now = changed.find(({ pool, name }) => pool === each.name && name === one.name);
        return { ...one, weight: now?.weight ?? one.weight, state: now?.state ?? one.state };
      }),
    }));
    if (
      backend !== undefined &&
      !pools.find(({ name }) => name === pool)!.backends.some(({ name }) => name === backend)
    ) {
      throw new PointsmanError('POINTSMAN_UNKNOWN_NAME', `there is no backend "${backend}" in a pool "${pool}"`);
    }
    const conversation = await converse({ ...settings, pools, observers: [] }, listener, {
      bytes,
      backend,
      clientAddress,
      mostMessages: mostExplained,
    });
    return JSON.parse(explainJson(conversation));
  }

  get logLevel(): LogLevel {
    return this.#logLevel;
  }

  setLogLevel(level: string): void {
    const known = logLevels.find((each) => each === level);
    if (known === undefined) throw new PointsmanError('POINTSMAN_UNKNOWN_NAME', `there is no log level "${level}"`);
    this.#logLevel = known;
    this.#options.onLogLevel(known);
  }
}
