/** What pipelines share with everything else in their process: time and sockets, keys, the log, all clients, observers. */
import { Clients } from './clients.ts';
import type { PluginError } from './errors.ts';
import type { BackendNews } from './links.ts';
import { PipelineEnd } from './observers/channel.ts';
import type { Logger } from './plugin.ts';
import type { Runtime } from './runtime/runtime.ts';
import { VirtualRuntime } from './runtime/virtual.ts';
import type { KeySettings, PluginUse } from './settings.ts';
import type { Siblings } from './workers/siblings.ts';

export interface Services {
  readonly runtime: Runtime;
  readonly keys: readonly KeySettings[];
  readonly clients: Clients;
  readonly log: Logger & { child?(fields: object): Logger };
  /** The clients of other processes. Undefined: there are none. */
  readonly siblings?: Siblings | undefined;
  /** What watches every pipeline. Undefined: nothing. */
  readonly observers?: readonly ObserverTaps[] | undefined;
  /** Told of a plugin that cannot be applied; the others are applied all the same. Undefined: the error is thrown. */
  readonly onRefusal?: ((use: PluginUse, fault: PluginError) => void) | undefined;
  /** Told when a backend goes down or comes up. Undefined: that is logged. */
  readonly onBackendNews?: ((news: BackendNews) => void) | undefined;
}

/** An observer, and the end of its channel that its taps in pipelines use. */
interface ObserverTaps {
  readonly use: PluginUse;
  readonly end: PipelineEnd;
}

const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Services that touch nothing: for validating a config. */
export function dryServices(keys: readonly KeySettings[], observers: readonly PluginUse[] = []): Services {
  const runtime = new VirtualRuntime();
  const taps = observers.map((use) => ({ use, end: new PipelineEnd(() => {}) }));
  return { runtime, keys, clients: new Clients(runtime), log: silent, observers: taps };
}
