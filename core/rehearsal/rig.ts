/**
 * The real balancer on virtual sockets and a virtual clock. Whoever holds the rig plays the clients and the backends: no port is
 * opened, no time passes but what `advance` says, and equal seeds give equal runs.
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

/** The ports that virtual clients connect from begin here. */
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

  /** Runs what is due, what taps have promised included. */
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

/** The pool where somebody plays the backends, and says who is down: they answer no checks. */
export function unchecked(pool: PoolSettings): PoolSettings {
  return { ...pool, checks: [] };
}

/** Who is connected to is told by the address, so two backends at one address (a warning in a config) would be one. */
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
  /** How many of the chunks. */
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

  /** The single writes that arrived. */
  get writes(): readonly Buffer[] {
    return this.peer.chunks;
  }

  /** Answers what was received since the last `take`. */
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

  /** Links the balancer opened to it that are open now, oldest first. */
  get links(): Wire[] {
    return this.#wires.filter((wire) => !wire.closed);
  }

  /** The only link, for the common case. */
  get link(): Wire {
    const { links } = this;
    if (links.length !== 1) throw new Error(`${this.name} has ${links.length} links`);
    return links[0]!;
  }

  /** All links there have been, oldest first. */
  get wires(): readonly Wire[] {
    return this.#wires;
  }

  /** Takes what arrived on all links since the last take. */
  take(): Buffer {
    return Buffer.concat(this.#wires.map((wire) => wire.take()));
  }

  text(): string {
    return this.take().toString('latin1');
  }

  /** Refuses connects and resets its links. */
  down(): void {
    this.#verdict = 'refuse';
    for (const wire of this.links) wire.peer.reset();
    this.#runtime.settle();
  }

  up(): void {
    this.#verdict = 'accept';
  }

  /** Lets connects hang. */
  hang(): void {
    this.#verdict = 'hang';
  }
}
