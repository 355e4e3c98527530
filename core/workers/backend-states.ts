/** What the workers have found out about the backends, combined. */
import type { BackendNews } from '../links.ts';

/** The least time between hints about a flapping backend, so that workers do not drive each other past their back-offs. */
const hintMs = 1000;

export interface Told {
  /** A backend that was up for every worker is down for one, or is up for every one again; likewise what checks and others say. */
  readonly isNews: boolean;
  /** In how many workers it is down now. */
  readonly downIn: number;
  /** The other workers should look for themselves. */
  readonly hint: boolean;
}

export class BackendStates {
  readonly #now: () => number;
  readonly #states = new Map<string, { news: BackendNews; readonly downFor: Set<number>; hintedAtMs: number }>();

  /** @param now milliseconds that only grow */
  constructor(now: () => number) {
    this.#now = now;
  }

  tell(worker: number, news: BackendNews): Told {
    const name = `${news.pool} ${news.backend} ${news.aspect}`;
    const state = this.#states.get(name) ?? { news, downFor: new Set(), hintedAtMs: -hintMs };
    this.#states.set(name, state);
    state.news = news;
    const { downFor } = state;
    const wasUp = downFor.size === 0;
    if (news.up) downFor.delete(worker);
    else downFor.add(worker);
    // What another worker's checks find is for them to say.
    const hint = news.aspect === 'link' && this.#now() - state.hintedAtMs >= hintMs;
    if (hint) state.hintedAtMs = this.#now();
    return { isNews: wasUp !== (downFor.size === 0), downIn: downFor.size, hint };
  }

  /** Forgets what was found out of backends that a reload has removed or moved. */
  drop(isGone: (pool: string, backend: string) => boolean): void {
    for (const [name, { news }] of this.#states) if (isGone(news.pool, news.backend)) this.#states.delete(name);
  }

  /** The worker has ended. Returns the backends that are up for all others, and were down only for that one. */
  forget(worker: number): BackendNews[] {
    const up: BackendNews[] = [];
    for (const { news, downFor } of this.#states.values()) {
      if (downFor.delete(worker) && downFor.size === 0) up.push({ ...news, up: true, error: undefined });
    }
    return up;
  }
}
