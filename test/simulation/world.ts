/**
 * The world of one seed: pools and listeners of different kinds, the real balancer between them on a virtual runtime, and the
 * peers around it. `act` lets one thing happen; `check` looks at everything that must hold.
 */
import { type Attempt, definePlugin, Type } from 'pointsman';
import { balances } from '../../core/accounting.ts';
import { Balancer } from '../../core/balancer.ts';
import type { Exchanges } from '../../core/exchanges.ts';
import type { Listener } from '../../core/listener.ts';
import type { Peer } from '../../core/peer.ts';
import type { Logger, PluginDefinition } from '../../core/plugin.ts';
import type { Pool } from '../../core/pool.ts';
import { formatAddress } from '../../core/runtime/address.ts';
import { type VirtualPeer, VirtualRuntime } from '../../core/runtime/virtual.ts';
import {
  type CheckTiming,
  type CheckUse,
  defaultLimits,
  type ListenerSettings,
  type PoolSettings,
} from '../../core/settings.ts';
import tcpConnect from '../../plugins/checks/tcp-connect.ts';
import hashing from '../../plugins/strategies/hashing.ts';
import leastLoaded from '../../plugins/strategies/least-loaded.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { optionsOf } from '../support/embedded.ts';
import { type Dialect, dialects } from './dialects.ts';
import { balancerId, Ledger, Violation } from './ledger.ts';
import { Chance, type Note, SimulatedBackend, SimulatedClient } from './peers.ts';

/** Where checks connect: not where messages go, so that what is checked may fail while links are fine. */
const checkPort = 9000;
const strategies = [roundRobin, leastLoaded, hashing];
/** Clients that a listener has at most, but for those who come in a crowd. */
const fewClients = 6;
/** By how many bytes a queue may pass its limit: by a message from each of those who feed it. */
const aboveLimitBytes = 4096;

/** A pool with its backends, its listeners and what was sent between them. */
interface Group {
  readonly dialect: Dialect;
  readonly pool: Pool;
  readonly ledger: Ledger;
  readonly backends: readonly SimulatedBackend[];
  readonly listeners: readonly Listener[];
  readonly signs: boolean;
}

interface ClientOf {
  readonly group: Group;
  readonly listener: Listener;
  readonly client: SimulatedClient;
}

export class World {
  readonly runtime: VirtualRuntime;
  readonly chance: Chance;
  readonly groups: Group[] = [];
  readonly balancer: Balancer;
  /** By pool. */
  readonly #ledgers = new Map<string, Ledger>();
  /** Whoever plays must not go on once the balancer listens no more. */
  isStopping = false;
  readonly #note: Note;
  readonly #outages = new Map<string, number>();
  #clients: ClientOf[] = [];
  #clientIds = 0;
  /** Weighted: each as often as it stands here. */
  readonly #acts: readonly (() => void)[];

  constructor(seed: number, note: Note) {
    this.#note = note;
    this.runtime = new VirtualRuntime(seed, { reorders: true });
    const chance = (this.chance = new Chance(this.runtime.random));
    const chosen = Array.from({ length: 1 + chance.below(2) }, () => chance.pick(dialects));
    const pools = chosen.map((dialect, index) => this.#poolSettings(dialect, index));
    const replays = pools.map(({ replay }) => replay === 'once');
    const signs = chosen.map((dialect) => dialect.name === 'sip' || chance.percent(70));
    const rechooses = chosen.map(() => chance.percent(40));
    const listeners = chosen.flatMap((dialect, index) =>
      Array.from({ length: 1 + chance.below(2) }, (_, at) =>
        this.#listenerSettings(
          replays[index]! ? { ...dialect, options: { ...dialect.options, ...dialect.replaying } } : dialect,
          index,
          at,
          signs[index]!,
          rechooses[index]!,
        ),
      ),
    );
    this.balancer = new Balancer(
      { keys: [{ id: 'k1', secret: Buffer.alloc(32, 7) }], pools, listeners },
      { runtime: this.runtime, log: this.#log() },
    );
    for (const [index, dialect] of chosen.entries()) {
      const pool = this.balancer.pools[index]!;
      const nameOf = (backend: string) => `${pool.name}/${backend}`;
      const ledger = new Ledger(
        dialect,
        { rechooses: rechooses[index]!, replays: replays[index]! },
        {
          isUsable: (backend) => pool.byName(backend)!.isUsable,
          now: this.runtime.now,
          outages: (backend) => this.#outages.get(nameOf(backend)) ?? 0,
        },
      );
      this.#ledgers.set(pool.name, ledger);
      this.#watch(pool);
      const backends = pool.backends.map(({ name, address }) => {
        const backend = new SimulatedBackend(name, dialect, ledger, note);
        backend.isEager = chance.percent(30);
        this.runtime.servers.set(formatAddress(address), (peer) => backend.accept(peer));
        const checked = { ...address, transport: 'tcp', port: checkPort } as const;
        this.runtime.servers.set(formatAddress(checked), () => backend.checkVerdict);
        return backend;
      });
      const its = this.balancer.listeners.filter(({ settings }) => settings.pool === pool.name);
      for (const { composed } of its) this.#countOpened(composed.exchanges, ledger);
      this.groups.push({ dialect, pool, ledger, backends, listeners: its, signs: dialect.signs && signs[index]! });
      note(
        `pool ${pool.name}: ${dialect.name}, ${backends.length} backends, ${rechooses[index] ? 'rechoose' : 'refuse'}; ${its.map(({ settings }) => `${formatAddress(settings.listen)} ${settings.pipeline[1]!.plugin.name}`).join(', ')}`,
      );
    }
    this.#acts = this.#weighted();
  }

  #poolSettings(dialect: Dialect, index: number): PoolSettings {
    const { chance } = this;
    const transport = dialect.transports.includes('ws') && chance.percent(20) ? 'ws' : 'tcp';
    return {
      name: `pool-${index}`,
      backends: Array.from({ length: 1 + chance.below(4) }, (_, at) => ({
        name: `b${at}`,
        number: at + 1,
        weight: 1 + chance.below(3),
        priority: chance.percent(20) ? 1 : 0,
        address: { transport, host: `10.0.${index}.${at + 1}`, port: 7000, path: '' },
      })),
      links: dialect.links,
      linksPerBackend: 1 + chance.below(2),
      connectSeconds: 5,
      keepaliveSeconds: 0,
      queueBytes: chance.pick([300, 2000, 262_144]),
      ...(chance.percent(30) && {
        limits: { inFlight: chance.pick([3, 30]), messagesPerSecond: chance.pick([0, 20]) },
        backendLimits: { inFlight: chance.pick([2, 20]), connections: 3 },
        queueSeconds: chance.pick([0, 1, 10]),
        queueRequests: 10,
      }),
      ...(dialect.replaying !== undefined &&
        chance.percent(50) && { replay: 'once', replayBytes: chance.pick([500, 262_144]) }),
      ...this.#healthSettings(dialect),
    };
  }

  /** Some pools look after the health of their backends, others only after their links. */
  #healthSettings(dialect: Dialect): Partial<PoolSettings> {
    const { chance } = this;
    if (chance.percent(40)) return {};
    const checks: CheckUse[] = [];
    const check = (plugin: PluginDefinition, more: object) => {
      const options = optionsOf(plugin, { rise: 1 + chance.below(2), fall: 1 + chance.below(3), ...more });
      checks.push({ plugin, options, timing: options as CheckTiming });
    };
    if (chance.percent(70)) check(tcpConnect, { port: checkPort });
    if (dialect.links === 'shared' && chance.percent(50)) {
      const often = chance.pick([{ intervalSeconds: 2 }, { intervalSeconds: 15, timeoutSeconds: 10 }]);
      check(this.#asking(dialect), { over: 'link', ...often });
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

  /** A check that sends a request as clients do, and wants the answer to that. */
  #asking(dialect: Dialect): PluginDefinition {
    let number = 0;
    return definePlugin({
      name: 'asking',
      summary: 'Asks what clients ask.',
      pointsman: '^1',
      options: Type.Object({}),
      check: (_options, { pool }) => {
        const asked = new WeakMap<Attempt, string>();
        const ledger = () => this.#ledgers.get(pool.name)!;
        return {
          onOpen: (attempt) => {
            const label = `c${balancerId}.${++number}`;
            asked.set(attempt, label);
            const { name: backend } = attempt.backend;
            ledger().send(label, { client: balancerId, number, backend, forged: false });
            this.#note(`a check asks ${backend} ${label}`);
            attempt.send(dialect.request(label, number, undefined));
          },
          onBytes: (attempt, received) => {
            const read = dialect.read(received.subarray(0, dialect.frame(received)));
            if (read.kind !== 'answer') throw new Violation(`a check got what is no answer: ${received}`);
            const request = ledger().arrive(read, balancerId);
            if (request !== asked.get(attempt)) throw new Violation(`${request} was not asked by who got the answer`);
            attempt.pass();
          },
        };
      },
    });
  }

  #listenerSettings(dialect: Dialect, index: number, at: number, signs: boolean, rechooses: boolean): ListenerSettings {
    const { chance } = this;
    const strategy = chance.pick(strategies);
    return {
      name: `listener-${index}-${at}`,
      listen: { transport: chance.pick(dialect.transports), host: '192.0.2.1', port: 5000 + 10 * index + at, path: '' },
      pool: `pool-${index}`,
      identifiers: {
        mode: signs && dialect.signs ? chance.pick(['signed', 'sealed'] as const) : 'plain',
        whenDown: rechooses ? 'rechoose' : 'refuse',
      },
      limits: {
        ...defaultLimits,
        messageBytes: 65_536,
        queueBytes: chance.pick([400, 4000, 262_144]),
        connections: chance.pick([4, 8, 100]),
        connectionsPerAddress: chance.pick([0, 0, 3]),
        inFlight: chance.pick([5, 50, 65_536]),
        inFlightPerAddress: chance.pick([0, 0, 20]),
        messagesPerSecondPerAddress: chance.pick([0, 0, 5]),
        idleSeconds: chance.pick([60, 3600]),
        replySeconds: chance.pick([5, 60]),
        affinityEntries: chance.pick([8, 65_536]),
      },
      pipeline: [
        { plugin: dialect.plugin, options: optionsOf(dialect.plugin, dialect.options) },
        { plugin: strategy, options: optionsOf(strategy) },
      ],
    };
  }

  /** What the core says of errors is a violation: nothing here throws on purpose. */
  #log(): Logger {
    const quiet = () => {};
    return {
      debug: quiet,
      info: quiet,
      warn: quiet,
      error: (fields: { err?: Error }, text?: string) => {
        throw new Violation(`an error in the log: ${text} ${fields.err?.stack}`);
      },
    };
  }

  /** Counts how often each backend has become unusable: by what changes of itself, or of others if that ends a panic. */
  #watch(pool: Pool): void {
    const { setUp, setState, setPassing, setEjected, setWeight } = pool;
    const counting = <Rest extends unknown[], Result>(change: (...args: Rest) => Result) => {
      return (...args: Rest): Result => {
        const before = pool.backends.map(({ isUsable }) => isUsable);
        const result = change.apply(pool, args);
        for (const [index, { name, isUsable }] of pool.backends.entries()) {
          const key = `${pool.name}/${name}`;
          if (before[index] && !isUsable) this.#outages.set(key, (this.#outages.get(key) ?? 0) + 1);
        }
        return result;
      };
    };
    pool.setUp = counting(setUp);
    pool.setState = counting(setState);
    pool.setPassing = counting(setPassing);
    pool.setEjected = counting(setEjected);
    pool.setWeight = counting(setWeight);
  }

  #countOpened(exchanges: Exchanges | undefined, ledger: Ledger): void {
    if (exchanges === undefined) return;
    const { open } = exchanges;
    exchanges.open = (...request) => {
      ledger.opened++;
      return open.apply(exchanges, request);
    };
  }

  async start(): Promise<void> {
    await this.balancer.start();
    this.runtime.settle();
  }

  get messages(): number {
    return this.balancer.listeners.reduce((sum, { composed }) => {
      return sum + composed.accounting.client.received + composed.accounting.backend.received;
    }, 0);
  }

  /** Lets one thing happen, and some time pass. */
  act(): void {
    const { chance } = this;
    chance.pick(this.#acts)();
    const pace = chance.below(100);
    this.runtime.advance(pace < 65 ? chance.below(20) : pace < 95 ? chance.below(1500) : chance.below(30_000));
    this.check();
  }

  #weighted(): (() => void)[] {
    const { chance } = this;
    const acts: [times: number, act: () => void][] = [
      [30, () => this.#send()],
      [22, () => this.#answer()],
      [6, () => this.#dial()],
      [1, () => this.#crowd()],
      [2, () => this.#withClient('ends', (client) => client.end())],
      [2, () => this.#withClient('resets', (client) => client.reset())],
      [2, () => this.#withClient('pauses', (client) => client.peer.pause())],
      [5, () => this.#withClient('resumes', (client) => client.peer.resume())],
      [2, () => this.#withLink('pauses', (link) => link.peer.pause())],
      [5, () => this.#withLink('resumes', (link) => link.peer.resume())],
      [1, () => this.#withLink('resets', (link) => link.reset())],
      [1, () => this.#withLink('ends', (link) => link.end())],
      [
        1,
        () =>
          this.#withLink('breaks off', (link) => {
            link.answerInPart(chance);
            if (chance.percent(50)) link.reset();
            else link.end();
          }),
      ],
      [1, () => this.#withLink('talks nonsense', (link) => this.#talkNonsense(link))],
      [1, () => this.#pretend()],
      [2, () => this.#health()],
      [4, () => this.#heal()],
      [2, () => this.#flap()],
      [1, () => this.#operate()],
    ];
    return acts.flatMap(([times, act]) => Array.from({ length: times }, () => act));
  }

  #dial(group = this.chance.pick(this.groups), listener = this.chance.pick(group.listeners)): ClientOf | undefined {
    const { chance } = this;
    const id = ++this.#clientIds;
    const peer = this.runtime.dial(
      listener.settings.listen,
      `198.51.100.${1 + chance.below(3)}`,
      20_000 + (id % 40_000),
    );
    if (peer === undefined) return undefined;
    peer.takesLate = chance.percent(30);
    const client = new SimulatedClient(id, peer, group.dialect, group.ledger, this.#note);
    this.#note(`client ${id} dials ${listener.settings.name}`);
    const added = { group, listener, client };
    this.#clients.push(added);
    return added;
  }

  #crowd(): void {
    for (let count = this.chance.below(10); count > 0; count--) this.#dial();
  }

  #forgetClosed(): void {
    if (this.#clients.some(({ client }) => !client.open))
      this.#clients = this.#clients.filter(({ client }) => client.open);
  }

  #withClient(what: string, act: (client: SimulatedClient) => void): void {
    if (this.#clients.length === 0) return;
    const { client } = this.chance.pick(this.#clients);
    this.#note(`client ${client.id} ${what}`);
    act(client);
  }

  #send(): void {
    const { chance } = this;
    const { length } = this.#clients;
    const from = length < 2 || (length < fewClients && chance.percent(10)) ? this.#dial() : chance.pick(this.#clients);
    if (from === undefined || from.client.ended) return;
    const { client, group } = from;
    const messages = Array.from({ length: 1 + chance.below(chance.percent(10) ? 30 : 5) }, () => {
      const kind = chance.below(100);
      if (kind < 4 && group.dialect.malformed.length > 0) return chance.pick(group.dialect.malformed);
      return client.compose(kind < 8 && group.signs ? 'forged' : kind < 60 ? 'named' : 'free', chance);
    });
    client.write(messages, chance);
  }

  #withLink(what: string, act: (link: SimulatedBackend['links'][number]) => void): void {
    const backend = this.chance.pick(this.chance.pick(this.groups).backends);
    if (backend.links.length === 0) return;
    this.#note(`a link of ${backend.name} ${what}`);
    act(this.chance.pick(backend.links));
  }

  #answer(): void {
    const { chance } = this;
    for (const backend of chance.pick(this.groups).backends) {
      for (const link of backend.links) {
        if (link.ended) continue;
        for (let count = chance.below(link.waiting.length + 1); count > 0; count--) {
          const times = chance.below(100);
          link.answer(chance.below(link.waiting.length), times < 4 ? 0 : times < 8 ? 2 : 1);
        }
      }
    }
  }

  #talkNonsense(link: SimulatedBackend['links'][number]): void {
    if (link.dialect.nonsense.length > 0 && !link.ended) link.peer.send(this.chance.pick(link.dialect.nonsense));
  }

  /** A backend answers what another one was asked. */
  #pretend(): void {
    const group = this.chance.pick(this.groups);
    // Another listener may have given the same id to a request of its own.
    if (group.listeners.length > 1 || group.listeners[0]!.composed.exchanges === undefined) return;
    const [asked, pretender] = [this.chance.pick(group.backends), this.chance.pick(group.backends)];
    const request = asked.links[0]?.waiting[0];
    if (asked === pretender || request === undefined) return;
    this.#note(`${pretender.name} answers ${request.label} for ${asked.name}`);
    const answer = group.dialect.answer(request.bytes, `${request.label}/pretended`);
    for (const link of pretender.links) if (!link.ended) link.peer.send(answer);
  }

  #health(): void {
    const { chance } = this;
    const backend = chance.pick(chance.pick(this.groups).backends);
    backend.verdict = chance.pick(['refuse', 'hang'] as const);
    this.#note(`${backend.name} is to ${backend.verdict}`);
    if (chance.percent(80)) for (const link of backend.links) link.reset();
  }

  #heal(): void {
    const backend = this.chance.pick(this.chance.pick(this.groups).backends);
    backend.verdict = 'accept';
  }

  /** The checks of a backend begin to fail, or to pass, whatever its links do. */
  #flap(): void {
    const backend = this.chance.pick(this.chance.pick(this.groups).backends);
    backend.checkVerdict = this.chance.pick(['accept', 'accept', 'refuse', 'hang'] as const);
    this.#note(`checks of ${backend.name} are to ${backend.checkVerdict}`);
  }

  #operate(): void {
    const { chance } = this;
    const { pool } = chance.pick(this.groups);
    const backend = chance.pick(pool.backends);
    const state = chance.pick(['ready', 'ready', 'drain', 'maint'] as const);
    this.#note(`${pool.name}: ${backend.name} is in ${state}`);
    pool.setState(backend, state);
    pool.setWeight(backend, chance.below(4));
  }

  /** Everything that must hold whenever nothing is due. */
  check(): void {
    this.#forgetClosed();
    for (const group of this.groups) {
      let open = 0;
      for (const { settings, composed } of group.listeners) {
        const listener = this.balancer.listeners.find((each) => each.settings === settings)!;
        const stats = listener.stats();
        if (!balances(stats)) throw new Violation(`${settings.name} does not balance: ${JSON.stringify(stats)}`);
        const { limits } = settings;
        atMost(`${settings.name}: requests that wait`, composed.pipeline.waiting?.length ?? 0, 10);
        atMost(`${settings.name}: exchanges`, stats.exchanges.open, limits.inFlight);
        atMost(`${settings.name}: clients`, stats.connections.open, limits.connections);
        atMost(`${settings.name}: affinity entries`, stats.affinity.entries, limits.affinityEntries);
        open += composed.exchanges?.size ?? 0;
      }
      atMost('bytes kept to be replayed', group.pool.keptBytes, group.pool.settings.replayBytes ?? 0);
      const inFlight = group.pool.backends.reduce((sum, backend) => sum + backend.inFlight, 0);
      const counts = group.listeners.every(({ composed }) => composed.exchanges !== undefined);
      if (counts && inFlight !== open) throw new Violation(`${open} exchanges are open, but ${inFlight} in flight`);
      for (const backend of group.pool.backends) {
        if (backend.inFlight < 0) throw new Violation(`${backend.name} has ${backend.inFlight} in flight`);
      }
      const { isPanicking } = group.pool;
      for (const { name, up, state, isHealthy } of group.pool.available) {
        const isFit = up && state === 'ready' && (isHealthy || isPanicking);
        if (!isFit) throw new Violation(`${name} gets new work, and should not`);
      }
      for (const backend of group.backends) {
        for (const link of backend.links) this.#checkQueue(link.peer, 2 * group.pool.settings.queueBytes);
      }
    }
    const reading = new Set(this.#clients.flatMap(({ client }) => (client.reads ? client.id : [])));
    for (const { ledger, listeners } of this.groups) {
      const replySeconds = Math.min(...listeners.map(({ settings }) => settings.limits.replySeconds));
      ledger.checkWaiting(replySeconds, (client) => reading.has(client));
    }
    for (const { client, listener } of this.#clients) {
      // What had waited for a backend that is down is refused all at once, and was read long before.
      const { redispatched, replays } = listener.composed.accounting;
      const lateReplies = (redispatched + replays.received) * longestReplyBytes;
      this.#checkQueue(client.peer, listener.settings.limits.queueBytes + lateReplies);
    }
  }

  #checkQueue(peer: VirtualPeer, queueBytes: number): void {
    const { outbox, heldBytes } = peer.socket.handler as Peer;
    atMost('queued bytes', outbox.waitingBytes, queueBytes + aboveLimitBytes);
    atMost('bytes kept', heldBytes, 65_536);
  }

  /** All faults cease; what was begun in vain is given up. */
  heal(): void {
    this.#note('all is well from now on');
    for (const { pool, backends } of this.groups) {
      for (const backend of pool.backends) {
        pool.setState(backend, 'ready');
        pool.setWeight(backend, 1);
      }
      for (const backend of backends) {
        backend.verdict = 'accept';
        backend.checkVerdict = 'accept';
        backend.isEager = true;
        for (const link of backend.links) {
          link.peer.resume();
          // What it has not answered it never will.
          link.waiting.length = 0;
        }
      }
    }
    for (const { client } of this.#clients) {
      client.peer.resume();
      client.finish();
    }
    this.runtime.advance(40_000);
    this.check();
    for (const group of this.groups) this.#checkMissing(group);
    for (const { client } of this.#clients) {
      if (client.peer.socket.delimits) client.reset();
      else client.end();
    }
    for (let seconds = 0; seconds < 400; seconds += 20) {
      this.runtime.advance(20_000);
      this.check();
    }
  }

  /** What clients that are still connected have sent has reached a backend, was refused, or was on a link that broke. */
  #checkMissing(group: Group): void {
    let missing = 0;
    for (const { group: its, client } of this.#clients) {
      if (its !== group) continue;
      missing += client.missing;
    }
    const forwarded = group.listeners.reduce((sum, { composed: { accounting } }) => {
      return sum + accounting.client.forwarded + accounting.replays.forwarded + accounting.checks.forwarded;
    }, 0);
    const broken = forwarded - group.ledger.deliveries;
    if (missing > broken)
      throw new Violation(`${missing} requests are missing, but only ${broken} were on broken links`);
  }

  /** After `heal`: nothing is left of what was, and every request is answered. */
  proveHealthy(): void {
    for (const group of this.groups) {
      for (const backend of group.pool.backends) {
        if (!backend.isHealthy) throw new Violation(`${backend.name} is still down, fails its checks or is ejected`);
        if (backend.weight !== 1) throw new Violation(`${backend.name} still has a weight of ${backend.weight}`);
        if (group.pool.keptBytes !== 0) throw new Violation(`${group.pool.keptBytes} bytes are kept`);
        if (backend.inFlight !== 0) throw new Violation(`${backend.name} still has ${backend.inFlight} in flight`);
      }
      for (const listener of group.listeners) {
        const { open } = listener.stats().connections;
        if (open !== 0) throw new Violation(`${listener.settings.name} still has ${open} clients`);
        const client = this.#dial(group, listener)!.client;
        for (let i = 0; i < 3; i++) {
          client.peer.send(client.compose('named', this.chance));
          this.runtime.advance(1000);
        }
        const lost = client.requests.find((request) => !group.ledger.isAnswered(request));
        if (lost !== undefined) throw new Violation(`${lost} is not answered although all is well`);
        if (!client.peer.socket.delimits) client.end();
        else client.reset();
        this.runtime.advance(20);
        this.check();
      }
    }
  }

  /** Stops the balancer while everybody goes on. */
  async stop(deadlineSeconds: number): Promise<void> {
    this.#note(`stops within ${deadlineSeconds} s`);
    let isStopped = false;
    const stopped = this.balancer.stop({ deadlineSeconds }).finally(() => {
      isStopped = true;
    });
    while (!isStopped) {
      if (this.chance.percent(50)) this.act();
      else this.runtime.advance(20);
      await new Promise((resolve) => setImmediate(resolve));
    }
    await stopped;
    this.runtime.settle();
    this.#checkStopped();
  }

  #checkStopped(): void {
    if (this.runtime.timers !== 0) throw new Violation(`${this.runtime.timers} timers are left`);
    for (const { pool, listeners, ledger, backends } of this.groups) {
      let refused = 0;
      for (const listener of listeners) {
        const stats = listener.stats();
        if (!balances(stats)) throw new Violation(`it does not balance in the end: ${JSON.stringify(stats)}`);
        const left = stats.queued + stats.connections.open + stats.exchanges.open;
        if (left !== 0) throw new Violation(`something is left in the end: ${JSON.stringify(stats)}`);
        refused += stats.fromClients.refused + stats.exchanges.refused + stats.replays.refused;
      }
      atMost('refusals that arrived', ledger.refusals, refused);
      for (const backend of pool.backends) {
        if (backend.connections !== 0) throw new Violation(`${backend.name} has ${backend.connections} links left`);
        if (backend.fullLinks !== 0) throw new Violation(`${backend.name} has ${backend.fullLinks} full links left`);
      }
      for (const { name, links } of backends) {
        if (links.length > 0) throw new Violation(`the balancer has not closed ${links.length} links to ${name}`);
      }
    }
  }
}

/** The longest reply to a refused message. */
const longestReplyBytes = 1024;

function atMost(what: string, value: number, limit: number): void {
  if (value > limit) throw new Violation(`${what}: ${value}, and ${limit} is the limit`);
}
