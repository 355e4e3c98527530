/** Pools, messages and strategies for tests that need no pipeline. */
import type { Client } from '../../core/client.ts';
import { PipelineHooks } from '../../core/hooks.ts';
import { Message, type Span } from '../../core/message.ts';
import type { PluginDefinition, Scope } from '../../core/plugin.ts';
import { type Backend, Pool } from '../../core/pool.ts';
import { parseAddress } from '../../core/runtime/address.ts';
import type { PoolSettings } from '../../core/settings.ts';

/** A pool of backends by name, or name and weight. */
export function poolOf(...backends: (string | readonly [name: string, weight: number])[]): Pool {
  return new Pool(poolSettings(...backends));
}

export function poolSettings(...backends: (string | readonly [name: string, weight: number])[]): PoolSettings {
  return {
    name: 'test',
    backends: backends.map((backend, index) => ({
      name: typeof backend === 'string' ? backend : backend[0],
      weight: typeof backend === 'string' ? 1 : backend[1],
      address: parseAddress(`tcp://127.0.0.1:${7001 + index}`),
    })),
    links: undefined,
    linksPerBackend: 1,
    connectSeconds: 1,
    keepaliveSeconds: 0,
    queueBytes: 262_144,
  };
}

/** The parts of a client that the tables and strategies of the core touch. */
export function clientAt(address: string): Client {
  return { address, outstanding: 0, lastActivityMs: 0, onSettled() {} } as unknown as Client;
}

/** A message that `client` has sent. */
export function messageFrom(client: Client, bytes: string | Uint8Array): Message {
  const message = new Message();
  const buffer = Buffer.from(bytes as string);
  message.open(buffer, 0, buffer.length, 'client', client);
  message.client = client;
  return message;
}

/** Numbers from 0 up to 1, the same ones for a seed each time (mulberry32). */
export function randomNumbers(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), seed | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/**
 * Applies a strategy plugin to a pool; answers how to ask it for a backend.
 * @param facts.keys the keys that the protocol plugin declares, besides `message`: there the whole message
 * @param facts.now the time in milliseconds; undefined: it stands still
 */
export function strategyOn(
  pool: Pool,
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  plugin: PluginDefinition<any>,
  options: Record<string, unknown>,
  { keys = {}, now = () => 0 }: { keys?: Record<string, (message: Message) => Span>; now?: () => number } = {},
): (message?: Message) => Backend | undefined {
  const hooks = new PipelineHooks();
  const keysByName = { message: (message: Message) => message.span(0, message.length), ...keys };
  const scope: Partial<Scope> = {
    pool,
    clock: { now, random: randomNumbers(1), randomBytes: Buffer.alloc, after: () => () => {} },
    messageKey: (key) => keysByName[key as 'message'],
    perClient(create) {
      const states = new WeakMap<Client, ReturnType<typeof create>>();
      return (client) => {
        if (!states.has(client)) states.set(client, create(client));
        return states.get(client)!;
      };
    },
  };
  plugin.apply!(hooks.forPlugin(plugin.name), options, scope as Scope);
  const any = messageFrom(clientAt('192.0.2.1'), 'any');
  return (message = any) => hooks.chooseBackend.call(message, pool);
}
