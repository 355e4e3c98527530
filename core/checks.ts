/**
 * Active checks. A plugin says how a backend is asked and what it must answer; here is when it is asked, how long the answer may
 * take, and how many answers it takes until a backend is believed to be well, or not.
 */
import { PluginError } from './errors.ts';
import type { Clock, Logger } from './plugin.ts';
import type { Backend, Pool } from './pool.ts';
import type { Address } from './runtime/address.ts';
import { writeProxyHeader } from './runtime/proxy-protocol.ts';
import type { Runtime, Socket, SocketHandler } from './runtime/runtime.ts';
import type { CheckTiming, CheckUse } from './settings.ts';

/** What a plugin's `check` gets besides its options. */
export interface CheckScope {
  readonly pool: Pool;
  readonly clock: Clock;
  /** A child logger that names the pool and the plugin. */
  readonly log: Logger;
}

/** How a backend is asked. Each attempt has a connection of its own, and ends when it passes or fails. */
export interface Check {
  /** Whether TLS is spoken: as messages do where this is undefined, else whatever the backend's address says. */
  readonly security?: 'plain' | 'tls' | undefined;
  /** The connection is open, TLS handshake included. */
  onOpen(attempt: Attempt): void;
  /**
   * Something has come.
   * @param received all that has come so far; of no use later
   */
  onBytes?(attempt: Attempt, received: Buffer): void;
}

/** One time that a backend is asked. */
export interface Attempt {
  readonly backend: Backend;
  send(bytes: Uint8Array): void;
  /** The backend is well. */
  pass(): void;
  /** It is not. */
  fail(why: string): void;
}

/** What a backend may answer to a check, in bytes. */
const mostAnswerBytes = 65_536;
/** How much of it is shown when it is not what was expected, in characters. */
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
   * @param tell is told of a backend whose `passing` has changed, and why it fails
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
      } catch (cause) {
        throw PluginError.threw(plugin.name, 'check', cause);
      }
      return pool.backends.map(
        (backend) => new Watch(plugin.name, guarded(plugin.name, check, scope.log), timing, backend, runtime),
      );
    });
  }

  start(): void {
    for (const watch of this.#watches) watch.start(() => this.#judge(watch));
  }

  stop(): void {
    for (const watch of this.#watches) watch.stop();
  }

  /** A backend passes when all of its checks do; until each has said something, it is as it was. */
  #judge({ backend, error }: Watch): void {
    const watches = this.#watches.filter((watch) => watch.backend === backend);
    if (watches.some(({ passing }) => passing === false)) {
      if (this.#pool.setPassing(backend, false)) this.#tell(backend, error);
    } else if (watches.every(({ passing }) => passing === true) && this.#pool.setPassing(backend, true)) {
      this.#tell(backend, undefined);
    }
  }
}

/** What the plugin throws is a failure of the check, and logged. */
function guarded(plugin: string, check: Check, log: Logger): Required<Omit<Check, 'security'>> & Check {
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
    security: check.security,
    onOpen: (attempt) => call('check.onOpen', attempt, () => check.onOpen(attempt)),
    onBytes: (attempt, received) => call('check.onBytes', attempt, () => check.onBytes?.(attempt, received)),
  };
}

/** One check of one backend. */
class Watch {
  readonly backend: Backend;
  /** Undefined: nothing is known yet. The first answer is believed at once. */
  passing: boolean | undefined;
  /** What was wrong the last time. */
  error: string | undefined;
  readonly #name: string;
  readonly #check: ReturnType<typeof guarded>;
  readonly #timing: CheckTiming;
  readonly #runtime: Runtime;
  /** Answers in a row that contradict `passing`. */
  #contradictions = 0;
  #cancelWait: (() => void) | undefined;
  #end: (() => void) | undefined;
  #onNews: () => void = () => {};

  constructor(
    name: string,
    check: ReturnType<typeof guarded>,
    timing: CheckTiming,
    backend: Backend,
    runtime: Runtime,
  ) {
    this.#name = name;
    this.#check = check;
    this.#timing = timing;
    this.backend = backend;
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
    this.#end?.();
  }

  #later(milliseconds: number): void {
    this.#cancelWait = this.#runtime.after(milliseconds, () => {
      const { intervalSeconds, jitterPercent } = this.#timing;
      this.#later(intervalSeconds * 1000 * (1 + (jitterPercent / 100) * (2 * this.#runtime.random() - 1)));
      // In maintenance it may well be stopped.
      if (this.backend.state !== 'maint' && this.#end === undefined) this.#ask();
    });
  }

  #ask(): void {
    const { timeoutSeconds } = this.#timing;
    const began = this.#runtime.now();
    let received: Buffer = Buffer.alloc(0);
    const end = (error: string | undefined) => {
      if (this.#end !== stop) return;
      stop();
      this.#note(error, this.#runtime.now() - began);
    };
    const failed = (why: string) => end(`${why}${inWords(received)}`);
    const attempt: Attempt = {
      backend: this.backend,
      send: (bytes) => void (socket.writable && socket.write(Buffer.from(bytes), [bytes.length])),
      pass: () => end(undefined),
      fail: failed,
    };
    const handler: SocketHandler = {
      onOpen: () => void (this.#end === stop && this.#check.onOpen(attempt)),
      onBytes: (bytes, start, stopAt) => {
        if (this.#end !== stop) return;
        received = Buffer.concat([received, bytes.subarray(start, stopAt)]);
        this.#check.onBytes(attempt, received);
        if (received.length > mostAnswerBytes) failed(`more than ${mostAnswerBytes} bytes, and not the answer`);
      },
      onEnd: () => failed('closed before it had answered'),
      onWritten: () => {},
      onClose: (error) => failed(error?.message ?? 'closed before it had answered'),
    };
    const cancelTimeout = this.#runtime.after(timeoutSeconds * 1000, () =>
      failed(`no answer within ${timeoutSeconds} s`),
    );
    const socket: Socket = this.#connect(handler);
    const stop = () => {
      this.#end = undefined;
      cancelTimeout();
      socket.destroy();
    };
    this.#end = stop;
  }

  #connect(handler: SocketHandler): Socket {
    const { address, pool } = this.backend;
    const { port } = this.#timing;
    const { proxyProtocol, tls } = pool.settings;
    // What listens on another port knows nothing of the PROXY protocol.
    const preface =
      port === undefined && proxyProtocol !== undefined ? writeProxyHeader(proxyProtocol, undefined) : undefined;
    return this.#runtime.connect(
      {
        address: { ...secured(address, this.#check.security), port: port ?? address.port },
        preface,
        tls,
        keepaliveSeconds: 0,
      },
      handler,
    );
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

function secured(address: Address, security: Check['security']): Address {
  if (security === undefined || address.transport === 'udp') return address;
  if (address.transport === 'unix') return address;
  return { ...address, transport: security === 'tls' ? 'tls' : 'tcp' };
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
