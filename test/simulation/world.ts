/**
 * The world of one seed: pools and listeners of different kinds, the real balancer between them on a virtual runtime, and the peers
 * around it. `act` makes one thing happen; `check` checks everything that must hold.
 */
import { balances } from '../../core/accounting.ts';
import { Balancer } from '../../core/balancer.ts';
import type { Client } from '../../core/client.ts';
import type { Exchanges } from '../../core/exchanges.ts';
import type { Link } from '../../core/link.ts';
import type { Listener } from '../../core/listener.ts';
import type { Message } from '../../core/message.ts';
import type { Peer } from '../../core/peer.ts';
import type { Logger } from '../../core/plugin.ts';
import type { Backend, Pool } from '../../core/pool.ts';
import { formatAddress } from '../../core/runtime/address.ts';
import { type VirtualPeer, VirtualRuntime } from '../../core/runtime/virtual.ts';
import type { BackendState, Settings } from '../../core/settings.ts';
import { asking } from './asking.ts';
import type { Dialect } from './dialects.ts';
import { type Closed, Ledger, Violation } from './ledger.ts';
import { Chance, type Note, SimulatedBackend, SimulatedClient } from './peers.ts';
import { checkPort, drawKinds, drawSettings, type Kind, redraw } from './settings.ts';

/** Clients that a listener has at most, but for those who come in a crowd. */
const fewClients = 6;
/** By how many bytes a queue may pass its limit: by a message from each of those who feed it. */
const aboveLimitBytes = 4096;

/** A pool with its backends, its listeners and what was sent between them. */
interface Group {
  readonly kind: Kind;
  readonly dialect: Dialect;
  readonly pool: Pool;
  readonly ledger: Ledger;
  /** By name: all that there have been, wherever they were. */
  readonly backends: Map<string, SimulatedBackend>;
  /** The balancer's, also those that the config has no more. */
  readonly known: Set<Backend>;
  /** Backends that get no new work, or none at all, because somebody wants it so. */
  readonly closed: Map<string, Closed>;
  /** Since when each can be used; those that cannot are missing. */
  readonly usableSinceMs: Map<string, number>;
  /** Where clients can connect. */
  listeners: readonly Listener[];
  /** Those, and those that go on with the clients that they have, and those that have left. */
  readonly all: Set<Listener>;
  /** The shortest time that an answer has ever been waited for. */
  replySeconds: number;
  /** The longest that a link's queue has ever been allowed to be. */
  queueBytes: number;
}

interface ClientOf {
  readonly group: Group;
  readonly listener: Listener;
  readonly client: SimulatedClient;
}

export class World {
  readonly runtime: VirtualRuntime;
  readonly chance: Chance;
  readonly groups: readonly Group[];
  readonly balancer: Balancer;
  readonly #note: Note;
  #settings: Settings;
  #keysSinceMs = -1;
  #isStopping = false;
  /** So much happens in so little time that ids which are few come round to requests that still wait. */
  readonly isHasty: boolean;
  readonly #counted = new WeakSet<Exchanges>();
  #clients: ClientOf[] = [];
  #clientIds = 0;
  /** Weighted: each as often as it stands here. */
  readonly #acts: readonly (() => void | Promise<void>)[];

  constructor(seed: number, note: Note) {
    this.#note = note;
    this.runtime = new VirtualRuntime(seed, { reorders: true });
    const chance = (this.chance = new Chance(this.runtime.random));
    const ledgerOf = (pool: string) => this.groups.find((group) => group.pool.name === pool)!.ledger;
    const kinds = drawKinds(chance, (dialect) => asking(dialect, ledgerOf, note));
    this.isHasty = kinds.some(({ dialect }) => dialect.answerWithin !== undefined) && chance.percent(60);
    this.#settings = drawSettings(kinds, chance);
    this.balancer = new Balancer(this.#settings, { runtime: this.runtime, log: this.#log() });
    this.groups = kinds.map((kind, index) => this.#group(kind, this.balancer.pools[index]!));
    this.#acts = this.#weighted();
  }

  #group(kind: Kind, pool: Pool): Group {
    const { dialect, rechooses, replays } = kind;
    const usableSinceMs = new Map(pool.backends.filter(({ isUsable }) => isUsable).map(({ name }) => [name, 0]));
    const closed = new Map<string, Closed>();
    const all = new Set<Listener>();
    const ledger = new Ledger(
      dialect,
      { rechooses, replays },
      {
        now: this.runtime.now,
        usableSinceMs: (backend) => usableSinceMs.get(backend) ?? Number.POSITIVE_INFINITY,
        closed: (backend) => closed.get(backend),
        replySeconds: () => group.replySeconds,
        redispatched: () => {
          let sum = 0;
          for (const { composed } of all)
            sum += composed.accounting.redispatched + composed.accounting.replays.received;
          return sum;
        },
        keysSinceMs: () => this.#keysSinceMs,
        remembers: (client) => this.#withId(client)?.listener.composed.affinity?.evicted === 0,
        isThere: (client) => this.#withId(client)?.client.isThere === true,
      },
    );
    const group: Group = {
      kind,
      dialect,
      pool,
      ledger,
      backends: new Map(),
      known: new Set(),
      closed,
      usableSinceMs,
      listeners: [],
      all,
      replySeconds: Number.POSITIVE_INFINITY,
      queueBytes: 0,
    };
    this.#watch(group);
    this.#meetBackends(group);
    this.#meetListeners(group);
    this.#note(
      `pool ${pool.name}: ${dialect.name}, ${pool.backends.length} backends, ${rechooses ? 'rechoose' : 'refuse'}; ` +
        group.listeners
          .map(({ settings }) => `${formatAddress(settings.listen)} ${settings.pipeline[1]!.plugin.name}`)
          .join(', '),
    );
    return group;
  }

  /** Backends that the pool has now, wherever they were before, are there when somebody connects. */
  #meetBackends(group: Group): void {
    const { pool, backends, known, dialect, ledger } = group;
    group.queueBytes = Math.max(group.queueBytes, pool.settings.queueBytes);
    for (const each of pool.backends) {
      if (known.has(each)) continue;
      known.add(each);
      let backend = backends.get(each.name);
      if (backend === undefined) {
        backend = new SimulatedBackend(each.name, dialect, ledger, this.#note, this.chance);
        backend.isEager = this.chance.percent(30);
        backends.set(each.name, backend);
      }
      const its = backend;
      const checked = { ...each.address, transport: 'tcp', port: checkPort } as const;
      const address = formatAddress(each.address);
      this.runtime.servers.set(address, (peer) => its.accept(address, peer));
      this.runtime.servers.set(formatAddress(checked), () => its.checkVerdict);
    }
  }

  #meetListeners(group: Group): void {
    group.listeners = this.balancer.listeners.filter(({ settings }) => settings.pool === group.pool.name);
    for (const listener of group.listeners) {
      group.all.add(listener);
      group.replySeconds = Math.min(group.replySeconds, listener.settings.limits.replySeconds);
      this.#countOpened(listener.composed.exchanges, group.ledger);
    }
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

  /** Notes since when backends can be used, by what changes of themselves, or of others if that ends a panic; and who wants it so. */
  #watch(group: Group): void {
    const { pool, usableSinceMs, closed } = group;
    const counting = <Rest extends unknown[], Result>(change: (...args: Rest) => Result) => {
      return (...args: Rest): Result => {
        const before = pool.backends.filter(({ isUsable }) => isUsable);
        const result = change.apply(pool, args);
        for (const each of before) {
          if (!each.isUsable) usableSinceMs.delete(each.name);
          if (!pool.backends.includes(each)) this.#close(closed, each.name, 'removed');
        }
        for (const { name, isUsable } of pool.backends) {
          if (isUsable && !usableSinceMs.has(name)) usableSinceMs.set(name, this.runtime.now());
        }
        for (const { name, state } of pool.backends) this.#close(closed, name, state);
        return result;
      };
    };
    pool.setUp = counting(pool.setUp);
    pool.setState = counting(pool.setState);
    pool.setPassing = counting(pool.setPassing);
    pool.setEjected = counting(pool.setEjected);
    pool.setWeight = counting(pool.setWeight);
    const { plan } = pool;
    pool.plan = (settings) => {
      const { preview, commit } = plan.call(pool, settings);
      const counted = counting(commit);
      return {
        preview,
        commit: () => {
          counted();
          this.#meetBackends(group);
        },
      };
    };
  }

  #close(closed: Map<string, Closed>, name: string, state: BackendState | 'removed'): void {
    if (state === 'ready') closed.delete(name);
    else if (closed.get(name)?.state !== state) closed.set(name, { state, sinceMs: this.runtime.now() });
  }

  #countOpened(exchanges: Exchanges | undefined, ledger: Ledger): void {
    if (exchanges === undefined || this.#counted.has(exchanges)) return;
    this.#counted.add(exchanges);
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

  /** Messages that the balancer received, from either side. */
  get messages(): number {
    let sum = 0;
    for (const { all } of this.groups) {
      for (const { composed } of all) sum += composed.accounting.client.received + composed.accounting.backend.received;
    }
    return sum;
  }

  /** Lets one thing happen, and some time pass. */
  async act(): Promise<void> {
    const { chance } = this;
    await chance.pick(this.#acts)();
    const pace = chance.below(100);
    await this.#advance(
      pace < (this.isHasty ? 95 : 65)
        ? chance.below(20)
        : pace < (this.isHasty ? 99 : 95)
          ? chance.below(1500)
          : chance.below(30_000),
    );
  }

  /** Lets time pass; then all that must hold does. */
  async #advance(milliseconds: number): Promise<void> {
    this.runtime.advance(milliseconds);
    // What stops waits for promises, too.
    await new Promise((resolve) => setImmediate(resolve));
    this.runtime.settle();
    this.check();
  }

  #weighted(): (() => void | Promise<void>)[] {
    const { chance } = this;
    const acts: [times: number, act: () => void | Promise<void>][] = [
      [30, () => this.#send()],
      [22, () => this.#answer()],
      [6, () => this.#dial()],
      [1, () => this.#crowd()],
      [2, () => this.#withClient('ends', (client) => client.end())],
      [2, () => this.#withClient('resets', (client) => client.reset())],
      [
        1,
        () =>
          this.#withClient('is closed by an operator', ({ peer }) => {
            void this.balancer.closeConnection((peer.socket.handler as Client).id);
          }),
      ],
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
      [2, () => this.#operate()],
      [1, () => this.#reload()],
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

  #withId(id: number): ClientOf | undefined {
    return this.#clients.find(({ client }) => client.id === id);
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
      const following = group.dialect.calls && this.#follow(from);
      if (following !== undefined) return following;
      return client.compose(kind < 8 && group.kind.signs ? 'forged' : kind < 60 ? 'named' : 'free', chance);
    });
    client.write(messages, chance);
  }

  /** What a client says that follows a request, on that connection or on another one; undefined: nothing. */
  #follow({ client, listener }: ClientOf): Buffer | undefined {
    const { chance } = this;
    if (!chance.percent(40)) return undefined;
    const owed = client.owed();
    if (owed !== undefined || chance.percent(70)) return owed;
    return client.takeBack(
      chance.pick(this.#clients.filter((each) => each.listener === listener)).client.calls,
      chance,
    );
  }

  #withLink(what: string, act: (link: SimulatedBackend['links'][number]) => void): void {
    const backend = this.#anyBackend();
    if (backend.links.length === 0) return;
    this.#note(`a link of ${backend.name} ${what}`);
    act(this.chance.pick(backend.links));
  }

  #anyBackend(group = this.chance.pick(this.groups)): SimulatedBackend {
    return this.chance.pick([...group.backends.values()]);
  }

  #answer(): void {
    const { chance } = this;
    const group = chance.pick(this.groups);
    if (group.dialect.calls !== undefined) this.#converse(group);
    for (const backend of group.backends.values()) {
      for (const link of backend.links) {
        if (link.ended) continue;
        for (let count = chance.below(link.waiting.length + 1); count > 0; count--) {
          const times = chance.below(100);
          link.answer(chance.below(link.waiting.length), times < 4 ? 0 : times < 8 ? 2 : 1);
        }
      }
    }
  }

  /** Backends ask clients, which answer. */
  #converse({ backends, dialect }: Group): void {
    const { chance } = this;
    for (const { links, callers } of backends.values()) {
      for (const link of links) {
        if (link.ended) continue;
        if (callers.length > 0 && chance.percent(20)) link.inquire(chance.pick(callers), chance.percent(5));
      }
    }
    for (const { client } of this.#clients) {
      if (client.dialect === dialect) client.answerSome(chance.below(client.asked + 1));
    }
  }

  #talkNonsense(link: SimulatedBackend['links'][number]): void {
    if (link.dialect.nonsense.length > 0 && !link.ended) link.peer.send(this.chance.pick(link.dialect.nonsense));
  }

  /** A backend answers what another one was asked. */
  #pretend(): void {
    const group = this.chance.pick(this.groups);
    // Another listener may have given the same id to a request of its own.
    if (group.all.size > 1 || group.listeners[0]!.composed.exchanges === undefined) return;
    const [asked, pretender] = [this.#anyBackend(group), this.#anyBackend(group)];
    const request = asked.links[0]?.waiting[0];
    if (asked === pretender || request === undefined) return;
    this.#note(`${pretender.name} answers ${request.label} for ${asked.name}`);
    const answer = group.dialect.answer(request.bytes, `${request.label}/pretended`);
    for (const link of pretender.links) if (!link.ended) link.peer.send(answer);
  }

  #health(): void {
    const { chance } = this;
    const backend = this.#anyBackend();
    backend.verdict = chance.pick(['refuse', 'hang'] as const);
    this.#note(`${backend.name} is to ${backend.verdict}`);
    if (chance.percent(80)) for (const link of backend.links) link.reset();
  }

  #heal(): void {
    this.#anyBackend().verdict = 'accept';
  }

  /** The checks of a backend begin to fail, or to pass, whatever its links do. */
  #flap(): void {
    const backend = this.#anyBackend();
    backend.checkVerdict = this.chance.pick(['accept', 'accept', 'refuse', 'hang'] as const);
    this.#note(`checks of ${backend.name} are to ${backend.checkVerdict}`);
  }

  /** An operator drains a backend, takes it out or lets it in, and changes its weight. */
  #operate(): void {
    const { chance } = this;
    const { pool } = chance.pick(this.groups);
    const { name } = chance.pick(pool.backends);
    const state = chance.pick(['ready', 'ready', 'drain', 'maint'] as const);
    const weight = chance.below(4);
    this.#note(`${pool.name}: ${name} is in ${state}, of weight ${weight}`);
    this.balancer.setBackend(pool.name, name, { state, weight });
  }

  /** The config changes. */
  async #reload(): Promise<void> {
    if (this.#isStopping) return;
    const { kind, pool } = this.chance.pick(this.groups);
    const { keys } = this.#settings;
    this.#settings = redraw(this.#settings, { kind, chance: this.chance });
    const rotates = this.#settings.keys !== keys;
    const { backends } = this.#settings.pools.find(({ name }) => name === pool.name)!;
    const listeners = this.#settings.listeners.filter((each) => each.pool === pool.name);
    this.#note(
      `reload of ${pool.name}: ${backends.map(({ name, address }) => `${name} at ${formatAddress(address)}`).join(', ')}; ` +
        listeners.map(({ name, listen }) => `${name} on ${formatAddress(listen)}`).join(', '),
    );
    if (rotates) this.#note('the keys change');
    if (rotates) this.#keysSinceMs = this.runtime.now();
    await this.runtime.until(this.balancer.reload(this.#settings));
    for (const group of this.groups) this.#meetListeners(group);
  }

  /** Everything that must hold whenever nothing is due. */
  check(): void {
    this.#forgetClosed();
    for (const group of this.groups) {
      let open = 0;
      const all = [...group.all].map((listener) => ({ listener, stats: listener.stats() }));
      if (!balances(...all.map(({ stats }) => stats)))
        throw new Violation(`it does not balance: ${JSON.stringify(all.map(({ stats }) => stats))}`);
      for (const { listener, stats } of all) {
        const { settings, composed } = listener;
        const { limits } = settings;
        atMost(`${settings.name}: requests that wait`, composed.pipeline.waiting?.length ?? 0, 10);
        atMost(`${settings.name}: exchanges`, stats.exchanges.open, limits.inFlight);
        atMost(`${settings.name}: clients`, stats.connections.open, limits.connections);
        atMost(`${settings.name}: affinity entries`, stats.affinity.entries, limits.affinityEntries);
        open += stats.exchanges.open;
      }
      atMost('bytes kept to be replayed', group.pool.keptBytes, group.pool.settings.replayBytes ?? 0);
      let inFlight = 0;
      for (const backend of group.known) {
        if (backend.inFlight < 0) throw new Violation(`${backend.name} has ${backend.inFlight} in flight`);
        inFlight += backend.inFlight;
      }
      const counts = group.listeners[0]!.composed.exchanges !== undefined;
      if (counts && inFlight !== open) throw new Violation(`${open} exchanges are open, but ${inFlight} in flight`);
      const { isPanicking } = group.pool;
      for (const { name, up, state, isHealthy } of group.pool.available) {
        const isFit = up && state === 'ready' && (isHealthy || isPanicking);
        if (!isFit) throw new Violation(`${name} gets new work, and should not`);
      }
      const tables = [...group.all].flatMap(({ composed }) => composed.exchanges ?? []);
      for (const { links } of group.backends.values()) {
        for (const { peer } of links) {
          this.#checkQueue(peer, 2 * group.queueBytes);
          checkExchanges(peer.socket.handler as Link, tables);
        }
      }
    }
    const reading = new Set(this.#clients.flatMap(({ client }) => (client.reads ? client.id : [])));
    for (const { ledger } of this.groups) ledger.checkWaiting((client) => reading.has(client));
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
  async heal(): Promise<void> {
    this.#note('all is well from now on');
    for (const { pool, backends } of this.groups) {
      for (const backend of pool.backends) {
        pool.setState(backend, 'ready');
        pool.setWeight(backend, 1);
      }
      for (const backend of backends.values()) {
        backend.verdict = 'accept';
        backend.checkVerdict = 'accept';
        backend.isEager = true;
        backend.isPrompt = true;
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
      client.forgetAsked();
    }
    await this.#advance(40_000);
    for (const group of this.groups) this.#checkMissing(group);
    for (const { client } of this.#clients) {
      if (client.peer.socket.delimits) client.reset();
      else client.end();
    }
    for (let seconds = 0; seconds < 700; seconds += 20) await this.#advance(20_000);
  }

  /**
   * What clients that are still connected have sent has reached a backend, was refused, or was on a link that broke; what cannot be
   * refused may have been discarded. What backends have asked of them over links that still work was so, too.
   */
  #checkMissing(group: Group): void {
    let missing = 0;
    let missingRemarks = 0;
    for (const { group: its, client } of this.#clients) {
      if (its !== group) continue;
      missing += client.missing;
      missingRemarks += client.missingRemarks;
    }
    let forwarded = 0;
    let discarded = 0;
    let discardedAsked = 0;
    for (const { composed } of group.all) {
      const { client, backend, replays, checks } = composed.accounting;
      forwarded += client.forwarded + replays.forwarded + checks.forwarded;
      discarded += client.discarded;
      discardedAsked += backend.discarded;
    }
    const broken = forwarded - group.ledger.deliveries;
    if (missing > broken)
      throw new Violation(`${missing} requests are missing, but only ${broken} were on broken links`);
    if (missing + missingRemarks > broken + discarded)
      throw new Violation(`${missingRemarks} more are missing, but only ${discarded} were discarded`);
    const { lostInquiries } = group.ledger;
    if (lostInquiries > discardedAsked)
      throw new Violation(`clients have not got ${lostInquiries} requests, but only ${discardedAsked} were discarded`);
  }

  /** After `heal`: nothing is left of what was, and every request is answered. */
  async proveHealthy(): Promise<void> {
    for (const group of this.groups) {
      for (const backend of group.pool.backends) {
        if (!backend.isHealthy) throw new Violation(`${backend.name} is still down, fails its checks or is ejected`);
        if (backend.weight !== 1) throw new Violation(`${backend.name} still has a weight of ${backend.weight}`);
      }
      if (group.pool.keptBytes !== 0) throw new Violation(`${group.pool.keptBytes} bytes are kept`);
      for (const { name, inFlight, removed, connections } of group.known) {
        if (inFlight !== 0) throw new Violation(`${name} still has ${inFlight} in flight`);
        if (removed && connections !== 0) throw new Violation(`${name} is gone, and has ${connections} links`);
      }
      for (const listener of group.all) {
        const { open } = listener.stats().connections;
        if (open !== 0) throw new Violation(`${listener.settings.name} still has ${open} clients`);
        if (!group.listeners.includes(listener) && !listener.hasEnded) {
          throw new Violation(`${listener.settings.name} has not left`);
        }
      }
      for (const listener of group.listeners) {
        const client = this.#dial(group, listener)!.client;
        for (let i = 0; i < 3; i++) {
          client.peer.send(client.compose('named', this.chance));
          await this.#advance(1000);
        }
        if (group.dialect.calls !== undefined) this.#proveConversation(group, client);
        const lost = client.requests.find((request) => !group.ledger.isAnswered(request));
        if (lost !== undefined) throw new Violation(`${lost} is not answered although all is well`);
        if (!client.peer.socket.delimits) client.end();
        else client.reset();
        await this.#advance(20);
      }
    }
  }

  /** A client says what it has to say to refusals, and answers what backends ask: all that arrives. */
  #proveConversation({ backends, ledger }: Group, client: SimulatedClient): void {
    for (let i = 0; i < 10; i++) {
      client.peer.send(client.owed() ?? Buffer.alloc(0));
      this.runtime.advance(1000);
    }
    for (const { links, callers } of backends.values()) {
      const caller = callers.findLast((each) => each.client === client.id);
      if (caller === undefined || links.length === 0) continue;
      const inquiry = this.chance.pick(links).inquire(caller, false);
      this.runtime.advance(1000);
      client.answerSome(1);
      this.runtime.advance(1000);
      if (!ledger.isAnsweredBack(inquiry)) throw new Violation(`${inquiry} is not answered although all is well`);
    }
    const lost = client.remarks.find((remark) => !ledger.hasArrived(remark));
    if (lost !== undefined) throw new Violation(`${lost} has not arrived although all is well`);
  }

  /** Stops the balancer while everybody goes on. */
  async stop(deadlineSeconds: number): Promise<void> {
    this.#note(`stops within ${deadlineSeconds} s`);
    this.#isStopping = true;
    let isStopped = false;
    const stopped = this.balancer.stop({ deadlineSeconds }).finally(() => {
      isStopped = true;
    });
    while (!isStopped) {
      if (this.chance.percent(50)) await this.act();
      else await this.#advance(20);
    }
    await stopped;
    this.runtime.settle();
    this.#checkStopped();
  }

  #checkStopped(): void {
    if (this.runtime.timers !== 0) throw new Violation(`${this.runtime.timers} timers are left`);
    for (const { known, all, ledger, backends } of this.groups) {
      let refused = 0;
      for (const listener of all) {
        const stats = listener.stats();
        if (!balances(stats)) throw new Violation(`it does not balance in the end: ${JSON.stringify(stats)}`);
        const left = stats.queued + stats.connections.open + stats.exchanges.open;
        if (left !== 0) throw new Violation(`something is left in the end: ${JSON.stringify(stats)}`);
        refused += stats.fromClients.refused + stats.exchanges.refused + stats.replays.refused;
      }
      atMost('refusals that arrived', ledger.refusals, refused);
      for (const backend of known) {
        if (backend.connections !== 0) throw new Violation(`${backend.name} has ${backend.connections} links left`);
        if (backend.dedicatedLinks !== 0)
          throw new Violation(`${backend.name} has ${backend.dedicatedLinks} dedicated links left`);
        if (backend.fullLinks !== 0) throw new Violation(`${backend.name} has ${backend.fullLinks} full links left`);
      }
      for (const { name, links } of backends.values()) {
        if (links.length > 0) throw new Violation(`the balancer has not closed ${links.length} links to ${name}`);
      }
    }
  }
}

/** The longest reply to a refused message. */
const longestReplyBytes = 1024;

/** Every request that a link has carried is found by the id that its answer brings back. */
function checkExchanges(link: Link, tables: readonly Exchanges[]): void {
  const answer = { source: link } as Message;
  for (let each = link.carried.oldest; each !== undefined; each = each.newer) {
    const { id } = each;
    if (!tables.some((table) => table.find(answer, id) === each)) {
      throw new Violation(`the request of client ${each.client.id} that has got the id ${id} is not found by it`);
    }
  }
}

function atMost(what: string, value: number, limit: number): void {
  if (value > limit) throw new Violation(`${what}: ${value}, and ${limit} is the limit`);
}
