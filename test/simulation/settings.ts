/** The settings of one world, and what reloads make of them: all left to chance. */
import type { PluginDefinition } from '../../core/plugin.ts';
import {
  type BackendSettings,
  type CheckUse,
  defaultLimits,
  type ListenerSettings,
  type PoolSettings,
  type Settings,
  timingOf,
} from '../../core/settings.ts';
import tcpConnect from '../../plugins/checks/tcp-connect.ts';
import hashing from '../../plugins/strategies/hashing.ts';
import leastLoaded from '../../plugins/strategies/least-loaded.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { optionsOf } from '../support/embedded.ts';
import { type Dialect, dialects } from './dialects.ts';
import type { Chance } from './peers.ts';
import { doorkeeper, greeter } from './waiting.ts';

/** Where checks connect: not where messages go, so that what is checked may fail while links are fine. */
export const checkPort = 9000;
const strategies = [roundRobin, leastLoaded, hashing];
const backendNames = ['b0', 'b1', 'b2', 'b3', 'b4', 'b5'];

/** What a pool and its listeners have in common, and keep. */
export interface Kind {
  readonly index: number;
  readonly dialect: Dialect;
  readonly signs: boolean;
  readonly rechooses: boolean;
  readonly replays: boolean;
  /** A check that asks what clients ask. */
  readonly asking: PluginDefinition;
}

/** @param asking makes a check that asks what clients ask */
export function drawKinds(chance: Chance, asking: (dialect: Dialect) => PluginDefinition): Kind[] {
  return Array.from({ length: 1 + chance.below(2) }, (_, index) => {
    const dialect = chance.pick(dialects);
    return {
      index,
      dialect,
      signs: dialect.signs && (dialect.name === 'sip' || chance.percent(70)),
      rechooses: chance.percent(40),
      replays: dialect.replaying !== undefined && chance.percent(50),
      asking: asking(dialect),
    };
  });
}

export function drawSettings(kinds: readonly Kind[], chance: Chance): Settings {
  return {
    keys: [key(1)],
    pools: kinds.map((kind) => drawPool(kind, chance)),
    listeners: kinds.flatMap((kind) =>
      Array.from({ length: 1 + chance.below(2) }, (_, at) => drawListener(kind, at, chance)),
    ),
  };
}

/** The settings after a reload: a pool and its listeners as they were, but for some things. */
export function redraw(settings: Settings, { kind, chance }: { kind: Kind; chance: Chance }): Settings {
  const pool = poolName(kind);
  const others = settings.listeners.filter((each) => each.pool !== pool);
  const its = settings.listeners.filter((each) => each.pool === pool);
  return {
    ...settings,
    keys: chance.percent(30) ? [key(1 + Number(settings.keys[0]!.id.slice(1))), settings.keys[0]!] : settings.keys,
    pools: settings.pools.map((each) => (each.name === pool ? redrawPool(each, kind, chance) : each)),
    listeners: [...others, ...redrawListeners(its, kind, chance)],
  };
}

const key = (number: number) => ({ id: `k${number}`, secret: Buffer.alloc(32, number) });
const poolName = ({ index }: Kind) => `pool-${index}`;

function drawPool(kind: Kind, chance: Chance): PoolSettings {
  const { dialect } = kind;
  const transport = dialect.transports.includes('ws') && chance.percent(20) ? 'ws' : 'tcp';
  const names = backendNames.slice(0, 1 + chance.below(4));
  return {
    name: poolName(kind),
    backends: names.map((name) => ({ ...drawBackend(name, chance), address: addressOf(name, kind, transport, 0) })),
    links: dialect.links,
    linksPerBackend: 1 + chance.below(2),
    connectSeconds: 5,
    keepaliveSeconds: 0,
    ...drawQueues(chance),
    ...(kind.replays && { replay: 'once', replayBytes: chance.pick([500, 262_144]) }),
    ...drawHealth(kind, chance),
  };
}

const drawQueues = (chance: Chance): Pick<PoolSettings, 'queueBytes'> & Partial<PoolSettings> => ({
  queueBytes: chance.pick([300, 2000, 262_144]),
  ...(chance.percent(30) && {
    limits: { inFlight: chance.pick([3, 30]), messagesPerSecond: chance.pick([0, 20]) },
    backendLimits: { inFlight: chance.pick([2, 20]), connections: 3 },
    queueSeconds: chance.pick([0, 1, 10]),
    queueRequests: 10,
  }),
});

const drawBackend = (name: string, chance: Chance) => ({
  name,
  number: 1 + backendNames.indexOf(name),
  weight: 1 + chance.below(3),
  priority: chance.percent(20) ? 1 : 0,
});

/** @param moves how often it has been moved */
const addressOf = (name: string, { index }: Kind, transport: 'tcp' | 'ws', moves: number) =>
  ({ transport, host: `10.${moves}.${index}.${1 + backendNames.indexOf(name)}`, port: 7000, path: '' }) as const;

/** Some pools look after the health of their backends, others only after their links. */
function drawHealth({ dialect, asking }: Kind, chance: Chance): Partial<PoolSettings> {
  if (chance.percent(40)) return {};
  const checks: CheckUse[] = [];
  const check = (plugin: PluginDefinition, more: object) => {
    const options = optionsOf(plugin, { rise: 1 + chance.below(2), fall: 1 + chance.below(3), ...more });
    checks.push({ plugin, options, timing: timingOf(options) });
  };
  if (chance.percent(70)) check(tcpConnect, { port: checkPort });
  if (dialect.links === 'shared' && chance.percent(50)) {
    const often = chance.pick([{ intervalSeconds: 2 }, { intervalSeconds: 15, timeoutSeconds: 10 }]);
    check(asking, { over: 'link', ...often });
  }
  return {
    checks,
    ...(chance.percent(60) && {
      outliers: {
        consecutiveFailures: chance.pick([2, 5]),
        latencyFactor: chance.pick([undefined, 2]),
        baseEjectionSeconds: 10,
        maxEjectionSeconds: 30,
        maxEjectedPercent: chance.pick([0, 50, 100]),
      },
    }),
    slowStartSeconds: chance.pick([undefined, 10]),
    minimumUp: chance.pick([1, 2]),
    panicPercent: chance.pick([0, 50]),
    drainedSeconds: 10,
  };
}

function redrawPool(pool: PoolSettings, kind: Kind, chance: Chance): PoolSettings {
  const backends = pool.backends.map((each) => redrawBackend(each, kind, chance)).filter(() => chance.percent(85));
  const free = backendNames.filter((name) => backends.every((each) => each.name !== name));
  if (backends.length === 0 || (free.length > 0 && chance.percent(40))) {
    const name = chance.pick(free);
    const transport = pool.backends[0]!.address.transport as 'tcp' | 'ws';
    backends.push({ ...drawBackend(name, chance), address: addressOf(name, kind, transport, chance.below(200)) });
  }
  return {
    ...pool,
    backends,
    linksPerBackend: chance.percent(20) ? 1 + chance.below(2) : pool.linksPerBackend,
    ...(chance.percent(20) && drawHealth(kind, chance)),
    ...(chance.percent(20) && drawQueues(chance)),
  };
}

function redrawBackend(backend: BackendSettings, kind: Kind, chance: Chance): BackendSettings {
  const { name, address } = backend;
  return {
    ...backend,
    ...(chance.percent(30) && { weight: chance.below(4) }),
    ...(chance.percent(10) && { limits: { inFlight: chance.pick([1, 5]) } }),
    ...(chance.percent(15) && { state: chance.pick(['ready', 'drain', 'maint'] as const) }),
    ...(chance.percent(15) && {
      address: addressOf(name, kind, address.transport as 'tcp' | 'ws', chance.below(200)),
    }),
  };
}

function drawListener(kind: Kind, at: number, chance: Chance): ListenerSettings {
  const { index, dialect } = kind;
  return {
    name: `listener-${index}-${at}`,
    listen: { transport: chance.pick(dialect.transports), host: '192.0.2.1', port: 5000 + 2000 * index + at, path: '' },
    pool: poolName(kind),
    identifiers: drawIdentifiers(kind, chance),
    limits: {
      ...defaultLimits,
      messageBytes: 65_536,
      queueBytes: chance.pick([400, 4000, 262_144]),
      connections: chance.pick([4, 8, 100]),
      connectionsPerAddress: chance.pick([0, 0, 3]),
      inFlight: chance.pick([5, 50, 65_536]),
      inFlightPerAddress: chance.pick([0, 0, 20]),
      messagesPerSecondPerAddress: chance.pick([0, 0, 5]),
      affinityEntries: chance.pick([8, 65_536]),
      ...drawDeadlines(kind, chance),
    },
    pipeline: drawPipeline(kind, chance),
  };
}

const drawIdentifiers = ({ signs, rechooses }: Kind, chance: Chance): ListenerSettings['identifiers'] => ({
  mode: signs ? chance.pick(['signed', 'sealed'] as const) : 'plain',
  whenDown: rechooses ? 'rechoose' : 'refuse',
});

/** Where ids are few, some answers are waited for so long that ids come round to those that wait. */
const drawDeadlines = ({ dialect }: Kind, chance: Chance) => ({
  idleSeconds: chance.pick([60, 3600]),
  replySeconds: chance.pick(dialect.answerWithin === undefined ? [5, 60] : [5, 600, 600]),
});

function drawPipeline({ dialect, replays }: Kind, chance: Chance): ListenerSettings['pipeline'] {
  const strategy = chance.pick(strategies);
  const options = replays ? { ...dialect.options, ...dialect.replaying } : dialect.options;
  const others = [doorkeeper, greeter].filter(() => chance.percent(20));
  return [
    { plugin: dialect.plugin, options: optionsOf(dialect.plugin, options) },
    ...[strategy, ...others].map((plugin) => ({ plugin: plugin as PluginDefinition, options: optionsOf(plugin) })),
  ];
}

/** Listeners get other pipelines and deadlines, go to another port, hand their port over to one of another name, go or come. */
function redrawListeners(its: readonly ListenerSettings[], kind: Kind, chance: Chance): ListenerSettings[] {
  let lastPort = Math.max(...its.map(({ listen }) => listen.port));
  const redrawn = its.map((each) => {
    const { limits, listen } = each;
    const how = chance.below(100);
    return {
      ...each,
      ...(how < 40 && { pipeline: drawPipeline(kind, chance), identifiers: drawIdentifiers(kind, chance) }),
      ...(how >= 30 && how < 60 && { limits: { ...limits, ...drawDeadlines(kind, chance) } }),
      ...(how >= 60 && how < 65 && { listen: { ...listen, port: ++lastPort } }),
      ...(how >= 65 && how < 70 && { name: `${each.name}x` }),
    };
  });
  if (redrawn.length > 1 && chance.percent(10)) redrawn.pop();
  else if (redrawn.length < 3 && chance.percent(10)) {
    const { name, ...listener } = drawListener(kind, 3, chance);
    const port = ++lastPort;
    redrawn.push({ ...listener, name: `${name}-${port}`, listen: { ...listener.listen, port } });
  }
  return redrawn;
}
