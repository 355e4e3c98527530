/**
 * What a balancer is built from: a config after parsing, validation and defaults, with every name resolved. The loader
 * in config/ makes it from files; tests and embedders may write it themselves.
 */
import type { PluginDefinition } from './plugin.ts';
import type { Address } from './runtime/address.ts';

export interface Settings {
  /** Keys of identifiers: the first signs, all verify. */
  readonly keys: readonly KeySettings[];
  readonly pools: readonly PoolSettings[];
  readonly listeners: readonly ListenerSettings[];
  /** What looks at the balancer as a whole, and watches every pipeline. Undefined: nothing. */
  readonly observers?: readonly PluginUse[] | undefined;
  /** How many processes share the work; undefined: 1. */
  readonly workers?: number | undefined;
  /** How long answers that are due are waited for when it stops; undefined: `defaultStopSeconds`. */
  readonly stopSeconds?: number | undefined;
}

export interface KeySettings {
  /** Names the key in tokens: 1 to 15 characters of `a-z`, `0-9` and `-`. */
  readonly id: string;
  /** At least 16 bytes. */
  readonly secret: Uint8Array;
}

/**
 * What an operator lets a backend do: `ready` everything; `drain` what carries its identifier or belongs to a session that it has,
 * but nothing new; `maint` nothing, as if it were down.
 */
export type BackendState = 'ready' | 'drain' | 'maint';

export interface BackendSettings {
  readonly name: string;
  readonly address: Address;
  readonly weight: number;
  readonly number?: number | undefined;
  /** Undefined: `ready`. */
  readonly state?: BackendState | undefined;
  /** Undefined: the `backendLimits` of its pool. */
  readonly limits?: LoadLimits | undefined;
  /** Lower numbers get new work first. Undefined: 0. */
  readonly priority?: number | undefined;
}

/** Bounds of what a pool or a backend is given by the balancer. Undefined or 0: none. */
export interface LoadLimits {
  /** Requests that wait for their answer. */
  readonly inFlight?: number | undefined;
  /** Messages a second, in the long run. */
  readonly messagesPerSecond?: number | undefined;
  /** Messages at once. Undefined: as many as in a second. */
  readonly burstMessages?: number | undefined;
  /** Dedicated links, those that are being opened among them. */
  readonly connections?: number | undefined;
}

export interface PoolSettings {
  readonly name: string;
  readonly backends: readonly BackendSettings[];
  /** Undefined: shared where the protocol plugin can correlate, else dedicated. */
  readonly links?: 'shared' | 'dedicated' | undefined;
  /** How many shared links each listener keeps to each backend. */
  readonly linksPerBackend: number;
  /** How many bytes may wait for one backend: above it reading from whoever feeds it pauses until half; above twice that messages are refused. */
  readonly queueBytes: number;
  /** Of the pool as a whole. */
  readonly limits?: LoadLimits | undefined;
  /** Of each backend that has none of its own. */
  readonly backendLimits?: LoadLimits | undefined;
  /** How long new requests wait for a backend with room for them. Undefined: not at all. */
  readonly queueSeconds?: number | undefined;
  /** How many do at most, of each listener, besides that they fit into `queueBytes`. Undefined: 1024. */
  readonly queueRequests?: number | undefined;
  /** What becomes of a request whose backend goes away before it answers, if the protocol lets it be replayed. Undefined: `never`. */
  readonly replay?: 'never' | 'once' | undefined;
  /** How many bytes of requests are kept for that at most. Undefined: 16 MiB. */
  readonly replayBytes?: number | undefined;
  /** How long a connect (and the handshake replayed after it) may take. */
  readonly connectSeconds: number;
  /** TCP keepalive starts after that long without traffic; 0: never. */
  readonly keepaliveSeconds: number;
  /** Links begin with a PROXY protocol header of that version: dedicated ones tell whose they are. Undefined: without. */
  readonly proxyProtocol?: 'v1' | 'v2' | undefined;
  /** How links to `tls://` backends are secured. */
  readonly tls?: LinkTlsSettings | undefined;
  /** How backends are asked whether they are well. Undefined: they are not. */
  readonly checks?: readonly CheckUse[] | undefined;
  /** When a backend stands out among the others, and is ejected. Undefined: never. */
  readonly outliers?: OutlierSettings | undefined;
  /** A backend that has recovered gets its full weight after that long. Undefined: at once. */
  readonly slowStartSeconds?: number | undefined;
  /** Backends of a higher priority number get new work when fewer than that many are healthy before them. Undefined: 1. */
  readonly minimumUp?: number | undefined;
  /** When a smaller share of the ready backends is healthy, checks and ejections are ignored. Undefined: 0, never. */
  readonly panicPercent?: number | undefined;
  /** A backend that drains and has had no message for that long has drained, which is logged. Undefined: 60. */
  readonly drainedSeconds?: number | undefined;
}

/** Outlier detection. */
export interface OutlierSettings {
  /** So many failures in a row eject a backend; 0: none do. */
  readonly consecutiveFailures: number;
  /** Answers that take on average so many times as long as the median backend's eject one. Undefined: none do. */
  readonly latencyFactor?: number | undefined;
  /** How long it is ejected the first time; the second time twice as long, and so on. */
  readonly baseEjectionSeconds: number;
  readonly maxEjectionSeconds: number;
  /** The share of the pool that may be ejected at once; one backend may in any case. */
  readonly maxEjectedPercent: number;
}

/** A check of the backends of a pool. */
export interface CheckUse extends PluginUse {
  readonly timing: CheckTiming;
}

/** What the core itself makes of a check. */
export interface CheckTiming {
  readonly intervalSeconds: number;
  /** By how much each interval is longer or shorter at random, lest many balancers ask at once. */
  readonly jitterPercent: number;
  /** How long the backend may take, the connect included. */
  readonly timeoutSeconds: number;
  /** So many successes in a row make a backend that failed pass. */
  readonly rise: number;
  /** So many failures in a row make a backend that passed fail. */
  readonly fall: number;
  /** The port to connect to. Undefined: that of the backend's address. */
  readonly port?: number | undefined;
  /** What it is asked on: a connection of the check's own, or the links of each listener. Undefined: `connection`. */
  readonly over?: 'connection' | 'link' | undefined;
}

/** Reads it from a check's options, which the schema of the core's part of them has accepted (config/schema.ts). */
export function timingOf(options: unknown): CheckTiming {
  const given = options as Omit<CheckTiming, 'timeoutSeconds'> & Partial<CheckTiming>;
  return { timeoutSeconds: Math.min(1, given.intervalSeconds / 2), ...given };
}

export interface ListenerSettings {
  readonly name: string;
  readonly listen: Address;
  readonly pool: string;
  /** `host:port` that the protocol writes where peers must reach us; undefined: the address it listens on. */
  readonly advertise?: string | undefined;
  /** Addresses and networks (CIDR) of clients that are let in; undefined: all. */
  readonly allow?: readonly string[] | undefined;
  /** Those that are not, though they be among the former. */
  readonly deny?: readonly string[] | undefined;
  /** Connections from these addresses and networks begin with a PROXY protocol header. */
  readonly proxyProtocol?: { readonly from: readonly string[] } | undefined;
  readonly identifiers: IdentifierSettings;
  readonly limits: Limits;
  readonly tls?: ListenerTlsSettings | undefined;
  readonly pipeline: readonly PluginUse[];
}

export type IdentifierMode = 'plain' | 'signed' | 'sealed';

export interface IdentifierSettings {
  /** Undefined: signed where there are keys and the protocol can carry it, else plain. */
  readonly mode?: IdentifierMode | undefined;
  /** What becomes of a message whose identifier names a backend that is down or gone; undefined: as the protocol says, else refuse. */
  readonly whenDown?: 'refuse' | 'rechoose' | undefined;
}

/** Bounds; every one is enforced before anything is buffered. */
export interface Limits {
  /** The longest message, in bytes. */
  readonly messageBytes: number;
  /** The longest header, in bytes, in protocols that have one. */
  readonly headerBytes: number;
  /** How many bytes may wait for one client: above it a dedicated link pauses, a client of shared links is closed as too slow when the turn of the event loop ends, and one that does not read our replies is not read from. */
  readonly queueBytes: number;
  /** Client connections at once. */
  readonly connections: number;
  /** Client connections at once from one address; 0: as many as `connections`. */
  readonly connectionsPerAddress: number;
  /** Clients that connect from one address a second, in the long run, and at once; 0: any number. */
  readonly connectionsPerSecondPerAddress: number;
  /** Outstanding requests at once. */
  readonly inFlight: number;
  /** Those of the clients at one address; 0: as many as `inFlight`. */
  readonly inFlightPerAddress: number;
  /** Messages of all clients a second, in the long run; 0: any number. */
  readonly messagesPerSecond: number;
  /** Messages at once; 0: as many as in a second. */
  readonly burstMessages: number;
  /** Messages of the clients at one address a second; 0: any number. */
  readonly messagesPerSecondPerAddress: number;
  readonly burstMessagesPerAddress: number;
  /** How much of each limit of rate or load new work leaves to sessions, where one is configured. */
  readonly reservedPercent: number;
  /** How long a message's header may take to arrive; 0: for ever. */
  readonly headerSeconds: number;
  /** How long a client connection may be without traffic; 0: for ever. */
  readonly idleSeconds: number;
  /** How long an answer is waited for. */
  readonly replySeconds: number;
  /** How many ids of related messages are remembered. */
  readonly affinityEntries: number;
}

export const defaultStopSeconds = 10;

export const defaultLimits: Limits = {
  messageBytes: 1_114_112,
  headerBytes: 65_536,
  queueBytes: 262_144,
  connections: 65_536,
  connectionsPerAddress: 0,
  connectionsPerSecondPerAddress: 0,
  inFlight: 65_536,
  inFlightPerAddress: 0,
  messagesPerSecond: 0,
  burstMessages: 0,
  messagesPerSecondPerAddress: 0,
  burstMessagesPerAddress: 0,
  reservedPercent: 10,
  headerSeconds: 10,
  idleSeconds: 3600,
  replySeconds: 60,
  affinityEntries: 65_536,
};

type TlsVersion = 'TLSv1.2' | 'TLSv1.3';

/** TLS of a listener. The PEM contents, not the paths. */
export interface ListenerTlsSettings {
  readonly certificate: string;
  readonly key: string;
  /** When the first certificate of the chain expires, in milliseconds since 1970. Undefined: nobody has looked. */
  readonly certificateExpiresAtMs?: number | undefined;
  /** Who may sign client certificates. */
  readonly ca?: string | undefined;
  readonly clientCertificate: 'none' | 'optional' | 'required';
  /** Undefined: TLSv1.2. */
  readonly minVersion?: TlsVersion | undefined;
}

/** TLS of links. The PEM contents, not the paths. */
export interface LinkTlsSettings {
  /** Who may sign the backends' certificates; undefined: the system's authorities. */
  readonly ca?: string | undefined;
  /** Our own certificate and key, for backends that ask for one. */
  readonly certificate?: string | undefined;
  readonly key?: string | undefined;
  /** When the first certificate of the chain expires, in milliseconds since 1970. Undefined: there is none, or nobody has looked. */
  readonly certificateExpiresAtMs?: number | undefined;
  /** The name that the backend's certificate must be for; undefined: its host. */
  readonly serverName?: string | undefined;
  readonly verify: boolean;
  /** Undefined: TLSv1.2. */
  readonly minVersion?: TlsVersion | undefined;
}

/** One plugin of a pipeline with its options, validated and defaulted. */
export interface PluginUse {
  readonly plugin: PluginDefinition;
  readonly options: unknown;
}
