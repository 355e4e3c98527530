/**
 * Outlier detection: a backend whose answers fail, whose links break, or that is much slower than the others, is ejected: it gets
 * no new work for a while, longer each time. What names it still goes there. Nothing here runs for pools that do not ask for it.
 */
import type { Backend, Pool } from '../pool.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { OutlierSettings } from '../settings.ts';

/** Links that break together are one failure. */
const togetherMs = 1000;
/** How often latencies are compared, over how many answers in that time at least, and among how many backends. */
const compareMs = 10_000;
const fewestAnswers = 10;
const fewestBackends = 3;
/** What is answered faster than that is not slow, however fast the others are. */
const fastMs = 1;

/** What is remembered of one backend, also across reloads. Times are in milliseconds of the runtime's clock. */
export class OutlierRecord {
  /** Failures in a row. */
  failures = 0;
  brokenAtMs = Number.NEGATIVE_INFINITY;
  /** Ejections in a row: without a long time between them. */
  ejections = 0;
  /** When the last one ends, or has ended. */
  returnsAtMs = Number.NEGATIVE_INFINITY;
  /** Answers since latencies were last compared, and how long they took together. */
  answers = 0;
  answersMs = 0;
}

export class Outliers {
  readonly #pool: Pool;
  readonly #settings: OutlierSettings;
  readonly #runtime: Runtime;
  readonly #tell: (backend: Backend, error: string | undefined) => void;
  /** Backends that are ejected, with how to cancel the timer that ends it. */
  readonly #ejected = new Map<Backend, () => void>();
  #cancelCompare: (() => void) | undefined;

  /** @param tell is told of a backend that has been ejected, and why, or is ejected no more */
  constructor(
    pool: Pool,
    settings: OutlierSettings,
    runtime: Runtime,
    tell: (backend: Backend, error: string | undefined) => void,
  ) {
    this.#pool = pool;
    this.#settings = settings;
    this.#runtime = runtime;
    this.#tell = tell;
  }

  start(): void {
    if (this.#settings.latencyFactor !== undefined) this.#compareLater();
    for (const backend of this.#pool.backends) if (backend.ejected) this.#returnLater(backend);
  }

  /** Who is ejected stays so, for whoever starts next. */
  stop(): void {
    this.#cancelCompare?.();
    for (const cancel of this.#ejected.values()) cancel();
    this.#ejected.clear();
  }

  /** The backend has answered, and well. */
  succeeded(backend: Backend): void {
    recordOf(backend).failures = 0;
  }

  /** Its answer says that it has failed, or has not come. */
  failed(backend: Backend, why: string): void {
    const { consecutiveFailures } = this.#settings;
    const record = recordOf(backend);
    record.failures++;
    if (consecutiveFailures === 0 || record.failures < consecutiveFailures) return;
    this.#eject(backend, `${record.failures} failures in a row, the last: ${why}`);
  }

  /** It could not be reached, or has broken a link. */
  broke(backend: Backend, why: string): void {
    const record = recordOf(backend);
    const now = this.#runtime.now();
    if (now - record.brokenAtMs < togetherMs) return;
    record.brokenAtMs = now;
    this.failed(backend, why);
  }

  /** How long it has taken to answer a request. */
  took(backend: Backend, milliseconds: number): void {
    const record = recordOf(backend);
    record.answers++;
    record.answersMs += milliseconds;
  }

  #eject(backend: Backend, why: string): void {
    if (backend.ejected || !this.#mayEject(backend)) return;
    const { baseEjectionSeconds, maxEjectionSeconds } = this.#settings;
    const record = recordOf(backend);
    const now = this.#runtime.now();
    const isLongAgo = now - record.returnsAtMs >= maxEjectionSeconds * 1000;
    record.ejections = isLongAgo ? 1 : record.ejections + 1;
    const seconds = Math.min(maxEjectionSeconds, baseEjectionSeconds * record.ejections);
    record.returnsAtMs = now + seconds * 1000;
    this.#returnLater(backend);
    this.#pool.setEjected(backend, true);
    this.#tell(backend, `${why}; for ${seconds} s`);
  }

  #returnLater(backend: Backend): void {
    const record = recordOf(backend);
    const cancel = this.#runtime.after(Math.max(0, record.returnsAtMs - this.#runtime.now()), () => {
      this.#ejected.delete(backend);
      record.failures = 0;
      this.#pool.setEjected(backend, false);
      this.#tell(backend, undefined);
    });
    this.#ejected.set(backend, cancel);
  }

  /** Only a share of the pool may be ejected, though one backend always, and never the last one that is healthy. */
  #mayEject(backend: Backend): boolean {
    const { backends } = this.#pool;
    const ejected = backends.filter((each) => each.ejected).length;
    const most = Math.max(1, Math.floor((backends.length * this.#settings.maxEjectedPercent) / 100));
    const isOther = (other: Backend) => other !== backend && other.isHealthy && other.state === 'ready';
    return ejected < most && backends.some(isOther);
  }

  #compareLater(): void {
    this.#cancelCompare = this.#runtime.after(compareMs, () => {
      this.#compareLater();
      this.#compare(this.#settings.latencyFactor!);
    });
  }

  /** Ejects who has been slower than the median of the backends by that factor. */
  #compare(factor: number): void {
    const means = this.#pool.backends.flatMap((backend) => {
      const record = recordOf(backend);
      const { answers, answersMs } = record;
      record.answers = record.answersMs = 0;
      return answers < fewestAnswers ? [] : [{ backend, meanMs: answersMs / answers }];
    });
    if (means.length < fewestBackends) return;
    means.sort((one, other) => other.meanMs - one.meanMs); // the slowest first, as not all may be ejected
    const { meanMs: medianMs } = means[means.length >>> 1]!;
    for (const { backend, meanMs } of means) {
      if (meanMs <= Math.max(fastMs, factor * medianMs)) break;
      this.#eject(backend, `answers took ${rounded(meanMs)} ms on average, with the others ${rounded(medianMs)} ms`);
    }
  }
}

function recordOf(backend: Backend): OutlierRecord {
  backend.outlier ??= new OutlierRecord();
  return backend.outlier;
}

const rounded = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
