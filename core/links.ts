/**
 * The links of one listener: opens them, keeps shared ones open, and redirects what was queued for a backend that turns out to be
 * unreachable.
 */
import type { Client } from './client.ts';
import { Link } from './link.ts';
import type { TakenBack, Turn } from './outbox.ts';
import type { Pipeline } from './pipeline.ts';
import type { Logger } from './plugin.ts';
import type { Backend, Pool } from './pool.ts';
import { writeProxyHeader } from './runtime/proxy-protocol.ts';
import { reach } from './runtime/reach.ts';
import type { Runtime } from './runtime/runtime.ts';

/** How long to wait after the first failed attempt to connect, and at most; each wait is twice as long as the one before. */
const firstBackoffMs = 200;
const lastBackoffMs = 10_000;
/**
 * A shared link that breaks sooner than this after it opened counts as failed: the backend is down, and the next attempt to connect
 * has to wait.
 */
const steadyMs = 1000;

/** A change in what is known about a backend. */
export interface BackendNews {
  /** The listener whose links have found it out; undefined: it concerns the pool as a whole. */
  readonly listener: string | undefined;
  readonly pool: string;
  readonly backend: string;
  /**
   * `link`: it can be reached. `checks`: it passes them. `ejection`: it is not ejected. `drain`: it still has something to drain.
   */
  readonly aspect: 'link' | 'checks' | 'ejection' | 'drain';
  /** Whether the aspect holds. */
  readonly up: boolean;
  /** Why the aspect does not hold. */
  readonly error: string | undefined;
}

const news = {
  link: { up: 'backend is up', down: 'backend is down' },
  checks: { up: 'backend passes its checks', down: 'backend fails its checks' },
  ejection: { up: 'backend is ejected no more', down: 'backend is ejected' },
  drain: { up: 'backend has drained: it may be stopped', down: 'backend drains' },
} as const;

export function logBackendNews(
  log: Logger & { child?(fields: object): Logger },
  { listener, pool, backend, aspect, up, error }: BackendNews,
  further: object = {},
): void {
  const named = log.child?.({ listener, pool }) ?? log;
  const { up: better, down: worse } = news[aspect];
  if (up) named.info({ backend, ...further }, better);
  else if (error === undefined) named.info({ backend, ...further }, worse);
  else named.warn({ backend, error, ...further }, worse);
}

export class Links {
  readonly runtime: Runtime;
  readonly mode: 'shared' | 'dedicated';
  readonly #pool: Pool;
  #pipeline: Pipeline;
  readonly #turn: Turn;
  /** Shared links by the backend's index; those of backends no longer in the config are in `#retired`. */
  readonly #shared: Link[][] = [];
  readonly #dedicated = new Set<Link>();
  /** Links to backends no longer in the config that still wait for answers, and since when. */
  readonly #retired = new Map<Link, number>();
  /** Cancel the timers that are set. */
  readonly #waits = new Set<() => void>();
  /** Shared links that wait before they connect again; calling the value ends the wait. */
  readonly #reopens = new Map<Link, () => void>();
  /** Backends that are probed until they can be reached again; calling the value ends that. */
  readonly #probes = new Map<Backend, () => void>();
  readonly #tell: (backend: Backend, error: string | undefined) => void;
  #stopped = false;

  /** @param tell is called with each backend whose `up` has changed, and why it is down */
  constructor(
    runtime: Runtime,
    turn: Turn,
    pool: Pool,
    pipeline: Pipeline,
    mode: 'shared' | 'dedicated',
    tell: (backend: Backend, error: string | undefined) => void,
  ) {
    this.runtime = runtime;
    this.mode = mode;
    this.#tell = tell;
    this.#turn = turn;
    this.#pool = pool;
    this.#pipeline = pipeline;
    if (mode === 'shared') for (const backend of pool.backends) this.#share(backend);
  }

  #share(backend: Backend): Link[] {
    const length = this.#pool.settings.linksPerBackend;
    const links = Array.from({ length }, () => new Link(this, this.#pipeline, this.#turn, backend, undefined));
    this.#shared[backend.index] = links;
    return links;
  }

  /** Opens shared links before the first message, so that backends that are down are known to be. */
  start(): void {
    for (const link of this.#shared.flat()) link.connect();
    // Whoever had found those down may be gone.
    if (this.mode === 'dedicated') for (const backend of this.#pool.backends) this.look(backend, true);
  }

  /**
   * Goes on under another pipeline, or with the backends that the pool has now: links to backends that stay are kept, new backends
   * get theirs, and those that are gone get no more requests.
   */
  follow(pipeline: Pipeline, isFamiliar: boolean): void {
    this.#pipeline = pipeline;
    for (const link of this.all()) link.moveTo(pipeline, isFamiliar);
    if (this.mode === 'shared') {
      for (const backend of this.#pool.backends) {
        if (this.#shared[backend.index] === undefined) for (const link of this.#share(backend)) link.connect();
      }
    }
    for (const link of this.all()) if (link.backend.removed && !this.#retired.has(link)) this.#retire(link);
    for (const [backend, cancel] of this.#probes) {
      if (!backend.removed) continue;
      this.#probes.delete(backend);
      cancel();
    }
  }

  /** What is waiting for it goes through the pipeline again; answers that are due still arrive. */
  #retire(link: Link): void {
    this.#retired.set(link, this.runtime.now());
    const { backend } = link;
    if (link.client === undefined) {
      const others = this.#shared[backend.index]!.filter((other) => other !== link);
      if (others.length > 0) this.#shared[backend.index] = others;
      else delete this.#shared[backend.index];
    }
    const waiting = link.outbox.takeBack();
    this.#pipeline.abandoned.release(waiting);
    this.#redispatch(link, waiting);
    if (link.state !== 'open') {
      if (link.state === 'idle' || link.state === 'closed') this.#retired.delete(link);
      else link.destroy();
    }
  }

  /**
   * Closes links to backends that are gone as soon as no answer is due there. If nobody can tell, they get the time that an answer
   * may take.
   */
  closeRetired(replySeconds: number, isKnown: boolean): void {
    const now = this.runtime.now();
    for (const [link, sinceMs] of this.#retired) {
      const isDone = isKnown && link.carried.oldest === undefined && link.heldBytes === 0;
      if ((isDone || now - sinceMs >= replySeconds * 1000) && link.outbox.waitingBytes === 0) link.destroy();
    }
  }

  /**
   * The first bytes of a link to a backend that wants to know whose link it is.
   * @param client undefined: it is our own
   */
  prefaceFor(client: Client | undefined): Buffer | undefined {
    const { proxyProtocol } = this.#pool.settings;
    return proxyProtocol && writeProxyHeader(proxyProtocol, client?.ends);
  }

  /** All links, for statistics. */
  *all(): Iterable<Link> {
    for (const links of this.#shared) if (links !== undefined) yield* links;
    yield* this.#dedicated;
    for (const link of this.#retired.keys()) if (link.client === undefined) yield link;
  }

  /** The link for messages from `source` to `backend`: always the same one, which keeps them in order. */
  for(source: Client | Link, backend: Backend): Link | undefined {
    if (this.mode === 'shared') {
      const link = this.sharedFor(source, backend)!;
      if (link.state === 'closed') this.#connect(link); // another listener has found the backend up again
      return link;
    }
    const client = 'slot' in source ? source : source.client;
    if (client === undefined || client.closed) return undefined;
    let link = client.links.get(backend);
    // One that we are closing still collects: what waits there is taken back in order when it is closed.
    if (link === undefined || link.state === 'closed' || link.ended) {
      link = new Link(this, this.#pipeline, this.#turn, backend, client);
      client.links.set(backend, link);
      this.#dedicated.add(link);
      link.connect();
    }
    return link;
  }

  /** The one of the shared links to `backend` that serves `source`; undefined: the backend is gone, and there is none. */
  sharedFor(source: Client | Link, backend: Backend): Link | undefined {
    const links = this.#shared[backend.index];
    if (links === undefined || links.length === 1) return links?.[0];
    return links[('slot' in source ? source.slot : source.backend.index) % links.length];
  }

  onOpened(link: Link): void {
    this.#probes.get(link.backend)?.();
    this.#probes.delete(link.backend);
    this.#setUp(link.backend, true);
  }

  /**
   * What had not been handed to the socket goes through the pipeline again as it was received, in its old order: to another backend
   * if this one could not be reached.
   * @param reached the link had been open, so the backend could be reached
   */
  onClosed(link: Link, reached: boolean, error: Error | undefined): void {
    const waiting = this.#takeBack(link);
    if (!reached && !link.closing && !this.#stopped) link.backend.failedConnects++;
    const isRetired = this.#retired.delete(link);
    if (isRetired) {
      this.#dedicated.delete(link);
      link.client?.onLinkClosed(link);
    } else if (link.client === undefined) {
      // A dedicated link may be as short as its client's visit; a shared one that breaks at once is as good as none.
      const steady = reached && this.runtime.now() - link.openedAtMs >= steadyMs;
      if (!steady) this.#unreachable(link.backend, error);
      else if (error !== undefined) this.#pool.outliers?.broke(link.backend, error.message);
      this.#reopen(link, steady);
    } else {
      if (!reached && !link.closing) this.#unreachable(link.backend, error);
      else if (error !== undefined) this.#pool.outliers?.broke(link.backend, error.message);
      this.#dedicated.delete(link);
      link.client.onLinkClosed(link);
    }
    this.#redispatch(link, waiting);
  }

  /**
   * Answers that it should have brought are overdue. Requests among them that have not left are refused; anything else that is
   * waiting is sent again.
   */
  onOverdue(link: Link): void {
    if (!link.outbox.holdsOverdue) return;
    const waiting = link.outbox.takeBack();
    this.#pipeline.abandoned.release(waiting);
    this.#redispatch(link, waiting);
  }

  /** The backend answers nothing more on this link; what is waiting leaves on its successor. */
  onEnding(link: Link): void {
    this.#redispatch(link, this.#takeBack(link));
  }

  /**
   * Everything that has to go another way: first what the backend had and will not answer, if it may be replayed, then what never
   * left.
   */
  #takeBack(link: Link): readonly TakenBack[] {
    const waiting = link.outbox.takeBack();
    const replays = this.#pipeline.abandoned.abandon(link, waiting);
    return replays.length > 0 ? [...replays, ...waiting] : waiting;
  }

  #redispatch(link: Link, waiting: readonly TakenBack[]): void {
    for (const message of waiting) this.#pipeline.redispatch(message, this.#stopped);
    link.outbox.settle();
    link.client?.endLinks();
  }

  #reopen(link: Link, steady: boolean): void {
    if (this.#stopped || link.backend.removed) return;
    if (steady) {
      link.failures = 0;
      link.connect();
      return;
    }
    const cancel = this.#later(link.failures++, () => {
      this.#reopens.delete(link);
      if (!link.backend.removed) link.connect();
    });
    this.#reopens.set(link, cancel);
  }

  /** Connects a closed link at once. */
  #connect(link: Link): void {
    this.#reopens.get(link)?.();
    this.#reopens.delete(link);
    link.connect();
  }

  #unreachable(backend: Backend, error: Error | undefined): void {
    if (this.#stopped || backend.removed) return;
    this.#setUp(backend, false, error);
    if (this.mode === 'dedicated' && !this.#probes.has(backend)) this.#probe(backend, 0);
  }

  #setUp(backend: Backend, up: boolean, error?: Error): void {
    if (!this.#pool.setUp(backend, up)) return;
    const why = error?.message ?? 'the link broke at once';
    this.#tell(backend, up ? undefined : why);
    if (!up) this.#pool.outliers?.broke(backend, why);
  }

  /**
   * Somebody else has found the backend up or down. That is a hint, not proof: links that know otherwise connect now instead of
   * after their back-off, and mark the backend by the result. If a link is open, the backend is up whatever the hint says.
   */
  look(backend: Backend, up: boolean): void {
    if (this.#stopped || backend.up === up) return;
    if (this.mode === 'dedicated') {
      this.#probes.get(backend)?.();
      this.#probeNow(backend, 0);
    } else {
      const links = this.#shared[backend.index]!;
      if (links.some((link) => link.state === 'open')) this.#setUp(backend, true);
      for (const link of links) if (link.state === 'closed') this.#connect(link);
    }
  }

  /** Without shared links nothing else would notice that a backend is up again. */
  #probe(backend: Backend, failures: number): void {
    this.#probes.set(
      backend,
      this.#later(failures, () => this.#probeNow(backend, failures)),
    );
  }

  #probeNow(backend: Backend, failures: number): void {
    const { tls, connectSeconds } = this.#pool.settings;
    const options = { address: backend.address, preface: this.prefaceFor(undefined), tls };
    const stop = reach(this.runtime, options, connectSeconds, (error) => {
      this.#probes.delete(backend);
      this.#setUp(backend, error === undefined, error);
      if (error === undefined) return;
      backend.failedConnects++;
      this.#probe(backend, failures + 1);
    });
    this.#probes.set(backend, stop);
  }

  /** Exponential back-off with jitter, so that many balancers do not come back at once. */
  #later(failures: number, callback: () => void): () => void {
    const backoffMs = Math.min(lastBackoffMs, firstBackoffMs * 2 ** Math.min(failures, 16));
    const cancelTimer = this.runtime.after(backoffMs * (0.5 + this.runtime.random() / 2), () => {
      this.#waits.delete(cancel);
      callback();
    });
    const cancel = () => {
      this.#waits.delete(cancel);
      cancelTimer();
    };
    this.#waits.add(cancel);
    return cancel;
  }

  stop(): void {
    this.#stopped = true;
    for (const cancel of this.#waits) cancel();
    for (const cancel of this.#probes.values()) cancel();
    this.#probes.clear();
    this.#reopens.clear();
    for (const link of this.all()) {
      link.destroy();
      link.outbox.discard('stopping');
    }
  }
}
