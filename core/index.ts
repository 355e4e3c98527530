/** The public API of pointsman: what plugins import. Everything else in core/ may change without notice. */
export type { Static } from 'typebox';
export type { BackendStats, DirectionStats, ListenerStats } from './accounting.ts';
export type { AffinityTable } from './affinity.ts';
export type { BalancerStats } from './balancer.ts';
export type { Client } from './client.ts';
export { type ErrorCode, errorCodes, PluginError, PointsmanError } from './errors.ts';
export type { Exchange, ExchangeTable } from './exchanges.ts';
export type { LogFaults } from './faults.ts';
export { KeyedHash } from './hash.ts';
export type { Attempt, Check, CheckScope } from './health/checks.ts';
export type { Detected, Framed, HookName, HookSignatures, Hooks, Tappable } from './hooks.ts';
export { KnownBytes } from './known-bytes.ts';
export type { Link } from './link.ts';
export { viewOf } from './memory.ts';
export type { Message, RouteReason, Side, Span, TraceContext } from './message.ts';
export type { Channel } from './observers/channel.ts';
export type { ConnectionFacts, ConnectionPage, ConnectionQuery } from './observers/connections.ts';
export type { Control } from './observers/control.ts';
export { listenAt, type ServerAddress, serverAddress } from './observers/listen-at.ts';
export type { LogFile, LogFileOptions } from './observers/log-file.ts';
export type {
  BackendChange,
  BackendFacts,
  BalancerView,
  CertificateFacts,
  ObserverScope,
} from './observers/observers.ts';
export { type CoreReason, Discard, type DiscardOptions, discard, type Reason, Refusal, refusal } from './outcome.ts';
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
