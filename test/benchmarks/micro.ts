/**
 * The balancer without the kernel: whole request-answer pairs through the built core and plugins on sockets that only hand over
 * bytes, and the framers alone. What is user code's shows here, undisturbed by the network: npm run bench:micro -- [hooks|protocol…]
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type * as BalancerModule from '../../core/balancer.ts';
import type * as LoadModule from '../../core/config/load.ts';
import type * as HooksModule from '../../core/hooks.ts';
import type * as MessageModule from '../../core/message.ts';
import type * as NodeModule from '../../core/runtime/node.ts';
import type { Runtime, Socket, SocketHandler } from '../../core/runtime/runtime.ts';
import type * as ScanModule from '../../core/scan.ts';
import { pointsmanConfig } from './balancers.ts';
import { type Dialect, dialectOf, Form, type Protocol, protocols } from './dialects.ts';
import { medianOf } from './report.ts';

const built = (file: string) => import(new URL(`../../.build/core/${file}`, import.meta.url).href);
const { Balancer } = (await built('balancer.js')) as typeof BalancerModule;
const { loadConfig } = (await built('config/load.js')) as typeof LoadModule;
const { PipelineHooks } = (await built('hooks.js')) as typeof HooksModule;
const { Message } = (await built('message.js')) as typeof MessageModule;
const { nodeRuntime } = (await built('runtime/node.js')) as typeof NodeModule;
const { Scan } = (await built('scan.js')) as typeof ScanModule;

const clients = 50;
const window = 16;
const backends = 3;
const dialogMessages = 5;

/** Keeps what is written until it is taken; always has room. */
class Pipe implements Socket {
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
  readonly #chunk = Buffer.allocUnsafeSlow(window * 2048);
  #round = 0;

  constructor(dialect: Dialect, client: number) {
    this.#pieces = dialect.pieces(client);
    this.#requests = Array.from({ length: window }, () => ({
      fresh: new Form(this.#pieces.fresh, dialect.placeholder),
      sticky: undefined,
    }));
  }

  next(): Buffer {
    const round = this.#round++;
    let length = 0;
    for (const [slot, { fresh, sticky }] of this.#requests.entries()) {
      const isSticky = sticky !== undefined && (round + slot) % dialogMessages > 0;
      const form = isSticky ? sticky : fresh;
      if (!isSticky) fresh.dialog = round * window + slot;
      form.sequence = round * window + slot;
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
  }
}

function echo(dialect: Dialect, bytes: Buffer): void {
  for (let at = 0, end = dialect.endOf(bytes, 0); end > 0; at = end, end = dialect.endOf(bytes, at)) {
    dialect.answer(bytes, at);
  }
}

async function startBalancer(protocol: Protocol, wires: Wires) {
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-micro-'));
  const file = join(folder, 'config.yaml');
  const backendPorts = Array.from({ length: backends }, (_, i) => 7001 + i);
  writeFileSync(file, pointsmanConfig([{ protocol, port: 7000, backendPorts }], folder));
  const { settings, findings } = await loadConfig([file]);
  rmSync(folder, { recursive: true });
  if (settings === undefined) throw new Error(JSON.stringify(findings));
  const quiet = () => {};
  const complain = (fields: object, text?: string) => {
    throw new Error(`${text}: ${JSON.stringify(fields)}`);
  };
  const log = { debug: quiet, info: quiet, warn: complain, error: complain };
  const balancer = new Balancer(settings, { runtime: wires.runtime, log });
  await balancer.start();
  for (const link of wires.links) link.handler.onOpen();
  return balancer.listeners[0]!;
}

const sampleMicroseconds = 50_000;
const samplesKept = 40;
const longestMs = 20_000;

/**
 * Nanoseconds of CPU time for each of `count` things that one call of `body` does: the least of many samples, since all that
 * disturbs (compilers, other processes) only adds. The median says how much that was.
 */
function measure(name: string, count: number, body: () => void): number {
  const samples: number[] = [];
  for (const end = performance.now() + longestMs; samples.length < 2 * samplesKept && performance.now() < end; ) {
    let calls = 0;
    let used = 0;
    for (const start = process.cpuUsage(); used < sampleMicroseconds; calls++) {
      body();
      const { user, system } = process.cpuUsage(start);
      used = user + system;
    }
    samples.push((used * 1000) / (calls * count));
  }
  const settled = samples.slice(-samplesKept); // compiled by then
  const least = Math.min(...settled);
  console.log(`${name.padEnd(52)} ${least.toFixed(0).padStart(7)} ns (median ${medianOf(settled).toFixed(0)})`);
  return least;
}

async function measureProtocol(protocol: Protocol): Promise<void> {
  const dialect = dialectOf(protocol, 0);
  const wires = new Wires();
  const listener = await startBalancer(protocol, wires);
  const pairs = clients * window;
  const callers = Array.from({ length: clients }, (_, number) => {
    const socket = new Pipe();
    socket.handler = wires.accept(socket);
    return { socket, batch: new Batch(dialect, number) };
  });
  const exchange = () => {
    for (const { socket, batch } of callers) {
      const chunk = batch.next();
      socket.handler.onBytes(chunk, 0, chunk.length);
    }
    wires.endTurn();
    for (const link of wires.links) {
      const bytes = link.take();
      echo(dialect, bytes);
      link.handler.onBytes(bytes, 0, bytes.length);
    }
    wires.endTurn();
  };
  exchange();
  for (const { socket, batch } of callers) batch.learn(dialect, socket.take());
  const whole = measure(`${protocol}: pair, with the peers that are made up`, pairs, () => {
    exchange();
    for (const { socket } of callers) socket.take();
  });
  const { fromClients, fromBackends } = listener.stats();
  if (fromClients.received !== fromClients.forwarded || fromClients.received !== fromBackends.forwarded) {
    throw new Error(`not every message was forwarded: ${JSON.stringify({ fromClients, fromBackends })}`);
  }

  const pipe = new Pipe();
  const peers = measure(`${protocol}: the made-up peers alone`, pairs, () => {
    for (const { batch } of callers) pipe.write(batch.next());
    echo(dialect, pipe.take());
  });
  console.log(`${protocol}: pair, balancer alone`.padEnd(52), `${(whole - peers).toFixed(0).padStart(7)} ns`);

  const { hooks } = listener.composed;
  const chunk = callers[0]!.batch.next();
  const scan = new Scan('client', undefined as never, listener.settings.limits);
  const frameAll = () => {
    for (let at = 0; at < chunk.length; at += hooks.frame.call(chunk, at, chunk.length, scan) as number);
  };
  const times = 100; // asking for the CPU time costs more than one
  measure(`${protocol}: frame of a request`, times * window, () => {
    for (let i = 0; i < times; i++) frameAll();
  });
}

/** What it costs that a plugin is called through a hook and its guard, five times for each message. */
function measureHooks(): void {
  const scan = new Scan('client', undefined as never, {} as never);
  const bytes = Buffer.alloc(64);
  const message = new Message();
  message.end = bytes.length;
  const hooks = new PipelineHooks();
  const view = hooks.forPlugin('micro');
  view.frame.tap('micro', (_bytes, start, end) => end - start);
  view.detectId.tap('micro', (it) => it.span(4, 2));
  view.chooseBackend.tap('micro', () => undefined);
  view.insertId.tap('micro', () => undefined);
  view.forward.tap('micro', () => {});
  const times = 1000;
  measure('hooks: five, each with one guarded tap', times, () => {
    for (let i = 0; i < times; i++) {
      hooks.frame.call(bytes, 0, bytes.length, scan);
      hooks.detectId.call(message);
      hooks.chooseBackend.call(message, undefined as never);
      hooks.insertId.call(message, undefined);
      hooks.forward.call(message, undefined as never);
    }
  });
}

const named = process.argv.slice(2);
if (named.length === 0 || named.includes('hooks')) measureHooks();
for (const protocol of protocols) if (named.length === 0 || named.includes(protocol)) await measureProtocol(protocol);
