/**
 * Outlier detection: a backend whose answers fail, whose links break, or that is much slower than the others, is ejected: it gets
 * no new work for a while, longer each time. What names it still goes there. Nothing here runs for pools that do not ask for it.
 */
import type { Backend, Pool } from './pool.ts';
import type { Runtime } from './runtime/runtime.ts';
import type { OutlierSettings } from './settings.ts';

/** Links that break together are one failure. */
const togetherMs = 1000;
/** How often latencies are compared, over how many answers in that time at least, and among how many backends. */
const compareMs = 10_000;
const fewestAnswers = 10;
const fewestBackends = 3;
/** What is answered faster than that is not slow, however fast the others are. */
const fastMs = 1;

/** What is known of one backend. */
class Record {
  /** Failures in a row. */
  failures = 0;
  brokenAtMs = Number.NEGATIVE_INFINITY;
  /** Ejections in a row: without a long time between them. */
  ejections = 0;
  returnedAtMs = Number.NEGATIVE_INFINITY;
  /** Answers since latencies were last compared, and how long they took together. */
  answers = 0;
  answersMs = 0;
  /** Cancels the timer that ends its ejection. */
  cancelReturn: (() => void) | undefined;
}

export class Outliers {
  readonly #pool: Pool;
  readonly #settings: OutlierSettings;
  readonly #runtime: Runtime;
  readonly #tell: (backend: Backend, error: string | undefined) => void;
  /** By the backend's index. */
  readonly #records: readonly Record[];
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
    this.#records = pool.backends.map(() => new Record());
  }

  start(): void {
    if (this.#settings.latencyFactor !== undefined) this.#compareLater();
  }

  /** Ends all ejections. */
  stop(): void {
    this.#cancelCompare?.();
    for (const backend of this.#pool.backends) {
      this.#of(backend).cancelReturn?.();
      if (backend.ejected) this.#pool.setEjected(backend, false);
    }
  }

  /** The backend has answered, and well. */
  succeeded(backend: Backend): void {
    this.#of(backend).failures = 0;
  }

  /** Its answer says that it has failed, or has not come. */
  failed(backend: Backend, why: string): void {
    const { consecutiveFailures } = this.#settings;
    const record = this.#of(backend);
    record.failures++;
    if (consecutiveFailures === 0 || record.failures < consecutiveFailures) return;
    this.#eject(backend, `${record.failures} failures in a row, the last: ${why}`);
  }

  /** It could not be reached, or has broken a link. */
  broke(backend: Backend, why: string): void {
    const record = this.#of(backend);
    const now = this.#runtime.now();
    if (now - record.brokenAtMs < togetherMs) return;
    record.brokenAtMs = now;
    this.failed(backend, why);
  }

  /** How long it has taken to answer a request. */
  took(backend: Backend, milliseconds: number): void {
    const record = this.#of(backend);
    record.answers++;
    record.answersMs += milliseconds;
  }

  #of(backend: Backend): Record {
    return this.#records[backend.index]!;
  }

  #eject(backend: Backend, why: string): void {
    if (backend.ejected || !this.#mayEject(backend)) return;
    const { baseEjectionSeconds, maxEjectionSeconds } = this.#settings;
    const record = this.#of(backend);
    const goodMs = this.#runtime.now() - record.returnedAtMs;
    record.ejections = goodMs >= maxEjectionSeconds * 1000 ? 1 : record.ejections + 1;
    const seconds = Math.min(maxEjectionSeconds, baseEjectionSeconds * record.ejections);
    record.cancelReturn = this.#runtime.after(seconds * 1000, () => {
      record.failures = 0;
      record.returnedAtMs = this.#runtime.now();
      this.#pool.setEjected(backend, false);
      this.#tell(backend, undefined);
    });
    this.#pool.setEjected(backend, true);
    this.#tell(backend, `${why}; for ${seconds} s`);
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
      const { answers, answersMs } = this.#of(backend);
      return answers < fewestAnswers ? [] : [{ backend, meanMs: answersMs / answers }];
    });
    for (const record of this.#records) record.answers = record.answersMs = 0;
    if (means.length < fewestBackends) return;
    means.sort((one, other) => other.meanMs - one.meanMs); // the slowest first, as not all may be ejected
    const { meanMs: medianMs } = means[means.length >>> 1]!;
    for (const { backend, meanMs } of means) {
      if (meanMs <= Math.max(fastMs, factor * medianMs)) break;
      this.#eject(backend, `answers took ${rounded(meanMs)} ms on average, with the others ${rounded(medianMs)} ms`);
    }
  }
}

const rounded = (milliseconds: number) => Math.round(milliseconds * 10) / 10;
