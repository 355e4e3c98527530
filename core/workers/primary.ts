/**
 * The primary: starts the workers, replaces those that end, gathers what they count and what they find out about backends,
 * hands them other settings, and stops them. It handles no message; clients' connections reach the workers through node:cluster (fork.ts).
 */
import { isDeepStrictEqual } from 'node:util';
import { type BalancerStats, type ReloadStats, unknownBackend } from '../balancer.ts';
import type { LogLevel } from '../cli/output.ts';
import { instanceName } from '../clients.ts';
import type { PluginOrigin } from '../config/load.ts';
import { PointsmanError } from '../errors.ts';
import { Faults } from '../faults.ts';
import { type BackendNews, logBackendNews } from '../links.ts';
import type { ConnectionFacts, ConnectionPage, ConnectionQuery } from '../observers/connections.ts';
import {
  type BackendChange,
  type BackendFacts,
  type CertificateFacts,
  certificatesOf,
  type Observable,
} from '../observers/observers.ts';
import type { Clock, Logger } from '../plugin.ts';
import { changesOf } from '../reload.ts';
import { type Address, formatAddress } from '../runtime/address.ts';
import type { Settings } from '../settings.ts';
import { BackendStates } from './backend-states.ts';
import { type FromWorker, type NamedChange, packSettings, type Question, type ToWorker } from './messages.ts';
import type { Handover } from './siblings.ts';
import { remainsOf, totalOf } from './totals.ts';

/**
 * How long to wait before a worker that has ended is replaced, at first and at most; each wait is twice as long as the one before.
 */
const firstBackoffMs = 200;
const lastBackoffMs = 10_000;
/** A worker that has run this long was a good one: the next wait is the first again. */
const steadyMs = 10_000;
/** If this many in a row end before they have started, and no worker is left, no more are started. */
const mostFailedStarts = 5;
/** How much longer than the deadline workers may take to stop. */
const graceMs = 5000;
/** How long a worker may take to answer a question; one that is stuck must not hold up whoever asks. */
const answerMs = 5000;
/** How often to check whether files can be opened. */
const filesLookMs = 1000;
/** So many bytes of messages may wait for a worker that does not keep up; what comes on top is lost, as with a worker that ends. */
const mostHandoverBytes = 16_777_216;
/** How long a worker may take for a reload, in which plugins may start whatever they need. */
const reloadSeconds = 60;

/** A process that runs a worker. */
export interface WorkerProcess {
  readonly pid: number | undefined;
  /** @param then called when it has left, unless the worker ends before */
  send(message: ToWorker, then?: () => void): void;
  /** Ends it at once. */
  kill(): void;
}

export interface WorkerEvents {
  onMessage(message: FromWorker): void;
  /** Called once, when it has ended; nothing comes after that. */
  onExit(reason: string): void;
}

export interface PrimaryOptions {
  readonly workers: number;
  /** Where the third-party plugins of the settings come from. */
  readonly origins: readonly PluginOrigin[];
  readonly logLevel: LogLevel;
  readonly log: Logger & { child(fields: object): Logger };
  readonly clock: Clock;
  /** Counts what goes wrong in this process. Undefined: nobody does. */
  readonly faults?: Faults | undefined;
  /** Makes way for listening on an address, before any worker does. */
  vacate(address: Address): Promise<void>;
  /**
   * Whether hardly any file can be opened any more. Connections are accepted outside our view (fork.ts), and so is the failure to
   * accept one.
   */
  areFilesFew(): boolean;
  /** Starts a process; it says `ready` when it runs. */
  fork(events: WorkerEvents): WorkerProcess;
}

/** The successive workers of one number. */
interface Post {
  readonly number: number;
  process: WorkerProcess | undefined;
  /** The instance in the tokens of its worker's clients, in hexadecimal digits. */
  instance: string;
  state: 'starting' | 'started' | 'stopped' | 'ended';
  /** When the last worker was started, in milliseconds of the clock. */
  startedAtMs: number;
  /** How many have ended early since the last good one. */
  failures: number;
  stats: BalancerStats | undefined;
  /** The settings that it has been given. */
  settings: Settings | undefined;
  /** Called, in this order, with the results of its reloads, or when it ends. */
  readonly reloads: ((fault: PointsmanError | undefined) => void)[];
  /** Bytes of messages that have not left for it. */
  handoverBytes: number;
  /** Messages have been lost since the last time that all had left. */
  losesHandovers: boolean;
  /** Why it could not start, if it said so. */
  fault: string | undefined;
  /** Cancels the wait for the next worker. */
  cancelWait: (() => void) | undefined;
}

/** The beginning of the ids of that worker's connections. */
const nameOf = (instance: string) => instanceName(Buffer.from(instance, 'hex'));

const backendIn = ({ pools }: Settings, pool: string, backend: string) =>
  pools.find(({ name }) => name === pool)?.backends.find(({ name }) => name === backend);

export class Primary implements Observable {
  /** Rejects with a PointsmanError when there are no workers left, and new ones do not start. */
  readonly failed: Promise<never>;
  /** Workers that ended without being told to. */
  ended = 0;

  /** Set by whoever runs the observers; until then they hear nothing. */
  onReport: Observable['onReport'] = () => {};
  readonly faults: Faults;

  readonly #options: PrimaryOptions;
  #settings: Settings;
  #origins: readonly PluginOrigin[];
  #reloads: ReloadStats = { succeeded: 0, failed: 0, lastAt: undefined, lastMilliseconds: undefined };
  readonly #processSecret: Buffer;
  readonly #posts: readonly Post[];
  readonly #backends: BackendStates;
  /** What workers that have ended had counted. */
  #remains: BalancerStats = { listeners: {} };
  /** What a new worker has to be told: the last change of each backend, and the last order of each observer. */
  readonly #changes = new Map<string, NamedChange>();
  readonly #orders = new Map<number, unknown>();
  /** Undefined: as it was when it started. */
  #logLevel: LogLevel | undefined;
  /** Who waits for workers' answers, by the question's id. */
  readonly #waiting = new Map<number, (answer: ConnectionPage | boolean | undefined) => void>();
  #lastQuestion = 0;
  #failedStarts = 0;
  #stopping = false;
  #cancelFilesLook: () => void = () => {};
  #onStarted: (() => void) | undefined;
  #onStartFailed: ((error: PointsmanError) => void) | undefined;
  #onAllEnded: (() => void) | undefined;
  #fail!: (error: PointsmanError) => void;

  constructor(settings: Settings, options: PrimaryOptions) {
    this.#settings = settings;
    this.#options = options;
    this.faults = options.faults ?? new Faults();
    this.#origins = options.origins;
    this.#processSecret = options.clock.randomBytes(32);
    this.#backends = new BackendStates(options.clock.now);
    this.#posts = Array.from({ length: options.workers }, (_, index) => ({
      number: index + 1,
      process: undefined,
      instance: '',
      state: 'ended',
      startedAtMs: 0,
      failures: 0,
      stats: undefined,
      settings: undefined,
      reloads: [],
      handoverBytes: 0,
      losesHandovers: false,
      fault: undefined,
      cancelWait: undefined,
    }));
    this.failed = new Promise((_, reject) => {
      this.#fail = reject;
    });
    this.failed.catch(() => {}); // nobody need wait for it
  }

  /**
   * Starts all workers, or none.
   * @throws PointsmanError (rejects with) if a worker cannot start, with the reason of the first
   */
  async start(): Promise<void> {
    for (const { listen } of this.#settings.listeners) await this.#options.vacate(listen);
    try {
      await new Promise<void>((resolve, reject) => {
        this.#onStarted = resolve;
        this.#onStartFailed = reject;
        for (const post of this.#posts) this.#fork(post);
      });
      this.#lookAtFiles(false);
    } catch (error) {
      this.#stopping = true;
      for (const { process } of this.#posts) process?.kill();
      await this.#untilAllEnded();
      throw error;
    } finally {
      this.#onStarted = undefined;
      this.#onStartFailed = undefined;
    }
  }

  /**
   * Logs when files run out: while workers take no connections, those that are waiting here use them up, and the system closes
   * further ones.
   */
  #lookAtFiles(wereFew: boolean): void {
    const { areFilesFew, clock, log } = this.#options;
    this.#cancelFilesLook = clock.after(filesLookMs, () => {
      const areFew = areFilesFew();
      if (areFew && !wereFew) {
        log.error({}, 'hardly any file can be opened any more: connections that no worker takes are closed');
      } else if (wereFew && !areFew) log.info({}, 'files can be opened again');
      this.#lookAtFiles(areFew);
    });
  }

  /** All workers stop accepting, let outstanding answers through until the deadline, and end. */
  async stop({ deadlineSeconds }: { deadlineSeconds: number }): Promise<void> {
    this.#stopping = true;
    this.#cancelFilesLook();
    for (const post of this.#posts) {
      post.cancelWait?.();
      if (post.state === 'started') post.process?.send({ type: 'stop', deadlineSeconds });
      else post.process?.kill();
    }
    const cancelKill = this.#options.clock.after(deadlineSeconds * 1000 + graceMs, () => {
      for (const { process } of this.#posts) process?.kill();
    });
    await this.#untilAllEnded();
    cancelKill();
  }

  /**
   * Hands other settings to all workers: one goes first, and if it cannot have them none gets them. Should another fail after that
   * one, which has shown that they are in order, it is ended, and the one that takes its place begins with them. One that does not
   * answer is ended, too.
   * @throws PointsmanError (rejects with) if the first cannot
   */
  async reload(settings: Settings, origins: readonly PluginOrigin[]): Promise<void> {
    const { clock, log, vacate } = this.#options;
    const before = this.#settings;
    const since = clock.now();
    const message = { type: 'reload', settings: packSettings(settings), origins } as const;
    const first = this.#posts.find(({ state }) => state === 'started');
    try {
      if (first === undefined) throw new PointsmanError('POINTSMAN_WORKER', 'no worker has started');
      const known = before.listeners.map(({ listen }) => listen);
      for (const { listen } of settings.listeners) {
        if (!known.some((each) => isDeepStrictEqual(each, listen))) await vacate(listen);
      }
      await this.#reloadOne(first, message, settings);
    } catch (error) {
      this.#reloads = { ...this.#reloads, failed: this.#reloads.failed + 1 };
      throw error;
    }
    this.#settings = settings;
    this.#origins = origins;
    this.#forgetChanges(before, settings);
    this.#backends.drop((pool, name) => {
      const [was, now] = [backendIn(before, pool, name), backendIn(settings, pool, name)];
      return was?.number !== now?.number || !isDeepStrictEqual(was?.address, now?.address);
    });
    const others = this.#posts.filter((post) => post.state === 'started' && post !== first);
    await Promise.all(others.map((post) => this.#reloadOrEnd(post)));
    const milliseconds = Math.round(clock.now() - since);
    const { succeeded } = this.#reloads;
    this.#reloads = { ...this.#reloads, succeeded: succeeded + 1, lastAt: Date.now(), lastMilliseconds: milliseconds };
    log.info({ milliseconds, workers: this.#posts.length, ...changesOf(before, settings) }, 'reloaded');
  }

  #reloadOne(post: Post, message: ToWorker, settings: Settings): Promise<void> {
    const { number, reloads } = post;
    return new Promise((resolve, reject) => {
      const settle = (fault: PointsmanError | undefined) => {
        cancel();
        if (fault === undefined) post.settings = settings;
        if (fault === undefined) resolve();
        else reject(fault);
      };
      const cancel = this.#options.clock.after(reloadSeconds * 1000, () => {
        const text = `worker ${number} has not answered within ${reloadSeconds} s`;
        settle(new PointsmanError('POINTSMAN_WORKER', text));
        post.process?.kill();
      });
      reloads.push(settle);
      post.process?.send(message);
    });
  }

  async #reloadOrEnd(post: Post): Promise<void> {
    const settings = this.#settings;
    const message = { type: 'reload', settings: packSettings(settings), origins: this.#origins } as const;
    await this.#reloadOne(post, message, settings).catch((error: Error) => {
      if (this.#stopping) return;
      this.#options.log.error({ worker: post.number, error: error.message }, 'worker cannot reload: it is replaced');
      post.process?.kill();
    });
  }

  /** An operator's change holds until the config changes it too. */
  #forgetChanges(before: Settings, after: Settings): void {
    for (const [key, { pool, backend }] of this.#changes) {
      const isChanged = !isDeepStrictEqual(backendIn(before, pool, backend), backendIn(after, pool, backend));
      if (isChanged) this.#changes.delete(key);
    }
  }

  /** The sums over all workers' last reports, which come about once a second and at the end. */
  stats(): BalancerStats {
    const own: BalancerStats = { listeners: {}, faults: this.faults.stats() };
    const total = totalOf([this.#remains, own, ...this.#posts.flatMap(({ stats }) => stats ?? [])]);
    return { ...total, reloads: this.#reloads };
  }

  order(observer: number, value: unknown): void {
    this.#orders.set(observer, value);
    this.#tellAll({ type: 'order', observer, value });
  }

  setBackend(pool: string, backend: string, change: BackendChange): void {
    const { pools } = this.#settings;
    const isThere = pools.find(({ name }) => name === pool)?.backends.some(({ name }) => name === backend);
    if (!isThere) throw unknownBackend(pool, backend);
    const key = `${pool} ${backend}`;
    const given = Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined));
    this.#changes.set(key, { pool, backend, change: { ...this.#changes.get(key)?.change, ...given } });
    this.#tellAll({ type: 'change', pool, backend, change });
  }

  backends(): BackendFacts[] {
    return this.#settings.pools.flatMap(({ name: pool, backends }) =>
      backends.map(({ name, address, number, weight, priority = 0, state = 'ready' }) => {
        const { change } = this.#changes.get(`${pool} ${name}`) ?? {};
        const now = { weight: change?.weight ?? weight, state: change?.state ?? state };
        return { pool, name, address: formatAddress(address), number, priority, ...now };
      }),
    );
  }

  certificates(): CertificateFacts[] {
    return certificatesOf(this.#settings);
  }

  /** Worker by worker: where a page begins is told by the number of the worker, and the place there. */
  async connections(query: ConnectionQuery): Promise<ConnectionPage> {
    const [, number = '1', place] = /^(\d+)\.(\d+)$/.exec(query.from ?? '') ?? [];
    const connections: ConnectionFacts[] = [];
    let from = place;
    for (const post of this.#posts.slice(Number(number) - 1)) {
      const limit = query.limit - connections.length;
      if (limit === 0) return { connections, next: `${post.number}.0` };
      const answer = await this.#ask(post, { connections: { ...query, limit, from } });
      from = undefined;
      if (typeof answer !== 'object') continue;
      connections.push(...answer.connections);
      if (answer.next !== undefined) return { connections, next: `${post.number}.${answer.next}` };
    }
    return { connections };
  }

  async closeConnection(id: string): Promise<boolean> {
    const post = this.#posts.find(({ instance }) => instance !== '' && id.startsWith(nameOf(instance)));
    return post !== undefined && (await this.#ask(post, { close: id })) === true;
  }

  setLogLevel(level: LogLevel): void {
    this.#logLevel = level;
    this.#tellAll({ type: 'log-level', level });
  }

  /** Undefined if the worker has not started, ends meanwhile, or takes too long. */
  async #ask(post: Post, question: Question): Promise<ConnectionPage | boolean | undefined> {
    const { process, state } = post;
    if (process === undefined || state !== 'started') return undefined;
    const id = ++this.#lastQuestion;
    return new Promise((resolve) => {
      const cancel = this.#options.clock.after(answerMs, () => this.#waiting.get(id)?.(undefined));
      this.#waiting.set(id, (answer) => {
        cancel();
        this.#waiting.delete(id);
        resolve(answer);
      });
      process.send({ type: 'ask', id, ...question });
    });
  }

  #tellAll(message: ToWorker): void {
    for (const { process } of this.#posts) process?.send(message);
  }

  #fork(post: Post): void {
    const { clock, fork } = this.#options;
    post.state = 'starting';
    post.startedAtMs = clock.now();
    post.stats = undefined;
    post.handoverBytes = 0;
    post.losesHandovers = false;
    post.fault = undefined;
    post.process = fork({
      onMessage: (message) => this.#hear(post, message),
      onExit: (reason) => this.#ended(post, post.fault ?? reason),
    });
  }

  #hear(post: Post, message: FromWorker): void {
    const { log } = this.#options;
    switch (message.type) {
      case 'ready':
        post.process?.send({ type: 'start', assignment: this.#assignment(post) });
        break;
      case 'started':
        post.state = 'started';
        this.#failedStarts = 0;
        log.info({ worker: post.number, pid: post.process?.pid }, 'worker started');
        this.#introduce();
        if (this.#posts.every(({ state }) => state === 'started')) this.#onStarted?.();
        // The config has been reloaded since it was given its own, and backends that it did not know may have been changed.
        if (post.settings !== this.#settings) {
          void this.#reloadOrEnd(post);
          for (const change of this.#changes.values()) post.process?.send({ type: 'change', ...change });
        }
        break;
      case 'failed':
        post.fault = message.message;
        this.#onStartFailed?.(new PointsmanError(message.code, message.message));
        break;
      case 'reloaded':
        post.reloads.shift()?.(message.fault && new PointsmanError(message.fault.code, message.fault.message));
        break;
      case 'stats':
        post.stats = message.stats;
        if (message.final) post.state = 'stopped';
        break;
      case 'news':
        this.#spread(post, message.news);
        break;
      case 'handover':
        this.#handOver(post, message.handover);
        break;
      case 'gone':
        // Whoever asks for that client is told: which of them it was does not matter.
        this.#tellAll({ type: 'gone', place: message.place });
        break;
      case 'answer':
        this.#waiting.get(message.id)?.(message.answer);
        break;
      case 'report':
        this.onReport(message.observer, message.value);
        break;
    }
  }

  /** Tells each worker of all others. */
  #introduce(): void {
    const started = this.#posts.filter(({ state }) => state === 'started');
    const instances = started.map(({ instance }) => instance);
    for (const { process } of started) process?.send({ type: 'siblings', instances });
  }

  /** Passes messages from one worker to the one that has their client. */
  #handOver(from: Post, handover: Handover): void {
    const to = this.#posts.find(({ state, instance }) => state === 'started' && instance === handover.to.instance);
    if (to === undefined) from.process?.send({ type: 'gone', place: handover.to });
    else if (to.handoverBytes < mostHandoverBytes) {
      const { process } = to;
      const bytes = handover.messages.reduce((sum, { length }) => sum + length, 0);
      to.handoverBytes += bytes;
      process?.send({ type: 'handover', handover }, () => {
        if (to.process !== process) return;
        to.handoverBytes -= bytes;
        if (to.handoverBytes === 0) to.losesHandovers = false;
      });
    } else if (!to.losesHandovers) {
      to.losesHandovers = true;
      const { log } = this.#options;
      log.error({ worker: to.number }, 'worker does not keep up: messages that others hand over to it are lost');
    }
  }

  #assignment(post: Post) {
    const { clock } = this.#options;
    const logLevel = this.#logLevel ?? this.#options.logLevel;
    const origins = this.#origins;
    const instance = clock.randomBytes(8);
    post.instance = instance.toString('hex');
    post.settings = this.#settings;
    return {
      worker: post.number,
      settings: packSettings(this.#settings),
      origins,
      identity: { instance, processSecret: this.#processSecret },
      logLevel,
      changes: [...this.#changes.values()],
      orders: this.#orders,
    };
  }

  /** One worker has found a backend up or down: this is logged once, and the others are told to see for themselves. */
  #spread(post: Post, news: BackendNews): void {
    const { isNews, downIn, hint } = this.#backends.tell(post.number, news);
    if (isNews) this.#logNews(news, downIn);
    if (!hint) return;
    for (const other of this.#posts) {
      if (other !== post && other.state === 'started') other.process?.send({ type: 'look', news });
    }
  }

  #logNews(news: BackendNews, downIn: number): void {
    const counts = { workersDown: downIn, workers: this.#posts.length };
    logBackendNews(this.#options.log, news, counts);
  }

  #ended(post: Post, reason: string): void {
    const { log, clock } = this.#options;
    const wasStarting = post.state === 'starting';
    const { number } = post;
    post.process = undefined;
    const fault = new PointsmanError('POINTSMAN_WORKER', `worker ${number} ended: ${reason}`);
    for (const settle of post.reloads.splice(0)) settle(fault);
    if (post.state !== 'stopped') {
      // The final report of one that has stopped stands as it is.
      if (post.stats !== undefined) this.#remains = totalOf([this.#remains, remainsOf(post.stats)]);
      post.stats = undefined;
      post.state = 'ended';
    }
    this.#onStartFailed?.(
      new PointsmanError('POINTSMAN_WORKER', `worker ${number} ended before it had started: ${reason}`),
    );
    if (this.#stopping) {
      this.#onAllEnded?.();
      return;
    }

    this.#introduce();
    for (const news of this.#backends.forget(number)) this.#logNews(news, 0);
    this.ended++;
    if (wasStarting) this.#failedStarts++;
    const hasWorkers = this.#posts.some(({ state }) => state === 'started');
    if (!hasWorkers && this.#failedStarts >= mostFailedStarts) {
      this.#stopping = true;
      for (const { cancelWait, process } of this.#posts) {
        cancelWait?.();
        process?.kill();
      }
      const text = `no worker is left, and ${this.#failedStarts} in a row ended before they had started; the last: ${reason}`;
      this.#fail(new PointsmanError('POINTSMAN_WORKER', text));
      return;
    }
    post.failures = clock.now() - post.startedAtMs >= steadyMs ? 0 : post.failures + 1;
    const backoffMs = Math.min(lastBackoffMs, firstBackoffMs * 2 ** Math.min(Math.max(0, post.failures - 1), 16));
    const waitMs = Math.round(backoffMs * (0.5 + clock.random() / 2));
    log.error({ worker: number, error: reason, ended: this.ended, waitMs }, 'worker ended; another takes its place');
    post.cancelWait = clock.after(waitMs, () => {
      post.cancelWait = undefined;
      this.#fork(post);
    });
  }

  async #untilAllEnded(): Promise<void> {
    const areAllEnded = () => this.#posts.every(({ process }) => process === undefined);
    while (!areAllEnded()) {
      await new Promise<void>((resolve) => {
        this.#onAllEnded = resolve;
      });
    }
  }
}
