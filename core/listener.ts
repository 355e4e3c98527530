/**
 * A listener: an address where clients connect, a pipeline, and the links to the pool it feeds. A reload gives it another pipeline,
 * which its clients and links go on with from their next message; tables and counters stay. Where the new pipeline cannot take them
 * over (another protocol, another pool), a new listener takes over the listening socket instead, and this one goes on with the
 * clients that it has until they leave.
 */
import { isDeepStrictEqual } from 'node:util';
import type { ListenerStats } from './accounting.ts';
import { Client } from './client.ts';
import type { Clients } from './clients.ts';
import { areFamiliar, type Composed, composePipeline } from './compose.ts';
import { PointsmanError } from './errors.ts';
import { LinkLines } from './health/check-lines.ts';
import { networks } from './limits/networks.ts';
import { Visitors } from './limits/visitors.ts';
import { Links, logBackendNews } from './links.ts';
import { listenerStats } from './listener-stats.ts';
import { Turn } from './outbox.ts';
import { lingerMs } from './peer.ts';
import type { Pool } from './pool.ts';
import { type Address, formatAddress } from './runtime/address.ts';
import type { ListeningSocket, Runtime, Socket, SocketHandler } from './runtime/runtime.ts';
import type { Services } from './services.ts';
import type { ListenerSettings } from './settings.ts';

/** How often deadlines are checked. */
const sweepMs = 1000;
/** How often, while it is stopping, it is checked who is owed nothing any more. */
const stopLookMs = 20;
/** If nobody can tell whether answers are due, a client that has been quiet for this long is taken to have had them all. */
const quietMs = 1000;
/**
 * When it stops, how long clients have to close their end: if we closed with something unread, they would lose what is on its way
 * to them.
 */
const farewellMs = 1000;

/** A listening socket, and the listener that accepts connections there. */
interface Door {
  readonly socket: ListeningSocket;
  keeper: Listener;
  /** The settings that cannot be changed while it is open. */
  readonly fixed: object;
}

export class Listener {
  settings: ListenerSettings;
  composed: Composed;
  readonly #runtime: Runtime;
  readonly #registry: Clients;
  readonly #pool: Pool;
  readonly #turn: Turn;
  readonly #links: Links;
  readonly #lines: LinkLines;
  readonly #visitors: Visitors;
  readonly #clients = new Set<Client>();
  #door: Door | undefined;
  #cancelSweep: (() => void) | undefined;
  #started = false;
  #stopped: Promise<void> | undefined;
  #stopsAtMs = Number.POSITIVE_INFINITY;

  constructor(settings: ListenerSettings, pool: Pool, services: Services) {
    this.settings = settings;
    this.#runtime = services.runtime;
    this.#registry = services.clients;
    this.#pool = pool;
    this.#visitors = new Visitors(settings);
    this.composed = composePipeline(settings, pool, services);
    this.#turn = new Turn(services.runtime);
    const { pipeline, links } = this.composed;
    const tell = services.onBackendNews ?? ((news) => logBackendNews(services.log, news));
    this.#links = new Links(services.runtime, this.#turn, pool, pipeline, links, (backend, error) =>
      tell({
        listener: settings.name,
        pool: pool.name,
        backend: backend.name,
        aspect: 'link',
        up: backend.up,
        error,
      }),
    );
    pipeline.forwarding.links = this.#links;
    this.#lines = new LinkLines(settings.name, {
      runtime: services.runtime,
      turn: this.#turn,
      clients: services.clients,
      pipeline: () => this.composed.pipeline,
    });
  }

  /** Where it listens; undefined before `start`, and after another listener has taken over. */
  get address(): Address | undefined {
    return this.#door?.socket.address;
  }

  /** @throws PointsmanError (rejects with) if the address cannot be opened */
  async start(): Promise<void> {
    await this.open();
    this.run();
  }

  /**
   * Prepares other settings: composes a pipeline that can take over from the present one.
   * @returns undefined if that is not possible, and another listener is needed
   * @throws PluginError if a plugin cannot be applied
   */
  prepare(settings: ListenerSettings, pool: Pool, services: Services): Composed | undefined {
    if (pool !== this.#pool || !this.listensAt(settings.listen)) return undefined;
    const composed = composePipeline(settings, pool, services, this.composed);
    if (!composed.succeeds) return undefined;
    this.#checkDoor(this.#door, settings, composed);
    return composed;
  }

  /** Goes on with what `prepare` has made. */
  succeed(settings: ListenerSettings, composed: Composed): void {
    const isFamiliar = areFamiliar(this.composed, composed);
    const { limits } = settings;
    this.settings = settings;
    const former = this.composed.pipeline;
    this.composed = composed;
    this.#visitors.follow(settings);
    const { pipeline, exchanges, affinity, facts } = composed;
    pipeline.forwarding.links = this.#links;
    exchanges?.setLimits(limits.inFlight, limits.replySeconds);
    if (facts.relatedIds !== undefined) affinity?.follow(limits.affinityEntries, facts.relatedIds.bind(facts));
    for (const client of this.#clients) client.moveTo(pipeline, isFamiliar);
    this.followPool(isFamiliar);
    pipeline.takeOver(former);
    if (settings.tls !== undefined) this.#door?.socket.secure?.(settings.tls);
  }

  /** Follows the pool to the backends that it has now. */
  followPool(isFamiliar = true): void {
    this.composed.identifiers.followPool();
    this.#links.follow(this.composed.pipeline, isFamiliar);
  }

  listensAt(address: Address): boolean {
    return formatAddress(this.settings.listen) === formatAddress(address);
  }

  /** @throws PointsmanError if the listening socket, which stays open, cannot be used with these settings */
  #checkDoor(door: Door | undefined, settings: ListenerSettings, composed: Composed): void {
    if (door === undefined || isDeepStrictEqual(door.fixed, fixedOf(settings, composed))) return;
    throw new PointsmanError(
      'POINTSMAN_CONFIG',
      `listener ${settings.name}: what it asks of connections on ${formatAddress(settings.listen)} before the first message cannot change without a restart`,
    );
  }

  /** Another listener is to take over this one's listening socket. */
  checkSuccessor({ settings, composed }: Listener): void {
    this.#checkDoor(this.#door, settings, composed);
  }

  /** Accepts connections where `from` did, which goes on with the clients that it has. */
  takeOver(other: Listener): void {
    const door = other.#door!;
    other.#door = undefined;
    door.keeper = this;
    this.#door = door;
    if (this.settings.tls !== undefined) door.socket.secure?.(this.settings.tls);
    this.run();
  }

  /** Starts the plugins. */
  async startPlugins(): Promise<void> {
    this.#started = true;
    for (const start of this.composed.starts) await start();
  }

  /**
   * Starts the plugins and opens the address.
   * @throws PointsmanError (rejects with) if the address cannot be opened
   */
  async open(): Promise<void> {
    const { settings, composed } = this;
    await this.startPlugins();
    if (this.#stopped !== undefined) return; // that took too long
    // Whoever connects before it runs waits for nothing: links are opened when they are needed.
    const door: Pick<Door, 'keeper'> = { keeper: this };
    try {
      const socket = await this.#runtime.listen(
        {
          address: settings.listen,
          isProxy: settings.proxyProtocol && networks(settings.proxyProtocol.from),
          tls: settings.tls,
          webSocket: composed.facts.webSocket ?? { frames: composed.facts.identifiers === 'text' ? 'text' : 'binary' },
          messageBytes: settings.limits.messageBytes,
          connections: settings.limits.connections,
          admit: (from, isAmongLast) => door.keeper.#admit(from, isAmongLast),
          onError: (error, peer) =>
            composed.log.warn({ error: error.message, peer }, 'a connection failed before it was accepted'),
        },
        (accepted) => door.keeper.#accept(accepted),
      );
      this.#door = Object.assign(door, { socket, fixed: fixedOf(settings, composed) });
    } catch (cause) {
      const reason = cause instanceof Error ? cause.message : String(cause);
      throw new PointsmanError(
        'POINTSMAN_LISTEN',
        `listener ${settings.name} cannot listen on ${formatAddress(settings.listen)}: ${reason}`,
        { cause },
      );
    }
  }

  /** Opens links, and begins to check deadlines. */
  run(): void {
    this.#links.start();
    if (this.#links.mode === 'shared') this.#pool.linkLines.add(this.#lines);
    this.#sweepLater();
    if (this.#door === undefined) return;
    this.composed.log.info({ address: formatAddress(this.#door.socket.address), pool: this.#pool.name }, 'listening');
  }

  /** It accepts no connections, and has no clients. */
  get hasEnded(): boolean {
    return this.#door === undefined && this.#clients.size === 0;
  }

  /** Stops accepting; its clients stay. */
  async close(): Promise<void> {
    this.#pool.linkLines.delete(this.#lines);
    const door = this.#door;
    this.#door = undefined;
    await door?.socket.close();
  }

  /** Somebody else has found a backend up or down. */
  look(name: string, up: boolean): void {
    const backend = this.#pool.byName(name);
    if (backend !== undefined) this.#links.look(backend, up);
  }

  /**
   * Turns away whoever may not connect, before it costs anything; otherwise returns a function to call when the connection has
   * closed.
   */
  #admit(address: string, isAmongLast: boolean): (() => void) | undefined {
    const whyNot = isAmongLast ? 'too many open files' : this.#visitors.enter(address, this.#runtime.now());
    if (whyNot === undefined) return () => this.#visitors.leave(address);
    this.composed.accounting.accepted++;
    this.#countTurnedAway(address, whyNot);
    return undefined;
  }

  #accept(socket: Socket): SocketHandler {
    const { accounting, hooks, pipeline } = this.composed;
    accounting.accepted++;
    const client = new Client(pipeline, this.#turn, socket, (closed) => this.#forget(closed));
    this.#registry.add(client);
    this.#clients.add(client);
    client.load = this.#visitors.loadOf(client.address);
    // Its handshake has ended late.
    if (this.#stopped !== undefined) this.#turnAway(client, 'stopping');
    else if (hooks.isTapped('onConnect')) {
      client.pauseReading();
      hooks.onConnect.promise(client).then(
        (refusal) => {
          if (refusal !== undefined) this.#turnAway(client, refusal.reason);
          else client.resumeReading();
        },
        (error: Error) => {
          this.composed.log.error({ err: error }, error.message);
          this.#turnAway(client, 'plugin-error');
        },
      );
    }
    return client;
  }

  #turnAway(client: Client, reason: string): void {
    this.#countTurnedAway(client.address, reason);
    client.destroy(reason);
  }

  #countTurnedAway(address: string, reason: string): void {
    this.composed.accounting.turnedAway++;
    this.composed.log.warn({ client: address, reason }, 'client turned away');
  }

  #forget(client: Client): void {
    this.#registry.remove(client);
    this.#clients.delete(client);
    try {
      this.composed.hooks.onDisconnect.call(client);
    } catch (error) {
      this.composed.log.error({ err: error }, (error as Error).message);
    }
    client.states.length = 0;
  }

  #sweepLater(): void {
    this.#cancelSweep = this.#runtime.after(sweepMs, () => {
      this.#sweep();
      this.#sweepLater();
    });
  }

  /** One timer checks all deadlines, instead of several for each connection. */
  #sweep(): void {
    const { headerSeconds, idleSeconds, replySeconds } = this.settings.limits;
    const { exchanges, affinity, log, pipeline } = this.composed;
    const now = this.#runtime.now();
    // Whoever is closed below is told before.
    exchanges?.expire(
      (exchange) => pipeline.abandoned.refuse(exchange),
      (link, requests) => {
        if (requests > 0) log.warn({ backend: link.backend.name, requests }, 'requests not answered in time');
        this.#links.onOverdue(link);
      },
    );
    for (const client of this.#clients) {
      const idleMs = now - client.lastActivityMs;
      if (client.closing) {
        if (now - client.closingSinceMs >= lingerMs) client.destroy();
      } else if (headerSeconds > 0 && client.headerSinceMs > 0 && now - client.headerSinceMs >= headerSeconds * 1000) {
        this.composed.log.info({ client: client.address }, 'header took too long: closed');
        client.cutShort('header-timeout');
        client.closeGently('header-timeout');
      } else if (idleSeconds > 0 && idleMs >= idleSeconds * 1000 && client.outstanding === 0) {
        this.composed.log.debug({ client: client.address }, 'idle for too long: closed');
        client.closeGently('idle');
      } else if (client.ended && idleMs >= replySeconds * 1000) {
        client.closeGently('client-closed');
      }
    }
    this.#visitors.sweep(now);
    affinity?.expire(now);
    this.#links.closeRetired(replySeconds, exchanges !== undefined);
  }

  /**
   * Stops accepting. Closes clients that are owed nothing at once, the others as soon as they have their answers, and then
   * everything.
   * @param deadlineSeconds how long to wait for answers; while it is stopping, it may be called again with a shorter time
   */
  stop(deadlineSeconds: number): Promise<void> {
    this.#stopsAtMs = Math.min(this.#stopsAtMs, this.#runtime.now() + deadlineSeconds * 1000);
    return (this.#stopped ??= this.#stop());
  }

  async #stop(): Promise<void> {
    this.composed.pipeline.routing.isStopping = true;
    const closed = this.close();
    for (;;) {
      for (const client of this.#clients) if (!this.#isOwed(client)) client.closeGently('stopping');
      if (this.#isSettled() || this.#runtime.now() >= this.#stopsAtMs) break;
      await new Promise<void>((resolve) => void this.#runtime.after(stopLookMs, resolve));
    }
    this.#cancelSweep?.();
    const cut = this.#outstanding();
    if (cut.connections + cut.requests + cut.queued > 0) this.composed.log.warn(cut, 'cut off at the deadline');
    for (const client of this.#clients) client.destroy('stopping');
    this.#links.stop();
    this.composed.pipeline.waiting?.stop();
    this.composed.affinity?.stop();
    await closed;
    // Closing takes a turn, and what is counted then belongs to the statistics.
    for (let turn = 0; turn < 2 && this.#clients.size > 0; turn++) {
      await new Promise<void>((resolve) => this.#runtime.atTurnEnd(resolve));
    }
    if (!this.#started) return;
    for (const stop of this.composed.stops) {
      await stop().catch((error: Error) => this.composed.log.error({ err: error }, error.message));
    }
  }

  /** Whether something is still to come for a client, or is waiting for it. */
  #isOwed(client: Client): boolean {
    if (client.outbox.waitingBytes > 0) return true;
    for (const { backend, outbox } of client.links.values()) if (backend.up && outbox.waitingBytes > 0) return true;
    const due = this.composed.pipeline.answersDue(client);
    const silentMs = this.#runtime.now() - client.lastActivityMs;
    if (due === undefined) return silentMs < quietMs;
    return due > 0 && silentMs < this.settings.limits.replySeconds * 1000;
  }

  /** What is lost if it stops now, in numbers. */
  #outstanding() {
    const { queued, exchanges } = this.stats();
    let connections = 0;
    let requests = exchanges.open;
    for (const client of this.#clients) {
      if (!this.#isOwed(client)) continue;
      connections++;
      if (this.composed.exchanges === undefined) requests += this.composed.pipeline.answersDue(client) ?? 0;
    }
    return { connections, requests, queued };
  }

  /** Whether no answer is due, nothing is waiting, and clients whose connections were closed have been told so. */
  #isSettled(): boolean {
    if ((this.composed.pipeline.waiting?.length ?? 0) > 0) return false;
    if ((this.composed.exchanges?.size ?? 0) > 0) return false;
    const now = this.#runtime.now();
    for (const { closing, closingSinceMs, outbox } of this.#clients) {
      if (!closing || outbox.waitingBytes > 0 || now - closingSinceMs < farewellMs) return false;
    }
    for (const link of this.#links.all()) if (link.backend.up && link.outbox.waitingBytes > 0) return false;
    return true;
  }

  stats(): ListenerStats {
    return listenerStats({
      composed: this.composed,
      clients: this.#clients,
      standIns: this.#lines.standIns,
      links: this.#links,
      backends: this.#pool.backends,
      nowMs: this.#runtime.now(),
    });
  }
}

/** The settings that the listening socket was opened with, and keeps. */
function fixedOf({ proxyProtocol, limits, listen, tls }: ListenerSettings, { facts }: Composed): object {
  const { transport } = listen;
  return {
    proxyProtocol,
    asksForCertificates: tls?.clientCertificate,
    ...((transport === 'ws' || transport === 'wss') && {
      webSocket: facts.webSocket,
      text: facts.identifiers === 'text',
      messageBytes: limits.messageBytes,
    }),
    ...(transport === 'udp' && { connections: limits.connections }),
  };
}
