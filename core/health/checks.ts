/**
 * Active checks. A plugin says how a backend is asked and what it must answer; the core decides when it is asked, how long it may
 * take to answer, and how many answers it takes until a backend counts as healthy or not.
 */

import { checkNoPromise, PluginError } from '../errors.ts';
import type { Clock, Logger } from '../plugin.ts';
import type { Backend, Pool } from '../pool.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { CheckTiming, CheckUse } from '../settings.ts';
import { type Asker, type Line, type Lines, OwnConnections } from './check-lines.ts';

/** What a plugin's `check` gets besides its options. */
export interface CheckScope {
  readonly pool: Pool;
  readonly clock: Clock;
  /** A child logger that names the pool and the plugin. */
  readonly log: Logger;
}

/** How to ask a backend. Each attempt has a connection of its own, or goes over a link, and ends when it passes or fails. */
export interface Check {
  /** Whether to speak TLS, whatever the backend's address says; undefined: as for messages. */
  readonly security?: 'plain' | 'tls' | undefined;
  /** Called when the connection is open and any TLS handshake is over. */
  onOpen(attempt: Attempt): void;
  /**
   * Called when bytes have come.
   * @param received everything that has come so far; valid only during the call
   */
  onBytes?(attempt: Attempt, received: Buffer): void;
}

/** One attempt to ask a backend. */
export interface Attempt {
  readonly backend: Backend;
  send(bytes: Uint8Array): void;
  /** The backend is healthy. */
  pass(): void;
  /** The backend is not healthy. */
  fail(why: string): void;
}

/** The most that a backend may answer to a check, in bytes. */
const mostAnswerBytes = 65_536;
/** How much of an unexpected answer is shown, in characters. */
const mostShown = 60;

interface Services {
  readonly runtime: Runtime;
  readonly log: Logger & { child?(fields: object): Logger };
}

/** The checks of one pool. */
export class Checks {
  readonly #pool: Pool;
  readonly #watches: readonly Watch[];
  readonly #tell: (backend: Backend, error: string | undefined) => void;

  /**
   * @param tell is called with each backend whose `passing` has changed, and why it fails
   * @throws PluginError if a plugin's `check` throws
   */
  constructor(
    pool: Pool,
    uses: readonly CheckUse[],
    { runtime, log }: Services,
    tell: (backend: Backend, error: string | undefined) => void,
  ) {
    this.#pool = pool;
    this.#tell = tell;
    this.#watches = uses.flatMap(({ plugin, options, timing }) => {
      const scope: CheckScope = {
        pool,
        clock: runtime,
        log: log.child?.({ pool: pool.name, plugin: plugin.name }) ?? log,
      };
      let check: Check;
      try {
        if (plugin.check === undefined) throw new Error('it is no check');
        check = plugin.check(options as never, scope);
        checkNoPromise(plugin.name, 'check', check);
        if (typeof check?.onOpen !== 'function') throw new Error('it answered no check: { onOpen(attempt) { … } }');
        if (timing.over === 'link' && check.onBytes === undefined) {
          throw new Error('over: it asks for no answer, so that there is nothing to send over a link');
        }
      } catch (cause) {
        throw PluginError.threw(plugin.name, 'check', cause);
      }
      const lines =
        timing.over === 'link' ? pool.linkLines : [new OwnConnections(runtime, check.security, timing.port)];
      return pool.backends.map(
        (backend) => new Watch(plugin.name, guarded(plugin.name, check, scope.log), timing, backend, lines, runtime),
      );
    });
  }

  start(): void {
    for (const watch of this.#watches) watch.start(() => this.#judge(watch));
  }

  stop(): void {
    for (const watch of this.#watches) watch.stop();
  }

  /** A backend passes when all of its checks pass; until each has a result, its status does not change. */
  #judge({ backend, error }: Watch): void {
    const watches = this.#watches.filter((watch) => watch.backend === backend);
    if (watches.some(({ passing }) => passing === false)) {
      if (this.#pool.setPassing(backend, false)) this.#tell(backend, error);
    } else if (watches.every(({ passing }) => passing === true) && this.#pool.setPassing(backend, true)) {
      this.#tell(backend, undefined);
    }
  }
}

type Guarded = Required<Pick<Check, 'onOpen' | 'onBytes'>>;

/** If the plugin throws, the check has failed, and the error is logged. */
function guarded(plugin: string, check: Check, log: Logger): Guarded {
  const call = (what: string, attempt: Attempt, callback: () => void) => {
    try {
      callback();
    } catch (cause) {
      const error = PluginError.threw(plugin, what, cause);
      log.error({ err: error }, error.message);
      attempt.fail(error.message);
    }
  };
  return {
    onOpen: (attempt) => call('check.onOpen', attempt, () => check.onOpen(attempt)),
    onBytes: (attempt, received) => call('check.onBytes', attempt, () => check.onBytes?.(attempt, received)),
  };
}

/** One check of one backend. */
class Watch {
  readonly backend: Backend;
  /** Undefined: nothing is known yet. The first result is believed at once. */
  passing: boolean | undefined;
  /** The reason of the last failure. */
  error: string | undefined;
  readonly #name: string;
  readonly #check: Guarded;
  readonly #timing: CheckTiming;
  readonly #lines: Iterable<Lines>;
  readonly #runtime: Runtime;
  /** Results in a row that contradict `passing`. */
  #contradictions = 0;
  #cancelWait: (() => void) | undefined;
  /** The current attempts, one on each line. */
  readonly #trials = new Set<Trial>();
  #onNews: () => void = () => {};

  /** @param lines a backend is healthy if it is on all of them */
  constructor(
    name: string,
    check: Guarded,
    timing: CheckTiming,
    backend: Backend,
    lines: Iterable<Lines>,
    runtime: Runtime,
  ) {
    this.#name = name;
    this.#check = check;
    this.#timing = timing;
    this.backend = backend;
    this.#lines = lines;
    this.#runtime = runtime;
  }

  /** @param onNews is called when `passing` has changed */
  start(onNews: () => void): void {
    this.#onNews = onNews;
    // The first attempts are spread as the later ones are.
    const spreadMs = (this.#timing.intervalSeconds * 1000 * this.#timing.jitterPercent) / 100;
    this.#later(this.#runtime.random() * spreadMs);
  }

  stop(): void {
    this.#cancelWait?.();
    this.#endTrials();
  }

  #endTrials(): void {
    for (const trial of this.#trials) trial.stop();
    this.#trials.clear();
  }

  #later(milliseconds: number): void {
    this.#cancelWait = this.#runtime.after(milliseconds, () => {
      const { intervalSeconds, jitterPercent } = this.#timing;
      this.#later(intervalSeconds * 1000 * (1 + (jitterPercent / 100) * (2 * this.#runtime.random() - 1)));
      // In maintenance it may well be stopped.
      if (this.backend.state !== 'maint' && this.#trials.size === 0) this.#ask();
    });
  }

  #ask(): void {
    const began = this.#runtime.now();
    let isPassed = false;
    const onEnd = (trial: Trial, verdict: Verdict) => {
      this.#trials.delete(trial);
      if (typeof verdict === 'object') this.#endTrials();
      isPassed ||= verdict === 'passed';
      if (this.#trials.size > 0) return;
      const tookMs = this.#runtime.now() - began;
      if (typeof verdict === 'object') this.#note(verdict.error, tookMs);
      else if (isPassed) this.#note(undefined, tookMs);
    };
    for (const lines of this.#lines) {
      this.#trials.add(new Trial(this.#check, lines, this.backend, this.#timing.timeoutSeconds, this.#runtime, onEnd));
    }
  }

  #note(error: string | undefined, tookMs: number): void {
    const { checks } = this.backend;
    const { rise, fall } = this.#timing;
    const passed = error === undefined;
    if (passed) checks.passed++;
    else checks.failed++;
    checks.last = `${this.#name}: ${error ?? `passed in ${Math.round(tookMs * 10) / 10} ms`}`;
    if (!passed) this.error = checks.last;
    if (passed === this.passing) {
      this.#contradictions = 0;
      return;
    }
    this.#contradictions++;
    if (this.passing !== undefined && this.#contradictions < (passed ? rise : fall)) return;
    this.passing = passed;
    this.#contradictions = 0;
    this.#onNews();
  }
}

/** The result of asking on one line; `unasked`: the backend could not be asked, through no fault of its own. */
type Verdict = 'passed' | 'unasked' | { readonly error: string };

/** One attempt to ask a backend on one line. */
class Trial implements Attempt, Asker {
  readonly backend: Backend;
  readonly #check: Guarded;
  readonly #lines: Lines;
  readonly #line: Line;
  readonly #onEnd: (trial: Trial, verdict: Verdict) => void;
  readonly #cancelTimeout: () => void;
  #received: Buffer = Buffer.alloc(0);
  #isOver = false;

  /** @param onEnd is called with the result, once, unless the attempt is stopped; never before this has returned */
  constructor(
    check: Guarded,
    lines: Lines,
    backend: Backend,
    timeoutSeconds: number,
    runtime: Runtime,
    onEnd: (trial: Trial, verdict: Verdict) => void,
  ) {
    this.#check = check;
    this.#lines = lines;
    this.backend = backend;
    this.#onEnd = onEnd;
    this.#cancelTimeout = runtime.after(timeoutSeconds * 1000, () => this.fail(`no answer within ${timeoutSeconds} s`));
    this.#line = lines.open(backend, this);
  }

  send(bytes: Uint8Array): void {
    if (!this.#isOver) this.#line.send(bytes);
  }

  pass(): void {
    this.#end('passed');
  }

  fail(why: string): void {
    const { via } = this.#lines;
    this.#end({ error: `${via === undefined ? '' : `${via}: `}${why}${inWords(this.#received)}` });
  }

  onOpen(): void {
    this.#check.onOpen(this);
  }

  onBytes(bytes: Buffer, start: number, end: number): void {
    this.#received = Buffer.concat([this.#received, bytes.subarray(start, end)]);
    this.#check.onBytes(this, this.#received);
    if (this.#received.length > mostAnswerBytes) this.fail(`more than ${mostAnswerBytes} bytes, and not the answer`);
  }

  onFailed(why: string): void {
    this.fail(why);
  }

  onUnasked(): void {
    this.#end('unasked');
  }

  #end(verdict: Verdict): void {
    if (this.#isOver) return;
    this.stop();
    this.#onEnd(this, verdict);
  }

  stop(): void {
    this.#isOver = true;
    this.#cancelTimeout();
    this.#line.close();
  }
}

/** The beginning of an answer, if there is one. */
function inWords(received: Buffer): string {
  if (received.length === 0) return '';
  const line = received
    .toString('latin1')
    .split(/[\r\n]/, 1)[0]!
    .replaceAll(/[^ -~]/g, '·');
  return `, but ${JSON.stringify(line.length > mostShown ? `${line.slice(0, mostShown - 1)}…` : line)}`;
}
