/**
 * Requests that a backend had and will not answer, because its link closed or the answer is overdue. If the link closed they are
 * sent once to another backend, where pool and protocol allow it; otherwise they are refused to their clients at once.
 */
import type { Accounting } from './accounting.ts';
import type { Client } from './client.ts';
import { pluginFault } from './dropping.ts';
import type { Exchange, Exchanges } from './exchanges.ts';
import type { Link } from './link.ts';
import type { Message } from './message.ts';
import { anew, type TakenBack } from './outbox.ts';
import { Refusal } from './outcome.ts';
import type { Logger, ProtocolFacts } from './plugin.ts';
import type { Pool } from './pool.ts';

const backendLost = new Refusal('backend-lost');
const defaultReplayBytes = 16_777_216;

export interface AbandonedOptions {
  readonly facts: ProtocolFacts;
  readonly pool: Pool;
  readonly exchanges: Exchanges | undefined;
  readonly accounting: Accounting;
  readonly log: Logger;
}

export class Abandoned {
  readonly #options: AbandonedOptions;
  /** Whether requests are kept for replay. */
  readonly #replays: boolean;
  readonly #hasRoom: (client: Client, bytes: number) => boolean;

  /** @param hasRoom whether a client can take so many bytes more */
  constructor(options: AbandonedOptions, hasRoom: (client: Client, bytes: number) => boolean) {
    const { facts, pool, exchanges } = options;
    this.#options = options;
    this.#replays = pool.settings.replay === 'once' && facts.mayReplay !== undefined && exchanges !== undefined;
    this.#hasRoom = hasRoom;
  }

  /** Keeps a request that may be replayed if its backend goes away. Replays themselves, and what checks ask, are not kept. */
  keep(message: Message, exchange: Exchange): void {
    if (!this.#replays) return;
    const { facts, pool } = this.#options;
    const { replayBytes = defaultReplayBytes } = pool.settings;
    if (message.avoids !== undefined || message.reason === 'check') return;
    if (pool.keptBytes + message.length > replayBytes) return;
    if (facts.mayReplay!(message)) exchange.keepRequest(message);
  }

  /**
   * The link is closed: the requests it carried will not be answered. Those in `waiting` never left, and are sent again.
   * @returns the replays of those it carried, which count as held
   */
  abandon(link: Link, waiting: readonly TakenBack[]): readonly TakenBack[] {
    this.release(waiting);
    const { accounting, exchanges, log } = this.#options;
    const { abandoned, abandonedRefused } = accounting;
    const replays: TakenBack[] = [];
    exchanges?.abandon(link, (exchange) => this.#lose(exchange, replays));
    const lost = accounting.abandoned - abandoned;
    if (lost === 0) return replays;
    const refused = accounting.abandonedRefused - abandonedRefused;
    const fields = { backend: link.backend.name, requests: lost, refused, replayed: replays.length };
    log.warn(fields, 'requests lost with their link');
    return replays;
  }

  /** The check that asked on this link no longer waits for an answer. */
  forget(standIn: Client, link: Link): void {
    this.#options.exchanges?.forget(standIn, link);
  }

  /** Ends the exchanges of messages that were taken back. */
  release(waiting: readonly TakenBack[]): void {
    for (const { exchange, exchangeId } of waiting) {
      if (exchange !== undefined && exchange.id === exchangeId) this.#options.exchanges?.close(exchange);
    }
  }

  #lose(exchange: Exchange, replays: TakenBack[]): void {
    const { client, backend, request } = exchange;
    const { accounting } = this.#options;
    if (client.question !== undefined) {
      client.question.lost('backend-lost');
      return;
    }
    accounting.abandoned++;
    backend.unanswered++;
    if (client.closing) return;
    if (request !== undefined) {
      accounting.replays.received++;
      accounting.replays.held++;
      replays.push({ ...anew, bytes: request, source: client, avoids: backend });
      return;
    }
    this.refuse(exchange);
  }

  /** Tells the client that no answer will come. */
  refuse(exchange: Exchange): void {
    const { client } = exchange;
    const { accounting, facts, log } = this.#options;
    if (client.closing) return;
    let reply: Uint8Array | undefined;
    try {
      reply = facts.refuseAbandoned?.(exchange, backendLost);
    } catch (error) {
      pluginFault(error, log);
    }
    if (reply === undefined || !this.#hasRoom(client, reply.length)) return;
    client.send(reply);
    accounting.abandonedRefused++;
  }
}
