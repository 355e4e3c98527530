/** The scopes that the plugins of one pipeline get in `apply`, and what the plugins declare through them. */
import { createHmac } from 'node:crypto';
import type { Affinity } from './affinity.ts';
import type { Client } from './client.ts';
import { PluginError } from './errors.ts';
import type { Exchanges, ExchangeTable } from './exchanges.ts';
import type { PipelineHooks } from './hooks.ts';
import type { Identifiers } from './identifiers.ts';
import type { Message, Span } from './message.ts';
import type { Channel } from './observers/channel.ts';
import {
  type Clock,
  type ListenerFacts,
  type Logger,
  type PluginDefinition,
  type ProtocolFacts,
  type RelatedIds,
  type Scope,
  tokenForms,
} from './plugin.ts';
import type { Pool } from './pool.ts';
import type { Services } from './services.ts';

export interface ScopeOptions {
  readonly listener: ListenerFacts;
  readonly pool: Pool;
  readonly hooks: PipelineHooks;
  readonly identifiers: Identifiers;
  readonly services: Services;
  readonly log: Logger;
}

const nobodyListens: Channel = { send() {}, onMessage() {} };

export class PipelineScopes {
  /** The plugin that has declared the protocol. */
  protocol: PluginDefinition | undefined;
  /** The plugins that keep state for each client, in the order of their places in `client.states`. */
  readonly stateful: PluginDefinition[] = [];
  /** The keys that strategies have asked for with `scope.messageKey`. */
  readonly messageKeys: { readonly plugin: string; readonly key: string }[] = [];
  /** What the plugins have said with `scope.advise`. */
  readonly advice: { readonly plugin: string; readonly text: string }[] = [];
  /** Both reject only with a PluginError. */
  readonly starts: (() => Promise<void>)[] = [];
  readonly stops: (() => Promise<void>)[] = [];

  // The tables depend on what the protocol declares: they are set when all plugins have been applied.
  exchanges: Exchanges | undefined;
  affinity: Affinity | undefined;

  #declared: ProtocolFacts | undefined;
  readonly #options: ScopeOptions;
  readonly #lastId = new LastId();
  readonly #whole: Span = { offset: 0, length: 0 };

  constructor(options: ScopeOptions) {
    this.#options = options;
  }

  /** What the protocol can do; nothing where no plugin has declared one. */
  get facts(): ProtocolFacts {
    return this.#declared ?? { identifiers: 'text' };
  }

  /** How links to the pool are kept: as the pool's config says, else as the protocol allows. */
  get links(): 'shared' | 'dedicated' {
    return this.#options.pool.settings.links ?? (this.facts.correlates ? 'shared' : 'dedicated');
  }

  /** @param channel to the other half of an observer */
  forPlugin(plugin: PluginDefinition, channel: Channel = nobodyListens): Scope {
    const { listener, pool, hooks, identifiers, services, log } = this.#options;
    const { name } = plugin;
    const linksOf = () => this.#linksIfKnown();
    return {
      channel,
      listener,
      pool,
      log: services.log.child?.({ listener: listener.name, plugin: name }) ?? services.log,
      clock: clockFor(plugin, services, log),
      identifiers,
      exchanges: this.#exchangeTable(),
      affinity: {
        settle: (message, offset, length, kind, seconds) =>
          this.affinity?.settle(message, offset, length, kind, seconds),
      },
      get links() {
        return linksOf();
      },
      secret: (label) => secretOf(services, `plugin ${name} ${label}`),
      timeHooks: (which, measured) => hooks.time(which, services.runtime.now, measured),
      field: (field) => this.#field(field),
      messageKey: (key) => {
        this.messageKeys.push({ plugin: name, key });
        return (message) => this.#keyOf(key, message);
      },
      protocol: (facts) => this.#declare(plugin, facts),
      advise: (text) => void this.advice.push({ plugin: name, text }),
      perClient: (create) => this.#perClient(plugin, create),
      onStart: (start) => void this.starts.push(named(plugin, 'onStart', start)),
      onStop: (stop) => void this.stops.push(named(plugin, 'onStop', stop)),
    };
  }

  #declare(plugin: PluginDefinition, facts: ProtocolFacts): void {
    if (!tokenForms.includes(facts?.identifiers)) {
      const given = JSON.stringify(facts?.identifiers);
      throw new TypeError(`scope.protocol() needs "identifiers", one of ${tokenForms.join(', ')}, not ${given}`);
    }
    if (this.protocol !== undefined) throw new Error('a pipeline has one protocol, and another plugin has declared it');
    this.#declared = facts;
    this.protocol = plugin;
  }

  #linksIfKnown(): 'shared' | 'dedicated' {
    if (this.protocol === undefined && this.#options.pool.settings.links === undefined) {
      throw new Error('there are no messages yet: use it in a hook');
    }
    return this.links;
  }

  #exchangeTable(): ExchangeTable {
    return {
      open: (message, offset, length) => {
        if (this.exchanges === undefined) throw new Error('the protocol has not declared correlationBits');
        return this.exchanges.open(message, offset, length);
      },
      find: (message, id) => this.exchanges?.find(message, id),
    };
  }

  #field(name: string): (message: Message) => Span | undefined {
    let find: ((message: Message) => Span | undefined) | undefined;
    return (message) => {
      if (!isRouted(message)) return undefined;
      find ??= this.#declared?.keys?.[name] ?? nowhere;
      return find(message);
    };
  }

  /** The bytes of a message that stand for a key in hashing. */
  #keyOf(key: string, message: Message): Span {
    const declared = this.#declared;
    const field = declared?.keys?.[key]?.(message);
    if (field !== undefined) return field;
    const lastId = this.#lastId;
    lastId.length = 0;
    if (key === 'message') declared?.relatedIds?.(message, lastId);
    if (lastId.length > 0) return lastId;
    this.#whole.length = message.length;
    return this.#whole;
  }

  #perClient<State>(plugin: PluginDefinition, create: (client: Client) => State): (client: Client) => State {
    const { listener } = this.#options;
    const index = this.stateful.push(plugin) - 1;
    // The places in `client.states` are those of the client's own pipeline.
    const ofOthers = new WeakMap<Client, State>();
    return (client) => {
      if (client.listener !== listener) return stateIn(ofOthers, client, create);
      if (client.states[index] === undefined) client.states[index] = create(client);
      return client.states[index] as State;
    };
  }
}

const nowhere = () => undefined;

/** Whether the protocol has seen the whole message: what is lost while it is framed has no fields. */
const isRouted = ({ client, backend }: Message): boolean => client !== undefined || backend !== undefined;

/** The runtime's clock; what a plugin throws when it is called back is logged. */
function clockFor(plugin: PluginDefinition, { runtime }: Services, log: Logger): Clock {
  return {
    now: runtime.now,
    random: runtime.random,
    randomBytes: runtime.randomBytes,
    after: (milliseconds, callback) =>
      runtime.after(milliseconds, () => {
        const called = named(plugin, 'clock.after', callback)();
        called.catch((error: Error) => log.error({ err: error }, error.message));
      }),
  };
}

function secretOf({ keys, clients }: Services, use: string): Uint8Array {
  const key = keys[0]?.secret ?? clients.processSecret;
  return createHmac('sha256', key).update(`pointsman 1 ${use}`).digest().subarray(0, 8);
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

/** Calls back at once; whatever goes wrong, then or later, names the plugin. */
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
