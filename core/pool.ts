/** Pools: named sets of backends with their health, weights and loads. Strategies choose among `available`. */
import { type Address, delimits } from './runtime/address.ts';
import type { BackendSettings, BackendState, PoolSettings } from './settings.ts';

/** After so long without a peak, 1/e of it is left in `latencyMs`. */
const latencyDecayMs = 10_000;

export class Backend {
  /** Its identity on the wire; unique in its pool. */
  readonly name: string;
  readonly address: Address;
  /** Its share of new work relative to the others; 0: none. Set with `pool.setWeight`. */
  weight: number;
  /** What the operator lets it do. Set with `pool.setState`. */
  state: BackendState;
  /** Its identifier in fixed-width binary fields, from 1; undefined if the config gives none. */
  readonly number: number | undefined;
  /** Its place in `pool.backends`: a dense index for arrays that a plugin keeps per backend. */
  readonly index: number;
  readonly pool: Pool;
  /** Whether the transport to it says where messages end. */
  readonly delimits: boolean;

  /** False from a failed connect until the next successful one. */
  up = true;
  /** Requests outstanding there; where the protocol cannot correlate, sessions that have not settled. */
  inFlight = 0;
  /** Links open to it. */
  connections = 0;
  /** Shared links to it whose queue is full. */
  fullLinks = 0;
  /** When it last got a message, in milliseconds of the runtime's clock; 0: never. Tells when one that drains may be stopped. */
  lastMessageAtMs = 0;
  /** Peak-sensitive moving average of the time to answer, in milliseconds; 0 until the first answer. */
  latencyMs = 0;
  #latencyAtMs = 0;

  constructor(pool: Pool, settings: BackendSettings, index: number) {
    this.pool = pool;
    this.name = settings.name;
    this.address = settings.address;
    this.delimits = delimits(settings.address);
    this.weight = settings.weight;
    this.state = settings.state ?? 'ready';
    this.number = settings.number;
    this.index = index;
  }

  /** Whether messages that name it may go there. */
  get isUsable(): boolean {
    return this.up && this.state !== 'maint';
  }

  /**
   * Takes one measured time to answer into `latencyMs`: it rises at once to a peak, and decays by time, not by answers, so
   * that a backend nobody asks any more becomes attractive again once it is tried.
   * @param nowMs the clock of the measurement
   */
  observeLatency(milliseconds: number, nowMs: number): void {
    if (nowMs === this.#latencyAtMs && milliseconds <= this.latencyMs) return; // one of many that arrived together
    const kept = Math.exp((this.#latencyAtMs - nowMs) / latencyDecayMs);
    this.#latencyAtMs = nowMs;
    this.latencyMs =
      milliseconds > this.latencyMs ? milliseconds : milliseconds + (this.latencyMs - milliseconds) * kept;
  }
}

export class Pool {
  readonly name: string;
  readonly settings: PoolSettings;
  readonly backends: readonly Backend[];
  readonly #byName = new Map<string, Backend>();
  readonly #byNumber = new Map<number, Backend>();

  /**
   * The backends that new work may go to: up, ready, of a weight above 0, and reading what they are sent (or all of those, if none
   * reads). A new array whenever that changes.
   */
  available: readonly Backend[] = [];

  constructor(settings: PoolSettings) {
    this.name = settings.name;
    this.settings = settings;
    this.backends = settings.backends.map((backend, index) => new Backend(this, backend, index));
    for (const backend of this.backends) {
      this.#byName.set(backend.name, backend);
      if (backend.number !== undefined) this.#byNumber.set(backend.number, backend);
    }
    this.#refresh();
  }

  byName(name: string): Backend | undefined {
    return this.#byName.get(name);
  }

  byNumber(number: number): Backend | undefined {
    return this.#byNumber.get(number);
  }

  /** Marks a backend up or down; answers whether that was news. */
  setUp(backend: Backend, up: boolean): boolean {
    if (backend.up === up) return false;
    backend.up = up;
    this.#refresh();
    return true;
  }

  setState(backend: Backend, state: BackendState): void {
    backend.state = state;
    this.#refresh();
  }

  setWeight(backend: Backend, weight: number): void {
    backend.weight = weight;
    this.#refresh();
  }

  /** Counts a shared link whose queue has become full, or has room again. */
  setFull(backend: Backend, full: boolean): void {
    backend.fullLinks += full ? 1 : -1;
    if (backend.fullLinks === (full ? 1 : 0)) this.#refresh();
  }

  #refresh(): void {
    const up = this.backends.filter((backend) => backend.up && backend.state === 'ready' && backend.weight > 0);
    const reading = up.filter((backend) => backend.fullLinks === 0);
    this.available = reading.length > 0 ? reading : up;
  }
}
