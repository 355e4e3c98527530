/** A balancer of lines of text on real sockets, for tests of the transports. */
import { onTestFinished } from 'vitest';
import { Balancer } from '../../core/balancer.ts';
import type { Logger, PluginDefinition } from '../../core/plugin.ts';
import { parseAddress } from '../../core/runtime/address.ts';
import { nodeRuntime } from '../../core/runtime/node.ts';
import {
  defaultLimits,
  type Limits,
  type LinkTlsSettings,
  type ListenerSettings,
  type ListenerTlsSettings,
  type PoolSettings,
} from '../../core/settings.ts';
import { lines, turns } from './lines.ts';

export interface BalancerOptions {
  readonly listen: string;
  /** The address of its only backend. */
  readonly backend: string;
  /** Undefined: shared. */
  readonly links?: 'shared' | 'dedicated';
  readonly limits?: Partial<Limits>;
  readonly linkQueueBytes?: number;
  readonly listenerTls?: ListenerTlsSettings;
  readonly linkTls?: LinkTlsSettings;
  readonly listener?: Partial<Pick<ListenerSettings, 'allow' | 'deny' | 'proxyProtocol'>>;
  readonly proxyProtocol?: PoolSettings['proxyProtocol'];
  /** Undefined: lines. */
  readonly protocol?: PluginDefinition;
  /** One more plugin in the pipeline. */
  readonly visitor?: PluginDefinition;
  /** Called for each warning. */
  readonly warn?: Logger['warn'];
}

/** Starts one; it stops when the test is over. */
export async function balancerAt(options: BalancerOptions) {
  const { listen, backend, links = 'shared', limits, listenerTls, linkTls, protocol, warn = () => {} } = options;
  const { linkQueueBytes = 4_194_304, listener, proxyProtocol, visitor } = options;
  const quiet = () => {};
  const balancer = new Balancer(
    {
      keys: [],
      pools: [
        {
          name: 'pool',
          backends: [{ name: 'a', address: parseAddress(backend), weight: 1 }],
          links,
          linksPerBackend: 1,
          connectSeconds: 5,
          keepaliveSeconds: 30,
          queueBytes: linkQueueBytes,
          tls: linkTls,
          proxyProtocol,
        },
      ],
      listeners: [
        {
          name: 'edge',
          listen: parseAddress(listen),
          pool: 'pool',
          identifiers: {},
          ...listener,
          limits: { ...defaultLimits, ...limits },
          tls: listenerTls,
          pipeline: [
            { plugin: protocol ?? (lines as never), options: { shared: links === 'shared', relays: false } },
            { plugin: turns as never, options: {} },
            ...(visitor === undefined ? [] : [{ plugin: visitor, options: {} }]),
          ],
        },
      ],
    },
    { runtime: nodeRuntime(), log: { debug: quiet, info: quiet, warn, error: quiet } },
  );
  await balancer.start();
  onTestFinished(() => balancer.stop({ deadlineSeconds: 0 }));
  const address = balancer.listeners[0]!.address!;
  return { balancer, address, port: address.port, stats: () => balancer.stats().listeners.edge! };
}
