/** The public API of pointsman: what plugins import. Everything else in core/ may change without notice. */
export type { Static } from 'typebox';
export type { AffinityTable } from './affinity.ts';
export type { BalancerStats } from './balancer.ts';
export type { Channel } from './channel.ts';
export type { Attempt, Check, CheckScope } from './checks.ts';
export type { Client } from './client.ts';
export type { ConnectionFacts, ConnectionPage, ConnectionQuery } from './connections.ts';
export type { Control } from './control.ts';
export { type ErrorCode, errorCodes, PluginError, PointsmanError } from './errors.ts';
export type { Exchange, ExchangeTable } from './exchanges.ts';
export { KeyedHash } from './hash.ts';
export type { Detected, Framed, HookName, HookSignatures, Hooks, Tappable } from './hooks.ts';
export type { Link } from './link.ts';
export { listenAt, type ServerAddress, serverAddress } from './listen-at.ts';
export { type LogFile, type LogFileOptions, openLogFile } from './log-file.ts';
export type { Message, RouteReason, Side, Span, TraceContext } from './message.ts';
export type { BackendChange, BackendFacts, BalancerView, ObserverScope } from './observers.ts';
export { type CoreReason, Discard, discard, type Reason, Refusal, refusal } from './outcome.ts';
export {
  apiVersion,
  type Clock,
  type Destination,
  definePlugin,
  type ListenerFacts,
  type Logger,
  type PluginDefinition,
  type ProtocolFacts,
  type RelatedIds,
  type Sample,
  type Scope,
  type Token,
  type TokenBook,
  type TokenFault,
  type TokenForm,
  type WebSocketFacts,
} from './plugin.ts';
export type { Backend, Pool } from './pool.ts';
export type { ClientCertificate } from './runtime/runtime.ts';
export type { Scan } from './scan.ts';
export type { BackendState, Limits } from './settings.ts';
export { default as Type } from './vendor/typebox.ts';
