/** A balancer of lines on virtual sockets with one observer. */
import type { PluginDefinition } from 'pointsman';
import { vi } from 'vitest';
import { Observers } from '../../../core/observers.ts';
import { Rig } from '../../../core/rehearsal/rig.ts';
import { defaultLimits, type Settings } from '../../../core/settings.ts';
import { optionsOf } from '../../support/embedded.ts';
import { guest, lines, turns } from '../../support/lines.ts';

const address = { transport: 'tcp', host: '192.0.2.1', port: 5060, path: '' } as const;

/**
 * Starts both. Whoever asks for it stops the observer.
 * @param visitor one more plugin in the pipeline
 */
export async function observed(plugin: PluginDefinition, options: object, visitor: PluginDefinition = guest(() => {})) {
  const warn = vi.fn();
  const log = { debug() {}, info() {}, warn, error: warn };
  const use = { plugin, options: optionsOf(plugin, options) };
  const settings: Settings = {
    keys: [],
    pools: [
      {
        name: 'pool',
        backends: [
          { name: 'a', address: { ...address, port: 1 }, weight: 1 },
          { name: 'b', address: { ...address, port: 2 }, weight: 1, state: 'drain' },
        ],
        links: 'shared',
        linksPerBackend: 1,
        connectSeconds: 5,
        keepaliveSeconds: 0,
        queueBytes: 4096,
      },
    ],
    listeners: [
      {
        name: 'edge',
        listen: address,
        pool: 'pool',
        identifiers: {},
        limits: defaultLimits,
        pipeline: [
          { plugin: lines as never, options: { shared: true, relays: false } },
          { plugin: turns as never, options: {} },
          { plugin: visitor, options: {} },
        ],
      },
    ],
    observers: [use],
  };
  const rig = await Rig.start(settings, { log });
  const observers = new Observers([use], rig.balancer, { clock: rig.runtime, log });
  await observers.start();
  return { rig, observers, warn };
}
