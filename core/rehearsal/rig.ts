/**
 * The real balancer on virtual sockets and a virtual clock. Whoever holds the rig plays the clients and the backends: no port is
 * opened, time passes only in `advance`, and equal seeds give equal runs.
 */
import { balances, type ListenerStats } from '../accounting.ts';
import { Balancer, type BalancerOptions } from '../balancer.ts';
import { type Address, formatAddress } from '../runtime/address.ts';
import { type VirtualPeer, VirtualRuntime } from '../runtime/virtual.ts';
import type { PoolSettings, Settings } from '../settings.ts';

export interface RigOptions {
  readonly log: BalancerOptions['log'];
  /** Undefined: 1. */
  readonly seed?: number;
}

/** The first of the ports that virtual clients connect from. */
const firstClientPort = 40_000;

export class Rig {
  readonly balancer: Balancer;
  readonly runtime: VirtualRuntime;
  /** Of all pools, in the order of the settings. */
  readonly backends: readonly VirtualBackend[];
  readonly #listen: Address;
  #clientPort = firstClientPort;

  private constructor(balancer: Balancer, runtime: VirtualRuntime, backends: readonly VirtualBackend[]) {
    this.balancer = balancer;
    this.runtime = runtime;
    this.backends = backends;
    this.#listen = balancer.listeners[0]!.settings.listen;
  }

  /**
   * Starts the balancer.
   * @param settings clients connect to the first listener
   * @throws PointsmanError (rejects with) if a plugin cannot be applied or started
   */
  static async start(settings: Settings, { log, seed }: RigOptions): Promise<Rig> {
    const runtime = new VirtualRuntime(seed);
    const pools = settings.pools.map(withAddressesOfTheirOwn);
    const backends = pools.flatMap((pool) =>
      pool.backends.map(({ name, address }) => new VirtualBackend(runtime, name, formatAddress(address))),
    );
    const balancer = new Balancer({ ...settings, pools }, { runtime, log });
    await balancer.start();
    runtime.settle();
    return new Rig(balancer, runtime, backends);
  }

  /**
   * A client connects.
   * @param port undefined: one that none has had
   */
  client(address = '198.51.100.1', port = this.#clientPort++): Wire {
    const peer = this.runtime.dial(this.#listen, address, port);
    if (peer === undefined) throw new Error('nobody listens');
    this.runtime.settle();
    return new Wire(this.runtime, peer);
  }

  backend(name: string): VirtualBackend {
    const found = this.backends.find((backend) => backend.name === name);
    if (found === undefined) throw new Error(`no backend ${name}`);
    return found;
  }

  /** Runs everything that is due, including what taps have promised. */
  async settle(): Promise<void> {
    this.runtime.settle();
    await new Promise((resolve) => setImmediate(resolve));
    this.runtime.settle();
  }

  /** Moves the virtual clock. */
  advance(milliseconds: number): void {
    this.runtime.advance(milliseconds);
  }

  /**
   * The accounting of the first listener.
   * @throws Error if the identity does not hold
   */
  stats(): ListenerStats {
    const stats = this.balancer.listeners[0]!.stats();
    if (!balances(stats)) throw new Error(`the accounting does not balance: ${JSON.stringify(stats)}`);
    return stats;
  }

  async stop(): Promise<void> {
    await this.runtime.until(this.balancer.stop({ deadlineSeconds: 0 }));
  }
}

/** The pool, with its backends played by somebody who says which of them are down: they answer no checks. */
export function unchecked(pool: PoolSettings): PoolSettings {
  return { ...pool, checks: [] };
}

/** Backends are told apart by their address, so two at one address (a warning in a config) would be one. */
function withAddressesOfTheirOwn(pool: PoolSettings): PoolSettings {
  const taken = new Set<string>();
  const backends = pool.backends.map((backend) => {
    const key = formatAddress(backend.address);
    if (!taken.has(key)) {
      taken.add(key);
      return backend;
    }
    return { ...backend, address: { ...backend.address, host: `${backend.name}.invalid` } };
  });
  return { ...pool, backends };
}

/** One end of a virtual connection, as the peer of the balancer holds it. */
export class Wire {
  readonly peer: VirtualPeer;
  readonly #runtime: VirtualRuntime;
  /** How many of the chunks have been taken. */
  #taken = 0;

  constructor(runtime: VirtualRuntime, peer: VirtualPeer) {
    this.#runtime = runtime;
    this.peer = peer;
  }

  /** Sends bytes to the balancer; everything that follows from them happens before this returns. */
  send(bytes: string | Uint8Array): void {
    this.peer.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    this.#runtime.settle();
  }

  /** Everything received so far. */
  get received(): Buffer {
    return Buffer.concat(this.peer.chunks);
  }

  /** The bytes of each write that arrived. */
  get writes(): readonly Buffer[] {
    return this.peer.chunks;
  }

  /** Returns what was received since the last `take`. */
  take(): Buffer {
    const { chunks } = this.peer;
    const taken = Buffer.concat(chunks.slice(this.#taken));
    this.#taken = chunks.length;
    return taken;
  }

  /** `take()` as latin1 text. */
  text(): string {
    return this.take().toString('latin1');
  }

  /** Half-closes. */
  end(): void {
    this.peer.end();
    this.#runtime.settle();
  }

  /** Resets the connection. */
  reset(): void {
    this.peer.reset();
    this.#runtime.settle();
  }

  /** Stops reading. */
  pause(): void {
    this.peer.pause();
  }

  resume(): void {
    this.peer.resume();
    this.#runtime.settle();
  }

  /** The balancer has half-closed. */
  get ended(): boolean {
    return this.peer.ended;
  }

  /** The connection is closed. */
  get closed(): boolean {
    return this.peer.closed;
  }
}

export class VirtualBackend {
  readonly name: string;
  readonly #runtime: VirtualRuntime;
  readonly #wires: Wire[] = [];
  #verdict: 'accept' | 'refuse' | 'hang' = 'accept';

  constructor(runtime: VirtualRuntime, name: string, address: string) {
    this.name = name;
    this.#runtime = runtime;
    runtime.servers.set(address, (peer) => {
      if (this.#verdict === 'accept') this.#wires.push(new Wire(runtime, peer));
      return this.#verdict;
    });
  }

  /** The balancer's links to it that are open now, oldest first. */
  get links(): Wire[] {
    return this.#wires.filter((wire) => !wire.closed);
  }

  /** The only link, for the common case. */
  get link(): Wire {
    const { links } = this;
    if (links.length !== 1) throw new Error(`${this.name} has ${links.length} links`);
    return links[0]!;
  }

  /** All links that there have been, oldest first. */
  get wires(): readonly Wire[] {
    return this.#wires;
  }

  /** Takes what has arrived on all links since the last take. */
  take(): Buffer {
    return Buffer.concat(this.#wires.map((wire) => wire.take()));
  }

  text(): string {
    return this.take().toString('latin1');
  }

  /** Refuses attempts to connect, and resets its links. */
  down(): void {
    this.#verdict = 'refuse';
    for (const wire of this.links) wire.peer.reset();
    this.#runtime.settle();
  }

  up(): void {
    this.#verdict = 'accept';
  }

  /** Leaves attempts to connect unanswered. */
  hang(): void {
    this.#verdict = 'hang';
  }
}
