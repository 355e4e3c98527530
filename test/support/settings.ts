/**
 * Settings of a balancer of lines with one listener and one pool, as the loader would make them; tests change the parts they are
 * about.
 */
import type { Address } from '../../core/runtime/address.ts';
import { defaultLimits, type ListenerSettings, type PoolSettings, type Settings } from '../../core/settings.ts';
import { lines, turns } from './lines.ts';

/** Where clients connect. */
export const edgeAddress: Address = { transport: 'tcp', host: '192.0.2.1', port: 5060, path: '' };

/** A backend at a port of its own. */
export const backendAt = (name: string, port: number) => ({ name, address: { ...edgeAddress, port }, weight: 1 });

export interface Changes {
  readonly pool?: Partial<PoolSettings>;
  readonly listener?: Partial<ListenerSettings>;
  readonly keys?: Settings['keys'];
  readonly observers?: Settings['observers'];
}

/** Undefined: two backends, `a` and `b`, on shared links. */
export function settingsWith({ pool, listener, keys = [], observers }: Changes = {}): Settings {
  return {
    keys,
    pools: [
      {
        name: 'pool',
        backends: [backendAt('a', 1), backendAt('b', 2)],
        links: 'shared',
        linksPerBackend: 1,
        connectSeconds: 5,
        keepaliveSeconds: 0,
        queueBytes: 65_536,
        ...pool,
      },
    ],
    listeners: [
      {
        name: 'edge',
        listen: edgeAddress,
        pool: 'pool',
        identifiers: {},
        limits: defaultLimits,
        pipeline: [
          { plugin: lines as never, options: { shared: true, relays: false } },
          { plugin: turns as never, options: {} },
        ],
        ...listener,
      },
    ],
    ...(observers && { observers }),
  };
}
