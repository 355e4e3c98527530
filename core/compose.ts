/** Composes a pipeline: applies the plugins of a listener to fresh hooks. Opens nothing, so a config can be checked with it. */
import { Accounting } from './accounting.ts';
import { Affinity } from './affinity.ts';
import { checkNoPromise, PluginError } from './errors.ts';
import { Exchanges } from './exchanges.ts';
import { PipelineHooks } from './hooks.ts';
import { Identifiers } from './identifiers.ts';
import { Admission } from './limits/admission.ts';
import { Pipeline } from './pipeline.ts';
import type { ListenerFacts, Logger } from './plugin.ts';
import type { Pool } from './pool.ts';
import { formatAddress } from './runtime/address.ts';
import type { Runtime } from './runtime/runtime.ts';
import { PipelineScopes } from './scope.ts';
import type { Services } from './services.ts';
import type { Limits, ListenerSettings, PluginUse } from './settings.ts';

/** What a pipeline remembers of messages, as far as its protocol needs it. */
interface Tables {
  readonly exchanges: Exchanges | undefined;
  readonly affinity: Affinity | undefined;
}

/** What plugins have declared in their scopes. */
type Declared = Readonly<
  Pick<PipelineScopes, 'facts' | 'links' | 'protocol' | 'stateful' | 'messageKeys' | 'advice' | 'starts' | 'stops'>
>;

/** A pipeline and all that belongs to it. */
export interface Composed extends Tables, Declared {
  readonly hooks: PipelineHooks;
  readonly pipeline: Pipeline;
  readonly accounting: Accounting;
  readonly identifiers: Identifiers;
  readonly log: Logger;
  /** It goes on with the tables and links of the pipeline before: connections may move. */
  readonly succeeds: boolean;
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
  const { runtime, siblings } = services;
  const { limits } = settings;
  const { whenDown } = settings.identifiers;
  const listener = factsOf(settings);
  const log = services.log.child?.({ listener: settings.name }) ?? services.log;
  const hooks = new PipelineHooks();
  const accounting = before?.accounting ?? new Accounting(pool.backends.length);
  const identifiers = new Identifiers({
    keys: services.keys,
    mode: settings.identifiers.mode,
    pool,
    clients: services.clients,
    elsewhere: siblings && ((place, token) => siblings.client(place, token, pipeline)),
  });

  const scopes = new PipelineScopes({ listener, pool, hooks, identifiers, services, log });
  applyPlugins(settings.pipeline, hooks, scopes, services);
  applyObservers(hooks, scopes, services, log);

  const { facts, links, protocol, stateful, messageKeys, advice, starts, stops } = scopes;
  identifiers.configure(facts);
  const succeeds = before !== undefined && canSucceed(before, scopes);
  const { exchanges, affinity } = succeeds ? before : tablesFor(scopes, limits, runtime);
  scopes.exchanges = exchanges;
  scopes.affinity = affinity;

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
    admission: Admission.isNeeded(pool, limits) ? new Admission(pool, limits, exchanges, runtime.now()) : undefined,
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

function factsOf({ name, limits, listen, advertise }: ListenerSettings): ListenerFacts {
  return {
    name,
    limits,
    advertise: advertise ?? formatAddress(listen).replace(/^[a-z]+:(\/\/)?/, ''),
    transport: listen.transport,
  };
}

function applyPlugins(uses: readonly PluginUse[], hooks: PipelineHooks, scopes: PipelineScopes, services: Services) {
  for (const use of uses) {
    const { plugin, options } = use;
    applyOne(use, services, () => {
      if (plugin.apply === undefined) throw new Error('it is not for pipelines: it has no apply');
      return plugin.apply(hooks.forPlugin(plugin.name), options as never, scopes.forPlugin(plugin));
    });
  }
}

function applyObservers(hooks: PipelineHooks, scopes: PipelineScopes, services: Services, log: Logger): void {
  const onFault = (error: Error) => log.error({ err: error }, error.message);
  for (const { use, end } of services.observers ?? []) {
    const { plugin, options } = use;
    const channel = end.open();
    scopes.starts.push(async () => channel.begin());
    scopes.stops.push(async () => channel.end());
    applyOne(use, services, () =>
      plugin.apply?.(hooks.forPlugin(plugin.name, onFault), options as never, scopes.forPlugin(plugin, channel)),
    );
  }
}

/** @throws PluginError if it cannot be applied, unless somebody wants to be told of that instead */
function applyOne(use: PluginUse, { onRefusal }: Services, apply: () => unknown): void {
  try {
    checkNoPromise(use.plugin.name, 'apply', apply());
  } catch (cause) {
    const fault = PluginError.threw(use.plugin.name, 'apply', cause);
    if (onRefusal === undefined) throw fault;
    onRefusal(use, fault);
  }
}

/** Empty tables, as the protocol has declared that it needs them. */
function tablesFor({ facts, links }: Declared, limits: Limits, runtime: Runtime): Tables {
  let exchanges: Exchanges | undefined;
  let affinity: Affinity | undefined;
  if (facts.correlationBits !== undefined) {
    exchanges = new Exchanges(limits.inFlight, facts.correlationBits, limits.replySeconds, runtime.now);
  }
  if (facts.relatedIds !== undefined) {
    affinity = new Affinity({
      entries: limits.affinityEntries,
      countsInFlight: exchanges === undefined || links === 'dedicated',
      relate: facts.relatedIds.bind(facts),
      key: runtime.randomBytes(8),
    });
  }
  return { exchanges, affinity };
}

/** Whether connections can go on with another pipeline: it speaks the same protocol in the same way, and needs no other tables. */
function canSucceed(before: Declared, after: Declared): boolean {
  return (
    before.protocol?.name === after.protocol?.name &&
    before.links === after.links &&
    before.facts.correlationBits === after.facts.correlationBits &&
    (before.facts.relatedIds === undefined) === (after.facts.relatedIds === undefined) &&
    (areFamiliar(before, after) || !before.facts.staysWithClients)
  );
}

/** Whether the plugins that keep something for each client are the same ones, so that they know what they have kept. */
export function areFamiliar(before: Pick<Declared, 'stateful'>, after: Pick<Declared, 'stateful'>): boolean {
  return (
    before.stateful.length === after.stateful.length &&
    before.stateful.every((plugin, index) => plugin === after.stateful[index])
  );
}
