/** One measurement: a balancer between load generator and echo backends, all started as the scenario asks. */
import { resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { freePort } from '../support/programs.ts';
import type { Balancer, Site } from './balancers.ts';
import type { Protocol } from './dialects.ts';
import type { Backends } from './echo.ts';
import type { Measured, Order } from './load.ts';
import { processors, Running } from './processes.ts';

/** How heavy the load is. */
export interface Cell {
  readonly clients: number;
  /** Requests outstanding for each client. */
  readonly window: number;
  readonly pairsPerSecond?: number | undefined;
}

export interface Scenario extends Cell {
  readonly protocol: Protocol;
  /** How long requests are (0: as is usual in the protocol). */
  readonly messageBytes: number;
  readonly backends: number;
  /** The first of so many requests names nobody; the others carry the identifier that its answer has brought. */
  readonly dialogMessages: number;
  /** Plugins that do next to nothing. */
  readonly idlePlugins: number;
}

export interface Timing {
  readonly warmSeconds: number;
  readonly seconds: number;
}

const node = (file: string) => ['--import', 'tsx', fileURLToPath(new URL(file, import.meta.url))];

/** Load generator and backends of one protocol; they stay for all measurements. */
class Peers {
  readonly load: Running;
  readonly #echo: Running;
  readonly #ports = new Map<string, Promise<number[]>>();

  constructor(protocol: Protocol) {
    this.load = new Running(processors.load, process.execPath, [...node('load.ts'), protocol], { ipc: true });
    this.#echo = new Running(processors.echo, process.execPath, [...node('echo.ts'), protocol], { ipc: true });
  }

  /** The ports of so many backends for requests of that length. */
  backendPorts(backends: Backends): Promise<number[]> {
    const key = JSON.stringify(backends);
    const ports = this.#ports.get(key) ?? this.#echo.ask<number[]>(backends);
    this.#ports.set(key, ports);
    return ports;
  }

  async stop(): Promise<void> {
    await Promise.all([this.load.stop(), this.#echo.stop()]);
  }
}

export class Bench {
  readonly #timing: Timing;
  readonly #folder: string;
  readonly #profileFolder: string | undefined;
  readonly #peers = new Map<Protocol, Peers>();

  /**
   * @param folder for configs
   * @param profileFolder where each pointsman leaves a CPU profile; undefined: none
   */
  constructor(timing: Timing, folder: string, profileFolder?: string) {
    this.#timing = timing;
    this.#folder = folder;
    this.#profileFolder = profileFolder;
  }

  /** @param all the protocols that a balancer has listeners for that has them all in one process */
  async measure(balancer: Balancer, scenario: Scenario, all: readonly Protocol[]): Promise<Measured> {
    const profile = this.#profileFolder && ['--cpu-prof', `--cpu-prof-dir=${resolve(this.#profileFolder)}`];
    const others = balancer.together ? all.filter((protocol) => protocol !== scenario.protocol) : [];
    const sites: Site[] = [];
    for (const protocol of [scenario.protocol, ...others]) sites.push(await this.site({ ...scenario, protocol }));
    const [program, ...args] = balancer.command(sites, this.#folder, profile || []);
    const running = new Running(processors.balancer, program, args);
    try {
      for (const { port } of sites) await running.listens(port);
      const run = ({ protocol, port }: Site, seconds: number) => {
        const { warmSeconds } = this.#timing;
        const order: Order = { ...scenario, port, warmSeconds, seconds, pid: running.pid };
        return this.#peersOf(protocol).load.ask<Measured>(order);
      };
      const [site, ...otherSites] = sites;
      for (const other of otherSites) await run(other, 0);
      return await run(site!, this.#timing.seconds);
    } finally {
      await running.stop();
    }
  }

  /** A free port for the balancer, and backends behind it. */
  async site({ protocol, messageBytes, backends, idlePlugins }: Scenario): Promise<Site> {
    const backendPorts = await this.#peersOf(protocol).backendPorts({ messageBytes, count: backends });
    return { protocol, port: await freePort(), backendPorts, idlePlugins };
  }

  async stop(): Promise<void> {
    for (const peers of this.#peers.values()) await peers.stop();
  }

  #peersOf(protocol: Protocol): Peers {
    const peers = this.#peers.get(protocol) ?? new Peers(protocol);
    this.#peers.set(protocol, peers);
    return peers;
  }
}
