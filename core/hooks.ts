/**
 * The hooks of a pipeline: six that a message passes in this order, and four at the side. Each tap is called through a guard that
 * names the plugin in whatever goes wrong.
 */
import { AsyncSeriesBailHook, SyncBailHook, SyncHook } from 'tapable';
import { Client } from './client.ts';
import { checkNoPromise, PluginError } from './errors.ts';
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

/**
 * The arguments and the answer of each hook. An answer of `undefined` leaves the question to the next tap.
 *
 * A message passes the hooks from `frame` to `forward` in one go, and passes all of them again if it has had to wait or goes to a
 * second backend. So what a tap finds in a message can be kept in the plugin's closure for the later taps. `refuse` may be called
 * for a message that has passed none of them.
 */
export interface HookSignatures {
  /** A client has connected; a `Refusal` turns it away. The only hook that may wait: `async` taps are fine. */
  onConnect: (client: Client) => Refusal | undefined | Promise<Refusal | undefined>;
  /**
   * Where does the message at `bytes[start]` end? Bytes from `end` on have not been received, whatever they contain. Keep no bytes:
   * `scan.resume` remembers how far the search got.
   */
  frame: (bytes: Buffer, start: number, end: number, scan: Scan) => Framed | undefined;
  /** Whom does the message name? */
  detectId: (message: Message) => Detected | undefined;
  /** Nobody is named: which of `pool.available` gets it? */
  chooseBackend: (message: Message, pool: Pool) => Backend | undefined;
  /** Writes the token of the message's backend into it (undefined: there is none, as the message goes from client to client). */
  insertId: (message: Message, token: Token | undefined) => Refusal | undefined;
  /** The message is about to leave for its destination. The last place for edits, and the one for observers. */
  forward: (message: Message, destination: Client | Link) => void;
  /**
   * Turns a refusal into the protocol's error reply to the message's sender. An undefined answer: the protocol has no reply for it.
   */
  refuse: (message: Message, refusal: Refusal) => Uint8Array | undefined;
  /**
   * A message goes nowhere: it has been refused (`replied`: its sender got the protocol's error reply) or discarded. For observers.
   * A message that is dropped from a queue after it has been forwarded is only counted.
   */
  onDrop: (message: Message, outcome: Refusal | Discard, replied: boolean) => void;
  /**
   * A link is up, and nothing has been sent on it yet: `link.send()` begins a handshake, `link.hold()` waits for its answer. The
   * answer arrives as a message whose `source` is the link; end the handshake with `link.release()` or `link.destroy()`.
   */
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
  'onDrop',
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
  readonly onDrop = new SyncHook<[Message, Refusal | Discard, boolean]>(['message', 'outcome', 'replied'], 'onDrop');
  readonly onLink = new SyncHook<[Link]>(['link'], 'onLink');
  readonly onDisconnect = new SyncHook<[Client]>(['client'], 'onDisconnect');

  /** In the order in which they run, hook by hook. */
  get taps(): TapFact[] {
    return hookNames.flatMap((hook) => this[hook].taps.map((tap) => ({ hook, plugin: tap.name })));
  }

  /** The names of the plugins that tap a hook, in the order in which they run. */
  tappedBy(hook: HookName): string[] {
    return this[hook].taps.map((tap) => tap.name);
  }

  isTapped(hook: HookName): boolean {
    return this[hook].isUsed();
  }

  /**
   * Measures how long the taps of all hooks but `onConnect` take, including taps that are already there.
   * @param which measures one call in this many, or decides whether the next call is measured
   * @param now returns the time in milliseconds
   * @param measured is told of each measured call
   */
  time(
    which: number | (() => boolean),
    now: () => number,
    measured: (hook: HookName, plugin: string, milliseconds: number) => void,
  ): void {
    const isDue = typeof which === 'number' ? oneOf(which) : which;
    for (const name of hookNames) {
      if (name === 'onConnect') continue;
      (this[name] as SyncHook<unknown[], unknown>).intercept({
        register(tap) {
          const { fn: call, name: plugin } = tap as unknown as { fn: (...args: unknown[]) => unknown; name: string };
          const timed = (...args: unknown[]): unknown => {
            const began = now();
            const answer = call(...args);
            measured(name, plugin, now() - began);
            return answer;
          };
          const fn = timers[name](call as never, isDue, timed as never) as unknown as typeof call;
          return { ...tap, fn };
        },
      });
    }
  }

  /**
   * The hooks as the plugin of that name sees them.
   * @param onFault given for an observer, whose taps decide nothing: called with whatever goes wrong in them
   */
  forPlugin(plugin: string, onFault?: (error: Error) => void): Hooks {
    const view = {} as { [Name in HookName]: Tappable<HookSignatures[Name]> };
    for (const name of hookNames) {
      const hook = this[name];
      view[name] = {
        tap: (options: string | { name: string; stage?: number; before?: string }, given: AnyTap) => {
          if (typeof given !== 'function') throw new TypeError(`hooks.${name}.tap() needs a function`);
          const watched = onFault && watching(plugin, name, given, onFault);
          const tapOptions = typeof options === 'string' ? { name: plugin } : { ...options, name: plugin };
          if (name === 'onConnect') this.onConnect.tapPromise(tapOptions, guardAsync(plugin, watched ?? given));
          else {
            // The arities differ from hook to hook; each guard passes on what its hook passes.
            const tap = watched ?? (guards[name](plugin, given as never) as AnyTap);
            (hook as SyncHook<unknown[], unknown>).tap(tapOptions, tap as () => void);
          }
        },
      } as Tappable<never>;
    }
    return new Proxy(Object.freeze(view) as Hooks, { get: existing });
  }
}

/** Returns true once in this many calls. */
function oneOf(every: number): () => boolean {
  let calls = 0;
  return () => {
    calls = (calls + 1) % every;
    return calls === 0;
  };
}

/** Throws a clear error instead of "cannot read properties of undefined". */
function existing(hooks: Hooks, name: string | symbol): unknown {
  if (typeof name === 'string' && !(name in hooks)) {
    throw new TypeError(`there is no hook "${name}"; there are ${hookNames.join(', ')}`);
  }
  return hooks[name as HookName];
}

type AnyTap = (...args: never[]) => unknown;

type SyncHookName = Exclude<HookName, 'onConnect'>;

/**
 * Made for each tap of a hook: calls the tap, names the plugin in whatever goes wrong, and lets through only answers that the hook
 * allows.
 */
type Guard<Name extends SyncHookName> = (
  plugin: string,
  tap: HookSignatures[Name],
) => (...args: Parameters<HookSignatures[Name]>) => ReturnType<HookSignatures[Name]>;

/** An observer's tap: whatever it answers or throws, the message goes on. No hook passes more than four arguments. */
function watching(plugin: string, hook: HookName, given: AnyTap, onFault: (error: Error) => void): AnyTap {
  const tap = given as (...args: unknown[]) => unknown;
  return (one: unknown, two?: unknown, three?: unknown, four?: unknown): undefined => {
    try {
      const answer = tap(one, two, three, four);
      if (answer !== undefined) checkNoPromise(plugin, hook, answer);
    } catch (cause) {
      onFault(PluginError.threw(plugin, hook, cause));
    }
  };
}

/** Made for each tap of a hook whose calls are timed: times those that are due. */
type Timer<Name extends SyncHookName> = (
  call: HookSignatures[Name],
  isDue: () => boolean,
  timed: HookSignatures[Name],
) => HookSignatures[Name];

/**
 * One for each hook, written out like the guards: a pair of length-prefixed messages takes 70 ns less than with one for all hooks.
 */
const timers: { readonly [Name in SyncHookName]: Timer<Name> } = {
  frame: (call, isDue, timed) => (bytes, start, end, scan) =>
    isDue() ? timed(bytes, start, end, scan) : call(bytes, start, end, scan),
  detectId: (call, isDue, timed) => (message) => (isDue() ? timed(message) : call(message)),
  chooseBackend: (call, isDue, timed) => (message, pool) => (isDue() ? timed(message, pool) : call(message, pool)),
  insertId: (call, isDue, timed) => (message, token) => (isDue() ? timed(message, token) : call(message, token)),
  forward: (call, isDue, timed) => (message, to) => (isDue() ? timed(message, to) : call(message, to)),
  refuse: (call, isDue, timed) => (message, refusal) => (isDue() ? timed(message, refusal) : call(message, refusal)),
  onDrop: (call, isDue, timed) => (message, outcome, replied) =>
    isDue() ? timed(message, outcome, replied) : call(message, outcome, replied),
  onLink: (call, isDue, timed) => (link) => (isDue() ? timed(link) : call(link)),
  onDisconnect: (call, isDue, timed) => (client) => (isDue() ? timed(client) : call(client)),
};

/** The guard of a hook whose taps answer nothing. */
function listening(hook: 'forward' | 'onDrop' | 'onLink' | 'onDisconnect') {
  return (plugin: string, tap: (...args: never[]) => void) =>
    (one: unknown, two?: unknown, three?: unknown): void => {
      let answer: unknown;
      try {
        answer = tap(one as never, two as never, three as never);
      } catch (cause) {
        throw PluginError.threw(plugin, hook, cause);
      }
      if (answer !== undefined) checkNoPromise(plugin, hook, answer);
    };
}

/**
 * One guard for each hook, written out: the common case comes first, and each hook calls its taps from a call site of its own. No
 * difference could be measured between these guards and none at all.
 */
const guards: { readonly [Name in SyncHookName]: Guard<Name> } = {
  frame: (plugin, tap) => (bytes, start, end, scan) => {
    let answer: Framed | undefined;
    try {
      answer = tap(bytes, start, end, scan);
    } catch (cause) {
      throw PluginError.threw(plugin, 'frame', cause);
    }
    if (typeof answer === 'number') {
      if (answer >= 1 && Number.isSafeInteger(answer)) return answer;
      throw new PluginError(plugin, 'frame', `answered the length ${answer}: no progress`);
    }
    if (answer === 'more' || answer === undefined || answer === null) return answer ?? undefined;
    if (answer === 'skip') {
      const { skipped } = scan;
      if (skipped >= 1 && skipped <= end - start) return answer;
      throw new PluginError(plugin, 'frame', `skipped ${skipped} of ${end - start} bytes`);
    }
    if (answer === 'broken' || answer instanceof Refusal) return answer;
    throw wrongAnswer(plugin, 'frame', answer, `answered ${JSON.stringify(answer)}, which is no length`);
  },

  detectId: (plugin, tap) => (message) => {
    let answer: Detected | undefined;
    try {
      answer = tap(message);
    } catch (cause) {
      throw PluginError.threw(plugin, 'detectId', cause);
    }
    if (answer === undefined || answer === null) return undefined;
    if (typeof answer === 'number' || answer instanceof Exchange) return answer;
    if (typeof answer === 'object' && 'offset' in answer) {
      const { offset, length } = answer;
      const size = message.length;
      if (offset >= 0 && length >= 0 && offset + length <= size) return answer;
      throw new PluginError(plugin, 'detectId', `answered span(${offset}, ${length}) of a message of ${size} bytes`);
    }
    const isDestination = answer instanceof Backend || answer instanceof Client;
    if (isDestination || answer instanceof Refusal || answer instanceof Discard) return answer;
    throw wrongAnswer(plugin, 'detectId', answer, 'answered what names nobody');
  },

  chooseBackend: (plugin, tap) => (message, pool) => {
    let answer: Backend | undefined;
    try {
      answer = tap(message, pool);
    } catch (cause) {
      throw PluginError.threw(plugin, 'chooseBackend', cause);
    }
    if (answer === undefined || answer === null) return undefined;
    if (!(answer instanceof Backend)) throw wrongAnswer(plugin, 'chooseBackend', answer, 'chose what is no backend');
    if (answer.pool !== pool) {
      throw new PluginError(plugin, 'chooseBackend', `chose ${answer.name}, which is not in the pool ${pool.name}`);
    }
    if (!answer.isUsable) throw new PluginError(plugin, 'chooseBackend', `chose ${answer.name}, which is down`);
    return answer;
  },

  insertId: (plugin, tap) => (message, token) => {
    let answer: Refusal | undefined;
    try {
      answer = tap(message, token);
    } catch (cause) {
      throw PluginError.threw(plugin, 'insertId', cause);
    }
    if (answer === undefined || answer === null) return undefined;
    if (answer instanceof Refusal) return answer;
    throw wrongAnswer(plugin, 'insertId', answer, 'answered what is no refusal');
  },

  forward: listening('forward'),

  refuse: (plugin, tap) => (message, refusal) => {
    let answer: Uint8Array | undefined;
    try {
      answer = tap(message, refusal);
    } catch (cause) {
      throw PluginError.threw(plugin, 'refuse', cause);
    }
    if (answer === undefined || answer === null) return undefined;
    if (answer instanceof Uint8Array) return answer;
    throw wrongAnswer(plugin, 'refuse', answer, 'answered what is no bytes');
  },

  onDrop: listening('onDrop'),

  onLink: listening('onLink'),

  onDisconnect: listening('onDisconnect'),
};

/** The error for an answer that a hook does not allow. If the answer is a promise, the error says that instead. */
function wrongAnswer(plugin: string, hook: HookName, answer: unknown, text: string): PluginError {
  try {
    checkNoPromise(plugin, hook, answer);
  } catch (error) {
    return error as PluginError;
  }
  return new PluginError(plugin, hook, text);
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
