/** The messages between the primary and its workers. */
import type { BalancerStats } from '../balancer.ts';
import type { LogLevel } from '../cli/output.ts';
import type { Identity } from '../clients.ts';
import type { PluginOrigin } from '../config/load.ts';
import type { ErrorCode } from '../errors.ts';
import type { BackendNews } from '../links.ts';
import type { ConnectionPage, ConnectionQuery } from '../observers/connections.ts';
import type { BackendChange } from '../observers/observers.ts';
import type { PluginDefinition } from '../plugin.ts';
import type { CheckUse, ListenerSettings, PluginUse, PoolSettings, Settings } from '../settings.ts';
import type { ClientPlace, Handover } from './siblings.ts';

/** All that a worker needs to begin. It reads no config itself, as one that has changed meanwhile would set workers apart. */
export interface Assignment {
  /** Its number, from 1. A worker that replaces another takes over its number. */
  readonly worker: number;
  readonly settings: PackedSettings;
  /** The third-party plugins to load. */
  readonly origins: readonly PluginOrigin[];
  readonly identity: Required<Identity>;
  readonly logLevel: LogLevel;
  /** What happened before it started: changes of backends, and the last order of each observer, by its index. */
  readonly changes: readonly NamedChange[];
  readonly orders: ReadonlyMap<number, unknown>;
}

export interface NamedChange {
  readonly pool: string;
  readonly backend: string;
  readonly change: BackendChange;
}

export type ToWorker =
  | { readonly type: 'start'; readonly assignment: Assignment }
  | { readonly type: 'look'; readonly news: BackendNews }
  | ({ readonly type: 'change' } & NamedChange)
  | { readonly type: 'order'; readonly observer: number; readonly value: unknown }
  | ({ readonly type: 'reload' } & Pick<Assignment, 'settings' | 'origins'>)
  /** The workers that there are, by their instances. */
  | { readonly type: 'siblings'; readonly instances: readonly string[] }
  | { readonly type: 'handover'; readonly handover: Handover }
  /** No worker has that client. */
  | { readonly type: 'gone'; readonly place: ClientPlace }
  | ({ readonly type: 'ask'; readonly id: number } & Question)
  | { readonly type: 'log-level'; readonly level: LogLevel }
  | { readonly type: 'stop'; readonly deadlineSeconds: number };

/** What the primary asks a worker, and waits for. */
export type Question = { readonly connections: ConnectionQuery } | { readonly close: string };

export type FromWorker =
  /** It runs, and is waiting for its assignment. */
  | { readonly type: 'ready' }
  /** It listens. */
  | { readonly type: 'started' }
  /** It cannot start, and ends. */
  | { readonly type: 'failed'; readonly code: ErrorCode; readonly message: string }
  /** It has changed to other settings, or could not and goes on as before. */
  | { readonly type: 'reloaded'; readonly fault?: { readonly code: ErrorCode; readonly message: string } | undefined }
  /** What it has counted so far. `final`: it has stopped, and ends. */
  | { readonly type: 'stats'; readonly stats: BalancerStats; readonly final: boolean }
  | { readonly type: 'news'; readonly news: BackendNews }
  /** Messages for a client of another worker. */
  | { readonly type: 'handover'; readonly handover: Handover }
  /** Messages that were passed on did not reach their client. */
  | { readonly type: 'gone'; readonly place: ClientPlace }
  /** The answer to the question with that id: a page of connections, or whether one was closed. */
  | { readonly type: 'answer'; readonly id: number; readonly answer: ConnectionPage | boolean }
  /** What one of its pipelines sends to an observer. */
  | { readonly type: 'report'; readonly observer: number; readonly value: unknown };

/** Settings as they are sent to another process: plugins go by name, as code cannot be sent. */
export interface PackedSettings extends Omit<Settings, 'listeners' | 'observers' | 'pools'> {
  readonly pools: readonly PackedPool[];
  readonly listeners: readonly PackedListener[];
  readonly observers?: readonly PackedUse[] | undefined;
}

interface PackedPool extends Omit<PoolSettings, 'checks'> {
  readonly checks?: readonly (PackedUse & Pick<CheckUse, 'timing'>)[] | undefined;
}

interface PackedListener extends Omit<ListenerSettings, 'pipeline'> {
  readonly pipeline: readonly PackedUse[];
}

interface PackedUse {
  readonly plugin: string;
  readonly options: unknown;
}

export function packSettings(settings: Settings): PackedSettings {
  const pack = ({ plugin, options }: PluginUse): PackedUse => ({ plugin: plugin.name, options });
  const listeners = settings.listeners.map((listener) => ({ ...listener, pipeline: listener.pipeline.map(pack) }));
  const pools = settings.pools.map(({ checks, ...pool }) => {
    return { ...pool, checks: checks?.map((check) => ({ ...pack(check), timing: check.timing })) };
  });
  return { ...settings, pools, listeners, observers: settings.observers?.map(pack) };
}

/**
 * @param plugins the built-in ones and those that were loaded
 * @throws Error if one is missing: its module now exports another one
 */
export function unpackSettings(packed: PackedSettings, plugins: readonly PluginDefinition[]): Settings {
  const unpack = ({ plugin: name, options }: PackedUse): PluginUse => {
    const plugin = plugins.find((each) => each.name === name);
    if (plugin === undefined) throw new Error(`the plugin "${name}" is not there any more`);
    return { plugin, options };
  };
  const listeners = packed.listeners.map((listener) => ({ ...listener, pipeline: listener.pipeline.map(unpack) }));
  const pools = packed.pools.map(({ checks, ...pool }) => {
    return { ...pool, checks: checks?.map((check) => ({ ...unpack(check), timing: check.timing })) };
  });
  return { ...packed, pools, listeners, observers: packed.observers?.map(unpack) };
}
