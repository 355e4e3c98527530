/**
 * The seam between the core and the world: time, randomness and sockets. node.ts implements it on Node.js; virtual.ts in memory,
 * with a clock of its own, so that tests, dry runs and simulations run the same core.
 */
import type { Clock, WebSocketFacts } from '../plugin.ts';
import type { LinkTlsSettings, ListenerTlsSettings } from '../settings.ts';
import type { Address } from './address.ts';

export interface Runtime extends Clock {
  /** Calls back when everything that arrived in this turn of the event loop has been handled. */
  atTurnEnd(callback: () => void): void;
  /**
   * Opens a listening socket.
   * @param accept is called for each connection and answers who handles it
   * @throws (rejects with) the system's error if the address cannot be opened
   */
  listen(options: ListenOptions, accept: (socket: Socket) => SocketHandler): Promise<ListeningSocket>;
  /** Begins to connect; the handler hears how it went, never before this has returned. */
  connect(options: ConnectOptions, handler: SocketHandler): Socket;
}

export interface ListenOptions {
  readonly address: Address;
  /** Whose connections begin with a PROXY protocol header. Undefined: nobody's. */
  readonly isProxy?: ((remoteAddress: string) => boolean) | undefined;
  readonly tls?: ListenerTlsSettings | undefined;
  /** WebSocket listeners: how messages are carried. */
  readonly webSocket?: WebSocketFacts | undefined;
  /** WebSocket listeners: the longest message they take, in bytes. */
  readonly messageBytes: number;
  /** How many clients there may be at once; where none can be turned away (UDP), the one that has been silent for longest goes. */
  readonly connections: number;
  /**
   * Asked about each connection before anything else is done for it, a handshake among it, whether it may come in.
   * @param remoteAddress whose it is, as the proxy says that it came through; empty on unix sockets
   * @param isAmongLast hardly any more can be opened
   * @returns to be called when it has closed; undefined: it is to be closed
   */
  admit(remoteAddress: string, isAmongLast: boolean): (() => void) | undefined;
  /**
   * Told what went wrong before there was a connection to accept: a TLS handshake that failed, no more file descriptors.
   * @param remoteAddress whose handshake it was
   */
  onError(error: Error, remoteAddress?: string): void;
}

export interface ListeningSocket {
  /** Where it listens, with the port that was free if it asked for port 0. */
  readonly address: Address;
  /** Handshakes use other certificates from now on. Undefined: there are none. */
  secure?(tls: ListenerTlsSettings): void;
  /** Stops accepting. Connections go on. */
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly address: Address;
  /** Sent before anything else, also before a TLS handshake. */
  readonly preface?: Buffer | undefined;
  readonly tls?: LinkTlsSettings | undefined;
  readonly keepaliveSeconds: number;
}

/** Both ends of a client's connection. */
export interface Ends {
  /** An IP address; empty for unix sockets. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
}

/** A certificate that a client has shown, and that one of the listener's `ca` has signed. */
export interface ClientCertificate {
  /** The common name of its subject; empty if it has none. */
  readonly commonName: string;
  /** Names as Node.js writes them: `DNS:a.example, URI:urn:a`; empty if there are none. */
  readonly subjectAltName: string;
  /** SHA-256, in hexadecimal digits with colons. */
  readonly fingerprint: string;
}

/**
 * A connection: of bytes in both directions, ordered and reliable, or (`delimits`) of whole messages, each of which `onBytes` brings
 * on its own.
 */
export interface Socket {
  /** The transport says where messages end. */
  readonly delimits: boolean;
  /** The longest message that it can carry, in bytes. */
  readonly longestMessageBytes: number;
  /** The peer's IP address; empty for unix sockets. */
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Datagrams of a listener: the port of the peer that they go to; undefined where that cannot be chosen. */
  answerPort?: number;
  /** Where the peer has connected to; undefined where the transport does not say. */
  readonly localAddress?: string;
  readonly localPort?: number;
  /** Undefined: the client has shown none, or none that verifies. */
  readonly certificate?: ClientCertificate | undefined;
  /** False once it is closed or closing: what is written then goes nowhere. */
  readonly writable: boolean;
  /**
   * Hands bytes over. True: they have been taken and the memory may be reused at once. False: it belongs to the socket
   * until `onWritten`, and nothing more may be written before that.
   * @param ends where each message in `bytes` ends, for a socket that delimits them; else of no account
   */
  write(bytes: Buffer, ends: readonly number[]): boolean;
  /** Stops `onBytes`; what the network delivers meanwhile stays with the system, which slows the peer down. */
  pause(): void;
  resume(): void;
  /** Half-closes once everything written has left. */
  end(): void;
  /** Closes both directions now. */
  destroy(): void;
}

export interface SocketHandler {
  /** A connect has succeeded, TLS handshake included. Not called for accepted sockets. */
  onOpen(): void;
  /**
   * `bytes[start, end)` arrived. The memory is the socket's again when this returns; what stands before `start` in
   * `readMemory` (memory.ts) may be written over meanwhile.
   */
  onBytes(bytes: Buffer, start: number, end: number): void;
  /** The peer has half-closed. */
  onEnd(): void;
  /** What `write` kept has been written. */
  onWritten(): void;
  /**
   * The socket is closed, for that reason if it was not in order. Called once; nothing comes after it. What `write` kept is
   * the handler's again.
   */
  onClose(error: Error | undefined): void;
}
