/**
 * The real core on virtual sockets and a virtual clock, for tests that need no network: clients send bytes, backends see
 * what reached them and answer.
 */
import { Ajv } from 'ajv';
import { balances, type ListenerStats } from '../../core/accounting.ts';
import { Balancer } from '../../core/balancer.ts';
import type { Logger, PluginDefinition } from '../../core/plugin.ts';
import { type Address, formatAddress } from '../../core/runtime/address.ts';
import { type VirtualPeer, VirtualRuntime } from '../../core/runtime/virtual.ts';
import {
  defaultLimits,
  type IdentifierSettings,
  type KeySettings,
  type Limits,
  type Settings,
} from '../../core/settings.ts';

export interface RigOptions {
  /** The pipeline: plugins with the options a config would give (defaults are filled in from their schema). */
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  pipeline: (readonly [PluginDefinition<any>, object?])[];
  /** Names, or names with weight and number; default: a, b, c with numbers 1, 2, 3. */
  backends?: (string | { name: string; weight?: number; number?: number })[];
  links?: 'shared' | 'dedicated';
  keys?: KeySettings[];
  identifiers?: IdentifierSettings;
  limits?: Partial<Limits>;
  advertise?: string;
  /** What the listener speaks; undefined: TCP. */
  transport?: Address['transport'];
  linkQueueBytes?: number;
}

/** One end of a virtual connection, as the peer of the balancer holds it. */
export interface Wire {
  /** Sends bytes to the balancer; everything that follows from them happens before this returns. */
  send(bytes: string | Uint8Array): void;
  /** The single writes that arrived. */
  readonly writes: readonly Buffer[];
  /** Everything received so far. */
  readonly received: Buffer;
  /** Answers what was received since the last `take`. */
  take(): Buffer;
  /** `take()` as latin1 text. */
  text(): string;
  /** Half-closes. */
  end(): void;
  /** Resets the connection. */
  reset(): void;
  /** Stops or resumes reading. */
  pause(): void;
  resume(): void;
  /** The balancer has half-closed. */
  readonly ended: boolean;
  /** The connection is closed. */
  readonly closed: boolean;
}

interface VirtualBackend {
  readonly name: string;
  /** Links the balancer opened to it that are open now, oldest first. */
  readonly links: Wire[];
  /** The only link, for the common case. */
  readonly link: Wire;
  /** Takes what arrived on all links since the last take. */
  take(): Buffer;
  text(): string;
  /** Refuses connects and resets its links. */
  down(): void;
  up(): void;
  /** Lets connects hang. */
  hang(): void;
}

export interface Rig {
  readonly balancer: Balancer;
  readonly runtime: VirtualRuntime;
  client(address?: string): Wire;
  backend(name: string): VirtualBackend;
  readonly backends: VirtualBackend[];
  /** Moves the virtual clock. */
  advance(milliseconds: number): void;
  /** The accounting of the listener; throws if the identity does not hold. */
  stats(): ListenerStats;
  /** Log lines at warn and above. */
  readonly logged: object[];
  stop(): Promise<void>;
}

const ajv = new Ajv({ useDefaults: true, strict: true, allErrors: true });

/** Options as the config loader hands them to a plugin: checked, with defaults filled in. */
export function optionsOf(plugin: PluginDefinition, options: object = {}): object {
  const filled = structuredClone(options);
  if (!ajv.validate(plugin.options, filled)) throw new Error(`${plugin.name}: ${ajv.errorsText()}`);
  return filled;
}

export async function embed(options: RigOptions): Promise<Rig> {
  const listen: Address = { transport: options.transport ?? 'tcp', host: '192.0.2.1', port: 5060, path: '' };
  const runtime = new VirtualRuntime();
  const logged: object[] = [];
  const keep = (level: string) => (fields: object, text?: string) => void logged.push({ level, ...fields, text });
  const quiet = () => {};
  const log: Logger = { debug: quiet, info: quiet, warn: keep('warn'), error: keep('error') };

  const backends = (options.backends ?? ['a', 'b', 'c']).map((backend, index) => ({
    weight: 1,
    number: index + 1,
    ...(typeof backend === 'string' ? { name: backend } : backend),
    address: { transport: 'tcp', host: `10.0.0.${index + 1}`, port: 7000, path: '' } satisfies Address,
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
      },
    ],
    listeners: [
      {
        name: 'edge',
        listen,
        pool: 'pool',
        advertise: options.advertise,
        identifiers: options.identifiers ?? {},
        limits: { ...defaultLimits, ...options.limits },
        pipeline: options.pipeline.map(([plugin, given]) => ({ plugin, options: optionsOf(plugin, given) })),
      },
    ],
  };

  const virtual = backends.map((backend) => new RigBackend(runtime, backend.name, formatAddress(backend.address)));
  const balancer = new Balancer(settings, { runtime, log });
  await balancer.start();
  runtime.settle();
  const listener = balancer.listeners[0]!;
  let port = 40_000;

  return {
    balancer,
    runtime,
    backends: virtual,
    logged,
    client(address = '198.51.100.1') {
      const peer = runtime.dial(listen, address, port++);
      if (peer === undefined) throw new Error('nobody listens');
      runtime.settle();
      return new RigWire(runtime, peer);
    },
    backend(name) {
      const found = virtual.find((backend) => backend.name === name);
      if (found === undefined) throw new Error(`no backend ${name}`);
      return found;
    },
    advance: (milliseconds) => runtime.advance(milliseconds),
    stats() {
      const stats = listener.stats();
      if (!balances(stats)) throw new Error(`the accounting does not balance: ${JSON.stringify(stats)}`);
      return stats;
    },
    async stop() {
      let isStopped = false;
      const stopped = balancer.stop({ deadlineSeconds: 0 }).finally(() => {
        isStopped = true;
      });
      while (!isStopped) {
        runtime.settle();
        await new Promise((resolve) => setImmediate(resolve));
      }
      await stopped;
      runtime.settle();
    },
  };
}

class RigWire implements Wire {
  readonly peer: VirtualPeer;
  readonly #runtime: VirtualRuntime;
  #taken = 0;

  constructor(runtime: VirtualRuntime, peer: VirtualPeer) {
    this.#runtime = runtime;
    this.peer = peer;
  }

  send(bytes: string | Uint8Array): void {
    this.peer.send(typeof bytes === 'string' ? Buffer.from(bytes, 'latin1') : bytes);
    this.#runtime.settle();
  }

  get received(): Buffer {
    return Buffer.concat(this.peer.chunks);
  }

  get writes(): readonly Buffer[] {
    return this.peer.chunks;
  }

  take(): Buffer {
    const { received } = this;
    const taken = received.subarray(this.#taken);
    this.#taken = received.length;
    return taken;
  }

  text(): string {
    return this.take().toString('latin1');
  }

  end(): void {
    this.peer.end();
    this.#runtime.settle();
  }

  reset(): void {
    this.peer.reset();
    this.#runtime.settle();
  }

  pause(): void {
    this.peer.pause();
  }

  resume(): void {
    this.peer.resume();
    this.#runtime.settle();
  }

  get ended(): boolean {
    return this.peer.ended;
  }

  get closed(): boolean {
    return this.peer.closed;
  }
}

class RigBackend implements VirtualBackend {
  readonly name: string;
  readonly #runtime: VirtualRuntime;
  readonly #wires: RigWire[] = [];
  #verdict: 'accept' | 'refuse' | 'hang' = 'accept';

  constructor(runtime: VirtualRuntime, name: string, address: string) {
    this.name = name;
    this.#runtime = runtime;
    runtime.servers.set(address, (peer) => {
      if (this.#verdict === 'accept') this.#wires.push(new RigWire(runtime, peer));
      return this.#verdict;
    });
  }

  get links(): RigWire[] {
    return this.#wires.filter((wire) => !wire.closed);
  }

  get link(): RigWire {
    const { links } = this;
    if (links.length !== 1) throw new Error(`${this.name} has ${links.length} links`);
    return links[0]!;
  }

  take(): Buffer {
    return Buffer.concat(this.#wires.map((wire) => wire.take()));
  }

  text(): string {
    return this.take().toString('latin1');
  }

  down(): void {
    this.#verdict = 'refuse';
    for (const wire of this.links) wire.peer.reset();
    this.#runtime.settle();
  }

  up(): void {
    this.#verdict = 'accept';
  }

  hang(): void {
    this.#verdict = 'hang';
  }
}
