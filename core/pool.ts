/** Pools: named sets of backends with their health, weights and loads. Strategies choose among `available`. */
import type { Lines } from './health/check-lines.ts';
import type { OutlierRecord, Outliers } from './health/outliers.ts';
import { bucketOf, type TokenBucket } from './limits/rate.ts';
import { type Address, delimits, formatAddress } from './runtime/address.ts';
import type { BackendSettings, BackendState, LoadLimits, PoolSettings } from './settings.ts';

/** After so long without a peak, 1/e of it is left in `latencyMs`. */
const latencyDecayMs = 10_000;

const defaultDrainedSeconds = 60;

/** Times to answer are counted in so many classes: the first below 1/16 ms, then four of equal width for each doubling. */
const latencyBuckets = 88;

/** Where a class ends, in milliseconds. */
export const latencyBucketMs = (bucket: number): number => ((4 + (bucket % 4)) / 64) * 2 ** Math.floor(bucket / 4);

/** Without logarithms, as it runs for every answer. */
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
  /** Its share of new work relative to the others now; 0: none. It is `fullWeight`, or less while it starts slowly. */
  weight: number;
  /** Its share once it has started. Set with `pool.setWeight`. */
  fullWeight: number;
  /** How much of `fullWeight` is in `weight`. Set with `pool.setWeightShare`. @internal */
  weightShare = 1;
  /** Lower numbers get new work first; higher ones are backups. */
  priority: number;
  /** What the operator lets it do. Set with `pool.setState`. */
  state: BackendState;
  /** Its identifier in fixed-width binary fields, from 1; undefined if the config gives none. */
  readonly number: number | undefined;
  /** An index for arrays that a plugin keeps per backend: small, and never that of another backend of the pool, also after reloads. */
  readonly index: number;
  readonly pool: Pool;
  /** Whether the transport to it says where messages end. */
  readonly delimits: boolean;

  /** The config has it no more: it may still answer, and gets nothing. @internal */
  removed = false;
  /** False from a failed connect until the next successful one. Set with `pool.setUp`. */
  up = true;
  /** What the checks of its pool say; true as long as they say nothing. Set with `pool.setPassing`. */
  passing = true;
  /** It stands out for failures or slowness, and gets no new work for a while. Set with `pool.setEjected`. */
  ejected = false;
  /** How its checks went: how often, and what came of the last one. @internal */
  readonly checks: CheckCounts = { passed: 0, failed: 0, last: undefined };
  /** How often it has been ejected. @internal */
  ejections = 0;
  /** Connects that failed. */
  failedConnects = 0;
  /** Requests whose answer did not come: overdue, or lost with their link. @internal */
  unanswered = 0;
  /** What outlier detection remembers of it. @internal */
  outlier: OutlierRecord | undefined;
  /** Since when it drains, in milliseconds of the runtime's clock, and whether it has been said that it has drained. @internal */
  drain: { readonly sinceMs: number; isOver: boolean } | undefined;
  /** Requests outstanding there; where the protocol cannot correlate, sessions that have not settled. */
  inFlight = 0;
  /** Links open to it. */
  connections = 0;
  /** Dedicated links to it that are open, or are being opened. @internal */
  dedicatedLinks = 0;
  /** Undefined: none. @internal */
  limits: LoadLimits | undefined;
  /** @internal */
  bucket: TokenBucket | undefined;
  /** Shared links to it whose queue is full. @internal */
  fullLinks = 0;
  /** When it last got a message, in milliseconds of the runtime's clock; 0: never. Tells when one that drains may be stopped. */
  lastMessageAtMs = 0;
  /** Peak-sensitive moving average of the time to answer, in milliseconds; 0 until the first answer. */
  latencyMs = 0;
  #latencyAtMs = 0;
  /** How many answers took how long: see `latencyBucketMs`. In 32 bits they would begin anew after some days. @internal */
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

  /** For how many milliseconds more one that drains must get no message. @internal */
  quietDueMs(nowMs: number): number {
    const quietMs = (this.pool.settings.drainedSeconds ?? defaultDrainedSeconds) * 1000;
    return Math.max(0, Math.max(this.drain?.sinceMs ?? nowMs, this.lastMessageAtMs) + quietMs - nowMs);
  }

  /** It drains, nobody has sent it anything for a while, and nobody waits for its answer. */
  hasDrained(nowMs: number): boolean {
    return this.drain !== undefined && this.inFlight === 0 && this.quietDueMs(nowMs) === 0;
  }

  /** Whether messages that name it may go there. One that is ejected keeps the sessions it has. */
  get isUsable(): boolean {
    return this.up && !this.removed && this.state !== 'maint' && (this.passing || this.pool.isPanicking);
  }

  /** Whether nothing is known against giving it new work. */
  get isHealthy(): boolean {
    return this.up && this.passing && !this.ejected;
  }

  /**
   * Takes one measured time to answer into `latencyMs`: it rises at once to a peak, and decays by time, not by answers, so
   * that a backend nobody asks any more becomes attractive again once it is tried.
   * @param nowMs the clock of the measurement
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

/** Told what changes in a pool: what looks after its health (health.ts). */
export interface PoolWatcher {
  /** A backend may be given new work, and could not before. */
  onRecovery(backend: Backend): void;
  /** The operator has changed what a backend is let do. */
  onState(backend: Backend): void;
  /** The pool has begun to ignore the health of its backends, or does so no more. */
  onPanic(): void;
}

/** A change of a pool that has been prepared. */
export interface PoolPlan {
  /** Runs something that sees the backends there will be. */
  preview<Value>(callback: () => Value): Value;
  /** Makes the change. */
  commit(): void;
}

export class Pool {
  readonly name: string;
  settings: PoolSettings;
  backends: readonly Backend[];
  /** How many backends there have been. */
  #indexes = 0;
  readonly #byName = new Map<string, Backend>();
  readonly #byNumber = new Map<number, Backend>();

  /**
   * The backends that new work may go to: healthy, ready, of a weight above 0, of the priorities that are due, and reading what
   * they are sent (or all of those, if none reads). A new array whenever that changes, or a weight does.
   */
  available: readonly Backend[] = [];
  /** So few backends are healthy that checks and ejections are ignored. */
  isPanicking = false;
  /** @internal */
  watcher: PoolWatcher | undefined;
  /** @internal */
  bucket: TokenBucket | undefined;
  /** Where failures of its backends are told, if that is of interest to anybody. @internal */
  outliers: Outliers | undefined;
  /** The backends that would be available if all read what they are sent. */
  #due: readonly Backend[] = [];
  /** The links that checks can go over: those of each listener that shares its own. @internal */
  readonly linkLines = new Set<Lines>();
  /** Those of all its backends, removed ones among them. @internal */
  dedicatedLinks = 0;
  /** Bytes of requests that are kept so that they can be replayed. @internal */
  keptBytes = 0;
  /** The backends that were healthy and ready when that was last looked at. */
  #fit: ReadonlySet<Backend> = new Set();

  constructor(settings: PoolSettings) {
    this.name = settings.name;
    this.settings = settings;
    this.backends = settings.backends.map((backend) => new Backend(this, backend, this.#indexes++));
    this.#use(settings, this.backends);
    this.#limit();
    this.#refresh();
  }

  /** Takes over the limits of the settings. */
  #limit(): void {
    const { limits, backendLimits } = this.settings;
    this.bucket = bucketOf(limits?.messagesPerSecond, limits?.burstMessages);
    for (const [index, backend] of this.backends.entries()) {
      backend.limits = this.settings.backends[index]!.limits ?? backendLimits;
      backend.bucket = bucketOf(backend.limits?.messagesPerSecond, backend.limits?.burstMessages);
    }
  }

  /**
   * Prepares other settings. A backend whose name, address and number stay is the same one, with all that is known of it. What an
   * operator has changed stays too, unless the config has changed it as well.
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

  /** Of the backends that are available, and that will do, the one with the fewest requests for its weight. @internal */
  leastBusy(willDo: (backend: Backend) => boolean): Backend | undefined {
    let least: Backend | undefined;
    for (const each of this.available) {
      if (!willDo(each)) continue;
      if (least === undefined || each.inFlight * least.weight < least.inFlight * each.weight) least = each;
    }
    return least;
  }

  /** Marks a backend up or down; answers whether that was news. @internal */
  setUp(backend: Backend, up: boolean): boolean {
    if (backend.up === up) return false;
    backend.up = up;
    this.#refresh();
    return true;
  }

  /** Notes what checks say of a backend; answers whether that was news. @internal */
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

  /** Gives a backend another weight. @internal */
  setWeight(backend: Backend, weight: number): void {
    backend.fullWeight = weight;
    this.setWeightShare(backend, backend.weightShare);
  }

  /**
   * Lets a backend have a part of its weight.
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

  /** Those of the lowest priorities that make up enough. */
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
