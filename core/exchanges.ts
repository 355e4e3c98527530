/**
 * Outstanding requests, for protocols that correlate: the balancer writes an id of its own into a request that leaves on
 * a shared link, and the answer brings it back. An exchange remembers what stood there before, and whose request it is.
 * Bounded and expiring: ids count up, so an id is not used again soon; a list keeps the exchanges in the order they opened.
 */
import type { Client } from './client.ts';
import type { Link } from './link.ts';
import { copyBytes } from './memory.ts';
import type { Message } from './message.ts';
import type { Backend } from './pool.ts';

const noBytes = Buffer.alloc(0);

/** One outstanding request. Valid from `open` until its answer has been forwarded. */
export class Exchange {
  /** What the balancer writes into the request: an integer from 1, unique among the outstanding ones. */
  id = 0;
  client!: Client;
  backend!: Backend;
  /** The link that carried the request, the only one that its answer may come on; undefined until forwarded. */
  link: Link | undefined;
  /** When it was opened, in milliseconds of the runtime's monotonic clock. */
  openedAtMs = 0;
  /** The bytes that stood in the request where the id is now. */
  original: Buffer = noBytes;

  // For the table: its neighbours in the order of opening.
  older: Exchange | undefined;
  newer: Exchange | undefined;

  #store = Buffer.allocUnsafeSlow(32);

  /** Keeps a copy of `bytes[start, end)` in memory that the next user of this object takes over. */
  keep(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length !== this.original.length) {
      if (length > this.#store.length) this.#store = Buffer.allocUnsafeSlow(length);
      this.original = this.#store.subarray(0, length);
    }
    copyBytes(bytes, start, end, this.#store, 0);
  }
}

/** What plugins see of the table. */
export interface ExchangeTable {
  /**
   * Opens an exchange for the request at hand, remembering `length` bytes of it from `offset`.
   * Call it in `insertId`; undefined if that is too long to remember (over 4 KiB), or too many
   * requests are outstanding; refuse the message then.
   */
  open(message: Message, offset: number, length: number): Exchange | undefined;
  /** The outstanding request with that id if `message` came on the link that carried it. */
  find(message: Message, id: number): Exchange | undefined;
}

/** How many bytes of one request are remembered, and of all at once, so that long ids cannot fill the memory. */
const originalBytesEach = 4096;
const originalBytesLimit = 16_777_216;
/** Objects kept for reuse, and how many bytes of memory one may hold; the rest is left to the garbage collector. */
const sparesKept = 4096;
const spareBytesKept = 256;
const firstSlots = 256;

function emptySlots(count: number): (Exchange | undefined)[] {
  return Array.from({ length: count });
}

export class Exchanges implements ExchangeTable {
  /**
   * Outstanding requests by the low bits of their ids. A power of two, at least twice as many slots as requests where the ids
   * suffice; doubled when it must be, so that a quiet listener stays small.
   */
  #slots: (Exchange | undefined)[] = emptySlots(firstSlots);
  readonly #spares: Exchange[] = [];
  readonly #limit: number;
  readonly #lastId: number;
  readonly #expiryMs: number;
  readonly #now: () => number;
  #next = 1;
  #oldest: Exchange | undefined;
  #newest: Exchange | undefined;
  #originalBytes = 0;
  /** How many requests are outstanding. */
  size = 0;
  /** How many have expired without an answer. */
  expired = 0;

  /**
   * @param limit how many requests may be outstanding at once
   * @param bits how wide the protocol's field is: ids stay below 2^bits
   */
  constructor(limit: number, bits: number, expirySeconds: number, now: () => number) {
    this.#lastId = 2 ** Math.min(bits, 31) - 1;
    this.#limit = Math.min(limit, this.#lastId);
    this.#expiryMs = expirySeconds * 1000;
    this.#now = now;
  }

  open(message: Message, offset: number, length: number): Exchange | undefined {
    const { client, backend } = message;
    if (client === undefined || backend === undefined) return undefined;
    if (this.size >= this.#limit || length > originalBytesEach) return undefined;
    if (this.#originalBytes + length > originalBytesLimit) return undefined;
    if (2 * this.size >= this.#slots.length && this.#slots.length <= this.#lastId) this.#grow();
    const exchange = this.#spares.pop() ?? new Exchange();
    exchange.id = this.#freeId();
    this.#slots[exchange.id & (this.#slots.length - 1)] = exchange;
    exchange.client = client;
    exchange.backend = backend;
    exchange.openedAtMs = message.atMs;
    exchange.keep(message.bytes, message.start + offset, message.start + offset + length);
    exchange.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = exchange;
    else this.#newest.newer = exchange;
    this.#newest = exchange;
    this.#originalBytes += length;
    this.size++;
    client.outstanding++;
    backend.inFlight++;
    message.exchange = exchange;
    return exchange;
  }

  find(message: Message, id: number): Exchange | undefined {
    const exchange = this.#slots[id & (this.#slots.length - 1)];
    return exchange !== undefined && exchange.id === id && exchange.link === message.source ? exchange : undefined;
  }

  /** Its answer has been forwarded, or it will never come. */
  close(exchange: Exchange): void {
    const slot = exchange.id & (this.#slots.length - 1);
    if (this.#slots[slot] !== exchange) return;
    const { client, older, newer } = exchange;
    this.#slots[slot] = undefined;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    this.#originalBytes -= exchange.original.length;
    this.size--;
    client.outstanding--;
    exchange.backend.inFlight--;

    exchange.id = 0;
    exchange.link = undefined;
    exchange.older = undefined;
    exchange.newer = undefined;
    // A spare keeps no closed connection alive, nor much memory.
    exchange.client = undefined as never;
    if (this.#spares.length < sparesKept && exchange.original.length <= spareBytesKept) this.#spares.push(exchange);
    if (client.outstanding === 0) client.onSettled();
  }

  /** Gives up on requests whose answer is overdue. The core calls it about once a second. */
  expire(): void {
    const before = this.#now() - this.#expiryMs;
    while (this.#oldest !== undefined && this.#oldest.openedAtMs <= before) {
      this.expired++;
      this.close(this.#oldest);
    }
  }

  /** Gives up on all requests that `link` carried; answers how many. */
  abandon(link: Link): number {
    if (link.client?.outstanding === 0) return 0; // a dedicated link carries requests of its client only
    const carried: Exchange[] = [];
    for (let at = this.#oldest; at !== undefined; at = at.newer) if (at.link === link) carried.push(at);
    let count = 0;
    for (const exchange of carried) {
      // Closing one may have ended its client, and with it the next one.
      if (exchange.link !== link) continue;
      this.close(exchange);
      count++;
    }
    return count;
  }

  /** Ids that differ in their low bits still do when there are more of those. */
  #grow(): void {
    const slots = emptySlots(2 * this.#slots.length);
    for (let each = this.#oldest; each !== undefined; each = each.newer) slots[each.id & (slots.length - 1)] = each;
    this.#slots = slots;
  }

  /**
   * The next id whose slot is free. There is one, as fewer requests are outstanding than there are slots; a full round
   * over the slots passes each occupied one once, so where half of them are free an id costs two steps on average.
   */
  #freeId(): number {
    const mask = this.#slots.length - 1;
    for (;;) {
      const id = this.#next;
      this.#next = id === this.#lastId ? 1 : id + 1;
      if (this.#slots[id & mask] === undefined) return id;
    }
  }
}
