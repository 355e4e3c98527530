/** What happens to a message that goes nowhere: it is refused in the terms of its protocol, or discarded, and counted. */
import { Client, type Question } from './client.ts';
import { PluginError } from './errors.ts';
import type { Exchanges } from './exchanges.ts';
import type { PipelineHooks } from './hooks.ts';
import type { Link } from './link.ts';
import type { Message } from './message.ts';
import { Discard, Refusal } from './outcome.ts';
import type { Logger } from './plugin.ts';

export interface DroppingOptions {
  readonly hooks: PipelineHooks;
  readonly exchanges: Exchanges | undefined;
  readonly log: Logger;
}

/** The part of a refusal that is logged. */
function about({ reason, detail }: Refusal): object {
  const text = typeof detail === 'string' ? detail : (detail as { readonly text?: unknown } | undefined)?.text;
  return typeof text === 'string' ? { reason, detail: text } : { reason };
}

export class Dropping {
  readonly #hooks: PipelineHooks;
  readonly #exchanges: Exchanges | undefined;
  readonly #log: Logger;
  readonly #isWatched: boolean;

  constructor({ hooks, exchanges, log }: DroppingOptions) {
    this.#hooks = hooks;
    this.#exchanges = exchanges;
    this.#log = log;
    this.#isWatched = hooks.isTapped('onDrop');
  }

  drop(message: Message, outcome: Refusal | Discard): void {
    const { counters } = message;
    const question = message.from === 'client' ? (message.source as Client).question : undefined;
    if (question !== undefined) {
      this.#dropQuestion(message, outcome, question);
      return;
    }
    if (message.from === 'client' && message.exchange !== undefined) this.#exchanges?.close(message.exchange);
    const reply = outcome instanceof Discard ? outcome.reply : this.#refuse(message, outcome);
    const replied = reply !== undefined && this.reply(message.source, reply);
    if (outcome instanceof Discard) counters.discard(outcome.reason, 1, outcome.ordinary);
    else if (replied) counters.refuse(outcome.reason);
    else counters.discard(outcome.reason);
    if (this.#isWatched) this.#tell(message, outcome, replied);
    if (outcome instanceof Refusal) {
      this.#log.warn(
        { ...about(outcome), from: message.from, peer: nameOf(message.source), bytes: message.length },
        replied ? 'message refused' : 'message discarded',
      );
    }
    if (message.from === 'backend' && message.exchange !== undefined) this.#exchanges?.close(message.exchange);
  }

  /** A check's request gets no reply: the check is told why instead. */
  #dropQuestion(message: Message, outcome: Refusal | Discard, question: Question): void {
    if (message.exchange !== undefined) this.#exchanges?.close(message.exchange);
    message.counters.discard(outcome.reason);
    if (this.#isWatched) this.#tell(message, outcome, false);
    question.lost(outcome.reason);
  }

  /**
   * Sends a reply of our own; false if that is not possible. Nothing more is read from a client that does not read, so that replies
   * cannot pile up; a backend in that state gets no reply, as others wait for what it sends.
   */
  reply(peer: Client | Link, bytes: Uint8Array): boolean {
    const { outbox } = peer;
    if (peer.closing || (outbox.full && !(peer instanceof Client))) return false;
    peer.send(bytes);
    if (outbox.full && peer instanceof Client) {
      outbox.flush();
      if (outbox.full) peer.stallOn(outbox);
    }
    return true;
  }

  #refuse(message: Message, refusal: Refusal): Uint8Array | undefined {
    try {
      return this.#hooks.refuse.call(message, refusal);
    } catch (error) {
      pluginFault(error, this.#log);
      return undefined;
    }
  }

  #tell(message: Message, outcome: Refusal | Discard, replied: boolean): void {
    try {
      this.#hooks.onDrop.call(message, outcome, replied);
    } catch (error) {
      pluginFault(error, this.#log);
    }
  }
}

function nameOf(source: Client | Link): string {
  return source instanceof Client ? source.address : source.backend.name;
}

/** What a plugin throws costs the message at hand, never others. */
export function pluginFault(error: unknown, log: Logger): Refusal {
  const fault = error instanceof PluginError ? error : PluginError.threw('core', 'pipeline', error);
  log.error({ plugin: fault.plugin, hook: fault.hook, err: fault }, fault.message);
  return new Refusal('plugin-error', fault);
}
