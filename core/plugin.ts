/**
 * What a plugin is, and what it gets. This file and hooks.ts are the whole plugin API; built-in plugins have no other. Of the classes
 * that they name, what is marked as internal does not belong to it, and is not in the declarations of the package.
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

/** The version of the plugin API: what `pointsman: '^1'` in a definition is held against. */
export const apiVersion = '1.0.0';

export interface PluginDefinition<Options extends TProperties = TProperties> {
  /** How configs name it: lower-case words joined by `-`. */
  readonly name: string;
  /** One sentence for listings and docs. */
  readonly summary: string;
  /** The range of plugin API versions it works with, as npm's semver writes it. */
  readonly pointsman: string;
  /** JSON Schema of its options (build it with `Type`): every one described, with its default where it has one. */
  readonly options: TObject<Options>;
  /** Example messages, for the conformance kit, the docs and `explain`. */
  readonly samples?: readonly Sample[];
  /**
   * For strategies: it chooses a backend whenever one is available, so that strategies behind it are never asked. Undefined: it may
   * leave the choice to them.
   */
  readonly alwaysChooses?: boolean;
  /**
   * Taps the hooks. Runs once for each pipeline that uses the plugin, and opens nothing: no socket, no timer, no file
   * (that is for `scope.onStart`), so that a config can be validated without side effects. Undefined: it is not for pipelines.
   */
  apply?(hooks: Hooks, options: Static<TObject<Options>>, scope: Scope): void;
  /**
   * Makes it an observer, which configs list under `observers`: looks at the balancer as a whole. Runs once, also where several
   * processes share the work, and opens nothing either. If there is an `apply` too, it taps every pipeline after the plugins that
   * the config lists there; such taps only watch: what they answer is ignored, and what they throw is logged.
   */
  observe?(balancer: BalancerView, options: Static<TObject<Options>>, scope: ObserverScope): void;
  /**
   * Makes it a check, which configs list under a pool's `checks`: answers how a backend is asked whether it is well. Runs once for
   * each list, and opens nothing. When backends are asked, and how many answers it takes to believe them, is the core's business,
   * and the options for that are added to those of the plugin.
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
   * What backends answer to whatever they get, what `onLink` sends them among it: for protocols that write the identifier into answers.
   * Undefined: nothing.
   */
  answer?(received: Buffer): Uint8Array | undefined;
  /**
   * A later message of its client, made of what the backend got or, if there is an `answer`, of what the client got: for protocols in
   * which peers send an identifier back at another place than it came at. Undefined: that message itself.
   */
  echo?(received: Buffer): Uint8Array;
}

/** Declares a plugin: checks its types, and lets `apply` see its options typed by their schema. */
export function definePlugin<Options extends TProperties>(
  definition: PluginDefinition<Options>,
): PluginDefinition<Options> {
  return definition;
}

/** What a plugin gets besides the hooks. */
export interface Scope {
  readonly listener: ListenerFacts;
  readonly pool: Pool;
  /** How the links to the pool are kept; known once the protocol has been declared. */
  readonly links: 'shared' | 'dedicated';
  /** A child logger that names the listener and the plugin. Never log payload. */
  readonly log: Logger;
  /** Time and randomness. Take none from elsewhere: tests and simulations run on virtual ones. */
  readonly clock: Clock;
  /** Outstanding requests, for protocols that declare `correlationBits`. */
  readonly exchanges: ExchangeTable;
  /** Where related messages went. */
  readonly affinity: AffinityTable;
  /** How the listener writes identifiers. */
  readonly identifiers: TokenBook;
  /**
   * 8 secret bytes for a `KeyedHash`, the same in all replicas that share the first of the config's keys; without keys
   * they are drawn when the process starts.
   * @param label tells the plugin's uses apart
   */
  secret(label: string): Uint8Array;
  /**
   * For strategies: answers the bytes of a message that stand for `key` in hashing. `message` is the last of its related
   * ids, or the whole message where it has none; any other key must be one that the protocol declares in `keys`.
   */
  messageKey(key: string): (message: Message) => Span;
  /**
   * For observers: answers where the field of that name stands in a message, among those that the protocol declares in `keys`.
   * What that answers is undefined where the protocol or the message has none, and valid until the next one is looked for; to
   * call from `detectId` on.
   */
  field(name: string): (message: Message) => Span | undefined;
  /** Declares what the protocol can do; for the one plugin of a pipeline that taps `frame`. */
  protocol(facts: ProtocolFacts): void;
  /**
   * Says in `apply` what works, but probably not as its author wants, in this pool and at this listener: `validate` warns of it.
   * What cannot work is thrown. A text that begins with the name of an option (`id.size: …`) is shown at that option.
   */
  advise(text: string): void;
  /** State of this plugin for each client connection: made when first asked for, dropped when the connection closes. */
  perClient<State>(create: (client: Client) => State): (client: Client) => State;
  /**
   * For observers: measures how long the taps of the pipeline take. To call in `apply`.
   * @param which one call of so many, or whether the call that is about to be made is measured
   * @param measured is told of each call that was measured
   */
  timeHooks(
    which: number | (() => boolean),
    measured: (hook: HookName, plugin: string, milliseconds: number) => void,
  ): void;
  /** To an observer's `observe`, from its `apply`. Silent in plugins that are no observers. */
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
   * `host:port` that peers can reach it at: the config's `advertise`, else the address it listens on. A protocol that writes it into
   * messages says so with `advertises`.
   */
  readonly advertise: string;
  /** What it speaks: `tcp`, `tls`, `udp`, `ws`, `wss`, `unix`. */
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
  /** Calls back once after so many milliseconds; answers how to cancel it. */
  after(milliseconds: number, callback: () => void): () => void;
}

/** How an identifier goes over the wire. */
export interface Token {
  /** For text protocols: ASCII; lower-case base32 unless identifiers are plain. */
  readonly text: Buffer;
  /** For byte-string fields: what `text` encodes; the bare name if identifiers are plain. */
  readonly raw: Buffer;
  /** For fixed-width binary fields: the backend's `number`; 0 if it has none. */
  readonly number: number;
}

export interface TokenBook {
  readonly mode: 'plain' | 'signed' | 'sealed';
  /** The token of a backend, the same bytes as long as the config stays. */
  ofBackend(backend: Backend): Token;
  /** The token of a client connection; always signed, whatever the mode. */
  ofClient(client: Client): Token;
  /** The length in bytes of the longest token this listener may write: `text` and `raw`. */
  readonly longest: { readonly text: number; readonly raw: number };
  /**
   * Who a token is for, if it verifies: for what must be known before `detectId` answers (is this route one of ours?).
   * @returns the destination, or why there is none
   */
  read(bytes: Buffer, start: number, end: number): Destination | TokenFault;
}

export type Destination = Backend | Client;

/** `forged`: does not verify. `unknown`: verifies (or is plain) but the pool has no such backend. `gone`: that client connection is closed. */
export type TokenFault = 'forged' | 'unknown' | 'gone';

/** How a plugin writes its identifiers: `text` where bytes are characters, `raw` where they are bytes, `number` in fixed-width fields. */
export type TokenForm = (typeof tokenForms)[number];
export const tokenForms = ['text', 'raw', 'number'] as const;

/** How a WebSocket carries the messages of a protocol (RFC 6455). */
export interface WebSocketFacts {
  /** The subprotocol that clients must offer; undefined: none is asked for. */
  readonly subprotocol?: string;
  /** What is sent before the client has shown what it prefers; what is no UTF-8 leaves in binary frames in any case. */
  readonly frames: 'text' | 'binary';
}

export interface ProtocolFacts {
  /** Which form of tokens it reads and writes. */
  readonly identifiers: TokenForm;
  /** Letter case in tokens does not matter in this protocol (peers may change it). */
  readonly foldCase?: boolean;
  /**
   * It writes `scope.listener.advertise` into messages, so that peers connect there. `validate` warns where nobody can (0.0.0.0,
   * port 0). Undefined: false.
   */
  readonly advertises?: boolean;
  /** How WebSocket listeners carry its messages. Undefined: in text frames where `identifiers` is `text`, of no subprotocol. */
  readonly webSocket?: WebSocketFacts;
  /** Messages may name client connections. Undefined: false, and a token that does is taken for a forgery. */
  readonly namesClients?: boolean;
  /** The answer to a request finds its way back over a link that many clients share, so links may be shared. Undefined: false. */
  readonly correlates?: boolean;
  /** If it uses `scope.exchanges`, on whatever links: the width in bits of the field that carries the id. */
  readonly correlationBits?: number;
  /**
   * How many answers a client waits for, for protocols without exchanges that can tell: a client that has half-closed, or whose
   * balancer stops, is closed when there are none. Undefined: it is closed some time after its last message.
   */
  answersDue?(client: Client): number;
  /**
   * If it uses `scope.exchanges`: turns the refusal of a request whose link has broken, or whose answer is overdue, into the protocol's error reply to
   * `exchange.client`. The request's bytes are gone: there is what `exchange.original` and `exchange.note` have kept of them.
   * Undefined, or an undefined answer: nothing is sent, and the client waits until it gives up.
   */
  refuseAbandoned?(exchange: Exchange, refusal: Refusal): Uint8Array | undefined;
  /**
   * Whether a message from a backend says that the backend has failed; undefined: it says nothing of that (an answer that is
   * provisional, a request). Asked only where the pool has `outliers`. Undefined: whatever a backend sends is a success.
   */
  isFailure?(message: Message): boolean | undefined;
  /**
   * If it uses `scope.exchanges`: whether a request may be sent to a second backend if the first one goes away before it
   * answers, which may have done by then what it was asked to. Asked after `insertId`, where the pool has `replay: once`.
   * When it is sent again, its `reason` is `replayed`: `insertId` may mark it. Undefined: no request may; `validate` warns where it
   * is there and the pool's `settings.replay` is not.
   */
  mayReplay?(message: Message): boolean;
  /** On dedicated links what backends send need pass no hook but `frame`: each message is relayed as it comes. Undefined: false. */
  readonly relaysAnswers?: boolean;
  /** What becomes of a message that names a backend which is gone from the config, unless the listener's `whenDown` says. Undefined: refuse. */
  readonly whenGone?: 'refuse' | 'rechoose';
  /**
   * Whether a message of a client answers what the backend that it names has asked. It goes to no other, which has not asked, and
   * to that one however much it has in flight. Undefined: none does.
   */
  isAnswer?(message: Message): boolean;
  /**
   * Names the ids that related messages share (a call id, a session id), most specific first: `ids.add(offset, length)`.
   * The last one is what `hashing` takes with `key: message`.
   * Asked only for messages that carry no identifier.
   */
  relatedIds?(message: Message, ids: RelatedIds): void;
  /**
   * What it keeps for a client (`scope.perClient`) is needed as long as the connection lasts: where a reload brings other plugins,
   * connections that are open finish with those they began with. Undefined: they move between two messages, and the new plugins
   * begin without memory of them. (Plugins whose code has not changed keep what they know, and always move.)
   */
  readonly staysWithClients?: boolean;
  /**
   * Message fields by name, for `hashing` by them and for observers. Undefined answer: the message has none. `traceparent` and
   * `tracestate` are those of a W3C trace context: a protocol that has them writes `message.traceContext` there.
   */
  readonly keys?: Readonly<Record<string, (message: Message) => Span | undefined>>;
}

/** Collects the affinity ids of one message. */
export interface RelatedIds {
  /** How long the ids stay related after the last message that has them; 32 seconds unless set. */
  seconds: number;
  /** Set to false for a message that nobody answers: it does not count as in flight. */
  awaitsAnswer: boolean;
  /** @param kind tells ids of different kinds apart (0 to 255), so that equal bytes of two kinds do not meet */
  add(offset: number, length: number, kind?: number): void;
}
