/**
 * What a plugin is, and what it gets. This file and hooks.ts are the whole plugin API; built-in plugins have no other. Members of
 * the classes named here that are marked as internal are not part of it, and are left out of the package's type declarations.
 */
import type { Static, TObject, TProperties } from 'typebox';
import type { AffinityTable } from './affinity.ts';
import type { Client } from './client.ts';
import type { Exchange, ExchangeTable } from './exchanges.ts';
import type { Check, CheckScope } from './health/checks.ts';
import type { HookName, Hooks } from './hooks.ts';
import type { Message, Side, Span } from './message.ts';
import type { Channel } from './observers/channel.ts';
import type { BalancerView, ObserverScope } from './observers/observers.ts';
import type { Refusal } from './outcome.ts';
import type { Backend, Pool } from './pool.ts';
import type { Limits } from './settings.ts';

/** The version of the plugin API, against which `pointsman: '^1'` in a definition is checked. */
export const apiVersion = '1.0.0';

export interface PluginDefinition<Options extends TProperties = TProperties> {
  /** How configs name it: lower-case words joined by `-`. */
  readonly name: string;
  /** One sentence for listings and docs. */
  readonly summary: string;
  /** The range of plugin API versions that it works with, in the syntax of npm's semver. */
  readonly pointsman: string;
  /** JSON Schema of its options (build it with `Type`): each one with a description, and with its default if it has one. */
  readonly options: TObject<Options>;
  /** Example messages, for the conformance kit, the docs and `explain`. */
  readonly samples?: readonly Sample[];
  /**
   * For strategies: it always chooses a backend if one is available, so strategies after it are never asked. Undefined: it may
   * leave the choice to them.
   */
  readonly alwaysChooses?: boolean;
  /**
   * Taps the hooks. Runs once for each pipeline that uses the plugin, and opens nothing (no socket, timer or file: that is for
   * `scope.onStart`), so that a config can be validated without side effects. Undefined: the plugin cannot be used in pipelines.
   */
  apply?(hooks: Hooks, options: Static<TObject<Options>>, scope: Scope): void;
  /**
   * Makes it an observer, listed under `observers` in configs, which looks at the balancer as a whole. Runs once, even where
   * several processes share the work, and opens nothing either. If there is an `apply` as well, it taps every pipeline, after the
   * plugins that the config lists there. Such taps only watch: what they answer is ignored, and what they throw is logged.
   */
  observe?(balancer: BalancerView, options: Static<TObject<Options>>, scope: ObserverScope): void;
  /**
   * Makes it a check, listed under a pool's `checks` in configs: it defines how to ask a backend whether it is healthy. Runs once
   * for each list, and opens nothing. The core decides when backends are asked and how many answers it takes to change their
   * status; its options for that are added to the plugin's.
   */
  check?(options: Static<TObject<Options>>, scope: CheckScope): Check;
}

/** An example of a message. */
export interface Sample {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** Who sends it; undefined: a client. */
  readonly from?: Side;
  /** Options under which it is one whole message; undefined: the defaults. */
  readonly options?: unknown;
  /**
   * What backends answer to whatever they receive, including what `onLink` sends them: for protocols that write the identifier into
   * answers. Undefined: nothing.
   */
  answer?(received: Buffer): Uint8Array | undefined;
  /**
   * A later message of the same client, made from what the backend received or, if there is an `answer`, from what the client
   * received: for protocols in which peers send an identifier back in a different place from where they found it. Undefined: the
   * same message again.
   */
  echo?(received: Buffer): Uint8Array;
}

/** Declares a plugin: checks its types, and gives `apply` its options with the types of their schema. */
export function definePlugin<Options extends TProperties>(
  definition: PluginDefinition<Options>,
): PluginDefinition<Options> {
  return definition;
}

/** What a plugin gets besides the hooks. */
export interface Scope {
  readonly listener: ListenerFacts;
  readonly pool: Pool;
  /** How the links to the pool are kept; known once the protocol is declared. */
  readonly links: 'shared' | 'dedicated';
  /** A child logger that names the listener and the plugin. Never log message contents. */
  readonly log: Logger;
  /** Time and randomness. Take them from nowhere else: tests and simulations run on virtual ones. */
  readonly clock: Clock;
  /** Outstanding requests, for protocols that declare `correlationBits`. */
  readonly exchanges: ExchangeTable;
  /** Where related messages went. */
  readonly affinity: AffinityTable;
  /** How the listener writes identifiers. */
  readonly identifiers: TokenBook;
  /**
   * 8 secret bytes for a `KeyedHash`, the same in all replicas whose configs have the same first key; without keys they are drawn
   * at random when the process starts.
   * @param label keeps the plugin's different uses apart
   */
  secret(label: string): Uint8Array;
  /**
   * For strategies: finds the bytes of a message to hash for `key`. For `message` these are the last of its related ids, or the
   * whole message if it has none; any other key must be one that the protocol declares in `keys`.
   */
  messageKey(key: string): (message: Message) => Span;
  /**
   * For observers: finds a field of a message, one of those that the protocol declares in `keys`. Undefined if the protocol or the
   * message does not have it. The answer is valid until the next field is looked up. Only usable from `detectId` on.
   */
  field(name: string): (message: Message) => Span | undefined;
  /** Declares what the protocol can do; for the one plugin of a pipeline that taps `frame`. */
  protocol(facts: ProtocolFacts): void;
  /**
   * Warns, in `apply`, of something that works but is probably not what the user wants with this pool or listener; `validate` shows
   * it. For what cannot work, throw. A text that begins with the name of an option (`id.size: …`) is shown at that option.
   */
  advise(text: string): void;
  /** This plugin's state for each client connection: created when first asked for, dropped when the connection closes. */
  perClient<State>(create: (client: Client) => State): (client: Client) => State;
  /**
   * For observers: measures how long the taps of the pipeline take. Call it in `apply`.
   * @param which measures one call in this many, or decides whether the next call is measured
   * @param measured is told of each measured call
   */
  timeHooks(
    which: number | (() => boolean),
    measured: (hook: HookName, plugin: string, milliseconds: number) => void,
  ): void;
  /** Leads from an observer's `apply` to its `observe`. In plugins that are not observers, nobody listens. */
  readonly channel: Channel;
  /** Runs before the listener opens. Open sockets and timers here. */
  onStart(start: () => void | Promise<void>): void;
  /** Runs after the listener has closed. */
  onStop(stop: () => void | Promise<void>): void;
}

export interface ListenerFacts {
  readonly name: string;
  readonly limits: Limits;
  /**
   * `host:port` where peers reach it: the config's `advertise`, or else the address it listens on. A protocol that writes this into
   * messages declares `advertises`.
   */
  readonly advertise: string;
  /** Its transport: `tcp`, `tls`, `udp`, `ws`, `wss` or `unix`. */
  readonly transport: string;
}

/** The part of a pino logger that plugins use. */
export interface Logger {
  debug(fields: object, text?: string): void;
  info(fields: object, text?: string): void;
  warn(fields: object, text?: string): void;
  error(fields: object, text?: string): void;
}

export interface Clock {
  /** Monotonic time in milliseconds. */
  now(): number;
  /** A random number from 0 up to 1. */
  random(): number;
  /** `size` random bytes fit for keys. */
  randomBytes(size: number): Buffer;
  /** Calls back once after this many milliseconds; returns a function that cancels it. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** An identifier as it is written on the wire. */
export interface Token {
  /** For text protocols: ASCII; lower-case base32 unless identifiers are plain. */
  readonly text: Buffer;
  /** For byte-string fields: the bytes that `text` encodes; the bare name if identifiers are plain. */
  readonly raw: Buffer;
  /** For fixed-width binary fields: the backend's `number`; 0 if it has none. */
  readonly number: number;
}

export interface TokenBook {
  readonly mode: 'plain' | 'signed' | 'sealed';
  /** The token of a backend: the same bytes for as long as the config does not change. */
  ofBackend(backend: Backend): Token;
  /** The token of a client connection; always signed, whatever the mode. */
  ofClient(client: Client): Token;
  /** The length in bytes of the longest token that this listener may write, as `text` and as `raw`. */
  readonly longest: { readonly text: number; readonly raw: number };
  /**
   * Whom a token names, if it verifies. For what must be known before `detectId` answers, such as whether a route is one of ours.
   * @returns the destination, or why there is none
   */
  read(bytes: Buffer, start: number, end: number): Destination | TokenFault;
}

export type Destination = Backend | Client;

/** `forged`: does not verify. `unknown`: verifies (or is plain) but the pool has no such backend. `gone`: that client connection is closed. */
export type TokenFault = 'forged' | 'unknown' | 'gone';

/**
 * The form in which a plugin writes identifiers: `text` where bytes are characters, `raw` where they are bytes, `number` in
 * fixed-width fields.
 */
export type TokenForm = (typeof tokenForms)[number];
export const tokenForms = ['text', 'raw', 'number'] as const;

/** How a WebSocket carries the messages of a protocol (RFC 6455). */
export interface WebSocketFacts {
  /** The subprotocol that clients must offer; undefined: none is required. */
  readonly subprotocol?: string;
  /**
   * The kind of frames to send until the client has shown which it uses. Anything that is not UTF-8 is always sent in binary
   * frames.
   */
  readonly frames: 'text' | 'binary';
}

export interface ProtocolFacts {
  /** The form of the tokens that it reads and writes. */
  readonly identifiers: TokenForm;
  /** Letter case in tokens does not matter in this protocol (peers may change it). */
  readonly foldCase?: boolean;
  /**
   * It writes `scope.listener.advertise` into messages, so that peers connect there. `validate` then warns of an address that
   * nobody can connect to (0.0.0.0, port 0). Undefined: false.
   */
  readonly advertises?: boolean;
  /** How WebSocket listeners carry its messages. Undefined: without a subprotocol, in text frames if `identifiers` is `text`. */
  readonly webSocket?: WebSocketFacts;
  /** Messages may name client connections. Undefined: false, and a token that names one counts as forged. */
  readonly namesClients?: boolean;
  /** Answers find their way back over a link that many clients share, so links may be shared. Undefined: false. */
  readonly correlates?: boolean;
  /** If it uses `scope.exchanges`, whether links are shared or not: the width in bits of the field that carries the id. */
  readonly correlationBits?: number;
  /**
   * How many answers a client is waiting for, for protocols without exchanges that can tell. When there are none, a client that has
   * half-closed is closed, and so is any client of a balancer that is stopping. Undefined: such clients are closed some time after
   * their last message.
   */
  answersDue?(client: Client): number;
  /**
   * If it uses `scope.exchanges`: turns the refusal of a request whose link has broken, or whose answer is overdue, into the
   * protocol's error reply to `exchange.client`. The request's bytes are gone by then, but for what `exchange.original` and
   * `exchange.note` have kept of them. Undefined, here or as the answer: nothing is sent, and the client waits until it gives up.
   */
  refuseAbandoned?(exchange: Exchange, refusal: Refusal): Uint8Array | undefined;
  /**
   * Whether a message from a backend shows that the backend has failed. An undefined answer: it shows nothing either way (a
   * provisional answer, a request). Only asked if the pool has `outliers`. Undefined: whatever a backend sends is a success.
   */
  isFailure?(message: Message): boolean | undefined;
  /**
   * If it uses `scope.exchanges`: whether a request may be sent to a second backend if the first goes away before answering; by
   * then that one may already have done what it was asked to do. Only asked, after `insertId`, if the pool has `replay: once`. When
   * the request is sent again its `reason` is `replayed`, so that `insertId` can mark it. Undefined: no request may; `validate`
   * warns if this is defined but the pool does not replay.
   */
  mayReplay?(message: Message): boolean;
  /**
   * On dedicated links, what backends send needs to pass no hook but `frame`: each message is relayed as it comes. Undefined:
   * false.
   */
  readonly relaysAnswers?: boolean;
  /**
   * What happens to a message that names a backend no longer in the config, unless the listener's `whenDown` decides. Undefined:
   * refuse.
   */
  readonly whenGone?: 'refuse' | 'rechoose';
  /**
   * Whether a message from a client answers something that the backend it names has asked. Such a message goes to no other backend,
   * which has not asked, and to that one however many requests it has in flight. Undefined: no message does.
   */
  isAnswer?(message: Message): boolean;
  /**
   * Names the ids that related messages share (a call id, a session id), most specific first, with `ids.add(offset, length)`. The
   * last one is what `hashing` uses with `key: message`. Only asked for messages that carry no identifier.
   */
  relatedIds?(message: Message, ids: RelatedIds): void;
  /**
   * What it keeps for a client (`scope.perClient`) is needed for as long as the connection lasts: if a reload brings other plugins,
   * open connections finish with the ones they began with. Undefined: connections move between two messages, and the new plugins
   * begin without that state. (Plugins whose code has not changed keep their state, and their connections always move.)
   */
  readonly staysWithClients?: boolean;
  /**
   * Message fields by name, for hashing and for observers. An undefined answer: the message does not have the field. `traceparent`
   * and `tracestate` are those of a W3C trace context; a protocol that declares them also writes `message.traceContext` there.
   */
  readonly keys?: Readonly<Record<string, (message: Message) => Span | undefined>>;
}

/** Collects the affinity ids of one message. */
export interface RelatedIds {
  /** How many seconds the ids stay related after the last message that has them; 32 unless set. */
  seconds: number;
  /**
   * Set to false for a message that needs no answer: it does not count as in flight. Of its ids only the last one is remembered, as
   * no later message has those of its own; it is found by all of them.
   */
  awaitsAnswer: boolean;
  /** @param kind tells ids of different kinds apart (0 to 255), so that equal bytes of two kinds do not meet */
  add(offset: number, length: number, kind?: number): void;
}
