/**
 * The real core on virtual sockets, with the plugin under test in its pipeline and a witness that records what becomes of
 * each message.
 */
import { fail } from 'node:assert';
import { Balancer } from '../balancer.ts';
import type { Client } from '../client.ts';
import type { RouteReason, Side } from '../message.ts';
import type { Refusal } from '../outcome.ts';
import type { Logger, Sample, Scope } from '../plugin.ts';
import type { Backend } from '../pool.ts';
import { Wire as PlainWire } from '../rehearsal/rig.ts';
import { type Address, formatAddress } from '../runtime/address.ts';
import { type VirtualPeer, VirtualRuntime } from '../runtime/virtual.ts';
import { defaultLimits, type IdentifierMode, type Limits, type PluginUse, type Settings } from '../settings.ts';
import { within } from './runaway.ts';
import { chooser, lines, witness } from './stand-ins.ts';

export interface BackendChoice {
  readonly name: string;
  readonly weight?: number;
  readonly number?: number;
}

export interface RigOptions {
  /** The plugin under test, with its options complete. */
  readonly use: PluginUse;
  /** It taps `frame`. */
  readonly frames: boolean;
  /** It taps `chooseBackend`. */
  readonly chooses: boolean;
  /** Undefined: plain. */
  readonly mode?: IdentifierMode | undefined;
  /** Undefined: a, b and c with numbers 1, 2 and 3. */
  readonly backends?: readonly BackendChoice[] | undefined;
  /** What becomes of messages is not recorded. */
  readonly unwatched?: boolean;
  /** What backends answer to what they get. Undefined: nothing. */
  readonly answer?: Sample['answer'];
  /** Undefined: as the protocol allows. */
  readonly links?: 'shared' | 'dedicated' | undefined;
}

/** What the witness saw of one message. */
export interface Seen {
  readonly from: Side;
  /** As it was received. */
  readonly bytes: Buffer;
  /** It was none: its end could not be told, and its sender was closed. */
  readonly isLost: boolean;
  refusal?: Refusal;
  /** Where it went, and why. */
  to?: Backend | Client;
  reason?: RouteReason | undefined;
  /** As it left. */
  sent?: Buffer;
}

/** Small tables, so that a rig costs little. */
const limits: Limits = { ...defaultLimits, inFlight: 4096, affinityEntries: 1024 };
const key = { id: 'k1', secret: Buffer.from('conformance conformance 01234567') };
const listen: Address = { transport: 'tcp', host: '192.0.2.1', port: 5060, path: '' };
const addressOf = (index: number): Address => ({ transport: 'tcp', host: '10.0.0.1', port: 7001 + index, path: '' });
const threeBackends: readonly BackendChoice[] = ['a', 'b', 'c'].map((name, index) => ({ name, number: index + 1 }));

/** A balancer with one listener and one pool. */
export function settingsWith(
  pipeline: readonly PluginUse[],
  { mode = 'plain', backends = threeBackends, links }: Pick<RigOptions, 'mode' | 'backends' | 'links'> = {},
): Settings {
  const pool = {
    name: 'pool',
    backends: backends.map(({ name, weight = 1, number }, i) => ({ name, weight, number, address: addressOf(i) })),
    links,
    linksPerBackend: 1,
    connectSeconds: 5,
    keepaliveSeconds: 0,
    queueBytes: 4_194_304,
  };
  return {
    keys: mode === 'plain' ? [] : [key],
    pools: [pool],
    listeners: [{ name: 'listener', listen, pool: 'pool', identifiers: { mode }, limits, pipeline }],
  };
}

export class Rig {
  readonly runtime: VirtualRuntime;
  readonly balancer: Balancer;
  /** What is going on, for what fails meanwhile. */
  doing = '';
  /** The messages since the last `take`, in the order in which they came. */
  seen: Seen[] = [];
  /** The name of the backend that gets what names none; undefined: as the plugin chooses, or the first one if it is no strategy. */
  chosen: string | undefined;
  /** What the witness answers in `detectId`, before the plugin is asked. */
  refusal: Refusal | undefined;
  /** The scope of the witness. */
  scope!: Scope;
  /** What was available when the last backend was chosen. */
  available: readonly Backend[] = [];
  /** What was logged as an error: what the plugin did that it must not. */
  readonly #faults: string[] = [];
  readonly #hasToWait: boolean;
  #newestLink: VirtualPeer | undefined;
  #port = 40_000;

  /** @throws PluginError (rejects with) if the plugin cannot be applied */
  static async open(options: RigOptions): Promise<Rig> {
    const rig = new Rig(options, new VirtualRuntime());
    await rig.balancer.start();
    rig.runtime.settle();
    return rig;
  }

  /** @throws PluginError if the plugin cannot be applied */
  constructor(options: RigOptions, runtime: VirtualRuntime) {
    this.runtime = runtime;
    const { use, frames, chooses, unwatched = false } = options;
    const pipeline = [
      { plugin: witness(this, { records: !unwatched }), options: {} },
      { plugin: chooser(this, { insists: !chooses }), options: {} },
      ...(frames ? [] : [{ plugin: lines, options: {} }]),
      use,
    ];
    const settings = settingsWith(pipeline, options);
    for (const { address } of settings.pools[0]!.backends) {
      runtime.servers.set(formatAddress(address), (peer) => {
        this.#newestLink = peer;
        peer.onBytes = (bytes) => {
          peer.chunks = []; // or all that was ever sent would be kept
          const answer = options.answer?.(bytes);
          if (answer !== undefined) peer.send(answer);
        };
        return 'accept';
      });
    }
    this.balancer = new Balancer(settings, { runtime, log: this.#log() });
    this.#hasToWait = this.composed.hooks.isTapped('onConnect');
  }

  get composed() {
    return this.balancer.listeners[0]!.composed;
  }

  /** Errors of the core name the plugin that made them; what the plugin itself logs is its own affair. */
  #log(): Logger & { child(fields: object): Logger } {
    const quiet = () => {};
    const silent = { debug: quiet, info: quiet, warn: quiet, error: quiet };
    const error = (_fields: object, text = '') => void this.#faults.push(text);
    const log = { ...silent, error, child: (fields: object) => ('plugin' in fields ? silent : { ...silent, error }) };
    return log;
  }

  /** A client connects. */
  async client(address = '198.51.100.1'): Promise<Wire> {
    const peer = this.runtime.dial(listen, address, this.#port++);
    if (peer === undefined) fail('the listener has not opened');
    this.runtime.settle();
    if (this.#hasToWait) {
      await new Promise((resolve) => setImmediate(resolve));
      this.runtime.settle();
    }
    if (peer.ended) fail('a client was turned away by onConnect');
    return new Wire(this, peer);
  }

  /** A link to a backend, as the backend holds it. */
  async link(): Promise<Wire> {
    if (this.composed.links === 'dedicated') {
      const wire = await this.client();
      const client = wire.peer.socket.handler as Client;
      this.composed.pipeline.forwarding.links.for(client, this.scope.pool.backends[0]!);
      this.runtime.settle();
    }
    if (this.#newestLink === undefined) fail('no link to a backend has opened');
    return new Wire(this, this.#newestLink);
  }

  /** What came since the last `take`. */
  take(): Seen[] {
    const { seen } = this;
    this.seen = [];
    return seen;
  }

  /** Fails if the plugin did what the core complains about, or wrote into bytes that are not its own. */
  check(): void {
    const [fault] = this.#faults;
    if (fault !== undefined) fail(`${this.doing}: ${fault}`);
  }

  /** Runs `body`, and fails if that does not come back in time, or if the plugin does wrong meanwhile. */
  within<Result>(milliseconds: number, body: () => Result): Result {
    const result = within(milliseconds, () => this.doing, body);
    this.check();
    return result;
  }

  /** Forgets the links, so that nothing keeps what is closed. */
  forget(): void {
    this.#newestLink = undefined;
    this.seen = [];
    this.available = [];
  }

  blame(fault: string): void {
    this.#faults.push(fault);
  }

  async stop(): Promise<void> {
    await this.runtime.until(this.balancer.stop({ deadlineSeconds: 0 }));
  }
}

const nothing = Buffer.alloc(0);

/** One that says where the received bytes stand in memory. */
export class Wire extends PlainWire {
  readonly #rig: Rig;

  constructor(rig: Rig, peer: VirtualPeer) {
    super(rig.runtime, peer);
    this.#rig = rig;
  }

  /** @param around what stands in the memory in front of the bytes and behind them, which is nobody's business */
  override send(bytes: Uint8Array, around: Uint8Array = nothing): void {
    const memory = Buffer.concat([around, bytes, around]);
    const before = Buffer.from(memory);
    this.peer.socket.handler.onBytes(memory, around.length, around.length + bytes.length);
    if (!memory.equals(before)) this.#rig.blame('the plugin wrote into the bytes that were received');
    // Nobody may keep the memory, so it is wiped before anything is due that comes later.
    memory.fill(0xee);
    this.#rig.runtime.settle();
  }

  get isClosed(): boolean {
    return this.ended || this.closed;
  }
}
