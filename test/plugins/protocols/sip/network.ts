/** A virtual network on which several listeners and several balancers stand, in front of the same backends or one behind the other. */
import { balances } from '../../../../core/accounting.ts';
import { Balancer } from '../../../../core/balancer.ts';
import type { PluginDefinition } from '../../../../core/plugin.ts';
import { VirtualBackend, Wire } from '../../../../core/rehearsal/rig.ts';
import { formatAddress, parseAddress } from '../../../../core/runtime/address.ts';
import { VirtualRuntime } from '../../../../core/runtime/virtual.ts';
import { defaultLimits, type KeySettings } from '../../../../core/settings.ts';
import sip from '../../../../plugins/protocols/sip/index.ts';
import hashing from '../../../../plugins/strategies/hashing.ts';
import { optionsOf } from '../../../support/embedded.ts';
import { keys as usualKeys } from './ua.ts';

export interface EdgeOptions {
  /** Where each listener listens, with the options that `sip` has there. */
  listeners: Readonly<Record<string, object>>;
  /** Plugins that come first in the pipelines of some. */
  before?: Readonly<Record<string, PluginDefinition>>;
  /** The addresses of the backends, by name. */
  backends: Readonly<Record<string, string>>;
  /** The name of their pool; undefined: `calls`. */
  pool?: string;
  /** Undefined: those of all others. */
  keys?: readonly KeySettings[];
}

const quiet = () => {};

export class Network {
  readonly runtime = new VirtualRuntime();
  readonly #balancers: Balancer[] = [];
  #port = 40_000;

  /** Starts a balancer. */
  async edge({ listeners, backends, before = {}, pool = 'calls', keys = usualKeys }: EdgeOptions): Promise<void> {
    const balancer = new Balancer(
      {
        keys,
        pools: [
          {
            name: pool,
            links: undefined,
            linksPerBackend: 1,
            connectSeconds: 5,
            keepaliveSeconds: 0,
            queueBytes: 4_194_304,
            backends: Object.entries(backends).map(([name, address]) => ({
              name,
              address: parseAddress(address),
              weight: 1,
            })),
          },
        ],
        listeners: Object.entries(listeners).map(([address, options]) => ({
          name: address,
          listen: parseAddress(address),
          pool,
          identifiers: {},
          limits: defaultLimits,
          pipeline: [
            ...(before[address] === undefined ? [] : [{ plugin: before[address], options: {} }]),
            { plugin: sip, options: optionsOf(sip, options) },
            { plugin: hashing, options: optionsOf(hashing) },
          ],
        })),
      },
      { runtime: this.runtime, log: { debug: quiet, info: quiet, warn: quiet, error: quiet } },
    );
    this.#balancers.push(balancer);
    await balancer.start();
    this.runtime.settle();
  }

  /** A backend that the test plays. */
  backend(address: string): VirtualBackend {
    return new VirtualBackend(this.runtime, address, formatAddress(parseAddress(address)));
  }

  /** Connects balancers that have this address for a backend to the listener there. */
  bridge(address: string): void {
    this.runtime.servers.set(formatAddress(parseAddress(address)), (near) => {
      const far = this.runtime.dial(parseAddress(address), '10.9.9.9', this.#port++);
      if (far === undefined) return 'refuse';
      near.onBytes = (bytes) => far.send(bytes);
      far.onBytes = (bytes) => near.send(bytes);
      return 'accept';
    });
  }

  /** A client connects to a listener. */
  client(address: string, from = '198.51.100.1'): Wire {
    const peer = this.runtime.dial(parseAddress(address), from, this.#port++);
    if (peer === undefined) throw new Error(`nobody listens on ${address}`);
    this.runtime.settle();
    return new Wire(this.runtime, peer);
  }

  /** Whether every message at every listener has had one outcome, and none was refused or discarded. */
  get isInOrder(): boolean {
    return this.#balancers
      .flatMap(({ listeners }) => listeners.map((listener) => listener.stats()))
      .every((stats) => {
        const sides = [stats.fromClients, stats.fromBackends];
        return balances(stats) && sides.every(({ refused, discarded }) => refused === 0 && discarded === 0);
      });
  }
}
