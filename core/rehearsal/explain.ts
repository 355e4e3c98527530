/** Explains a listener: what its pipeline is made of, and what it does with a message. */

import type { Client } from '../client.ts';
import { composePipeline } from '../compose.ts';
import { type HookName, hookNames } from '../hooks.ts';
import { Admission } from '../limits/admission.ts';
import type { PluginDefinition, TokenForm } from '../plugin.ts';
import { Pool } from '../pool.ts';
import { formatAddress } from '../runtime/address.ts';
import { dryServices } from '../services.ts';
import {
  type BackendState,
  type CheckTiming,
  type CheckUse,
  defaultLimits,
  type IdentifierMode,
  type Limits,
  type ListenerSettings,
  type LoadLimits,
  type OutlierSettings,
  type Settings,
} from '../settings.ts';
import { type HookAnswer, type MessageRecord, Recorder } from './recorder.ts';
import { Rig, unchecked } from './rig.ts';

/** What a listener is made of. */
export interface ListenerFacts {
  readonly listener: string;
  readonly listen: string;
  readonly advertise: string | undefined;
  readonly pool: string;
  readonly links: 'shared' | 'dedicated';
  /** On dedicated links, what backends send passes no hook but `frame`. */
  readonly relaysAnswers: boolean;
  readonly backends: readonly BackendFacts[];
  readonly checks: readonly CheckFacts[];
  /** Undefined: no backend is ejected. */
  readonly outliers: OutlierSettings | undefined;
  /** The limits of all backends together; undefined: none. */
  readonly poolLimits: LoadLimits | undefined;
  /** How many seconds new requests wait for a backend with room. Undefined: they do not wait. */
  readonly queueSeconds: number | undefined;
  readonly replay: 'never' | 'once';
  /** The clients that may connect, and those that may not. Undefined: all, and none. */
  readonly allow: readonly string[] | undefined;
  readonly deny: readonly string[] | undefined;
  readonly identifiers: IdentifierFacts;
  readonly limits: readonly LimitFacts[];
  /** Whether the affinity table is consulted before the strategy. */
  readonly hasAffinity: boolean;
  /** In the order of the config. */
  readonly plugins: readonly PluginFacts[];
  /** Every hook with the plugins that tap it, in the order in which they are called. */
  readonly hooks: readonly { readonly hook: HookName; readonly plugins: readonly string[] }[];
}

interface BackendFacts {
  readonly name: string;
  readonly address: string;
  readonly weight: number;
  readonly number: number | undefined;
  readonly priority: number;
  readonly state: BackendState;
  /** Its own limits, or those that its pool has for each backend; undefined: none. */
  readonly limits: LoadLimits | undefined;
}

interface CheckFacts {
  readonly name: string;
  /** The plugin's options, without the core's. */
  readonly options: unknown;
  readonly timing: CheckTiming;
}

interface IdentifierFacts {
  readonly mode: IdentifierMode;
  readonly form: TokenForm;
  /** The id of the key that signs; undefined if identifiers are plain. */
  readonly signs: string | undefined;
  /** The ids of the keys that verify. */
  readonly verify: readonly string[];
  readonly whenDown: 'refuse' | 'rechoose';
  /** What happens to a message whose identifier names a backend no longer in the config. */
  readonly whenGone: 'refuse' | 'rechoose';
}

interface LimitFacts {
  readonly limit: keyof Limits;
  readonly value: number;
  readonly isDefault: boolean;
}

interface PluginFacts {
  readonly name: string;
  readonly summary: string;
  readonly options: unknown;
}

/** @throws PluginError if a plugin cannot be applied */
export function describeListener(settings: Settings, name: string): ListenerFacts {
  const { listener, pool } = partOf(settings, name);
  let mode: IdentifierMode = 'plain';
  const asking: PluginDefinition = {
    name: 'explain',
    summary: 'Asks how identifiers are written.',
    pointsman: '^1',
    options: { type: 'object', properties: {} } as PluginDefinition['options'],
    apply: (_hooks, _options, { identifiers }) => {
      mode = identifiers.mode;
    },
  };
  const asked = { ...listener, pipeline: [...listener.pipeline, { plugin: asking, options: {} }] };
  const { hooks, facts, links, affinity, exchanges } = composePipeline(
    asked,
    new Pool(pool),
    dryServices(settings.keys),
  );
  // A number has no room for a MAC.
  const isPlain = mode === 'plain' || facts.identifiers === 'number';
  const keyIds = isPlain ? [] : settings.keys.map(({ id }) => id);
  const { whenDown } = listener.identifiers;
  const hasEffect = (limit: keyof Limits) =>
    (limit !== 'inFlight' || exchanges !== undefined) &&
    (limit !== 'affinityEntries' || affinity !== undefined) &&
    (limit !== 'reservedPercent' || Admission.isNeeded(new Pool(pool), listener.limits)) &&
    (defaultLimits[limit] > 0 || listener.limits[limit] > 0);
  const limits = (Object.keys(defaultLimits) as (keyof Limits)[]).filter(hasEffect);
  return {
    listener: name,
    listen: formatAddress(listener.listen),
    advertise: listener.advertise,
    pool: pool.name,
    links,
    relaysAnswers: links === 'dedicated' && (facts.relaysAnswers ?? false),
    backends: pool.backends.map(({ name, address, weight, number, priority = 0, state = 'ready', limits }) => ({
      name,
      address: formatAddress(address),
      weight,
      number,
      priority,
      state,
      limits: limits ?? pool.backendLimits,
    })),
    checks: (pool.checks ?? []).map(checkFacts),
    outliers: pool.outliers,
    poolLimits: pool.limits,
    queueSeconds: pool.queueSeconds,
    replay: pool.replay ?? 'never',
    allow: listener.allow,
    deny: listener.deny,
    identifiers: {
      mode: isPlain ? 'plain' : mode,
      form: facts.identifiers,
      signs: keyIds[0],
      verify: keyIds,
      whenDown: whenDown ?? 'refuse',
      whenGone: whenDown ?? facts.whenGone ?? 'refuse',
    },
    limits: limits.map((limit) => {
      const value = listener.limits[limit];
      return { limit, value, isDefault: value === defaultLimits[limit] };
    }),
    hasAffinity: affinity !== undefined,
    plugins: listener.pipeline.map(({ plugin: { name, summary }, options }) => ({ name, summary, options })),
    hooks: hookNames.map((hook) => ({
      hook,
      plugins: hooks.tappedBy(hook),
    })),
  };
}

function checkFacts({ plugin, options, timing }: CheckUse): CheckFacts {
  const own = Object.entries(options as object).filter(([option]) => Object.hasOwn(plugin.options.properties, option));
  return { name: plugin.name, options: Object.fromEntries(own), timing };
}

export interface Sending {
  readonly bytes: Buffer;
  /** The backend that sends them; undefined: a client does. */
  readonly backend: string | undefined;
  /** The client's IP address. */
  readonly clientAddress: string;
  /** How many messages to look at, from 1. Undefined: all. */
  readonly mostMessages?: number;
}

/** What happened to the bytes that were sent. */
export interface Conversation {
  readonly messages: readonly MessageRecord[];
  /** What plugins answered when the client connected, or a link came up. */
  readonly greetings: readonly HookAnswer[];
  /** How many bytes at the end were not looked at, because the connection was closed or there were too many messages. */
  readonly unreadBytes: number;
  /** Messages passed on to the client of a dedicated link, unread. */
  readonly relayed: Buffer | undefined;
}

/**
 * Sends bytes through the listener, on virtual sockets.
 * @throws PluginError (rejects with) if a plugin cannot be applied or started
 */
export async function converse(settings: Settings, name: string, sending: Sending): Promise<Conversation> {
  const { listener, pool } = partOf(settings, name);
  const recorder = new Recorder(sending.mostMessages);
  const quiet = () => {};
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const pools = [unchecked(pool)];
  const rig = await Rig.start({ ...settings, listeners: [recorder.record(listener)], pools }, { log });
  try {
    const client = rig.client(sending.clientAddress);
    await rig.settle();
    if (sending.backend === undefined) client.send(sending.bytes);
    else {
      if (rig.backend(sending.backend).links.length === 0)
        openLink(rig, client.peer.socket.handler as Client, sending.backend);
      rig.backend(sending.backend).links[0]?.send(sending.bytes);
    }
    await rig.settle();
    const { messages, greetings } = recorder;
    const readBytes = messages.reduce((sum, { received }) => sum + received.length, 0);
    return {
      messages: [...messages],
      greetings: [...greetings],
      unreadBytes: sending.bytes.length - readBytes,
      relayed: rig.stats().relayedBytes > 0 ? client.take() : undefined,
    };
  } finally {
    await rig.stop();
  }
}

/** Opens a dedicated link to that backend, which otherwise opens when its client first sends something there. */
function openLink(rig: Rig, client: Client, name: string): void {
  const [listener] = rig.balancer.listeners;
  const backend = rig.balancer.pools[0]!.byName(name)!;
  listener!.composed.pipeline.forwarding.links.for(client, backend);
  rig.runtime.settle();
}

function partOf(settings: Settings, name: string) {
  const listener = settings.listeners.find((listener): listener is ListenerSettings => listener.name === name)!;
  const pool = settings.pools.find((pool) => pool.name === listener.pool)!;
  return { listener, pool };
}
