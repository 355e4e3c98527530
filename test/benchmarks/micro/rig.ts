/**
 * A balancer without the kernel: the built core and plugins on sockets that only hand over bytes, with clients and backends
 * that are made up. It also hands out the plugins' taps as they were before the hooks got them.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as turnOver } from 'node:timers/promises';
import type { Client } from '../../../core/client.ts';
import type { HookSignatures, Hooks } from '../../../core/hooks.ts';
import type { Link } from '../../../core/link.ts';
import type { Listener } from '../../../core/listener.ts';
import type { Scope } from '../../../core/plugin.ts';
import type { Runtime, Socket, SocketHandler } from '../../../core/runtime/runtime.ts';
import type { PluginUse } from '../../../core/settings.ts';
import { pointsmanConfig } from '../balancers.ts';
import { type Dialect, dialectOf, Form, type Protocol } from '../dialects.ts';
import { Balancer, headroomBytes, loadConfig, nodeRuntime, readMemory } from './built.ts';

const backends = 3;
const dialogMessages = 5;

/** Keeps what is written until it is taken; always has room. */
export class Pipe implements Socket {
  readonly delimits = false;
  readonly longestMessageBytes = Number.POSITIVE_INFINITY;
  readonly remoteAddress = '127.0.0.1';
  readonly remotePort = 1;
  readonly writable = true;
  handler!: SocketHandler;
  #bytes = Buffer.allocUnsafeSlow(65_536);
  #length = 0;

  write(bytes: Buffer): boolean {
    if (this.#length + bytes.length > this.#bytes.length) {
      this.#bytes = Buffer.concat([this.#bytes, Buffer.alloc(this.#bytes.length + bytes.length)]);
    }
    bytes.copy(this.#bytes, this.#length);
    this.#length += bytes.length;
    return true;
  }

  take(): Buffer {
    const taken = this.#bytes.subarray(0, this.#length);
    this.#length = 0;
    return taken;
  }

  pause(): void {}
  resume(): void {}
  end(): void {}
  destroy(): void {}
}

/** Node's time, and sockets that are pipes. */
class Wires {
  readonly links: Pipe[] = [];
  accept!: (socket: Socket) => SocketHandler;
  #due: (() => void)[] = [];
  readonly runtime: Runtime = {
    ...nodeRuntime(),
    after: () => () => {},
    atTurnEnd: (callback) => void this.#due.push(callback),
    listen: async ({ address }, accept) => {
      this.accept = accept;
      return { address, close: async () => {} };
    },
    connect: (_options, handler) => {
      const link = new Pipe();
      link.handler = handler;
      this.links.push(link);
      return link;
    },
  };

  endTurn(): void {
    const due = this.#due;
    this.#due = [];
    for (const callback of due) callback();
  }
}

/** Requests of one client, all in one chunk. */
class Batch {
  readonly #requests: { readonly fresh: Form; sticky: Form | undefined }[];
  readonly #pieces: ReturnType<Dialect['pieces']>;
  readonly #window: number;
  #chunk = Buffer.alloc(0);
  #round = 0;

  constructor(dialect: Dialect, client: number, window: number) {
    this.#window = window;
    this.#pieces = dialect.pieces(client);
    this.#requests = Array.from({ length: window }, () => ({
      fresh: new Form(this.#pieces.fresh, dialect.placeholder),
      sticky: undefined,
    }));
    this.#makeRoom();
  }

  /** The first of so many requests names nobody; the others carry an identifier. */
  next(): Buffer {
    const round = this.#round++;
    let length = 0;
    for (const [slot, { fresh, sticky }] of this.#requests.entries()) {
      const isSticky = sticky !== undefined && (round + slot) % dialogMessages > 0;
      const form = isSticky ? sticky : fresh;
      if (!isSticky) fresh.dialog = round * this.#window + slot;
      form.sequence = round * this.#window + slot;
      length += form.bytes.copy(this.#chunk, length);
    }
    return this.#chunk.subarray(0, length);
  }

  /** Takes an identifier for each request from the answers to the first ones. */
  learn(dialect: Dialect, answers: Buffer): void {
    let at = 0;
    for (const request of this.#requests) {
      const end = dialect.endOf(answers, at);
      request.sticky = new Form(this.#pieces.sticky, dialect.learn(answers, at, end) ?? dialect.placeholder);
      at = end;
    }
    this.#makeRoom();
  }

  #makeRoom(): void {
    const longest = this.#requests.map(({ fresh, sticky }) => Math.max(fresh.bytes.length, sticky?.bytes.length ?? 0));
    this.#chunk = Buffer.allocUnsafeSlow(longest.reduce((sum, length) => sum + length, 0));
  }
}

/** Puts bytes where the runtime reads to, the memory that messages pass through; answers how many fitted. */
export function read(bytes: Buffer, from = 0): number {
  return bytes.copy(readMemory, headroomBytes, from);
}

/** Hands bytes over in as many reads as it takes. */
export function deliver(handler: SocketHandler, bytes: Buffer): void {
  for (let at = 0; at < bytes.length; ) {
    const length = read(bytes, at);
    handler.onBytes(readMemory, headroomBytes, headroomBytes + length);
    at += length;
  }
}

/** What the backends do, in place. */
export function echo(dialect: Dialect, bytes: Buffer): void {
  for (let at = 0, end = dialect.endOf(bytes, 0); end > 0; at = end, end = dialect.endOf(bytes, at)) {
    dialect.answer(bytes, at);
  }
}

/** The taps of all plugins, hook by hook. */
export type Taps = { readonly [Name in keyof HookSignatures]: HookSignatures[Name][] };

export interface Caller {
  readonly client: Client;
  readonly socket: Pipe;
  readonly batch: Batch;
}

interface RigOptions {
  readonly clients: number;
  readonly window: number;
  readonly messageBytes?: number;
  /** Entries of `observers`, of which there are the taps alone. */
  readonly observers?: readonly string[];
}

export class Rig {
  readonly dialect: Dialect;
  readonly callers: Caller[] = [];
  readonly taps = {} as Taps;
  /** One for each backend, in their order, as `wires.links` are. */
  readonly links: Link[] = [];
  readonly wires = new Wires();
  listener!: Listener;
  /** The protocol plugin's. */
  scope!: Scope;
  readonly #clients: Client[] = [];

  private constructor(dialect: Dialect) {
    this.dialect = dialect;
  }

  /** Starts a balancer for that protocol. All clients are connected and have learnt identifiers. */
  static async start(protocol: Protocol, options: RigOptions) {
    const rig = new Rig(dialectOf(protocol, options.messageBytes ?? 0));
    const { wires } = rig;
    const folder = mkdtempSync(join(tmpdir(), 'pointsman-micro-'));
    const file = join(folder, 'config.yaml');
    const backendPorts = Array.from({ length: backends }, (_, i) => 7001 + i);
    writeFileSync(file, pointsmanConfig([{ protocol, port: 7000, backendPorts }], folder, options));
    const { settings, findings } = await loadConfig([file]);
    rmSync(folder, { recursive: true });
    if (settings === undefined) throw new Error(JSON.stringify(findings));
    const listeners = settings.listeners.map((listener) => ({
      ...listener,
      pipeline: listener.pipeline.map((use, i) => rig.#overheard(use, i === 0)),
    }));
    const quiet = () => {};
    const complain = (fields: object, text?: string) => {
      throw new Error(`${text}: ${JSON.stringify(fields)}`);
    };
    const log = { debug: quiet, info: quiet, warn: complain, error: complain };
    const balancer = new Balancer({ ...settings, listeners }, { runtime: wires.runtime, log });
    // Those whose taps wait for a word get it.
    for (const index of (options.observers ?? []).keys()) balancer.order(index, 'begin');
    await balancer.start();
    rig.listener = balancer.listeners[0]!;
    for (const link of wires.links) link.handler.onOpen();
    for (let number = 0; number < options.clients; number++) {
      const socket = new Pipe();
      socket.handler = wires.accept(socket);
      await turnOver(); // the client has been accepted
      rig.callers.push({
        client: rig.#clients[number]!,
        socket,
        batch: new Batch(rig.dialect, number, options.window),
      });
    }
    rig.exchange();
    for (const { socket, batch } of rig.callers) batch.learn(rig.dialect, socket.take());
    return rig;
  }

  /** One batch of each client to the backends, and the answers back. They wait in the callers' sockets. */
  exchange(): void {
    const { dialect, wires } = this;
    for (const { socket, batch } of this.callers) {
      deliver(socket.handler, batch.next());
    }
    wires.endTurn();
    for (const link of wires.links) {
      const bytes = link.take();
      echo(dialect, bytes);
      deliver(link.handler, bytes);
    }
    wires.endTurn();
  }

  /** The plugin, with a note taken of all that it taps; of the first one, also of its scope, and of clients and links. */
  #overheard({ plugin, options }: PluginUse, isFirst: boolean): PluginUse {
    const apply: typeof plugin.apply = (hooks, pluginOptions, scope) => {
      const noting = Object.entries(hooks).map(([name, hook]) => {
        const taps = ((this.taps as Record<string, unknown[]>)[name] ??= []);
        const tap = (tapOptions: string, call: never) => {
          taps.push(call);
          hook.tap(tapOptions, call);
        };
        return [name, { tap }];
      });
      plugin.apply?.(Object.fromEntries(noting) as Hooks, pluginOptions, scope);
      if (!isFirst) return;
      this.scope = scope;
      hooks.onLink.tap(plugin.name, (link) => void this.links.push(link));
      hooks.onConnect.tap(plugin.name, (client) => {
        this.#clients.push(client);
        return undefined;
      });
    };
    return { plugin: { ...plugin, apply }, options };
  }
}
