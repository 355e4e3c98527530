/**
 * The seam in memory: a clock that moves only when told to, a seeded random source, and sockets that are pairs of
 * queues. Nothing happens by itself: `settle()` runs everything that is due now, `advance()` moves the clock. What is due
 * together happens in the order it came, or in another one that the seed decides; on each connection always in order.
 */
import { headroomBytes, readMemory } from '../memory.ts';
import { type Address, delimits, formatAddress } from './address.ts';
import type { ConnectOptions, ListeningSocket, ListenOptions, Runtime, Socket, SocketHandler } from './runtime.ts';

/** An event that is due now. */
interface Due {
  readonly run: () => void;
  /** The peer whose event it is: events of one peer stay in order among themselves. */
  readonly peer: VirtualPeer | undefined;
}

interface Timer {
  at: number;
  order: number;
  callback: () => void;
}

/** How many bytes of garbage surround those that arrive, and how many bytes arrive at once. */
const straysAround = 8;
const readBytes = readMemory.length - headroomBytes - straysAround;

/** The far end of a virtual connection: the client that a test plays, or the backend. */
export class VirtualPeer {
  readonly #runtime: VirtualRuntime;
  /** Called when the connection is open. */
  socket!: VirtualSocket;
  chunks: Buffer[] = [];
  ended = false;
  closed = false;
  /** While true, the peer reads nothing, and the balancer's writes stay pending. */
  paused = false;
  /** What is written reaches the peer at the end of the turn, as with TLS. */
  takesLate = false;
  /** Called for each chunk that arrives, after it was added to `chunks`. */
  onBytes: ((bytes: Buffer) => void) | undefined;

  constructor(runtime: VirtualRuntime) {
    this.#runtime = runtime;
  }

  send(bytes: Uint8Array): void {
    const copy = Buffer.from(bytes);
    this.#runtime.enqueue(() => this.socket.receive(copy), this);
  }

  end(): void {
    this.#runtime.enqueue(() => this.socket.receiveEnd(), this);
  }

  reset(): void {
    const error = Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' });
    this.#runtime.enqueue(() => this.socket.fail(error), this);
  }

  pause(): void {
    this.paused = true;
  }

  resume(): void {
    this.paused = false;
    this.#runtime.enqueue(() => this.socket.drain(), this);
  }
}

export class VirtualSocket implements Socket {
  readonly delimits: boolean;
  readonly longestMessageBytes: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  answerPort?: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #runtime: VirtualRuntime;
  readonly #peer: VirtualPeer;
  #handler!: SocketHandler;
  #onClosed: (error: Error | undefined) => void = () => {};
  #paused = false;
  #arrived: Buffer[] = [];
  #endArrived = false;
  #endDelivered = false;
  #closed = false;
  /** What was written while the peer was not reading. */
  #pending: { readonly bytes: Buffer; readonly ends: readonly number[] }[] = [];
  #ending = false;

  constructor(runtime: VirtualRuntime, peer: VirtualPeer, remoteAddress: string, remotePort: number, address: Address) {
    this.delimits = delimits(address);
    this.longestMessageBytes = address.transport === 'udp' ? 65_507 : Number.POSITIVE_INFINITY;
    this.#runtime = runtime;
    this.#peer = peer;
    this.remoteAddress = remoteAddress;
    this.remotePort = remotePort;
    if (address.transport === 'udp') this.answerPort = remotePort;
    this.localAddress = address.host;
    this.localPort = address.port;
    peer.socket = this;
  }

  /** @param leave called when the connection has closed */
  attach(handler: SocketHandler, leave?: () => void): void {
    this.#handler = handler;
    this.#onClosed = (error) => {
      leave?.();
      handler.onClose(error);
    };
  }

  get handler(): SocketHandler {
    return this.#handler;
  }

  receive(bytes: Buffer): void {
    if (this.#closed) return;
    this.#arrived.push(bytes);
    this.#deliver();
  }

  receiveEnd(): void {
    this.#endArrived = true;
    this.#deliver();
  }

  /**
   * Hands over bytes in the memory that real sockets read into, surrounded by other bytes, and wiped after use: whoever reads
   * beyond `end`, or keeps the memory, is found out.
   */
  #read(bytes: Buffer): void {
    const start = headroomBytes;
    const end = start + bytes.length;
    readMemory.fill('\n', start - straysAround, end + straysAround);
    bytes.copy(readMemory, start);
    this.#handler.onBytes(readMemory, start, end);
    readMemory.fill(0xee, start - straysAround, end + straysAround);
  }

  #deliver(): void {
    while (!this.#paused && !this.#closed && this.#arrived.length > 0) {
      const bytes = this.#arrived.shift()!;
      if (this.delimits) this.#handler.onBytes(bytes, 0, bytes.length);
      else for (let at = 0; at < bytes.length; at += readBytes) this.#read(bytes.subarray(at, at + readBytes));
    }
    // As on Node.js, the end is told also while paused, if nothing is left to read.
    if (this.#endArrived && !this.#endDelivered && this.#arrived.length === 0 && !this.#closed) {
      this.#endDelivered = true;
      this.#handler.onEnd();
      this.#closeIfDone();
    }
  }

  get writable(): boolean {
    return !this.#closed && !this.#ending;
  }

  write(bytes: Buffer, ends: readonly number[]): boolean {
    if (this.#peer.paused || this.#peer.takesLate) {
      this.#pending.push({ bytes, ends });
      if (!this.#peer.paused) this.#runtime.atTurnEnd(() => this.drain());
      return false;
    }
    this.#hand(bytes, ends);
    return true;
  }

  /** The peer receives a stream write by write, or messages one by one. */
  #hand(bytes: Buffer, ends: readonly number[]): void {
    let start = 0;
    for (const end of this.delimits ? ends : [bytes.length]) {
      const chunk = Buffer.from(bytes.subarray(start, end));
      start = end;
      this.#peer.chunks.push(chunk);
      if (this.#peer.onBytes !== undefined) this.#runtime.enqueue(() => this.#peer.onBytes?.(chunk), this.#peer);
    }
  }

  /** The peer reads again. */
  drain(): void {
    if (this.#closed || this.#peer.paused || this.#pending.length === 0) return;
    const pending = this.#pending;
    this.#pending = [];
    for (const { bytes, ends } of pending) this.#hand(bytes, ends);
    this.#handler.onWritten();
    this.#endIfWritten();
  }

  pause(): void {
    this.#paused = true;
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    this.#runtime.enqueue(() => this.#deliver(), this.#peer);
  }

  end(): void {
    this.#ending = true;
    this.#endIfWritten();
  }

  #endIfWritten(): void {
    if (this.#ending && this.#pending.length === 0 && !this.#peer.ended) {
      this.#peer.ended = true;
      this.#closeIfDone();
    }
  }

  #closeIfDone(): void {
    if (this.#peer.ended && this.#endDelivered) this.fail(undefined);
  }

  destroy(): void {
    this.#peer.ended = true;
    this.fail(undefined);
  }

  /** Closes the connection, in order if there is no error. */
  fail(error: Error | undefined): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#peer.closed = true;
    this.#runtime.enqueue(() => this.#onClosed(error), this.#peer);
  }
}

interface VirtualListener {
  readonly options: ListenOptions;
  readonly accept: (socket: Socket) => SocketHandler;
  /** In the order they came. */
  readonly sockets: Set<VirtualSocket>;
}

export class VirtualRuntime implements Runtime {
  #now = 0;
  #order = 0;
  #timers: Timer[] = [];
  #events: Due[] = [];
  #turnEnd: (() => void)[] = [];
  #seed: number;
  readonly #listeners = new Map<string, VirtualListener>();
  /** Who answers attempts to connect, by address: receives the far end of the new connection, or says why there is none. */
  readonly servers = new Map<string, (peer: VirtualPeer) => 'accept' | 'refuse' | 'hang'>();

  readonly #reorders: boolean;

  /** @param reorders events that are due together happen in an order that the seed decides */
  constructor(seed = 1, { reorders = false } = {}) {
    this.#seed = seed;
    this.#reorders = reorders;
  }

  now = (): number => this.#now;

  /** mulberry32: small, fast, and the same everywhere. */
  random = (): number => {
    this.#seed = (this.#seed + 0x6d2b79f5) | 0;
    let t = Math.imul(this.#seed ^ (this.#seed >>> 15), 1 | this.#seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };

  randomBytes = (size: number): Buffer => {
    const bytes = Buffer.alloc(size);
    for (let i = 0; i < size; i++) bytes[i] = this.random() * 256;
    return bytes;
  };

  after = (milliseconds: number, callback: () => void): (() => void) => {
    const timer: Timer = { at: this.#now + milliseconds, order: this.#order++, callback };
    this.#timers.push(timer);
    return () => {
      const index = this.#timers.indexOf(timer);
      if (index >= 0) this.#timers.splice(index, 1);
    };
  };

  atTurnEnd = (callback: () => void): void => {
    this.#turnEnd.push(callback);
  };

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.length;
  }

  async listen(options: ListenOptions, accept: (socket: Socket) => SocketHandler): Promise<ListeningSocket> {
    const key = formatAddress(options.address);
    if (this.#listeners.has(key)) throw Object.assign(new Error(`listen EADDRINUSE ${key}`), { code: 'EADDRINUSE' });
    this.#listeners.set(key, { options, accept, sockets: new Set() });
    return {
      address: options.address,
      close: async () => void this.#listeners.delete(key),
    };
  }

  connect(options: ConnectOptions, handler: SocketHandler): Socket {
    const peer = new VirtualPeer(this);
    const socket = new VirtualSocket(this, peer, options.address.host, options.address.port, options.address);
    socket.attach(handler);
    this.enqueue(() => {
      const verdict = this.servers.get(formatAddress(options.address))?.(peer) ?? 'refuse';
      if (verdict === 'accept') {
        if (options.preface !== undefined) socket.write(options.preface, []);
        handler.onOpen();
      } else if (verdict === 'refuse') {
        socket.fail(Object.assign(new Error('connect ECONNREFUSED'), { code: 'ECONNREFUSED' }));
      }
    }, peer);
    return socket;
  }

  /** A client connects to a listener. Undefined: nobody listens there. */
  dial(address: Address, from: string, fromPort: number): VirtualPeer | undefined {
    const listener = this.#listeners.get(formatAddress(address));
    if (listener === undefined) return undefined;
    const peer = new VirtualPeer(this);
    const socket = new VirtualSocket(this, peer, from, fromPort, address);
    const { options, accept, sockets } = listener;
    const leave = options.admit(from, false);
    if (leave === undefined) {
      socket.destroy();
      return peer;
    }
    const [oldest] = sockets;
    if (oldest !== undefined && address.transport === 'udp' && sockets.size >= options.connections) {
      sockets.delete(oldest);
      oldest.destroy();
    }
    sockets.add(socket);
    socket.attach(accept(socket), () => {
      sockets.delete(socket);
      leave();
    });
    return peer;
  }

  /** @param peer whose connection it happens on; undefined: on none */
  enqueue(run: () => void, peer?: VirtualPeer): void {
    this.#events.push({ run, peer });
  }

  /** Runs turns of the event loop until nothing is due. */
  settle(): void {
    while (this.#events.length > 0 || this.#turnEnd.length > 0) {
      const events = this.#events;
      this.#events = [];
      if (this.#reorders) this.#runInAnyOrder(events);
      else for (const { run } of events) run();
      const turnEnd = this.#turnEnd;
      this.#turnEnd = [];
      for (const callback of turnEnd) callback();
    }
  }

  /** Runs some of the events, for each connection the oldest first; the others are left to the next turn. */
  #runInAnyOrder(events: Due[]): void {
    for (let count = Math.ceil(this.random() * events.length); count > 0; count--) {
      const { peer } = events[Math.floor(this.random() * events.length)]!;
      const [event] = events.splice(
        events.findIndex((each) => each.peer === peer),
        1,
      );
      event!.run();
    }
    this.#events = [...events, ...this.#events];
  }

  /**
   * Runs what is due until a promise is settled. Promises that wait only for other promises are not among what is due, so they get
   * turns in between.
   */
  async until<Value>(promise: Promise<Value>): Promise<Value> {
    let isSettled = false;
    const settled = promise.finally(() => {
      isSettled = true;
    });
    while (!isSettled) {
      this.settle();
      await new Promise((resolve) => setImmediate(resolve));
    }
    const value = await settled;
    this.settle();
    return value;
  }

  /** Moves the clock, running every timer at its time. */
  advance(milliseconds: number): void {
    this.settle();
    const until = this.#now + milliseconds;
    for (;;) {
      let due: Timer | undefined;
      for (const timer of this.#timers) {
        if (
          timer.at <= until &&
          (due === undefined || timer.at < due.at || (timer.at === due.at && timer.order < due.order))
        ) {
          due = timer;
        }
      }
      if (due === undefined) break;
      this.#timers.splice(this.#timers.indexOf(due), 1);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
      this.settle();
    }
    this.#now = until;
  }
}
