/** Composes a pipeline: applies the plugins of a listener to fresh hooks. Opens nothing, so a config can be checked with it. */
import { createHmac } from 'node:crypto';
import { Accounting } from './accounting.ts';
import { Affinity } from './affinity.ts';
import type { Client } from './client.ts';
import { Clients } from './clients.ts';
import { PluginError } from './errors.ts';
import { Exchanges } from './exchanges.ts';
import { type HookName, PipelineHooks } from './hooks.ts';
import { Identifiers } from './identifiers.ts';
import { Admission } from './limits/admission.ts';
import type { BackendNews } from './links.ts';
import type { Message, Span } from './message.ts';
import { type Channel, PipelineEnd } from './observers/channel.ts';
import { Pipeline } from './pipeline.ts';
import {
  type ListenerFacts,
  type Logger,
  type PluginDefinition,
  type ProtocolFacts,
  type RelatedIds,
  type Scope,
  tokenForms,
} from './plugin.ts';
import type { Pool } from './pool.ts';
import { formatAddress } from './runtime/address.ts';
import type { Runtime } from './runtime/runtime.ts';
import { VirtualRuntime } from './runtime/virtual.ts';
import type { KeySettings, ListenerSettings, PluginUse } from './settings.ts';
import type { Siblings } from './workers/siblings.ts';

export interface Services {
  readonly runtime: Runtime;
  readonly keys: readonly KeySettings[];
  readonly clients: Clients;
  readonly log: Logger & { child?(fields: object): Logger };
  /** The clients of other processes. Undefined: there are none. */
  readonly siblings?: Siblings | undefined;
  /** What watches every pipeline. Undefined: nothing. */
  readonly observers?: readonly ObserverTaps[] | undefined;
  /** Told of a plugin that cannot be applied; the others are, all the same. Undefined: that is thrown. */
  readonly onRefusal?: ((use: PluginUse, fault: PluginError) => void) | undefined;
  /** Told when a backend goes down or comes up. Undefined: that is logged. */
  readonly onBackendNews?: ((news: BackendNews) => void) | undefined;
}

/** An observer, and where its pipelines say what it is to hear. */
interface ObserverTaps {
  readonly use: PluginUse;
  readonly end: PipelineEnd;
}

/** A pipeline and all that belongs to it. */
export interface Composed {
  readonly hooks: PipelineHooks;
  readonly facts: ProtocolFacts;
  readonly pipeline: Pipeline;
  readonly affinity: Affinity | undefined;
  readonly exchanges: Exchanges | undefined;
  readonly accounting: Accounting;
  readonly log: Logger;
  /** How links to the pool are kept: as its config says, else as the protocol allows. */
  readonly links: 'shared' | 'dedicated';
  /** The keys that strategies have asked for with `scope.messageKey`. */
  readonly messageKeys: readonly { readonly plugin: string; readonly key: string }[];
  /** What the plugins have said with `scope.advise`. */
  readonly advice: readonly { readonly plugin: string; readonly text: string }[];
  /** Reject with a PluginError only. */
  readonly starts: readonly (() => Promise<void>)[];
  readonly stops: readonly (() => Promise<void>)[];
  readonly identifiers: Identifiers;
  /** The plugin that has declared the protocol. */
  readonly protocol: PluginDefinition | undefined;
  /** The plugins that keep something for each client, once for each place in `client.states`. */
  readonly stateful: readonly PluginDefinition[];
  /** It goes on with the tables and links of the pipeline before: connections may move. */
  readonly succeeds: boolean;
}

const nobodyListens: Channel = { send() {}, onMessage() {} };
const silent: Logger = { debug() {}, info() {}, warn() {}, error() {} };

/** Services that touch nothing: for validating a config. */
export function dryServices(keys: readonly KeySettings[], observers: readonly PluginUse[] = []): Services {
  const runtime = new VirtualRuntime();
  const taps = observers.map((use) => ({ use, end: new PipelineEnd(() => {}) }));
  return { runtime, keys, clients: new Clients(runtime), log: silent, observers: taps };
}

/** The names of the plugins that tap a hook. */
export function tapping(hooks: PipelineHooks, hook: HookName): string[] {
  return hooks.taps.filter((tap) => tap.hook === hook).map((tap) => tap.plugin);
}

/** How the links to the pool are kept. */
export function linkMode(pool: Pool, facts: ProtocolFacts): 'shared' | 'dedicated' {
  return pool.settings.links ?? (facts.correlates ? 'shared' : 'dedicated');
}

/**
 * @param before the pipeline of the same listener and pool that this one may succeed
 * @throws PluginError if a plugin's `apply` throws, or declares what it must not
 */
export function composePipeline(
  settings: ListenerSettings,
  pool: Pool,
  services: Services,
  before?: Composed,
): Composed {
  const { runtime, keys, clients } = services;
  const log = services.log.child?.({ listener: settings.name }) ?? services.log;
  const hooks = new PipelineHooks();
  const accounting = before?.accounting ?? new Accounting(pool.backends.length);
  const { siblings } = services;
  const identifiers = new Identifiers({
    keys,
    mode: settings.identifiers.mode,
    pool,
    clients,
    elsewhere: siblings && ((place, token) => siblings.client(place, token, pipeline)),
  });
  const starts: (() => Promise<void>)[] = [];
  const stops: (() => Promise<void>)[] = [];
  const messageKeys: { plugin: string; key: string }[] = [];
  const advice: { plugin: string; text: string }[] = [];
  let declared: ProtocolFacts | undefined;
  let protocol: PluginDefinition | undefined;
  const stateful: PluginDefinition[] = [];

  // The tables depend on what the protocol declares, so plugins see them through these.
  const later = () => new Error('there are no messages yet: use it in a hook');
  let exchanges: Exchanges | undefined;
  let affinity: Affinity | undefined;
  const listener: ListenerFacts = {
    name: settings.name,
    limits: settings.limits,
    advertise: settings.advertise ?? formatAddress(settings.listen).replace(/^[a-z]+:(\/\/)?/, ''),
    transport: settings.listen.transport,
  };

  const scopeFor = (plugin: PluginDefinition, channel: Channel = nobodyListens): Scope => ({
    channel,
    listener,
    pool,
    log: services.log.child?.({ listener: settings.name, plugin: plugin.name }) ?? services.log,
    clock: {
      now: runtime.now,
      random: runtime.random,
      randomBytes: runtime.randomBytes,
      after: (milliseconds, callback) =>
        runtime.after(milliseconds, () => {
          const called = named(plugin, 'clock.after', callback)();
          called.catch((error: Error) => log.error({ err: error }, error.message));
        }),
    },
    identifiers,
    exchanges: {
      open(message, offset, length) {
        if (exchanges === undefined) throw new Error('the protocol has not declared correlationBits');
        return exchanges.open(message, offset, length);
      },
      find: (message, id) => exchanges?.find(message, id),
    },
    affinity: {
      settle: (message, offset, length, kind, seconds) => affinity?.settle(message, offset, length, kind, seconds),
    },
    get links() {
      if (declared === undefined && pool.settings.links === undefined) throw later();
      return linkMode(pool, declared ?? { identifiers: 'text' });
    },
    secret(label) {
      const key = keys[0]?.secret ?? clients.processSecret;
      return createHmac('sha256', key).update(`pointsman 1 plugin ${plugin.name} ${label}`).digest().subarray(0, 8);
    },
    timeHooks: (which, measured) => hooks.time(which, runtime.now, measured),
    field(name) {
      let find: NonNullable<ProtocolFacts['keys']>[string] | undefined;
      return (message) => {
        if (!isRouted(message)) return undefined;
        find ??= declared?.keys?.[name] ?? nowhere;
        return find(message);
      };
    },
    messageKey(key) {
      messageKeys.push({ plugin: plugin.name, key });
      return (message) => keyOf(key, message);
    },
    protocol(facts) {
      if (!tokenForms.includes(facts?.identifiers)) {
        const given = JSON.stringify(facts?.identifiers);
        throw new TypeError(`scope.protocol() needs "identifiers", one of ${tokenForms.join(', ')}, not ${given}`);
      }
      if (declared !== undefined) throw new Error('a pipeline has one protocol, and another plugin has declared it');
      declared = facts;
      protocol = plugin;
    },
    advise: (text) => void advice.push({ plugin: plugin.name, text }),
    perClient<State>(create: (client: Client) => State) {
      const index = stateful.push(plugin) - 1;
      // The places in `client.states` are those of its own pipeline.
      const ofOthers = new WeakMap<Client, State>();
      return (client: Client) => {
        if (client.listener !== listener) return stateIn(ofOthers, client, create);
        if (client.states[index] === undefined) client.states[index] = create(client);
        return client.states[index] as State;
      };
    },
    onStart: (start) => void starts.push(named(plugin, 'onStart', start)),
    onStop: (stop) => void stops.push(named(plugin, 'onStop', stop)),
  });

  const lastId = new LastId();
  const whole: Span = { offset: 0, length: 0 };
  const keyOf = (key: string, message: Message): Span => {
    const field = declared?.keys?.[key]?.(message);
    if (field !== undefined) return field;
    lastId.length = 0;
    if (key === 'message') declared?.relatedIds?.(message, lastId);
    if (lastId.length > 0) return lastId;
    whole.length = message.length;
    return whole;
  };

  const applying = (use: PluginUse, apply: () => void) => {
    try {
      apply();
    } catch (cause) {
      const fault = PluginError.threw(use.plugin.name, 'apply', cause);
      if (services.onRefusal === undefined) throw fault;
      services.onRefusal(use, fault);
    }
  };
  for (const use of settings.pipeline) {
    const { plugin, options } = use;
    applying(use, () => {
      if (plugin.apply === undefined) throw new Error('it is not for pipelines: it has no apply');
      plugin.apply(hooks.forPlugin(plugin.name), options as never, scopeFor(plugin));
    });
  }
  for (const { use, end } of services.observers ?? []) {
    const { plugin, options } = use;
    const onFault = (error: Error) => log.error({ err: error }, error.message);
    const channel = end.open();
    stops.push(async () => channel.close());
    applying(use, () =>
      plugin.apply?.(hooks.forPlugin(plugin.name, onFault), options as never, scopeFor(plugin, channel)),
    );
  }

  const facts: ProtocolFacts = declared ?? { identifiers: 'text' };
  identifiers.configure(facts);
  const { limits } = settings;
  const links = linkMode(pool, facts);
  const succeeds = before !== undefined && canSucceed(before, { facts, protocol, stateful, links });
  if (succeeds) {
    ({ exchanges } = before);
  } else if (facts.correlationBits !== undefined) {
    exchanges = new Exchanges(limits.inFlight, facts.correlationBits, limits.replySeconds, runtime.now);
  }
  if (succeeds && before.affinity !== undefined) {
    ({ affinity } = before);
  } else if (facts.relatedIds !== undefined) {
    affinity = new Affinity({
      entries: limits.affinityEntries,
      countsInFlight: exchanges === undefined || links === 'dedicated',
      relate: facts.relatedIds.bind(facts),
      key: runtime.randomBytes(8),
    });
  }
  const admission = Admission.isNeeded(pool, limits)
    ? new Admission(pool, limits, exchanges, runtime.now())
    : undefined;
  const { whenDown } = settings.identifiers;
  const pipeline = new Pipeline({
    listener,
    runtime,
    hooks,
    facts,
    pool,
    limits,
    identifiers,
    whenDown: whenDown ?? 'refuse',
    whenGone: whenDown ?? facts.whenGone ?? 'refuse',
    affinity,
    exchanges,
    admission,
    accounting,
    log,
  });
  return {
    hooks,
    facts,
    pipeline,
    affinity,
    exchanges,
    accounting,
    log,
    links,
    messageKeys,
    advice,
    starts,
    stops,
    identifiers,
    protocol,
    stateful,
    succeeds,
  };
}

const nowhere = () => undefined;

/** Whether the protocol has seen it as a whole: what is lost while it is framed has no fields. */
const isRouted = ({ client, backend }: Message): boolean => client !== undefined || backend !== undefined;

type Succession = Pick<Composed, 'facts' | 'protocol' | 'stateful' | 'links'>;

/** Whether connections can go on with another pipeline: it speaks the same protocol in the same way, and needs nothing it does not have. */
function canSucceed(before: Succession, after: Succession): boolean {
  return (
    before.protocol?.name === after.protocol?.name &&
    before.links === after.links &&
    before.facts.correlationBits === after.facts.correlationBits &&
    (before.facts.relatedIds === undefined) === (after.facts.relatedIds === undefined) &&
    (areFamiliar(before, after) || !before.facts.staysWithClients)
  );
}

/** The plugins that keep something for each client are the same ones, so they know what they have kept. */
export function areFamiliar(before: Pick<Composed, 'stateful'>, after: Pick<Composed, 'stateful'>): boolean {
  return (
    before.stateful.length === after.stateful.length &&
    before.stateful.every((plugin, index) => plugin === after.stateful[index])
  );
}

/** A plugin's state for the client of another listener. */
function stateIn<State>(states: WeakMap<Client, State>, client: Client, create: (client: Client) => State): State {
  let state = states.get(client);
  if (state === undefined) {
    state = create(client);
    states.set(client, state);
  }
  return state;
}

/** Runs at once; what goes wrong, then or later, is named after the plugin. */
function named(plugin: PluginDefinition, what: string, callback: () => void | Promise<void>): () => Promise<void> {
  return async () => {
    try {
      await callback();
    } catch (cause) {
      throw PluginError.threw(plugin.name, what, cause);
    }
  };
}

/** Keeps the place of the last id it is given. */
class LastId implements RelatedIds, Span {
  seconds = 32;
  awaitsAnswer = true;
  offset = 0;
  length = 0;
  add(offset: number, length: number): void {
    this.offset = offset;
    this.length = length;
  }
}
