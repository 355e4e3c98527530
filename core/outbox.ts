/**
 * Outboxes: what waits to be written to one peer. Messages are copied, with their edits applied, into one chunk of memory;
 * everything for one peer in one turn of the event loop leaves in one write. The outbox of a link also keeps a journal of what it
 * holds, so that messages can be taken back as they came if the backend turns out to be unreachable.
 */
import type { Counters } from './accounting.ts';
import type { Client } from './client.ts';
import type { Exchange } from './exchanges.ts';
import type { Link } from './link.ts';
import { noSlab, type Slab, slabs } from './memory.ts';
import type { Message } from './message.ts';
import type { Reason } from './outcome.ts';
import type { Backend } from './pool.ts';
import type { Runtime, Socket } from './runtime/runtime.ts';

/** Somebody who waits for room in an outbox. */
interface Waiter {
  resume(): void;
}

/**
 * What is left to the end of the turn: outboxes are flushed, each once, and before that whoever waited for room goes on. Neither is
 * done at once, because room may appear in the middle of a message, whose hooks and `Message` are still in use.
 */
export class Turn {
  readonly #runtime: Runtime;
  #isScheduled = false;
  #due: Outbox[] = [];
  #spare: Outbox[] = [];
  #waiters: Waiter[] = [];

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  add(outbox: Outbox): void {
    this.#due.push(outbox);
    this.#schedule();
  }

  /** Called when there is room again. */
  resume(waiters: readonly Waiter[]): void {
    for (const waiter of waiters) this.#waiters.push(waiter);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    this.#runtime.atTurnEnd(this.#end);
  }

  readonly #end = (): void => {
    if (this.#waiters.length > 0) {
      const resumed = this.#waiters;
      this.#waiters = [];
      for (const waiter of resumed) waiter.resume();
    }
    this.#isScheduled = false;
    const due = this.#due;
    this.#due = this.#spare;
    for (const outbox of due) outbox.flush();
    due.length = 0;
    this.#spare = due;
  };
}

export class Outbox {
  /** If more bytes wait than that, it is full. */
  limitBytes: number;
  /** Bytes that wait here. */
  queuedBytes = 0;
  /** Messages that wait here. */
  queuedMessages = 0;
  /** Bytes that the socket has taken but not written yet. */
  pendingBytes = 0;
  /** Called when all that waited has been taken by the socket. */
  onEmpty: (() => void) | undefined;
  /** Called when `full` changes. */
  onFull: ((full: boolean) => void) | undefined;

  protected chunk: Slab = noSlab;
  readonly #turn: Turn;
  #socket: Socket | undefined;
  #writing: Slab = noSlab;
  #scheduled = false;
  #wasFull = false;
  #waiters: Waiter[] = [];
  // Who the queued messages are counted by: runs of one counter each, nearly always a single one. The arrays are reused: to set
  // their length takes longer than all else here.
  #runs = 0;
  readonly #runCounters: Counters[] = [];
  readonly #runMessages: number[] = [];
  readonly #delimits: boolean;
  /** The end of each message in the chunk, if the transport delimits them. */
  #ends: number[] = [];

  /** @param delimits the transport sends messages one by one */
  constructor(turn: Turn, limitBytes: number, delimits: boolean) {
    this.#turn = turn;
    this.limitBytes = limitBytes;
    this.#delimits = delimits;
  }

  get waitingBytes(): number {
    return this.queuedBytes + this.pendingBytes;
  }

  /** True once more is waiting than the limit allows, until half of that is left. */
  get full(): boolean {
    if (!this.#wasFull && this.waitingBytes > this.limitBytes) {
      this.#wasFull = true;
      this.onFull?.(true);
    }
    return this.#wasFull;
  }

  /** Opens the way: from now on what is queued is written. */
  open(socket: Socket): void {
    this.#socket = socket;
    this.flush();
  }

  /** Writes bytes ahead of everything that waits, to a socket that `open` has not been given yet. */
  writeAhead(socket: Socket, bytes: Buffer): void {
    if (!socket.write(bytes, [bytes.length])) this.pendingBytes = bytes.length;
  }

  /** Hands nothing more to the socket; what waits stays, and so does what the socket is still writing. */
  detach(): void {
    this.#socket = undefined;
    this.pendingBytes = 0;
    this.onEmpty = undefined; // it was meant for that socket
  }

  /** The socket is closed and writes nothing more; what is waiting stays. */
  close(): void {
    this.detach();
    slabs.give(this.#writing);
    this.#writing = noSlab;
  }

  /** Copies a message, edits applied, to the end of the queue. */
  append(message: Message): void {
    const at = this.reserve(message.length + message.growth);
    message.copyTo(this.chunk, at);
    this.#count(message.counters);
    if (this.#delimits) this.#ends.push(this.queuedBytes);
    this.#schedule();
  }

  /** Queues bytes that are not a message of a peer: a reply of our own, a relayed piece. */
  appendBytes(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    const at = this.reserve(end - start);
    this.chunk.put(bytes, start, end, at);
    if (this.#delimits) this.#ends.push(this.queuedBytes);
    this.#schedule();
  }

  /** Hands everything that is waiting to the socket in one write, if it can take it. */
  flush(): void {
    this.#scheduled = false;
    const socket = this.#socket;
    if (socket === undefined || !socket.writable || this.pendingBytes > 0) return;
    if (this.queuedBytes > 0) {
      const { chunk, queuedBytes } = this;
      const ends = this.#ends;
      if (ends.length > 0) this.#ends = [];
      this.chunk = noSlab;
      this.queuedBytes = 0;
      this.forgetQueued();
      for (let i = 0; i < this.#runs; i++) {
        const counters = this.#runCounters[i]!;
        const messages = this.#runMessages[i]!;
        counters.held -= messages;
        counters.forwarded += messages;
      }
      this.#runs = 0;
      if (socket.write(chunk.bytes.subarray(0, queuedBytes), ends)) {
        slabs.give(chunk);
      } else {
        this.#writing = chunk;
        this.pendingBytes = queuedBytes;
        return;
      }
    }
    this.settle();
  }

  /** The socket has written what it kept. */
  written(): void {
    slabs.give(this.#writing);
    this.#writing = noSlab;
    this.pendingBytes = 0;
    this.flush();
  }

  /** Resumes `waiter` when this outbox is no longer full. */
  waitForRoom(waiter: Waiter): void {
    this.#waiters.push(waiter);
  }

  /** Tells whoever waits for room or for the end of the queue. */
  settle(): void {
    if (this.#wasFull && this.waitingBytes <= this.limitBytes / 2) {
      this.#wasFull = false;
      this.onFull?.(false);
      if (this.#waiters.length > 0) {
        this.#turn.resume(this.#waiters);
        this.#waiters = [];
      }
    }
    if (this.waitingBytes === 0) this.onEmpty?.();
  }

  /** Drops everything that is waiting; the messages are discarded for that reason. */
  discard(reason: Reason): void {
    for (let i = 0; i < this.#runs; i++) {
      const counters = this.#runCounters[i]!;
      counters.held -= this.#runMessages[i]!;
      counters.discard(reason, this.#runMessages[i]!);
    }
    this.clear();
    this.settle();
  }

  /** Empties the queue without counting. */
  protected clear(): void {
    slabs.give(this.chunk);
    this.chunk = noSlab;
    this.queuedBytes = 0;
    this.#ends.length = 0;
    this.forgetQueued();
    this.#runs = 0;
  }

  /** The queued messages have left, or were dropped. */
  protected forgetQueued(): void {
    this.queuedMessages = 0;
  }

  /** Makes room for `length` more bytes at the end of the chunk; returns where they go. */
  protected reserve(length: number): number {
    const at = this.queuedBytes;
    const needed = at + length;
    if (needed > this.chunk.bytes.length) this.#enlarge(needed);
    this.queuedBytes = needed;
    return at;
  }

  #enlarge(needed: number): void {
    const larger = slabs.take(needed);
    if (this.queuedBytes > 0) {
      larger.putStartOf(this.chunk, this.queuedBytes);
      slabs.give(this.chunk);
    }
    this.chunk = larger;
  }

  #schedule(): void {
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.#turn.add(this);
    }
  }

  #count(counters: Counters): void {
    counters.held++;
    this.queuedMessages++;
    const last = this.#runs - 1;
    if (last >= 0 && this.#runCounters[last] === counters) this.#runMessages[last]!++;
    else {
      this.#runs++;
      this.#runCounters[last + 1] = counters;
      this.#runMessages[last + 1] = 1;
    }
  }
}

/** A message taken back from a link's outbox, as it was received. It still counts as held. */
export interface TakenBack {
  readonly bytes: Buffer;
  readonly source: Client | Link;
  /** The exchange it opened, and the exchange's id then: the object may serve another request by now. */
  readonly exchange: Exchange | undefined;
  readonly exchangeId: number;
  /** The exchange was over when the message was taken back. */
  readonly isOverdue: boolean;
  /** Set if it is a replay: the backend that had it before. */
  readonly avoids: Backend | undefined;
}

/** The rest of a `TakenBack` for a message that was in no outbox. */
export const anew = { exchange: undefined, exchangeId: 0, isOverdue: false, avoids: undefined } as const;

/** Entries kept for reuse. */
const entriesKept = 4096;

/** The journal's entry for a queued message. Entries are reused: a message allocates none. */
class Entry {
  /** Its offset in the chunk. */
  start = 0;
  end = 0;
  /** The index of its first number in the journal's edits. */
  edits = 0;
  source: Client | Link | undefined;
  exchange: Exchange | undefined;
  exchangeId = 0;
  avoids: Backend | undefined;

  get isOverdue(): boolean {
    return this.exchange !== undefined && this.exchange.id !== this.exchangeId;
  }
}

/**
 * The outbox of a link. Its journal records where each queued message lies and how to undo its edits, so that it can be taken back
 * as it was received.
 */
export class LinkOutbox extends Outbox {
  readonly #entries: Entry[] = [];
  #entryCount = 0;
  // An edit is three numbers: where it stands in the chunk, how many bytes it inserted there, how many it removed.
  readonly #edits: number[] = [];
  #editNumbers = 0;
  /** The bytes that edits removed, one after the other. */
  #removed: Slab = noSlab;
  #removedBytes = 0;

  override append(message: Message): void {
    const start = this.queuedBytes;
    super.append(message);
    if (this.#entryCount === this.#entries.length) this.#entries.push(new Entry());
    const entry = this.#entries[this.#entryCount++]!;
    entry.start = start;
    entry.end = this.queuedBytes;
    entry.edits = this.#editNumbers;
    entry.source = message.source;
    entry.avoids = message.avoids;
    entry.exchange = message.exchange;
    if (message.exchange !== undefined) entry.exchangeId = message.exchange.id;
    const { editCount, editOffsets, editRemoves, editBytes } = message;
    let shift = start;
    for (let i = 0; i < editCount; i++) {
      const removes = editRemoves[i]!;
      const inserts = editBytes[i]!.length;
      const offset = editOffsets[i]!;
      const at = this.#editNumbers;
      this.#edits[at] = shift + offset;
      this.#edits[at + 1] = inserts;
      this.#edits[at + 2] = removes;
      this.#editNumbers = at + 3;
      shift += inserts - removes;
      if (removes > 0) this.#keepRemoved(message.bytes, message.start + offset, removes);
    }
  }

  /** Whether a request is waiting here although its exchange is over: an answer to it would not find its way. */
  get holdsOverdue(): boolean {
    for (let i = 0; i < this.#entryCount; i++) if (this.#entries[i]!.isOverdue) return true;
    return false;
  }

  /** The exchange of the request that leaves first; undefined if none is waiting. */
  get firstExchange(): Exchange | undefined {
    for (let i = 0; i < this.#entryCount; i++) {
      const { exchange, isOverdue } = this.#entries[i]!;
      if (exchange !== undefined && !isOverdue) return exchange;
    }
    return undefined;
  }

  /** Empties the queue and answers its messages as they were received, oldest first. The caller calls `settle` when it has dealt with them. */
  takeBack(): TakenBack[] {
    const taken: TakenBack[] = [];
    const { bytes } = this.chunk;
    let removedAt = 0;
    for (let i = 0; i < this.#entryCount; i++) {
      const entry = this.#entries[i]!;
      const editsEnd = i + 1 < this.#entryCount ? this.#entries[i + 1]!.edits : this.#editNumbers;
      const pieces: Buffer[] = [];
      let from = entry.start;
      for (let edit = entry.edits; edit < editsEnd; edit += 3) {
        const removes = this.#edits[edit + 2]!;
        pieces.push(
          bytes.subarray(from, this.#edits[edit]!),
          this.#removed.bytes.subarray(removedAt, removedAt + removes),
        );
        removedAt += removes;
        from = this.#edits[edit]! + this.#edits[edit + 1]!;
      }
      pieces.push(bytes.subarray(from, entry.end));
      const { source, exchange, exchangeId, isOverdue, avoids } = entry;
      taken.push({ bytes: Buffer.concat(pieces), source: source!, exchange, exchangeId, isOverdue, avoids });
    }
    this.clear();
    return taken;
  }

  protected override forgetQueued(): void {
    super.forgetQueued();
    for (let i = 0; i < this.#entryCount; i++) {
      const entry = this.#entries[i]!;
      entry.source = undefined;
      entry.exchange = undefined;
    }
    if (this.#entries.length > entriesKept) this.#entries.length = entriesKept;
    this.#entryCount = 0;
    this.#editNumbers = 0;
    if (this.#removedBytes > 0) {
      slabs.give(this.#removed);
      this.#removed = noSlab;
      this.#removedBytes = 0;
    }
  }

  #keepRemoved(bytes: Buffer, start: number, length: number): void {
    const needed = this.#removedBytes + length;
    if (needed > this.#removed.bytes.length) {
      const larger = slabs.take(needed);
      larger.putStartOf(this.#removed, this.#removedBytes);
      slabs.give(this.#removed);
      this.#removed = larger;
    }
    this.#removed.put(bytes, start, start + length, this.#removedBytes);
    this.#removedBytes = needed;
  }
}
