/** Pools: named sets of backends with their health, weights and loads. Strategies choose among `available`. */
import type { Lines } from './health/check-lines.ts';
import type { OutlierRecord, Outliers } from './health/outliers.ts';
import { bucketOf, type TokenBucket } from './limits/rate.ts';
import { type Address, delimits, formatAddress } from './runtime/address.ts';
import type { BackendSettings, BackendState, LoadLimits, PoolSettings } from './settings.ts';

/** After this many milliseconds without a peak, 1/e of it is left in `latencyMs`. */
const latencyDecayMs = 10_000;

const defaultDrainedSeconds = 60;

/**
 * The number of classes that times to answer are counted in: the first below 1/16 ms, then four of equal width for each doubling.
 */
const latencyBuckets = 88;

/** The upper end of a class, in milliseconds. */
export const latencyBucketMs = (bucket: number): number => ((4 + (bucket % 4)) / 64) * 2 ** Math.floor(bucket / 4);

/** Computed without logarithms, as it runs for every answer. */
function latencyBucketOf(milliseconds: number): number {
  const sixteenths = milliseconds * 16;
  if (sixteenths < 1) return 0;
  if (sixteenths >= 1 << 22) return latencyBuckets - 1;
  const doublings = 31 - Math.clz32(sixteenths);
  return Math.min(latencyBuckets - 1, 1 + 4 * doublings + Math.trunc(4 * (sixteenths / (1 << doublings) - 1)));
}

export class Backend {
  /** Its identity on the wire; unique in its pool. */
  readonly name: string;
  readonly address: Address;
  /** Its share of new work relative to the others, now; 0: none. Equal to `fullWeight`, or less during slow start. */
  weight: number;
  /** Its share after slow start. Set with `pool.setWeight`. */
  fullWeight: number;
  /** The part of `fullWeight` that `weight` is. Set with `pool.setWeightShare`. @internal */
  weightShare = 1;
  /** Lower numbers get new work first; higher ones are backups. */
  priority: number;
  /** What the operator lets it do. Set with `pool.setState`. */
  state: BackendState;
  /** Its identifier in fixed-width binary fields, from 1; undefined if the config gives none. */
  readonly number: number | undefined;
  /**
   * An index for arrays that a plugin keeps by backend: small, and never reused for another backend of the pool, even after
   * reloads.
   */
  readonly index: number;
  readonly pool: Pool;
  /** Whether its transport tells where messages end. */
  readonly delimits: boolean;

  /** It is no longer in the config: it may still answer, and gets nothing more. @internal */
  removed = false;
  /** False from a failed connect until the next successful one. Set with `pool.setUp`. */
  up = true;
  /** What its checks say; true until they say anything. Set with `pool.setPassing`. */
  passing = true;
  /** It has been ejected for failures or slowness, and gets no new work for a while. Set with `pool.setEjected`. */
  ejected = false;
  /** How many checks passed and failed, and the result of the last one. @internal */
  readonly checks: CheckCounts = { passed: 0, failed: 0, last: undefined };
  /** How often it has been ejected. @internal */
  ejections = 0;
  /** Failed attempts to connect. */
  failedConnects = 0;
  /** Requests that were not answered: overdue, or lost with their link. @internal */
  unanswered = 0;
  /** The state that outlier detection keeps for it. @internal */
  outlier: OutlierRecord | undefined;
  /**
   * Since when it has been draining, in milliseconds of the runtime's clock, and whether it has been reported as drained. @internal
   */
  drain: { readonly sinceMs: number; isOver: boolean } | undefined;
  /** Outstanding requests; where the protocol cannot correlate, sessions that have not settled. */
  inFlight = 0;
  /** Open links to it. */
  connections = 0;
  /** Dedicated links to it, open or being opened. @internal */
  dedicatedLinks = 0;
  /** Undefined: none. @internal */
  limits: LoadLimits | undefined;
  /** @internal */
  bucket: TokenBucket | undefined;
  /** Number of shared links to it whose queue is full. @internal */
  fullLinks = 0;
  /** When it last got a message, in milliseconds of the runtime's clock; 0: never. Tells when a draining backend can be stopped. */
  lastMessageAtMs = 0;
  /** Moving average of the time to answer that follows peaks at once, in milliseconds; 0 until the first answer. */
  latencyMs = 0;
  #latencyAtMs = 0;
  /** How many answers fell into each class of `latencyBucketMs`. (32-bit counters would overflow after some days.) @internal */
  readonly latencyCounts = new Float64Array(latencyBuckets);

  constructor(pool: Pool, settings: BackendSettings, index: number) {
    this.pool = pool;
    this.name = settings.name;
    this.address = settings.address;
    this.delimits = delimits(settings.address);
    this.weight = settings.weight;
    this.fullWeight = settings.weight;
    this.priority = settings.priority ?? 0;
    this.state = settings.state ?? 'ready';
    this.number = settings.number;
    this.index = index;
  }

  /** How many more milliseconds a draining backend must get no message before it counts as drained. @internal */
  quietDueMs(nowMs: number): number {
    const quietMs = (this.pool.settings.drainedSeconds ?? defaultDrainedSeconds) * 1000;
    return Math.max(0, Math.max(this.drain?.sinceMs ?? nowMs, this.lastMessageAtMs) + quietMs - nowMs);
  }

  /** It is draining, has been sent nothing for a while, and owes no answer. */
  hasDrained(nowMs: number): boolean {
    return this.drain !== undefined && this.inFlight === 0 && this.quietDueMs(nowMs) === 0;
  }

  /** Whether messages that name it may go there. An ejected backend keeps its sessions. */
  get isUsable(): boolean {
    return this.up && !this.removed && this.state !== 'maint' && (this.passing || this.pool.isPanicking);
  }

  /** Whether it can be given new work, as far as is known. */
  get isHealthy(): boolean {
    return this.up && this.passing && !this.ejected;
  }

  /**
   * Includes one measured time to answer in `latencyMs`: it rises to a peak at once, and decays with time, not with answers, so
   * that a backend that is no longer asked becomes attractive again.
   * @param nowMs when it was measured
   * @internal
   */
  observeLatency(milliseconds: number, nowMs: number): void {
    this.latencyCounts[latencyBucketOf(milliseconds)]!++;
    if (nowMs === this.#latencyAtMs && milliseconds <= this.latencyMs) return; // one of many that arrived together
    const kept = Math.exp((this.#latencyAtMs - nowMs) / latencyDecayMs);
    this.#latencyAtMs = nowMs;
    this.latencyMs =
      milliseconds > this.latencyMs ? milliseconds : milliseconds + (this.latencyMs - milliseconds) * kept;
  }
}

interface CheckCounts {
  passed: number;
  failed: number;
  last: string | undefined;
}

/** Told of changes in a pool: whatever looks after its health (health.ts). */
export interface PoolWatcher {
  /** A backend can be given new work again. */
  onRecovery(backend: Backend): void;
  /** The operator has changed the state of a backend. */
  onState(backend: Backend): void;
  /** The pool has begun, or ceased, to ignore the health of its backends. */
  onPanic(): void;
}

/** A change of a pool that has been prepared. */
export interface PoolPlan {
  /** Calls a function while the pool shows the backends that there will be. */
  preview<Value>(callback: () => Value): Value;
  /** Makes the change. */
  commit(): void;
}

export class Pool {
  readonly name: string;
  settings: PoolSettings;
  backends: readonly Backend[];
  /** How many backends there have ever been. */
  #indexes = 0;
  readonly #byName = new Map<string, Backend>();
  readonly #byNumber = new Map<number, Backend>();

  /**
   * The backends that new work may go to: healthy, ready, with a weight above 0, of the priorities in use, and reading what they
   * are sent (or all of these, if none reads). A new array whenever this or a weight changes.
   */
  available: readonly Backend[] = [];
  /** Too few backends are healthy, so checks and ejections are ignored. */
  isPanicking = false;
  /** @internal */
  watcher: PoolWatcher | undefined;
  /** @internal */
  bucket: TokenBucket | undefined;
  /** Told of failures of its backends; undefined: nobody is interested. @internal */
  outliers: Outliers | undefined;
  /** The backends that would be available if all of them read what they are sent. */
  #due: readonly Backend[] = [];
  /** The links that checks can go over: the shared ones of each listener. @internal */
  readonly linkLines = new Set<Lines>();
  /** Dedicated links of all its backends, including removed ones. @internal */
  dedicatedLinks = 0;
  /** Bytes of requests kept for replay. @internal */
  keptBytes = 0;
  /** The backends that were healthy and ready when this was last determined. */
  #fit: ReadonlySet<Backend> = new Set();

  constructor(settings: PoolSettings) {
    this.name = settings.name;
    this.settings = settings;
    this.backends = settings.backends.map((backend) => new Backend(this, backend, this.#indexes++));
    this.#use(settings, this.backends);
    this.#limit();
    this.#refresh();
  }

  /** Applies the limits of the settings. */
  #limit(): void {
    const { limits, backendLimits } = this.settings;
    this.bucket = bucketOf(limits?.messagesPerSecond, limits?.burstMessages);
    for (const [index, backend] of this.backends.entries()) {
      backend.limits = this.settings.backends[index]!.limits ?? backendLimits;
      backend.bucket = bucketOf(backend.limits?.messagesPerSecond, backend.limits?.burstMessages);
    }
  }

  /**
   * Prepares other settings. A backend whose name, address and number stay the same goes on, with all that is known about it. What
   * an operator has changed stays as well, unless the config changes it too.
   * @internal
   */
  plan(settings: PoolSettings): PoolPlan {
    const before = { settings: this.settings, backends: this.backends };
    const backends = settings.backends.map((each) => {
      const same = this.#byName.get(each.name);
      const stays = same?.number === each.number && isSameAddress(same?.address, each.address);
      return stays && same !== undefined ? same : new Backend(this, each, this.#indexes++);
    });
    return {
      preview: (callback) => {
        this.#use(settings, backends);
        try {
          return callback();
        } finally {
          this.#use(before.settings, before.backends);
        }
      },
      commit: () => {
        this.#use(settings, backends);
        for (const backend of before.backends) backend.removed = !backends.includes(backend);
        for (const [index, backend] of backends.entries()) {
          const now = settings.backends[index]!;
          const was = before.settings.backends.find(({ name }) => name === now.name) ?? now;
          backend.priority = now.priority ?? 0;
          if (now.weight !== was.weight) this.setWeight(backend, now.weight);
          if (now.state !== was.state) this.setState(backend, now.state ?? 'ready');
        }
        this.#limit();
        this.#refresh();
      },
    };
  }

  #use(settings: PoolSettings, backends: readonly Backend[]): void {
    this.settings = settings;
    this.backends = backends;
    this.#byName.clear();
    this.#byNumber.clear();
    for (const backend of backends) {
      this.#byName.set(backend.name, backend);
      if (backend.number !== undefined) this.#byNumber.set(backend.number, backend);
    }
  }

  byName(name: string): Backend | undefined {
    return this.#byName.get(name);
  }

  byNumber(number: number): Backend | undefined {
    return this.#byNumber.get(number);
  }

  /** Of the available backends that `willDo`, the one with the fewest requests for its weight. @internal */
  leastBusy(willDo: (backend: Backend) => boolean): Backend | undefined {
    let least: Backend | undefined;
    for (const each of this.available) {
      if (!willDo(each)) continue;
      if (least === undefined || each.inFlight * least.weight < least.inFlight * each.weight) least = each;
    }
    return least;
  }

  /** Marks a backend up or down; returns whether that is a change. @internal */
  setUp(backend: Backend, up: boolean): boolean {
    if (backend.up === up) return false;
    backend.up = up;
    this.#refresh();
    return true;
  }

  /** Records what checks say of a backend; returns whether that is a change. @internal */
  setPassing(backend: Backend, passing: boolean): boolean {
    if (backend.passing === passing) return false;
    backend.passing = passing;
    this.#refresh();
    return true;
  }

  /** @internal */
  setEjected(backend: Backend, ejected: boolean): void {
    if (ejected && !backend.ejected) backend.ejections++;
    backend.ejected = ejected;
    this.#refresh();
  }

  /** @internal */
  setState(backend: Backend, state: BackendState): void {
    if (backend.state === state) return;
    backend.state = state;
    this.#refresh();
    this.watcher?.onState(backend);
  }

  /** Changes the weight of a backend. @internal */
  setWeight(backend: Backend, weight: number): void {
    backend.fullWeight = weight;
    this.setWeightShare(backend, backend.weightShare);
  }

  /**
   * Gives a backend a part of its full weight.
   * @param share above 0, up to 1
   * @internal
   */
  setWeightShare(backend: Backend, share: number): void {
    backend.weightShare = share;
    backend.weight = backend.fullWeight * share;
    this.#refresh();
  }

  /** Counts a shared link whose queue has become full, or has room again. @internal */
  setFull(backend: Backend, full: boolean): void {
    backend.fullLinks += full ? 1 : -1;
    if (backend.fullLinks === (full ? 1 : 0)) this.#offer();
  }

  #refresh(): void {
    const { panicPercent = 0 } = this.settings;
    const ready = this.backends.filter(({ state, weight }) => state === 'ready' && weight > 0);
    const fit = ready.filter(({ isHealthy }) => isHealthy);
    const isPanicking = fit.length * 100 < ready.length * panicPercent;
    // What cannot be reached stays out in any case: its messages would only come back.
    this.#due = this.#dueOf(isPanicking ? ready.filter(({ up }) => up) : fit);
    this.#offer();

    const before = this.#fit;
    this.#fit = new Set(fit);
    const wasPanicking = this.isPanicking;
    this.isPanicking = isPanicking;
    if (this.watcher === undefined) return;
    if (wasPanicking !== isPanicking) this.watcher.onPanic();
    for (const backend of fit) if (!before.has(backend)) this.watcher.onRecovery(backend);
  }

  #offer(): void {
    const reading = this.#due.filter(({ fullLinks }) => fullLinks === 0);
    this.available = reading.length > 0 ? reading : this.#due;
  }

  /** The backends of the lowest priority numbers that are enough. */
  #dueOf(backends: readonly Backend[]): readonly Backend[] {
    const { minimumUp = 1 } = this.settings;
    const priorities = [...new Set(backends.map(({ priority }) => priority))].sort((one, other) => one - other);
    for (const last of priorities.slice(0, -1)) {
      const due = backends.filter(({ priority }) => priority <= last);
      if (due.length >= minimumUp) return due;
    }
    return backends;
  }
}

function isSameAddress(one: Address | undefined, other: Address): boolean {
  return one !== undefined && formatAddress(one) === formatAddress(other);
}
