/**
 * A reload: changes from the settings that a balancer runs with to others. First everything that may fail is prepared: pipelines
 * are composed, new addresses opened, plugins started. If any of it fails, what was prepared is undone and nothing has changed.
 * Then everything changes at once, between two events, so that no message sees half of it. What is left over is closed when nobody
 * needs it any more.
 *
 * A listener goes on if its name and address stay, a pool if its name stays, a backend if its name, address and number stay.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Composed } from './compose.ts';
import { PointsmanError } from './errors.ts';
import { Health } from './health/health.ts';
import { Listener } from './listener.ts';
import { Pool, type PoolPlan } from './pool.ts';
import type { Services } from './services.ts';
import type { BackendSettings, ListenerSettings, PoolSettings, Settings } from './settings.ts';

/** What a balancer is made of. */
export interface Parts {
  readonly settings: Settings;
  readonly listeners: readonly Listener[];
  readonly pools: readonly Pool[];
  readonly health: ReadonlyMap<Pool, Health>;
}

export interface Reloaded {
  readonly parts: Parts;
  /** Listeners that no longer accept connections, and go on with the clients that they have. */
  readonly leaving: readonly Listener[];
  /** Stop what the new settings no longer use. */
  readonly stops: readonly (() => Promise<void>)[];
}

/**
 * @param services for the new settings
 * @param givenUp rejects when nothing may be waited for any more
 * @throws PointsmanError (rejects with) if the settings cannot be put into effect; everything is then as it was
 */
export async function reload(
  before: Parts,
  settings: Settings,
  services: Services,
  givenUp: Promise<never>,
): Promise<Reloaded> {
  const plans: PoolPlan[] = [];
  const pools = settings.pools.map((each) => {
    const pool = before.pools.find(({ name }) => name === each.name);
    if (pool === undefined) return new Pool(each);
    plans.push(pool.plan(each));
    return pool;
  });

  let prepared!: Prepared;
  const prepareAll = () => {
    prepared = prepare(before, settings, pools, services);
  };
  plans.reduce((inner, plan) => () => plan.preview(inner), prepareAll)();
  await startOrUndo(prepared, givenUp);

  // From here on nothing fails, and nothing is waited for.
  const { listeners, health, successions, takeovers, opened } = prepared;
  for (const [pool, watch] of before.health) if (health.get(pool) !== watch) watch.stop();
  for (const plan of plans) plan.commit();
  for (const { listener, settings, composed } of successions) listener.succeed(settings, composed);
  for (const { listener, from } of takeovers) listener.takeOver(from);
  for (const listener of opened) listener.run();
  for (const [pool, watch] of health) if (before.health.get(pool) !== watch) watch.start();
  const leaving = before.listeners.filter((listener) => !listeners.includes(listener));
  return {
    parts: { settings, listeners, pools, health },
    leaving,
    stops: [...leaving.map((listener) => () => listener.close()), ...successions.flatMap(({ old }) => old.stops)],
  };
}

/** What the new settings want, before anything has changed. */
interface Prepared {
  readonly health: Map<Pool, Health>;
  /** All listeners after the reload. */
  readonly listeners: Listener[];
  /** Listeners that go on with another pipeline. */
  readonly successions: { listener: Listener; settings: ListenerSettings; composed: Composed; old: Composed }[];
  /** Listeners that take over another one's listening socket. */
  readonly takeovers: { listener: Listener; from: Listener }[];
  /** Listeners that open an address of their own. */
  readonly opened: Listener[];
}

/** @throws PointsmanError if a listener feeds no pool, or a plugin cannot be applied */
function prepare(before: Parts, settings: Settings, pools: readonly Pool[], services: Services): Prepared {
  const health = new Map(pools.map((pool) => [pool, healthOf(pool, before, services)]));
  const prepared: Prepared = { health, listeners: [], successions: [], takeovers: [], opened: [] };
  const { listeners, successions, takeovers, opened } = prepared;
  for (const each of settings.listeners) {
    const pool = pools.find(({ name }) => name === each.pool);
    if (pool === undefined) throw unknownPool(each);
    const listener = before.listeners.find(({ settings }) => settings.name === each.name);
    if (listener !== undefined && isUnchanged(listener, each, pool, before.settings, settings)) {
      listeners.push(listener);
      continue;
    }
    const composed = listener?.prepare(each, pool, services);
    if (listener !== undefined && composed !== undefined) {
      successions.push({ listener, settings: each, composed, old: listener.composed });
      listeners.push(listener);
      continue;
    }
    const other = new Listener(each, pool, services);
    const from = before.listeners.find((other) => other.address !== undefined && other.listensAt(each.listen));
    from?.checkSuccessor(other);
    if (from === undefined) opened.push(other);
    else takeovers.push({ listener: other, from });
    listeners.push(other);
  }
  return prepared;
}

/** A pool whose health is looked after as before is not disturbed. */
function healthOf(pool: Pool, before: Parts, services: Services): Health {
  const kept = before.health.get(pool);
  const was = before.settings.pools.find(({ name }) => name === pool.name);
  return kept !== undefined && isDeepStrictEqual(was, pool.settings) ? kept : new Health(pool, services);
}

/** Whether a listener can stay just as it is. */
function isUnchanged(
  listener: Listener,
  each: ListenerSettings,
  pool: Pool,
  before: Settings,
  after: Settings,
): boolean {
  return (
    isDeepStrictEqual(listener.settings, each) &&
    isDeepStrictEqual(before.keys, after.keys) &&
    isDeepStrictEqual(before.observers ?? [], after.observers ?? []) &&
    isDeepStrictEqual(lasting(before.pools.find(({ name }) => name === each.pool)), lasting(pool.settings))
  );
}

/** Starts plugins and opens addresses. If one of them fails, those before it are stopped again, and the error is thrown. */
async function startOrUndo({ successions, takeovers, opened }: Prepared, givenUp: Promise<never>): Promise<void> {
  const stops: (() => Promise<void>)[] = [];
  try {
    for (const { composed } of successions) {
      stops.push(...composed.stops);
      for (const start of composed.starts) await Promise.race([start(), givenUp]);
    }
    for (const { listener } of takeovers) {
      stops.push(...listener.composed.stops);
      await Promise.race([listener.startPlugins(), givenUp]);
    }
    for (const listener of opened) {
      stops.push(() => listener.stop(0));
      await Promise.race([listener.open(), givenUp]);
    }
  } catch (error) {
    await Promise.allSettled(stops.map((stop) => stop()));
    throw error;
  }
}

export function unknownPool({ name, pool }: ListenerSettings): PointsmanError {
  return new PointsmanError('POINTSMAN_CONFIG', `listener ${name} feeds the pool ${pool}, which is not there`);
}

/** The settings that pipelines are composed with; the rest of a pool may change beneath them. */
function lasting(pool: PoolSettings | undefined): object | undefined {
  const backends = pool?.backends.map(({ name, address, number, limits }) => ({ name, address, number, limits }));
  return pool && { ...pool, backends };
}

/** The differences between settings, by name: for the log. */
export function changesOf(before: Settings, after: Settings): Record<string, readonly string[]> {
  const backendsOf = ({ pools }: Settings) =>
    pools.flatMap((pool) => pool.backends.map((backend) => ({ ...backend, name: `${pool.name}/${backend.name}` })));
  const poolsOf = ({ pools }: Settings) => pools.map((pool) => ({ ...pool, backends: [] }));
  const keysOf = ({ keys }: Settings) => keys.map(({ id, secret }) => ({ name: id, secret }));
  const found: Record<string, readonly string[]> = {};
  const compare = (what: string, old: readonly Named[], now: readonly Named[]) => {
    const named = (list: readonly Named[], name: string) => list.find((each) => each.name === name);
    const added = now.filter(({ name }) => named(old, name) === undefined);
    const removed = old.filter(({ name }) => named(now, name) === undefined);
    const changed = now.filter((each) => {
      const was = named(old, each.name);
      return was !== undefined && !isDeepStrictEqual(was, each);
    });
    for (const [how, list] of Object.entries({ added, removed, changed })) {
      if (list.length > 0) found[`${what}${how[0]!.toUpperCase()}${how.slice(1)}`] = list.map(({ name }) => name);
    }
  };
  compare('listeners', before.listeners, after.listeners);
  compare('pools', poolsOf(before), poolsOf(after));
  compare('backends', backendsOf(before), backendsOf(after));
  compare('keys', keysOf(before), keysOf(after));
  return found;
}

type Named = Pick<BackendSettings, 'name'>;
