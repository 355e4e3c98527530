/**
 * Outstanding requests, for protocols that correlate: the balancer writes an id of its own into a request that leaves on
 * a shared link, and the answer brings it back. An exchange remembers what stood there before, and whose request it is.
 * Bounded and expiring: ids count up, so an id is not used again soon; a list for each link keeps its exchanges in the order
 * they opened, so that both what is overdue and what is lost with a link are found without looking at the others.
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
  /** The bytes of the request that the id has replaced. */
  original: Buffer = noBytes;
  /** Kept here by the protocol plugin in `insertId`, for its `refuseAbandoned`. */
  note: unknown = undefined;
  /** The request as it came, kept for replay. @internal */
  request: Buffer | undefined;

  // For the table: its neighbours on the link, in the order of opening.
  /** @internal */
  older: Exchange | undefined;
  /** @internal */
  newer: Exchange | undefined;

  #store = Buffer.allocUnsafeSlow(32);

  /** Keeps the whole request, which counts towards its pool's `keptBytes` until the exchange is closed. @internal */
  keepRequest(message: Message): void {
    this.request = Buffer.allocUnsafeSlow(message.length);
    copyBytes(message.bytes, message.start, message.end, this.request, 0);
    this.backend.pool.keptBytes += message.length;
  }

  /** Keeps a copy of `bytes[start, end)` in memory that the next user of this object takes over. @internal */
  keep(bytes: Buffer, start: number, end: number): void {
    const length = end - start;
    if (length !== this.original.length) {
      if (length > this.#store.length) this.#store = Buffer.allocUnsafeSlow(length);
      this.original = this.#store.subarray(0, length);
    }
    copyBytes(bytes, start, end, this.#store, 0);
  }
}

/** The outstanding requests of one link, oldest first. */
export class Carried {
  oldest: Exchange | undefined;
  newest: Exchange | undefined;
  /** Whether the table checks this list for overdue requests. */
  isKnown = false;
}

/** What plugins see of the table. */
export interface ExchangeTable {
  /**
   * Opens an exchange for the request at hand, remembering `length` bytes of it from `offset`. Call it in `insertId`. Undefined if
   * those are too many to remember (over 4 KiB), or too many requests are outstanding: refuse the message then.
   */
  open(message: Message, offset: number, length: number): Exchange | undefined;
  /** The outstanding request with that id, if `message` came on the link that carried the request. */
  find(message: Message, id: number): Exchange | undefined;
}

/** How many bytes of one request are remembered, and of all together, so that long ids cannot fill the memory. */
const originalBytesEach = 4096;
const originalBytesLimit = 16_777_216;
/** How many objects are kept for reuse, and how many bytes of memory each may hold; the rest is left to the garbage collector. */
const sparesKept = 4096;
const spareBytesKept = 256;
const firstSlots = 256;

function emptySlots(count: number): (Exchange | undefined)[] {
  return Array.from({ length: count });
}

export class Exchanges implements ExchangeTable {
  /**
   * Outstanding requests by the low bits of their ids. The number of slots is a power of two, at least twice that of requests if
   * the ids are wide enough for that; it doubles when needed, so that a quiet listener stays small.
   */
  #slots: (Exchange | undefined)[] = emptySlots(firstSlots);
  readonly #spares: Exchange[] = [];
  #limit = 0;
  readonly #lastId: number;
  #expiryMs = 0;
  readonly #now: () => number;
  #next = 1;
  /** The links that have carried requests. */
  readonly #carriers = new Set<Link>();
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
    this.#now = now;
    this.setLimits(limit, expirySeconds);
  }

  /** Those that are open stay so. */
  setLimits(limit: number, expirySeconds: number): void {
    this.#limit = Math.min(limit, this.#lastId);
    this.#expiryMs = expirySeconds * 1000;
  }

  open(message: Message, offset: number, length: number): Exchange | undefined {
    const { client, backend } = message;
    if (client === undefined || backend === undefined) return undefined;
    if (message.exchange !== undefined) this.close(message.exchange);
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
    this.#originalBytes += length;
    this.size++;
    client.outstanding++;
    if (client.load !== undefined) client.load.outstanding++;
    backend.inFlight++;
    message.exchange = exchange;
    return exchange;
  }

  find(message: Message, id: number): Exchange | undefined {
    const exchange = this.#slots[id & (this.#slots.length - 1)];
    return exchange !== undefined && exchange.id === id && exchange.link === message.source ? exchange : undefined;
  }

  /** The request leaves on `link`. */
  carry(exchange: Exchange, link: Link): void {
    const { carried } = link;
    exchange.link = link;
    exchange.older = carried.newest;
    if (carried.newest === undefined) carried.oldest = exchange;
    else carried.newest.newer = exchange;
    carried.newest = exchange;
    if (carried.isKnown) return;
    carried.isKnown = true;
    this.#carriers.add(link);
  }

  /** Its answer has been forwarded, or it will never come. */
  close(exchange: Exchange): void {
    const slot = exchange.id & (this.#slots.length - 1);
    if (this.#slots[slot] !== exchange) return;
    const { client, link, older, newer } = exchange;
    this.#slots[slot] = undefined;
    if (link !== undefined) {
      const { carried } = link;
      if (older === undefined) carried.oldest = newer;
      else older.newer = newer;
      if (newer === undefined) carried.newest = older;
      else newer.older = older;
    }
    this.#originalBytes -= exchange.original.length;
    this.size--;
    client.outstanding--;
    if (client.load !== undefined) client.load.outstanding--;
    exchange.backend.inFlight--;
    if (exchange.request !== undefined) {
      exchange.backend.pool.keptBytes -= exchange.request.length;
      exchange.request = undefined;
    }

    exchange.id = 0;
    exchange.link = undefined;
    exchange.older = undefined;
    exchange.newer = undefined;
    exchange.note = undefined;
    // A spare keeps no closed connection alive, nor much memory.
    exchange.client = undefined as never;
    if (this.#spares.length < sparesKept && exchange.original.length <= spareBytesKept) this.#spares.push(exchange);
    if (client.outstanding === 0) client.onSettled();
  }

  /**
   * Gives up on requests whose answer is overdue. The core calls it about once a second.
   * @param lose is called with each request that a backend has, while its exchange is still open
   * @param onOverdue is called with each link that should have brought such answers, and their number
   */
  expire(lose: (exchange: Exchange) => void, onOverdue: (link: Link, requests: number) => void): void {
    const before = this.#now() - this.#expiryMs;
    for (const link of this.#carriers) {
      const { carried } = link;
      if (carried.oldest === undefined || carried.oldest.openedAtMs > before) continue;
      const firstWaiting = link.outbox.firstExchange; // those behind it have not left either
      let hasLeft = true;
      let requests = 0;
      while (carried.oldest !== undefined && carried.oldest.openedAtMs <= before) {
        const overdue = carried.oldest;
        hasLeft &&= overdue !== firstWaiting;
        if (overdue.client.question === undefined) {
          this.expired++;
          requests++;
          overdue.backend.unanswered++;
          overdue.backend.pool.outliers?.failed(overdue.backend, 'no answer');
          if (hasLeft) lose(overdue);
        }
        this.close(overdue);
      }
      onOverdue(link, requests);
    }
  }

  /** Gives up on what a client has asked on `link`. */
  forget(client: Client, link: Link): void {
    // The newest first, as it has not asked long ago.
    for (let each = link.carried.newest; each !== undefined && client.outstanding > 0; ) {
      const { older } = each;
      if (each.client === client) this.close(each);
      each = older;
    }
  }

  /**
   * Gives up on all requests that `link` carried.
   * @param lose is called with each, while its exchange is still open
   */
  abandon(link: Link, lose: (exchange: Exchange) => void): void {
    const { carried } = link;
    // Losing one may end its client, and with it others.
    for (let lost = carried.oldest; lost !== undefined; lost = carried.oldest) {
      lose(lost);
      this.close(lost);
    }
    carried.isKnown = false;
    this.#carriers.delete(link);
  }

  /** Doubles the slots. Ids that differ in their low bits still do when more of those bits are used. */
  #grow(): void {
    const slots = emptySlots(2 * this.#slots.length);
    for (const each of this.#slots) if (each !== undefined) slots[each.id & (slots.length - 1)] = each;
    this.#slots = slots;
  }

  /**
   * The next id whose slot is free. There is one, as there are fewer outstanding requests than slots. A full round over the slots
   * passes each occupied one once, so that where half of them are free an id takes two steps on average.
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
