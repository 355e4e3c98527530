/** Sets the demo up, and clears it away: backends, config, balancer, clients. */
import { Balancer, type BalancerStats } from '../../balancer.ts';
import { PointsmanError } from '../../errors.ts';
import { nodeRuntime } from '../../runtime/node.ts';
import { type Backend, startBackend } from './backend.ts';
import { DemoClient } from './client.ts';
import { freePort, type LaneConfig, writeConfig } from './config.ts';
import { Journal, Lane } from './journal.ts';
import { lengthPrefixed } from './length-prefixed.ts';
import { ndjson } from './ndjson.ts';
import { observer } from './observer.ts';
import type { DemoProtocol } from './protocol.ts';
import { sip } from './sip.ts';

const protocols = [ndjson, lengthPrefixed, sip];
const backendNumbers = [1, 2, 3];

/** How many errors are kept. */
const mostFaults = 10;
/** How often free ports are looked for. */
const mostTries = 5;

/** How long an answer may take before something must be wrong. */
export const answerSeconds = 5;

export interface Cast {
  readonly lanes: readonly Lane[];
  /** One for each lane. */
  readonly clients: readonly DemoClient[];
  readonly journal: Journal;
  readonly configPath: string;
}

export class Stage {
  /** The first of what the balancer has logged as errors. */
  readonly faults: string[] = [];
  /** What has been set up, to be cleared away in reverse order. */
  readonly #closers: (() => unknown)[] = [];
  readonly #clients: DemoClient[] = [];
  #balancer!: Balancer;

  /** @param anyPorts whether the listeners take any free ports, not the usual ones */
  async build(anyPorts: boolean): Promise<Cast> {
    const backends = await Promise.all(protocols.map((protocol) => this.#startBackends(protocol)));
    for (let tries = 1; ; tries++) {
      const ports = await Promise.all(protocols.map(({ port }) => freePort(anyPorts ? 0 : port)));
      try {
        return await this.#open(
          protocols.map((protocol, i) => ({ protocol, port: ports[i]!, backends: backends[i]! })),
        );
      } catch (error) {
        // Somebody else may have taken a port since it was seen to be free.
        if (!(error instanceof PointsmanError && error.code === 'POINTSMAN_LISTEN') || tries === mostTries) throw error;
      }
    }
  }

  async #startBackends(protocol: DemoProtocol): Promise<readonly Backend[]> {
    const names = backendNumbers.map((number) => `${protocol.backends}-${number}`);
    const backends = await Promise.all(names.map((name) => startBackend(protocol, name)));
    this.#closers.push(...backends.map((backend) => () => backend.close()));
    return backends;
  }

  /** Starts the balancer, and the client of each listener. */
  async #open(laneConfigs: readonly LaneConfig[]): Promise<Cast> {
    const config = await writeConfig(laneConfigs);
    this.#closers.push(config.remove);
    const lanes = laneConfigs.map(({ protocol, port, backends }) => {
      const names = backends.map(({ name }) => name);
      return new Lane(protocol, port, names);
    });
    const journal = new Journal();

    const clients = this.#clients;
    const listeners = config.settings.listeners.map((listener, i) => {
      const plugin = observer(journal, lanes[i]!, (port) => clients[i]?.localPort === port);
      return { ...listener, pipeline: [...listener.pipeline, { plugin, options: {} }] };
    });
    const quiet = () => {};
    const note = (_: object, text = '') => {
      if (this.faults.length < mostFaults) this.faults.push(text);
    };
    const log = { debug: quiet, info: quiet, warn: quiet, error: note };
    this.#balancer = new Balancer({ ...config.settings, listeners }, { runtime: nodeRuntime(), log });
    await this.#balancer.start();
    this.#closers.push(() => this.#balancer.stop({ deadlineSeconds: 0 }));

    for (const lane of lanes) clients.push(await DemoClient.connect(journal, lane));
    return { lanes, clients, journal, configPath: config.path };
  }

  /** Stops the balancer once what is outstanding has been answered, yours too; answers its last figures. */
  async stop(): Promise<BalancerStats> {
    await this.#balancer.stop({ deadlineSeconds: answerSeconds });
    return this.#balancer.stats();
  }

  /** Closes everything, wherever building it has stopped. */
  async clear(): Promise<void> {
    for (const client of this.#clients) client.close();
    for (const close of this.#closers.reverse()) await close();
  }
}
