/**
 * Records what each tap was asked and answered. The recorder stands between plugins and the hooks they tap, so the pipeline is the
 * same, and there is no trace of it where nobody records.
 */
import { Client } from '../client.ts';
import { Exchange } from '../exchanges.ts';
import { type HookName, type Hooks, hookNames, type Tappable } from '../hooks.ts';
import type { Link } from '../link.ts';
import type { Message, RouteReason } from '../message.ts';
import { Discard, Refusal } from '../outcome.ts';
import type { Destination, PluginDefinition, Scope, Token, TokenFault } from '../plugin.ts';
import { Backend, type Pool } from '../pool.ts';
import type { Scan } from '../scan.ts';
import type { ListenerSettings } from '../settings.ts';

/** Whom a message names, or why it names nobody that can be found. */
export type Named = { readonly backend: string } | { readonly client: string } | { readonly fault: TokenFault };

export type Answer =
  | { readonly kind: 'length'; readonly bytes: number }
  | { readonly kind: 'more' }
  | { readonly kind: 'skip'; readonly bytes: number; readonly reply: Buffer | undefined }
  | { readonly kind: 'broken' }
  | { readonly kind: 'refusal'; readonly reason: string }
  | { readonly kind: 'discard'; readonly reason: string; readonly reply: Buffer | undefined }
  /** `verified`: its MAC is good; bare names have none. */
  | {
      readonly kind: 'token';
      readonly offset: number;
      readonly token: Buffer;
      readonly names: Named;
      readonly verified: boolean;
    }
  | { readonly kind: 'number'; readonly number: number; readonly names: Named | undefined }
  | { readonly kind: 'exchange'; readonly names: Named }
  | { readonly kind: 'destination'; readonly names: Named }
  | { readonly kind: 'backend'; readonly name: string }
  | { readonly kind: 'reply'; readonly reply: Buffer }
  /** The question was left to the next tap, or there was none. */
  | { readonly kind: 'nothing' }
  | { readonly kind: 'error'; readonly message: string };

/** What was replaced, and where, counted from the first byte of the message as received. */
export interface Edit {
  readonly offset: number;
  readonly removed: Buffer;
  readonly inserted: Buffer;
}

export interface HookAnswer {
  readonly hook: HookName;
  readonly plugin: string;
  readonly answer: Answer;
  /** In the order in which they were made. */
  readonly edits: readonly Edit[];
}

export type Outcome =
  | {
      readonly kind: 'forwarded';
      readonly to: { readonly backend: string } | { readonly client: string };
      readonly reason: RouteReason | undefined;
    }
  | { readonly kind: 'refused'; readonly reason: string; readonly reply: Buffer }
  | { readonly kind: 'discarded'; readonly reason: string; readonly reply: Buffer | undefined }
  /** The framer said that these bytes belong to no message. */
  | { readonly kind: 'skipped'; readonly reply: Buffer | undefined }
  /** The end of the message has not come; `neededBytes` undefined: its length is not known yet. */
  | { readonly kind: 'incomplete'; readonly neededBytes: number | undefined };

/** One message on its way through the hooks. */
export interface MessageRecord {
  /** `client`, or the name of the backend that sent the message. */
  readonly from: string;
  received: Buffer;
  readonly answers: HookAnswer[];
  /** The backends that could have been chosen, if anybody was asked to choose. */
  available: readonly string[] | undefined;
  /** The identifier that `insertId` was given to write. */
  token: Token | undefined;
  outcome: Outcome | undefined;
  /** The bytes that left; undefined if it was not forwarded. */
  sent: Buffer | undefined;
}

/** Stages after, and before, any that plugins ask for. */
const last = Number.MAX_SAFE_INTEGER;
const first = Number.MIN_SAFE_INTEGER;

type AnyTap = (...args: never[]) => unknown;
type TapOptions = string | { name: string; stage?: number; before?: string };

export class Recorder {
  readonly messages: MessageRecord[] = [];
  /** What `onConnect` and `onLink` taps answered. */
  readonly greetings: HookAnswer[] = [];
  readonly #most: number;
  #scope: Scope | undefined;

  /** @param most how many messages are let through; the bytes after them are skipped */
  constructor(most = Number.POSITIVE_INFINITY) {
    this.#most = most;
  }

  /** The same listener, recorded. For one balancer. */
  record(settings: ListenerSettings): ListenerSettings {
    const pipeline = settings.pipeline.map(({ plugin, options }) => ({ plugin: this.#recorded(plugin), options }));
    return { ...settings, pipeline: [...pipeline, { plugin: this.#observer, options: {} }] };
  }

  /** The token of a backend in this listener. */
  tokenOf(backend: string): Token | undefined {
    const found = this.#scope?.pool.byName(backend);
    return found && this.#scope?.identifiers.ofBackend(found);
  }

  /** The same plugin, with its taps recorded. */
  #recorded(plugin: PluginDefinition): PluginDefinition {
    return {
      ...plugin,
      apply: (hooks, options, scope) => {
        this.#scope = scope;
        const view = {} as { [Name in HookName]: Tappable<never> };
        for (const hook of hookNames) {
          const target = hooks[hook] as Tappable<AnyTap>;
          view[hook] = {
            tap: (tapOptions: TapOptions, its: AnyTap) =>
              // What is no function is for the hook to complain about.
              target.tap(tapOptions, typeof its === 'function' ? this.#wrap(plugin.name, hook, its, scope) : its),
          } as Tappable<never>;
        }
        plugin.apply?.(view as unknown as Hooks, options, scope);
      },
    };
  }

  /** Records what happens to messages, whoever decides it. */
  readonly #observer: PluginDefinition = {
    name: 'recorder',
    summary: 'Records what becomes of messages.',
    pointsman: '^1',
    options: { type: 'object', properties: {} } as PluginDefinition['options'],
    apply: (hooks) => {
      hooks.forward.tap({ name: 'recorder', stage: last }, (message, destination) => {
        const record = this.#at(message);
        record.outcome = { kind: 'forwarded', to: nameOf(destination), reason: message.reason };
        record.sent = message.edited();
      });
      hooks.refuse.tap({ name: 'recorder', stage: first }, (message, { reason }) => {
        this.#at(message).outcome = { kind: 'discarded', reason, reply: undefined };
        return undefined;
      });
    },
  };

  #wrap(plugin: string, hook: HookName, tap: AnyTap, scope: Scope): AnyTap {
    if (hook === 'frame') {
      const frame = tap as (bytes: Buffer, start: number, end: number, scan: Scan) => unknown;
      return ((bytes: Buffer, start: number, end: number, scan: Scan) => {
        if (this.messages.length >= this.#most && this.messages.at(-1)?.outcome?.kind !== 'incomplete') {
          return scan.skip(end - start);
        }
        const note = (answer: Answer) => this.#framed(plugin, answer, bytes.subarray(start, end), scan);
        return observed(
          () => frame(bytes, start, end, scan),
          (answer) => note(frameAnswer(answer, scan)),
          (message) => note({ kind: 'error', message }),
        );
      }) as AnyTap;
    }
    if (hook === 'onConnect' || hook === 'onLink' || hook === 'onDisconnect') {
      const greet = tap as (peer: Client | Link) => unknown;
      const note = (answer: Answer) => void this.greetings.push({ hook, plugin, answer, edits: [] });
      return ((peer: Client | Link) =>
        observed(
          () => greet(peer),
          (answer) => note(answerOf(answer, scope)),
          (message) => note({ kind: 'error', message }),
        )) as AnyTap;
    }
    const onMessage = tap as (message: Message, more: unknown) => unknown;
    return ((message: Message, more: unknown) => {
      const record = this.#at(message);
      if (hook === 'chooseBackend') record.available ??= (more as Pool).available.map(({ name }) => name);
      if (hook === 'insertId') record.token = more as Token | undefined;
      const edits: Edit[] = [];
      const note = (answer: Answer) => {
        record.answers.push({ hook, plugin, answer, edits });
        if (answer.kind === 'discard') record.outcome = { ...answer, kind: 'discarded' };
        if (answer.kind === 'reply' && record.outcome?.kind === 'discarded') {
          record.outcome = { kind: 'refused', reason: record.outcome.reason, reply: answer.reply };
        }
      };
      return watchingEdits(message, edits, () =>
        observed(
          () => onMessage(message, more),
          (answer) => note(answerOf(answer, scope, message)),
          (fault) => note({ kind: 'error', message: fault }),
        ),
      );
    }) as AnyTap;
  }

  #framed(plugin: string, answer: Answer, arrived: Buffer, scan: Scan): void {
    if (answer.kind === 'nothing') return;
    const from = nameOfSource(scan.source);
    const before = this.messages.at(-1);
    // The framer is asked again as more of the message arrives.
    if (before?.from === from && before.outcome?.kind === 'incomplete') this.messages.pop();
    const length = answer.kind === 'length' || answer.kind === 'skip' ? answer.bytes : arrived.length;
    const isWhole = answer.kind !== 'more' && length <= arrived.length;
    const record = newRecord(from, Buffer.from(arrived.subarray(0, length)));
    record.answers.push({ hook: 'frame', plugin, answer, edits: [] });
    if (!isWhole) {
      record.outcome = { kind: 'incomplete', neededBytes: answer.kind === 'length' ? answer.bytes : undefined };
    } else if (answer.kind === 'skip') record.outcome = { kind: 'skipped', reply: answer.reply };
    this.messages.push(record);
  }

  /** The record of the current message. */
  #at(message: Message): MessageRecord {
    let record = this.messages.at(-1);
    if (record === undefined) {
      // It was framed long ago, and is on its way again.
      record = newRecord(nameOfSource(message.source), Buffer.from(message.view()));
      this.messages.push(record);
    }
    // A message of which the end cannot be told is as long as what has come of it.
    if (record.outcome?.kind === 'incomplete') record.outcome = undefined;
    record.received = record.received.length === message.length ? record.received : Buffer.from(message.view());
    return record;
  }
}

function newRecord(from: string, received: Buffer): MessageRecord {
  return { from, received, answers: [], available: undefined, token: undefined, outcome: undefined, sent: undefined };
}

/** Makes the call and records its answer; if that comes later, then. */
function observed(call: () => unknown, answered: (answer: unknown) => void, threw: (message: string) => void): unknown {
  let answer: unknown;
  try {
    answer = call();
  } catch (error) {
    threw(error instanceof Error ? error.message : String(error));
    throw error;
  }
  if (answer instanceof Promise) {
    answer.then(answered, (error) => threw(error instanceof Error ? error.message : String(error)));
  } else {
    answered(answer);
  }
  return answer;
}

/** Records the edits that are made to `message` during the call. */
function watchingEdits(message: Message, edits: Edit[], call: () => unknown): unknown {
  const splice = message.splice.bind(message);
  message.splice = (offset, remove, bytes) => {
    splice(offset, remove, bytes);
    edits.push({
      offset,
      removed: Buffer.from(message.view(offset, remove)),
      inserted: Buffer.from(bytes ?? []),
    });
  };
  try {
    return call();
  } finally {
    delete (message as { splice?: unknown }).splice; // the method of its class is behind it
  }
}

const copyOf = (bytes: Uint8Array | undefined) => (bytes === undefined ? undefined : Buffer.from(bytes));

function frameAnswer(answer: unknown, scan: Scan): Answer {
  if (typeof answer === 'number') return { kind: 'length', bytes: answer };
  if (answer === 'skip') return { kind: 'skip', bytes: scan.skipped, reply: copyOf(scan.reply) };
  if (answer === 'more' || answer === 'broken') return { kind: answer };
  if (answer instanceof Refusal) return { kind: 'refusal', reason: answer.reason };
  return { kind: 'nothing' };
}

/** @param message undefined: the hook is about connections */
function answerOf(answer: unknown, { identifiers, pool }: Scope, message?: Message): Answer {
  if (answer === undefined || answer === null) return { kind: 'nothing' };
  if (answer instanceof Refusal) return { kind: 'refusal', reason: answer.reason };
  if (answer instanceof Discard) return { kind: 'discard', reason: answer.reason, reply: copyOf(answer.reply) };
  if (answer instanceof Uint8Array) return { kind: 'reply', reply: Buffer.from(answer) };
  if (answer instanceof Exchange) return { kind: 'exchange', names: named(answer.client) };
  if (answer instanceof Client) return { kind: 'destination', names: named(answer) };
  // A strategy chooses a backend; detectId may have looked one up.
  if (answer instanceof Backend) return { kind: 'backend', name: answer.name };
  if (typeof answer === 'number') {
    const names = answer === 0 ? undefined : named(pool.byNumber(answer) ?? 'unknown');
    return { kind: 'number', number: answer, names };
  }
  const { offset, length } = answer as { offset?: unknown; length?: unknown };
  if (message === undefined || typeof offset !== 'number' || typeof length !== 'number') return { kind: 'nothing' };
  const start = message.start + offset;
  const token = Buffer.from(message.view(offset, length));
  const names = named(identifiers.read(message.bytes, start, start + length));
  const verified = 'client' in names || ('backend' in names && identifiers.mode !== 'plain');
  return { kind: 'token', offset, token, names, verified };
}

function named(found: Destination | TokenFault): Named {
  return typeof found === 'string' ? { fault: found } : nameOf(found);
}

function nameOf(destination: Client | Link | Backend): { backend: string } | { client: string } {
  if (destination instanceof Client) return { client: `${destination.address}:${destination.port}` };
  return { backend: destination instanceof Backend ? destination.name : destination.backend.name };
}

function nameOfSource(source: Client | Link): string {
  return source instanceof Client ? 'client' : source.backend.name;
}
