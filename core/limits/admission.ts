/**
 * Admission: decides whether a message is let in, where limits of rate or load are configured for its listener, its client's
 * address, the pool or a backend. New work, which the strategy has to place, reaches each limit earlier than messages that carry an
 * identifier or belong to a session: the last part of a limit is reserved for those.
 */
import type { Client } from '../client.ts';
import type { Exchanges } from '../exchanges.ts';
import type { Message } from '../message.ts';
import { Refusal } from '../outcome.ts';
import type { Backend, Pool } from '../pool.ts';
import { defaultLimits, type Limits } from '../settings.ts';
import { bucketOf, type TokenBucket } from './rate.ts';

const overloaded = new Refusal('overloaded');
const rateLimited = new Refusal('rate-limited');

export class Admission {
  readonly #pool: Pool;
  readonly #limits: Limits;
  readonly #exchanges: Exchanges | undefined;
  readonly #bucket: TokenBucket | undefined;

  constructor(pool: Pool, limits: Limits, exchanges: Exchanges | undefined, nowMs: number) {
    this.#pool = pool;
    this.#limits = limits;
    this.#exchanges = exchanges;
    this.#bucket = bucketOf(limits.messagesPerSecond, limits.burstMessages, nowMs);
  }

  /** Whether anything is limited, so that messages must be checked. */
  static isNeeded(pool: Pick<Pool, 'settings'>, limits: Limits): boolean {
    return (
      limits.messagesPerSecond > 0 ||
      limits.messagesPerSecondPerAddress > 0 ||
      limits.inFlightPerAddress > 0 ||
      limits.inFlight < defaultLimits.inFlight ||
      pool.settings.limits !== undefined ||
      pool.settings.backendLimits !== undefined ||
      pool.settings.backends.some((backend) => backend.limits !== undefined)
    );
  }

  /**
   * Checks a client's message against the limits of its listener and address; returns why it is refused, if it is.
   * @param isNew the strategy has to place it
   */
  admit(message: Message, isNew: boolean): Refusal | undefined {
    const { atMs } = message;
    const { inFlight, inFlightPerAddress } = this.#limits;
    const load = message.client?.load;
    if (isNew && this.#exchanges !== undefined && this.#exchanges.size >= this.#openTo(inFlight, isNew)) {
      return overloaded;
    }
    if (load !== undefined && inFlightPerAddress > 0 && load.outstanding >= this.#openTo(inFlightPerAddress, isNew)) {
      return overloaded;
    }
    const own = this.#bucket;
    const ofPool = this.#pool.bucket;
    const ofAddress = load?.messages;
    const hasRates = this.#has(own, atMs, isNew) && this.#has(ofAddress, atMs, isNew) && this.#has(ofPool, atMs, isNew);
    if (!hasRates) return rateLimited;
    own?.take();
    ofAddress?.take();
    ofPool?.take();
    return undefined;
  }

  /**
   * The backend that has room for a client's message: the one it is meant for, or another one.
   * @param isChosen the strategy has chosen the backend, so that another one will do
   * @returns undefined if there is none
   */
  place(message: Message, backend: Backend, isNew: boolean, isChosen: boolean): Backend | undefined {
    const { atMs, avoids } = message;
    const client = message.source as Client;
    if (!this.#poolHasRoom(isNew)) return undefined;
    if (this.#hasRoom(backend, client, isNew, atMs)) return backend;
    if (!isChosen) return undefined;
    return this.#pool.leastBusy((each) => each !== avoids && this.#hasRoom(each, client, isNew, atMs));
  }

  #poolHasRoom(isNew: boolean): boolean {
    const { inFlight = 0 } = this.#pool.settings.limits ?? {};
    if (inFlight === 0) return true;
    let sum = 0;
    for (const backend of this.#pool.backends) sum += backend.inFlight;
    return sum < this.#openTo(inFlight, isNew);
  }

  #hasRoom(backend: Backend, client: Client, isNew: boolean, nowMs: number): boolean {
    const { limits, bucket } = backend;
    if (!this.#mayLink(backend, client)) return false;
    if (limits === undefined) return true;
    const { inFlight = 0 } = limits;
    if (inFlight > 0 && backend.inFlight >= this.#openTo(inFlight, isNew)) return false;
    return this.#has(bucket, nowMs, isNew);
  }

  /** Whether a rate has room for one more message. */
  #has(bucket: TokenBucket | undefined, nowMs: number, isNew: boolean): boolean {
    return bucket === undefined || bucket.has(nowMs, bucket.burst - this.#openTo(bucket.burst, isNew));
  }

  /** Whether a client has a link to a backend, or may open one. */
  #mayLink(backend: Backend, client: Client): boolean {
    const { dedicatedLinks, settings } = this.#pool;
    const ofBackend = backend.limits?.connections ?? 0;
    const ofPool = settings.limits?.connections ?? 0;
    const isFull = (ofBackend > 0 && backend.dedicatedLinks >= ofBackend) || (ofPool > 0 && dedicatedLinks >= ofPool);
    return !isFull || client.links.has(backend);
  }

  /** How much of a limit is open to new work, or to other messages. */
  #openTo(limit: number, isNew: boolean): number {
    return isNew ? limit - Math.floor((limit * this.#limits.reservedPercent) / 100) : limit;
  }
}
