/**
 * The affinity table: where messages went whose relatives may carry no identifier (a CANCEL, an ACK, a retry). Its size is fixed:
 * entries lie in a ring in the order they came, so that a flood of ids evicts the oldest and costs no memory. Ids are kept as
 * 64-bit hashes under a random key, so that nobody can construct a collision, and chance makes one in 2^64.
 */
import { KeyedHash } from './hash.ts';
import type { Message } from './message.ts';
import type { RelatedIds } from './plugin.ts';
import type { Backend } from './pool.ts';

/** What plugins see of the table. */
export interface AffinityTable {
  /**
   * The session behind an id has come to rest (its final answer was seen): from now the entry lives for `seconds`, and no
   * longer counts as in flight.
   */
  settle(message: Message, offset: number, length: number, kind: number, seconds: number): void;
}

/** The ids of the message at hand, hashed as the protocol plugin names them. */
class CollectedIds implements RelatedIds {
  seconds = 32;
  awaitsAnswer = true;
  count = 0;
  readonly highs: number[] = [];
  readonly lows: number[] = [];
  message: Message | undefined;
  /** Which of the messages that the object `message` has served in turn. */
  serial = 0;
  readonly #hash: KeyedHash;

  constructor(hash: KeyedHash) {
    this.#hash = hash;
  }

  open(message: Message): void {
    this.message = message;
    this.serial = 0;
    this.count = 0;
    this.seconds = 32;
    this.awaitsAnswer = true;
  }

  /** Whether all ids of this very message have been collected. */
  areOf(message: Message): boolean {
    return this.message === message && this.serial === message.serial;
  }

  add(offset: number, length: number, kind = 0): void {
    const { bytes, start } = this.message!;
    this.#hash.hash(bytes, start + offset, start + offset + length);
    this.highs[this.count] = this.#hash.high ^ Math.imul(kind, 0x9e3779b1);
    this.lows[this.count] = this.#hash.low;
    this.count++;
  }
}

const none = -1;
/** Thrown instead of looping for ever if a chain is broken: it can have no more entries than the table. */
const endlessChain = 'a chain of the affinity table does not end where it should';

/** The state of an entry: it counts as its backend's request in flight, it has come to rest, or neither. */
const [open, inFlight, settled] = [0, 1, 2];

export class Affinity implements AffinityTable {
  /** Entries pushed out while they were still alive, because the table was full. */
  evicted = 0;
  /** Entries in use, including expired ones that nothing has touched since. */
  size = 0;
  /** How many entries count as in flight. */
  inFlight = 0;

  /** Backends by their index, including those that are no longer in the config. */
  readonly #known: Backend[] = [];
  /** Whether unsettled entries count as the backend's requests in flight; they do unless exchanges count those. */
  readonly #countsInFlight: boolean;
  #relate: (message: Message, ids: RelatedIds) => void;
  readonly #hash: KeyedHash;
  readonly #ids: CollectedIds;
  /** What was found last was found by its most specific id. */
  #isFoundByOwn = false;

  // The ring: one entry is a hash, a backend's index, an expiry and the next entry of its bucket.
  #limit: number;
  #capacity = 0;
  #next = 0;
  #high = new Int32Array(0);
  #low = new Int32Array(0);
  #backend = new Int32Array(0);
  #expiry = new Float64Array(0);
  #state = new Uint8Array(0);
  #chain = new Int32Array(0);
  #buckets = new Int32Array(0);

  constructor(options: {
    entries: number;
    countsInFlight: boolean;
    relate: (message: Message, ids: RelatedIds) => void;
    key: Uint8Array;
  }) {
    this.#limit = Math.max(1, options.entries);
    this.#countsInFlight = options.countsInFlight;
    this.#relate = options.relate;
    this.#hash = new KeyedHash(options.key);
    this.#ids = new CollectedIds(this.#hash);
  }

  /** Goes on under another pipeline of the same protocol and pool. It may grow larger, but not smaller. */
  follow(entries: number, relate: (message: Message, ids: RelatedIds) => void): void {
    this.#limit = Math.max(this.#limit, entries);
    this.#relate = relate;
  }

  /** The backend that a relative of `message` went to, whatever its health; undefined if none is remembered. */
  find(message: Message): Backend | undefined {
    const ids = this.#collect(message);
    for (let i = 0; i < ids.count; i++) {
      const entry = this.#lookUp(ids.highs[i]!, ids.lows[i]!, message.atMs);
      if (entry === none) continue;
      const backend = this.#known[this.#backend[entry]!]!;
      if (backend.removed) return undefined;
      this.#isFoundByOwn = i === 0;
      if (i === 0 && this.#state[entry] !== settled) this.#prolong(entry, message.atMs + ids.seconds * 1000);
      return backend;
    }
    return undefined;
  }

  /**
   * Remembers that `message`, which was found last, goes where a relative of it went: its own relatives may know it by its more
   * specific ids only. Not done by `find`, as the message may still be refused.
   */
  rememberFound(message: Message, backend: Backend): void {
    if (!this.#isFoundByOwn) this.remember(message, backend);
  }

  /** Remembers that `message` goes to `backend`. */
  remember(message: Message, backend: Backend): void {
    const ids = this.#collect(message);
    const { atMs } = message;
    const expiry = atMs + ids.seconds * 1000;
    // The most specific id comes last, so that it is the newest, and the one whose backend counts.
    const mostSpecific = ids.awaitsAnswer ? 0 : Math.max(0, ids.count - 1);
    for (let i = ids.count - 1; i >= mostSpecific; i--) {
      let entry = this.#lookUp(ids.highs[i]!, ids.lows[i]!, atMs);
      if (entry === none) entry = this.#insert(ids.highs[i]!, ids.lows[i]!, atMs);
      else this.#release(entry);
      this.#backend[entry] = backend.index;
      this.#known[backend.index] ??= backend;
      this.#prolong(entry, expiry);
      // One id stands for the whole message: the others must not count it again.
      if (this.#countsInFlight && ids.awaitsAnswer && i === 0) {
        this.#state[entry] = inFlight;
        this.inFlight++;
        backend.inFlight++;
      }
    }
  }

  settle(message: Message, offset: number, length: number, kind: number, seconds: number): void {
    const ids = this.#ids;
    ids.open(message);
    ids.add(offset, length, kind);
    const entry = this.#lookUp(ids.highs[0]!, ids.lows[0]!, message.atMs);
    if (entry === none) return;
    this.#release(entry);
    this.#state[entry] = settled;
    this.#expiry[entry] = message.atMs + seconds * 1000;
  }

  #prolong(entry: number, expiry: number): void {
    if (this.#expiry[entry]! < expiry) this.#expiry[entry] = expiry;
  }

  /** Settles what has expired, so that it no longer counts as in flight. The core calls it about once a second. */
  expire(nowMs: number): void {
    if (!this.#countsInFlight) return;
    for (let entry = 0; entry < this.size; entry++) {
      if (this.#state[entry] === inFlight && this.#expiry[entry]! <= nowMs) this.#release(entry);
    }
  }

  /** Stops counting anything as in flight: nobody maintains it from now on. */
  stop(): void {
    this.expire(Number.POSITIVE_INFINITY);
  }

  #collect(message: Message): CollectedIds {
    const ids = this.#ids;
    // `remember` comes soon after `find`, and asks for the same.
    if (ids.areOf(message)) return ids;
    ids.open(message);
    this.#relate(message, ids);
    ids.serial = message.serial;
    return ids;
  }

  #release(entry: number): void {
    if (this.#state[entry] === inFlight) {
      this.inFlight--;
      const backend = this.#known[this.#backend[entry]!];
      if (backend !== undefined) backend.inFlight--;
    }
    this.#state[entry] = open;
  }

  #lookUp(high: number, low: number, nowMs: number): number {
    if (this.#capacity === 0) return none;
    let entry = this.#buckets[low & (this.#buckets.length - 1)]!;
    for (let steps = 0; entry !== none; steps++) {
      if (steps === this.size) throw new Error(endlessChain);
      if (this.#low[entry] === low && this.#high[entry] === high) {
        return this.#expiry[entry]! > nowMs ? entry : none;
      }
      entry = this.#chain[entry]!;
    }
    return none;
  }

  #insert(high: number, low: number, nowMs: number): number {
    if (this.size === this.#capacity && this.#capacity < this.#limit) this.#grow();
    const entry = this.#next;
    this.#next = entry + 1 === this.#capacity && this.#capacity === this.#limit ? 0 : entry + 1;
    if (entry < this.size) {
      if (this.#expiry[entry]! > nowMs) this.evicted++;
      this.#release(entry);
      this.#unlink(entry);
    } else {
      this.size++;
    }
    this.#high[entry] = high;
    this.#low[entry] = low;
    this.#expiry[entry] = 0;
    this.#link(entry);
    return entry;
  }

  #link(entry: number): void {
    const bucket = this.#low[entry]! & (this.#buckets.length - 1);
    this.#chain[entry] = this.#buckets[bucket]!;
    this.#buckets[bucket] = entry;
  }

  #unlink(entry: number): void {
    const bucket = this.#low[entry]! & (this.#buckets.length - 1);
    if (this.#buckets[bucket] === entry) {
      this.#buckets[bucket] = this.#chain[entry]!;
      return;
    }
    let before = this.#buckets[bucket]!;
    for (let steps = 0; this.#chain[before] !== entry; steps++) {
      if (steps === this.size) throw new Error(endlessChain);
      before = this.#chain[before]!;
    }
    this.#chain[before] = this.#chain[entry]!;
  }

  /** Doubles the table up to its limit, so that a quiet listener stays small. */
  #grow(): void {
    const capacity = Math.min(this.#limit, Math.max(256, this.#capacity * 2));
    const widen = <T extends Int32Array | Float64Array | Uint8Array>(from: T, to: T): T => {
      to.set(from as never);
      return to;
    };
    this.#high = widen(this.#high, new Int32Array(capacity));
    this.#low = widen(this.#low, new Int32Array(capacity));
    this.#backend = widen(this.#backend, new Int32Array(capacity));
    this.#expiry = widen(this.#expiry, new Float64Array(capacity));
    this.#state = widen(this.#state, new Uint8Array(capacity));
    this.#chain = new Int32Array(capacity);
    this.#capacity = capacity;
    this.#buckets = new Int32Array(2 ** Math.ceil(Math.log2(capacity))).fill(none);
    for (let entry = 0; entry < this.size; entry++) this.#link(entry);
  }
}
