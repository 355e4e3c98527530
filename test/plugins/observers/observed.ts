/** A balancer of lines on virtual sockets with one observer. */
import type { PluginDefinition } from 'pointsman';
import { vi } from 'vitest';
import { Observers } from '../../../core/observers/observers.ts';
import { Rig } from '../../../core/rehearsal/rig.ts';
import { optionsOf } from '../../support/embedded.ts';
import { guest } from '../../support/lines.ts';
import { backendAt, settingsWith } from '../../support/settings.ts';

/**
 * Starts both. Whoever asks for it stops the observer.
 * @param visitor one more plugin in the pipeline
 * @param protocol in place of lines
 */
export async function observed(
  plugin: PluginDefinition,
  options: object,
  visitor: PluginDefinition = guest(() => {}),
  protocol?: readonly [PluginDefinition, object],
) {
  const warn = vi.fn();
  const log = { debug() {}, info() {}, warn, error: warn };
  const use = { plugin, options: optionsOf(plugin, options) };
  const settings = settingsWith({
    pool: {
      backends: [backendAt('a', 1), { ...backendAt('b', 2), state: 'drain' }],
      ...(protocol && { links: undefined }),
      tls: { verify: true, certificateExpiresAtMs: Date.UTC(2200, 0, 2) },
    },
    observers: [use],
  });
  const [edge] = settings.listeners;
  const [lines, turns] = edge!.pipeline;
  const framer = protocol ? { plugin: protocol[0], options: optionsOf(...protocol) } : lines!;
  const pipeline = [framer, turns!, { plugin: visitor, options: {} }];
  const tls = {
    certificate: '',
    key: '',
    clientCertificate: 'none',
    certificateExpiresAtMs: Date.UTC(2200, 0, 1),
  } as const;
  const rig = await Rig.start({ ...settings, listeners: [{ ...edge!, tls, pipeline }] }, { log });
  const observers = new Observers([use], rig.balancer, { clock: rig.runtime, log });
  await observers.start();
  return { rig, observers, warn };
}
