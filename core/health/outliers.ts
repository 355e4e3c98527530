/**
 * Outlier detection: a backend whose answers fail, whose links break, or that is much slower than the others is ejected: it gets no
 * new work for a while, longer each time. Messages that name it still go there. None of this runs for pools that do not configure
 * it.
 */
import type { Backend, Pool } from '../pool.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { OutlierSettings } from '../settings.ts';

/** Links that break within this time count as one failure. */
const togetherMs = 1000;
/** How often latencies are compared, over at least how many answers, and among at least how many backends. */
const compareMs = 10_000;
const fewestAnswers = 10;
const fewestBackends = 3;
/** Answers faster than this are never slow, however fast those of the others are. */
const fastMs = 1;

/** The state of one backend, kept across reloads. Times are in milliseconds of the runtime's clock. */
export class OutlierRecord {
  /** Failures in a row. */
  failures = 0;
  brokenAtMs = Number.NEGATIVE_INFINITY;
  /** Ejections in a row, without a long time between them. */
  ejections = 0;
  /** When the last ejection ends or ended. */
  returnsAtMs = Number.NEGATIVE_INFINITY;
  /** The number of answers since latencies were last compared, and how long they took together. */
  answers = 0;
  answersMs = 0;
}

export class Outliers {
  readonly #pool: Pool;
  readonly #settings: OutlierSettings;
  readonly #runtime: Runtime;
  readonly #tell: (backend: Backend, error: string | undefined) => void;
  /** Ejected backends, each with a function that cancels the timer that ends its ejection. */
  readonly #ejected = new Map<Backend, () => void>();
  #cancelCompare: (() => void) | undefined;

  /** @param tell is called with a backend when it is ejected, and why, or when its ejection ends */
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

  /** Stops. Ejected backends stay ejected, for whoever starts next. */
  stop(): void {
    this.#cancelCompare?.();
    for (const cancel of this.#ejected.values()) cancel();
    this.#ejected.clear();
  }

  /** The backend has answered, without failing. */
  succeeded(backend: Backend): void {
    recordOf(backend).failures = 0;
  }

  /** Its answer shows a failure, or has not come. */
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

  /** Records how long an answer took. */
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

  /** Whether one more may be ejected: only a share of the pool may, though always one backend, and never the last healthy one. */
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

  /** Ejects backends that have been slower than the median by the configured factor. */
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
