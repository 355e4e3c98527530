/**
 * The hooks of a pipeline: six that a message passes in this order, and three at the side. Taps go through a guard that
 * names the plugin in whatever goes wrong.
 */
import { AsyncSeriesBailHook, SyncBailHook, SyncHook } from 'tapable';
import { Client } from './client.ts';
import { PluginError } from './errors.ts';
import { Exchange } from './exchanges.ts';
import type { Link } from './link.ts';
import type { Message, Span } from './message.ts';
import { Discard, Refusal } from './outcome.ts';
import type { Destination, Token } from './plugin.ts';
import { Backend, type Pool } from './pool.ts';
import type { Scan } from './scan.ts';

/** What a `frame` tap answers: the message's length in bytes, also while some of them are still to come, or … */
export type Framed =
  | number
  /** … its end is not in sight, … */
  | 'more'
  /** … `scan.skip()` has said how many bytes here belong to no message, … */
  | 'skip'
  /** … these bytes are not the protocol's, and no later message can be found: the sender is refused and closed, … */
  | 'broken'
  /** … as 'broken', with a reason of the plugin's own. */
  | Refusal;

/** What a `detectId` tap answers: the token's place (`message.span()`), a backend's number (0: none), … */
export type Detected =
  | Span
  | number
  /** … the exchange that the message answers, … */
  | Exchange
  /** … a destination the plugin has looked up with `scope.identifiers`, … */
  | Destination
  /** … or the message's end. */
  | Refusal
  | Discard;

/** The arguments and answer of each hook. An answer of `undefined` leaves the question to the next tap. */
export interface HookSignatures {
  /** A client has connected; a `Refusal` turns it away. The only hook that may wait: `async` taps are fine. */
  onConnect: (client: Client) => Refusal | undefined | Promise<Refusal | undefined>;
  /**
   * Where does the message at `bytes[start]` end? Bytes from `end` on are not received yet, whatever stands there. Keep no
   * bytes: `scan.resume` remembers how far the search got. For one message `detectId` follows at once, so what was
   * parsed here may be kept in the plugin's closure until then.
   */
  frame: (bytes: Buffer, start: number, end: number, scan: Scan) => Framed | undefined;
  /** Whom does the message name? */
  detectId: (message: Message) => Detected | undefined;
  /** Nobody is named: which of `pool.available` gets it? */
  chooseBackend: (message: Message, pool: Pool) => Backend | undefined;
  /** Writes the token of the message's backend into it (undefined: there is none, the message goes from client to client). */
  insertId: (message: Message, token: Token | undefined) => Refusal | undefined;
  /** The message leaves for its destination. The last place for edits, and the one for observers. */
  forward: (message: Message, destination: Client | Link) => void;
  /** Turns a refusal into the protocol's error reply to the message's sender. Undefined: it has none for this. */
  refuse: (message: Message, refusal: Refusal) => Uint8Array | undefined;
  /** A link is up, before anything else is sent on it: `link.send()` replays a handshake, `link.hold()` waits for its answer. */
  onLink: (link: Link) => void;
  /** A client connection is closed. */
  onDisconnect: (client: Client) => void;
}

export type HookName = keyof HookSignatures;

export const hookNames = [
  'onConnect',
  'frame',
  'detectId',
  'chooseBackend',
  'insertId',
  'forward',
  'refuse',
  'onLink',
  'onDisconnect',
] as const satisfies readonly HookName[];

/** A hook as plugins see it: they can tap it, not call it. The signature is tapable's own. */
export interface Tappable<Signature> {
  /** @param options the tap's name (the plugin's), or that with tapable's `stage` and `before` */
  tap(options: string | { name: string; stage?: number; before?: string }, tap: Signature): void;
}

export type Hooks = { readonly [Name in HookName]: Tappable<HookSignatures[Name]> };

/** One tap, for listings. */
export interface TapFact {
  readonly hook: HookName;
  readonly plugin: string;
}

/** The hooks of one pipeline. The core calls them; `forPlugin` gives each plugin its guarded view. */
export class PipelineHooks {
  readonly onConnect = new AsyncSeriesBailHook<[Client], Refusal | undefined>(['client'], 'onConnect');
  readonly frame = new SyncBailHook<[Buffer, number, number, Scan], Framed | undefined>(
    ['bytes', 'start', 'end', 'scan'],
    'frame',
  );
  readonly detectId = new SyncBailHook<[Message], Detected | undefined>(['message'], 'detectId');
  readonly chooseBackend = new SyncBailHook<[Message, Pool], Backend | undefined>(['message', 'pool'], 'chooseBackend');
  readonly insertId = new SyncBailHook<[Message, Token | undefined], Refusal | undefined>(
    ['message', 'token'],
    'insertId',
  );
  readonly forward = new SyncHook<[Message, Client | Link]>(['message', 'destination'], 'forward');
  readonly refuse = new SyncBailHook<[Message, Refusal], Uint8Array | undefined>(['message', 'refusal'], 'refuse');
  readonly onLink = new SyncHook<[Link]>(['link'], 'onLink');
  readonly onDisconnect = new SyncHook<[Client]>(['client'], 'onDisconnect');

  /** In the order in which they run, hook by hook. */
  get taps(): TapFact[] {
    return hookNames.flatMap((hook) => this[hook].taps.map((tap) => ({ hook, plugin: tap.name })));
  }

  isTapped(hook: HookName): boolean {
    return this[hook].isUsed();
  }

  /** The hooks as the plugin of that name sees them. */
  forPlugin(plugin: string): Hooks {
    const view = {} as { [Name in HookName]: Tappable<HookSignatures[Name]> };
    for (const name of hookNames) {
      const hook = this[name];
      view[name] = {
        tap: (options: string | { name: string; stage?: number; before?: string }, tap: AnyTap) => {
          if (typeof tap !== 'function') throw new TypeError(`hooks.${name}.tap() needs a function`);
          const tapOptions = typeof options === 'string' ? { name: plugin } : { ...options, name: plugin };
          if (name === 'onConnect') this.onConnect.tapPromise(tapOptions, guardAsync(plugin, tap));
          // The arities differ from hook to hook; each guard passes on what its hook passes.
          else (hook as SyncHook<unknown[], unknown>).tap(tapOptions, guard(plugin, name, tap));
        },
      } as Tappable<never>;
    }
    return Object.freeze(view) as Hooks;
  }
}

type AnyTap = (...args: never[]) => unknown;

/** Fixed arity instead of rest arguments: this wraps every call on the per-message path. */
function guard(plugin: string, hook: HookName, tap: AnyTap) {
  const call = tap as (a: unknown, b: unknown, c: unknown, d: unknown) => unknown;
  const fault = answerCheck(hook);
  return (a: unknown, b: unknown, c: unknown, d: unknown): unknown => {
    let answer: unknown;
    try {
      answer = call(a, b, c, d);
    } catch (cause) {
      throw PluginError.threw(plugin, hook, cause);
    }
    if (answer === undefined || answer === null) return undefined;
    if (typeof (answer as { then?: unknown }).then === 'function') {
      (answer as Promise<unknown>).then(undefined, () => {}); // its rejection must not end the process
      throw new PluginError(plugin, hook, 'answered a promise, but this hook is synchronous');
    }
    const wrong = fault?.(answer, a, b, c, d);
    if (wrong !== undefined) throw new PluginError(plugin, hook, wrong);
    return answer;
  };
}

type AnswerCheck = (answer: unknown, a: unknown, b: unknown, c: unknown, d: unknown) => string | undefined;

/** What is wrong with an answer that the types cannot rule out. */
function answerCheck(hook: HookName): AnswerCheck | undefined {
  if (hook === 'frame') {
    return (answer, _bytes, start, end, scan) => {
      if (typeof answer === 'number') {
        return answer >= 1 && Number.isSafeInteger(answer) ? undefined : `answered the length ${answer}: no progress`;
      }
      if (answer === 'more' || answer === 'broken' || answer instanceof Refusal) return undefined;
      if (answer !== 'skip') return `answered ${JSON.stringify(answer)}, which is no length`;
      const { skipped } = scan as Scan;
      const available = (end as number) - (start as number);
      return skipped >= 1 && skipped <= available ? undefined : `skipped ${skipped} of ${available} bytes`;
    };
  }
  if (hook === 'detectId') {
    return (answer, message) => {
      if (typeof answer === 'number' || answer instanceof Exchange) return undefined;
      const { offset, length } = answer as Span;
      if (typeof offset === 'number') {
        const size = (message as Message).length;
        const fits = offset >= 0 && length >= 0 && offset + length <= size;
        return fits ? undefined : `answered span(${offset}, ${length}) of a message of ${size} bytes`;
      }
      if (answer instanceof Backend || answer instanceof Client) return undefined;
      return answer instanceof Refusal || answer instanceof Discard ? undefined : 'answered what names nobody';
    };
  }
  if (hook === 'insertId') {
    return (answer) => (answer instanceof Refusal ? undefined : 'answered what is no refusal');
  }
  if (hook === 'refuse') {
    return (answer) => (answer instanceof Uint8Array ? undefined : 'answered what is no bytes');
  }
  if (hook === 'chooseBackend') {
    return (answer, _message, pool) => {
      const { pool: itsPool, up, name } = answer as Backend;
      if (itsPool !== pool)
        return `chose ${name ?? 'what is no backend'}, which is not in the pool ${(pool as Pool).name}`;
      return up ? undefined : `chose ${name}, which is down`;
    };
  }
  return undefined;
}

function guardAsync(plugin: string, tap: AnyTap) {
  return async (client: Client): Promise<Refusal | undefined> => {
    try {
      const answer = await (tap as (client: Client) => Refusal | undefined | Promise<Refusal | undefined>)(client);
      if (answer === undefined || answer === null || answer instanceof Refusal) return answer ?? undefined;
      throw new PluginError(plugin, 'onConnect', 'answered what is no refusal');
    } catch (cause) {
      throw PluginError.threw(plugin, 'onConnect', cause);
    }
  };
}
