/** The real core on virtual sockets and a virtual clock (core/rehearsal/rig.ts), with the plugins and limits that a test wants. */
import { Ajv } from 'ajv';
import { allOptions } from '../../core/config/schema.ts';
import type { Logger, PluginDefinition } from '../../core/plugin.ts';
import { Rig as PlainRig, type Wire } from '../../core/rehearsal/rig.ts';
import type { Address } from '../../core/runtime/address.ts';
import {
  type BackendSettings,
  defaultLimits,
  type IdentifierSettings,
  type KeySettings,
  type Limits,
  type ListenerSettings,
  type PoolSettings,
  type Settings,
} from '../../core/settings.ts';

export interface RigOptions {
  /** The pipeline: plugins with the options a config would give (defaults are filled in from their schema). */
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  pipeline: (readonly [PluginDefinition<any>, object?])[];
  /** Names, or names with weight and number; default: a, b, c with numbers 1, 2, 3. */
  backends?: (string | (Partial<BackendSettings> & { name: string }))[];
  links?: 'shared' | 'dedicated';
  keys?: KeySettings[];
  identifiers?: IdentifierSettings;
  limits?: Partial<Limits>;
  advertise?: string;
  /** What the listener speaks; undefined: TCP. */
  transport?: Address['transport'];
  /** What the backends speak; undefined: TCP. */
  backendTransport?: Address['transport'];
  linkQueueBytes?: number;
  listener?: Partial<Pick<ListenerSettings, 'allow' | 'deny'>>;
  pool?: Partial<PoolSettings>;
}

/** A rig that keeps log lines at warn and above, and tells its settings. */
export type Rig = PlainRig & { readonly logged: object[]; readonly settings: Settings };
export type { Wire };

const ajv = new Ajv({ useDefaults: true, strict: true, allErrors: true });

/** Options as the config loader hands them to a plugin: checked, with defaults filled in. */
export function optionsOf(plugin: PluginDefinition, options: object = {}): object {
  const filled = structuredClone(options);
  if (!ajv.validate(allOptions(plugin), filled)) throw new Error(`${plugin.name}: ${ajv.errorsText()}`);
  return filled;
}

export async function embed(options: RigOptions): Promise<Rig> {
  const listen: Address = { transport: options.transport ?? 'tcp', host: '192.0.2.1', port: 5060, path: '' };
  const logged: object[] = [];
  const keep = (level: string) => (fields: object, text?: string) => void logged.push({ level, ...fields, text });
  const quiet = () => {};
  const log: Logger = { debug: quiet, info: quiet, warn: keep('warn'), error: keep('error') };

  const backends = (options.backends ?? ['a', 'b', 'c']).map((backend, index) => ({
    weight: 1,
    number: index + 1,
    ...(typeof backend === 'string' ? { name: backend } : backend),
    address: {
      transport: options.backendTransport ?? 'tcp',
      host: `10.0.0.${index + 1}`,
      port: 7000,
      path: '',
    } satisfies Address,
  }));
  const settings: Settings = {
    keys: options.keys ?? [],
    pools: [
      {
        name: 'pool',
        backends,
        links: options.links,
        linksPerBackend: 1,
        connectSeconds: 5,
        keepaliveSeconds: 0,
        queueBytes: options.linkQueueBytes ?? 4_194_304,
        ...options.pool,
      },
    ],
    listeners: [
      {
        name: 'edge',
        listen,
        pool: 'pool',
        advertise: options.advertise,
        identifiers: options.identifiers ?? {},
        ...options.listener,
        limits: { ...defaultLimits, ...options.limits },
        pipeline: options.pipeline.map(([plugin, given]) => ({ plugin, options: optionsOf(plugin, given) })),
      },
    ],
  };

  return Object.assign(await PlainRig.start(settings, { log }), { logged, settings });
}
