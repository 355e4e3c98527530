/** Plays the test of a config: its steps in order, on a balancer of its own, until one does not go as expected. */
import { isIP } from 'node:net';
import { balances, type ListenerStats } from '../accounting.ts';
import type { BalancerOptions } from '../balancer.ts';
import { PointsmanError } from '../errors.ts';
import type { BackendState, Settings } from '../settings.ts';
import { type Event, type Failure, failuresOf } from './expect.ts';
import { Recorder } from './recorder.ts';
import { Rig, unchecked, type Wire } from './rig.ts';
import type { Action, Copy, Script, Step, Template } from './script.ts';

export interface PlayOptions {
  /** Equal seeds give equal runs. */
  readonly seed: number;
}

export interface TestResult {
  readonly script: Script;
  /** Empty: the test has passed. */
  readonly failures: readonly Failure[];
  /** The step that did not go as expected, from 0; undefined: none, or what failed is the end of the test. */
  readonly failedStep: number | undefined;
  /** What the balancer logged, at warn and above, until then. */
  readonly logged: readonly string[];
}

/** Addresses of clients that have none in their name begin here (RFC 5737, for documentation). */
const clientNetwork = '198.51.100.';

/** @param settings those of the whole config */
export async function play(script: Script, settings: Settings, { seed }: PlayOptions): Promise<TestResult> {
  let logged: string[] = [];
  let stage: Stage;
  try {
    stage = await Stage.set(settingsOf(settings, script.listener), seed, logged);
  } catch (error) {
    if (!(error instanceof PointsmanError)) throw error;
    const failure = { kind: 'start', place: script.place, expected: undefined, got: error.message };
    return { script, failures: [failure], failedStep: undefined, logged };
  }
  let failures: readonly Failure[] = [];
  let failedStep: number | undefined;
  try {
    for (const [index, step] of script.steps.entries()) {
      failures = await stage.step(step);
      if (failures.length > 0) {
        failedStep = index;
        break;
      }
    }
  } finally {
    // What is cut off at the end is of no interest.
    logged = [...logged];
    await stage.strike();
  }
  const stats = stage.stats();
  if (!balances(stats)) {
    const got = JSON.stringify({
      fromClients: stats.fromClients,
      fromBackends: stats.fromBackends,
      queued: stats.queued,
    });
    const expected = 'received = forwarded + refused + discarded + held, in each direction';
    failures = [...failures, { kind: 'accounting', place: script.place, expected, got }];
  }
  return { script, failures, failedStep, logged };
}

/** The part of a config that a test is about. */
function settingsOf(settings: Settings, name: string): Settings {
  const listener = settings.listeners.find((listener) => listener.name === name)!;
  const pools = settings.pools.filter((pool) => pool.name === listener.pool).map(unchecked);
  return { ...settings, listeners: [listener], pools };
}

/** What is said to be wrong with a step that cannot be done. */
class Impossible extends Error {}

type Actor = Pick<Event, 'client' | 'backend'>;

class Stage {
  readonly #settings: Settings;
  readonly #seed: number;
  readonly #rig: Rig;
  readonly #recorder: Recorder;
  readonly #clients = new Map<string, Wire>();
  /** The link on which a backend received something last. */
  readonly #lastLinks = new Map<string, Wire>();
  /** What each client and backend received last. */
  readonly #received = new Map<string, Buffer>();
  readonly #events: Event[] = [];
  #lastClient: string | undefined;
  #lastBackend: string | undefined;

  private constructor(settings: Settings, seed: number, rig: Rig, recorder: Recorder) {
    this.#settings = settings;
    this.#seed = seed;
    this.#rig = rig;
    this.#recorder = recorder;
  }

  static async set(settings: Settings, seed: number, logged: string[]): Promise<Stage> {
    const recorder = new Recorder();
    const recorded = { ...settings, listeners: settings.listeners.map((listener) => recorder.record(listener)) };
    const rig = await Rig.start(recorded, { seed, log: keepWarnings(logged) });
    // The virtual clock begins at 0, which "since when" has for "never".
    rig.advance(1);
    const stage = new Stage(settings, seed, rig, recorder);
    stage.#collect(); // a handshake on a link that is open from the beginning is no part of the first step
    return stage;
  }

  stats(): ListenerStats {
    return this.#rig.balancer.listeners[0]!.stats();
  }

  async strike(): Promise<void> {
    await this.#rig.stop();
  }

  /** Does the step; answers what is not as expected. */
  async step(step: Step): Promise<readonly Failure[]> {
    const before = this.stats();
    const { messages } = this.#recorder;
    // A message whose end comes in this step is one of this step.
    const recorded = messages.length - (messages.at(-1)?.outcome?.kind === 'incomplete' ? 1 : 0);
    let actor: Actor;
    try {
      actor = this.#do(step.action);
      await this.#rig.settle();
    } catch (error) {
      if (!(error instanceof Impossible)) throw error;
      return [{ kind: step.action.kind, place: step.place, expected: undefined, got: error.message }];
    }
    const event = {
      ...actor,
      ...this.#collect(),
      lastClient: this.#lastClient,
      before,
      after: this.stats(),
      messages: messages.slice(recorded),
    };
    this.#events.push(event);
    return failuresOf(step.expectations, event, {
      events: this.#events,
      settings: this.#settings,
      seed: this.#seed,
      recorder: this.#recorder,
      isClosed: (client) => isClosed(this.#clients.get(client)),
    });
  }

  /** Answers who has sent something. */
  #do(action: Action): Actor {
    switch (action.kind) {
      case 'send': {
        const wire = this.#client(action.from);
        if (isClosed(wire)) throw new Impossible(`the connection of ${action.from} is closed`);
        this.#lastClient = action.from;
        write(wire, this.#fill(action.bytes, clientKey(action.from), action.from), action.byteByByte);
        return { client: action.from };
      }
      case 'reply': {
        const name = action.from ?? this.#lastBackend;
        if (name === undefined) throw new Impossible('no backend has received anything yet');
        const link = this.#lastLinks.get(name);
        if (link === undefined) throw new Impossible(`${name} has received nothing yet`);
        if (link.closed) throw new Impossible(`the link that brought ${name} its last message is closed`);
        write(link, this.#fill(action.bytes, backendKey(name), name), action.byteByByte);
        return { backend: name };
      }
      case 'advance':
        this.#rig.advance(action.milliseconds);
        return {};
      case 'down':
        for (const name of action.backends) this.#rig.backend(name).down();
        return {};
      case 'up':
        for (const name of action.backends) {
          this.#rig.backend(name).up();
          this.#setState(name, 'ready');
        }
        return {};
      case 'drain':
        for (const name of action.backends) this.#setState(name, 'drain');
        return {};
    }
  }

  #setState(name: string, state: BackendState): void {
    for (const pool of this.#rig.balancer.pools) {
      const backend = pool.byName(name);
      if (backend !== undefined) pool.setState(backend, state);
    }
  }

  /** Looks where bytes have arrived. */
  #collect(): Pick<Event, 'toBackends' | 'toClients'> {
    const toBackends = new Map<string, Buffer>();
    const toClients = new Map<string, Buffer>();
    for (const backend of this.#rig.backends) {
      const pieces: Buffer[] = [];
      for (const wire of backend.wires) {
        const piece = wire.take();
        if (piece.length === 0) continue;
        pieces.push(piece);
        this.#lastLinks.set(backend.name, wire);
      }
      if (pieces.length === 0) continue;
      const bytes = Buffer.concat(pieces);
      toBackends.set(backend.name, bytes);
      this.#received.set(backendKey(backend.name), bytes);
      this.#lastBackend = backend.name;
    }
    for (const [name, wire] of this.#clients) {
      const bytes = wire.take();
      if (bytes.length === 0) continue;
      toClients.set(name, bytes);
      this.#received.set(clientKey(name), bytes);
    }
    return { toBackends, toClients };
  }

  #client(name: string): Wire {
    let wire = this.#clients.get(name);
    if (wire === undefined) {
      const address = isIP(name) === 0 ? `${clientNetwork}${1 + (this.#clients.size % 254)}` : name;
      wire = this.#rig.client(address);
      this.#clients.set(name, wire);
    }
    return wire;
  }

  #fill(template: Template, receiver: string, name: string): Buffer {
    return Buffer.concat(template.map((piece) => ('written' in piece ? this.#copy(piece, receiver, name) : piece)));
  }

  #copy(copy: Copy, receiver: string, name: string): Buffer {
    const received = this.#received.get(receiver);
    if (received === undefined)
      throw new Impossible(`${copy.written} copies from what ${name} received, which is nothing yet`);
    if ('offset' in copy) {
      const end = copy.offset + copy.length;
      if (end > received.length) {
        throw new Impossible(
          `${copy.written} reaches beyond what ${name} received last, which has ${received.length} bytes`,
        );
      }
      return received.subarray(copy.offset, end);
    }
    const matches = [...received.toString('latin1').matchAll(copy.pattern)];
    if (matches.length === 0) throw new Impossible(`${copy.written} matches nothing in what ${name} received last`);
    return Buffer.from(matches.map(([whole, group]) => group ?? whole).join(''), 'latin1');
  }
}

const clientKey = (name: string) => `client ${name}`;
const backendKey = (name: string) => `backend ${name}`;

const isClosed = (wire: Wire | undefined) => wire !== undefined && (wire.ended || wire.closed);

function write(wire: Wire, bytes: Buffer, byteByByte: boolean): void {
  if (!byteByByte) wire.send(bytes);
  else for (let at = 0; at < bytes.length; at++) wire.send(bytes.subarray(at, at + 1));
}

function keepWarnings(logged: string[]): BalancerOptions['log'] {
  const quiet = () => {};
  const keep = (fields: object, text = '') => {
    const { reason, error, backend } = fields as { reason?: string; error?: string; backend?: string };
    const details = [backend, reason ?? error].filter((detail) => detail !== undefined).join(': ');
    logged.push(details === '' ? text : `${text} (${details})`);
  };
  return {
    debug: quiet,
    info: quiet,
    warn: keep,
    error: (fields, text) => keep(text === undefined ? fields : {}, text),
  };
}
