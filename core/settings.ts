/**
 * What a balancer is built from: a config after parsing, validation and filling in defaults, with every name resolved. The loader
 * in config/ makes it from files; tests and programs that embed a balancer may write it themselves.
 */
import type { PluginDefinition } from './plugin.ts';
import type { Address } from './runtime/address.ts';

export interface Settings {
  /** Keys for identifiers: the first signs, all verify. */
  readonly keys: readonly KeySettings[];
  readonly pools: readonly PoolSettings[];
  readonly listeners: readonly ListenerSettings[];
  /** The observers: they look at the balancer as a whole, and watch every pipeline. Undefined: none. */
  readonly observers?: readonly PluginUse[] | undefined;
  /** How many processes share the work; undefined: 1. */
  readonly workers?: number | undefined;
  /** How many seconds to wait, when stopping, for answers that are due; undefined: `defaultStopSeconds`. */
  readonly stopSeconds?: number | undefined;
}

export interface KeySettings {
  /** Names the key in tokens: 1 to 15 characters of `a-z`, `0-9` and `-`. */
  readonly id: string;
  /** At least 16 bytes. */
  readonly secret: Uint8Array;
}

/**
 * What an operator lets a backend do. `ready`: everything. `drain`: only messages that carry its identifier or belong to one of its
 * sessions. `maint`: nothing, as if it were down.
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

/** Limits on what the balancer sends to a pool or a backend. Undefined or 0: none. */
export interface LoadLimits {
  /** Requests that are waiting for their answer. */
  readonly inFlight?: number | undefined;
  /** Messages a second, on average. */
  readonly messagesPerSecond?: number | undefined;
  /** Messages at once. Undefined: as many as in a second. */
  readonly burstMessages?: number | undefined;
  /** Dedicated links, including those being opened. */
  readonly connections?: number | undefined;
}

export interface PoolSettings {
  readonly name: string;
  readonly backends: readonly BackendSettings[];
  /** Undefined: shared where the protocol plugin can correlate, else dedicated. */
  readonly links?: 'shared' | 'dedicated' | undefined;
  /** How many shared links each listener keeps to each backend. */
  readonly linksPerBackend: number;
  /**
   * How many bytes may wait for one backend. Above this, reading from whoever sends it messages pauses, until half is left; above
   * twice this, messages are refused.
   */
  readonly queueBytes: number;
  /** Of the pool as a whole. */
  readonly limits?: LoadLimits | undefined;
  /** Of each backend that has no limits of its own. */
  readonly backendLimits?: LoadLimits | undefined;
  /** How many seconds new requests may wait for a backend with room for them. Undefined: not at all. */
  readonly queueSeconds?: number | undefined;
  /** How many may wait at each listener; they also have to fit into `queueBytes`. Undefined: 1024. */
  readonly queueRequests?: number | undefined;
  /**
   * What happens to a request whose backend goes away before answering, if the protocol lets it be replayed. Undefined: `never`.
   */
  readonly replay?: 'never' | 'once' | undefined;
  /** How many bytes of requests are kept for replay at most. Undefined: 16 MiB. */
  readonly replayBytes?: number | undefined;
  /** How many seconds it may take to connect, including the replayed handshake. */
  readonly connectSeconds: number;
  /** TCP keepalive starts after this many seconds without traffic; 0: never. */
  readonly keepaliveSeconds: number;
  /** Links begin with a PROXY protocol header of this version; on dedicated links it names the client. Undefined: no header. */
  readonly proxyProtocol?: 'v1' | 'v2' | undefined;
  /** TLS settings for links to `tls://` backends. */
  readonly tls?: LinkTlsSettings | undefined;
  /** The health checks. Undefined: none. */
  readonly checks?: readonly CheckUse[] | undefined;
  /** When outlier detection ejects a backend. Undefined: never. */
  readonly outliers?: OutlierSettings | undefined;
  /** How many seconds a backend that has recovered takes to get back to its full weight. Undefined: none. */
  readonly slowStartSeconds?: number | undefined;
  /** Backends with a higher priority number get new work when fewer than this many before them are healthy. Undefined: 1. */
  readonly minimumUp?: number | undefined;
  /** If a smaller share of the ready backends is healthy, checks and ejections are ignored. Undefined: 0, never. */
  readonly panicPercent?: number | undefined;
  /** A draining backend that has had no message for this many seconds is logged as drained. Undefined: 60. */
  readonly drainedSeconds?: number | undefined;
}

/** Outlier detection. */
export interface OutlierSettings {
  /** This many failures in a row eject a backend; 0: failures do not eject. */
  readonly consecutiveFailures: number;
  /**
   * A backend whose answers take on average this many times as long as those of the median backend is ejected. Undefined: slowness
   * does not eject.
   */
  readonly latencyFactor?: number | undefined;
  /** How many seconds the first ejection lasts; the second lasts twice as long, and so on, up to the maximum. */
  readonly baseEjectionSeconds: number;
  readonly maxEjectionSeconds: number;
  /** The share of the pool, in percent, that may be ejected at once; one backend always may. */
  readonly maxEjectedPercent: number;
}

/** One check of a pool's backends. */
export interface CheckUse extends PluginUse {
  readonly timing: CheckTiming;
}

/** The part of a check's options that the core handles. */
export interface CheckTiming {
  readonly intervalSeconds: number;
  /** By how many percent each interval is lengthened or shortened at random, so that balancers do not all ask at once. */
  readonly jitterPercent: number;
  /** How many seconds the backend may take, including the time to connect. */
  readonly timeoutSeconds: number;
  /** This many successes in a row make a failing backend pass. */
  readonly rise: number;
  /** This many failures in a row make a passing backend fail. */
  readonly fall: number;
  /** The port to connect to. Undefined: that of the backend's address. */
  readonly port?: number | undefined;
  /** What the check goes over: a connection of its own, or the links of each listener. Undefined: `connection`. */
  readonly over?: 'connection' | 'link' | undefined;
}

/** Takes them out of a check's options, which the core's part of the schema has accepted (config/schema.ts). */
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
  /** Addresses and networks (CIDR) of clients that may connect; undefined: all. */
  readonly allow?: readonly string[] | undefined;
  /** Addresses and networks that may not connect, even if `allow` includes them. */
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
  /** Undefined: signed if there are keys and the protocol can carry it, else plain. */
  readonly mode?: IdentifierMode | undefined;
  /**
   * What happens to a message whose identifier names a backend that is down or gone; undefined: what the protocol says, else
   * refuse.
   */
  readonly whenDown?: 'refuse' | 'rechoose' | undefined;
}

/** Limits; each one is enforced before anything is buffered. */
export interface Limits {
  /** The longest message, in bytes. */
  readonly messageBytes: number;
  /** The longest header, in bytes, in protocols that have one. */
  readonly headerBytes: number;
  /**
   * How many bytes may wait for one client. Above this a dedicated link pauses, a client of shared links is closed as too slow at
   * the end of the turn of the event loop, and a client that does not read our replies is not read from.
   */
  readonly queueBytes: number;
  /** Client connections at once. */
  readonly connections: number;
  /** Client connections at once from one address; 0: as many as `connections`. */
  readonly connectionsPerAddress: number;
  /** New connections from one address: a second on average, and at once; 0: no limit. */
  readonly connectionsPerSecondPerAddress: number;
  /** Outstanding requests at once. */
  readonly inFlight: number;
  /** Outstanding requests of the clients at one address; 0: as many as `inFlight`. */
  readonly inFlightPerAddress: number;
  /** Messages of all clients a second, on average; 0: no limit. */
  readonly messagesPerSecond: number;
  /** Messages at once; 0: as many as in a second. */
  readonly burstMessages: number;
  /** Messages of the clients at one address a second; 0: no limit. */
  readonly messagesPerSecondPerAddress: number;
  readonly burstMessagesPerAddress: number;
  /** How many percent of each limit of rate or load are kept for sessions, where one is configured. */
  readonly reservedPercent: number;
  /** How many seconds a message's header may take to arrive; 0: no limit. */
  readonly headerSeconds: number;
  /** How many seconds a client connection may be without traffic; 0: no limit. */
  readonly idleSeconds: number;
  /** How many seconds to wait for an answer. */
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

/** TLS settings of a listener: the PEM contents, not the paths. */
export interface ListenerTlsSettings {
  readonly certificate: string;
  readonly key: string;
  /** When the first certificate of the chain expires, in milliseconds since 1970. Undefined: nobody has looked. */
  readonly certificateExpiresAtMs?: number | undefined;
  /** The authorities that may sign client certificates. */
  readonly ca?: string | undefined;
  readonly clientCertificate: 'none' | 'optional' | 'required';
  /** Undefined: TLSv1.2. */
  readonly minVersion?: TlsVersion | undefined;
}

/** TLS settings of links: the PEM contents, not the paths. */
export interface LinkTlsSettings {
  /** The authorities that may sign the backends' certificates; undefined: the system's. */
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

/** A plugin in use with its options, validated and with defaults filled in. */
export interface PluginUse {
  readonly plugin: PluginDefinition;
  readonly options: unknown;
}
