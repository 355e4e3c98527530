/** What clients and links have in common: bytes that arrive and are framed, and an outbox for those that leave. */
import type { Counters } from './accounting.ts';
import { copyBytes, readMemory } from './memory.ts';
import type { Side } from './message.ts';
import type { Outbox } from './outbox.ts';
import type { Reason } from './outcome.ts';
import type { Pipeline } from './pipeline.ts';
import type { Socket } from './runtime/runtime.ts';
import { Scan } from './scan.ts';

/** How long a connection that we have ended may stay half-open. */
export const lingerMs = 5000;

/** Why a connection ends: the reason why its last message, or the client itself, was refused, or one of these. */
export type EndReason = Reason | 'client-closed' | 'connection-failed' | 'idle' | 'operator';

const nothing = Buffer.alloc(0);

export abstract class Peer {
  /** @internal */
  scan: Scan;
  /** @internal */
  readonly outbox: Outbox;
  /** Whether the transport says where messages end. */
  readonly delimits: boolean;
  /** The longest message that can be sent to it, in bytes. */
  longestMessageBytes = Number.POSITIVE_INFINITY;
  /** Where the messages it sends are counted. @internal */
  readonly counters: Counters;
  /** How much has arrived: whole messages, and all bytes. */
  receivedMessages = 0;
  receivedBytes = 0;
  /** When bytes last arrived, in milliseconds of the runtime's clock. */
  lastActivityMs: number;
  /** When the message whose header is still incomplete began; 0 if there is none. @internal */
  headerSinceMs = 0;
  /** The socket is gone, or about to be: what still arrives is ignored. @internal */
  closing = false;
  /** When `closeGently` was called. @internal */
  closingSinceMs = 0;
  /** Why the connection has been or is being closed. */
  endReason: EndReason | undefined;
  /** The peer has half-closed. @internal */
  ended = false;
  /** The peer has half-closed, and everything it sent before has been handled. @internal */
  finished = false;
  /** Reading is paused, as an outbox that it feeds is full. @internal */
  stalled = false;

  protected socket: Socket | undefined;
  protected pipeline: Pipeline;
  // The beginning of a message whose end is still to come, or whole ones that arrived before a stall.
  #held: Buffer = nothing;
  #heldStart = 0;
  #heldEnd = 0;

  constructor(side: Side, pipeline: Pipeline, counters: Counters, outbox: Outbox, delimits: boolean) {
    this.pipeline = pipeline;
    this.outbox = outbox;
    this.delimits = delimits;
    this.counters = counters;
    // A peer is a client or a link and nothing else; the base class cannot say so.
    this.scan = new Scan(side, this as never, pipeline.limits, delimits);
    this.lastActivityMs = pipeline.runtime.now();
  }

  /**
   * Uses another pipeline from the next message on. What has arrived of that message is looked at again from its beginning.
   * @param isFamiliar the new pipeline's plugins are the same as before, so that their state is of use to them
   * @internal
   */
  moveTo(pipeline: Pipeline, isFamiliar: boolean): void {
    const { from, note } = this.scan;
    this.pipeline = pipeline;
    this.scan = new Scan(from, this as never, pipeline.limits, this.delimits);
    if (isFamiliar) this.scan.note = note;
  }

  /** How many bytes of an unfinished message are kept. @internal */
  get heldBytes(): number {
    return this.#heldEnd - this.#heldStart;
  }

  /** @internal */
  onBytes(bytes: Buffer, start: number, end: number): void {
    this.lastActivityMs = this.pipeline.runtime.now();
    this.receivedBytes += end - start;
    if (this.closing) return;
    const held = this.heldBytes;
    if (held === 0) this.#consume(bytes, start, end);
    else if (bytes === readMemory && this.#fitsBefore(start, end)) {
      copyBytes(this.#held, this.#heldStart, this.#heldEnd, bytes, start - held);
      this.#heldStart = this.#heldEnd = 0;
      this.#consume(bytes, start - held, end);
      if (this.heldBytes === 0) this.#held = nothing;
    } else {
      this.#hold(bytes, start, end);
      if (!this.stalled) this.#consumeHeld();
    }
  }

  /**
   * Whether to put the kept beginning in front of the bytes that have come, instead of appending those to it: if it is the smaller
   * part, and the message will then be whole. What comes byte by byte must not be copied each time.
   */
  #fitsBefore(start: number, end: number): boolean {
    const held = this.heldBytes;
    return held <= end - start && held <= start && this.scan.neededBytes <= held + end - start && !this.stalled;
  }

  #consume(bytes: Buffer, start: number, end: number): void {
    const at = this.take(bytes, start, end);
    if (at === end || this.closing) return;
    if (this.delimits && !this.stalled) this.pipeline.breakOff(this, bytes, at, end);
    else this.#hold(bytes, at, end);
  }

  #consumeHeld(): void {
    this.#heldStart = this.take(this.#held, this.#heldStart, this.#heldEnd);
    if (this.heldBytes > 0 && this.delimits && !this.stalled && !this.closing) {
      this.pipeline.breakOff(this, this.#held, this.#heldStart, this.#heldEnd);
      this.dropHeld();
    }
    if (this.heldBytes === 0 || this.closing) this.dropHeld();
  }

  /** Takes the whole messages out of `bytes[start, end)`; returns how far it came. */
  protected take(bytes: Buffer, start: number, end: number): number {
    return this.pipeline.consume(this, bytes, start, end);
  }

  /** Keeps what has arrived, in memory that doubles: nothing is allocated because a length field promises it. */
  #hold(bytes: Buffer, start: number, end: number): void {
    const length = this.heldBytes;
    const needed = length + end - start;
    if (this.#heldEnd + end - start > this.#held.length) {
      const larger =
        needed > this.#held.length
          ? Buffer.allocUnsafeSlow(Math.max(512, 2 ** Math.ceil(Math.log2(needed))))
          : this.#held;
      this.#held.copy(larger, 0, this.#heldStart, this.#heldEnd);
      this.#held = larger;
      this.#heldStart = 0;
      this.#heldEnd = length;
    }
    copyBytes(bytes, start, end, this.#held, this.#heldEnd);
    this.#heldEnd += end - start;
  }

  /** Forgets what has arrived of an unfinished message. */
  protected dropHeld(): void {
    this.#held = nothing;
    this.#heldStart = 0;
    this.#heldEnd = 0;
    this.scan.resume = 0;
    this.scan.neededBytes = 0;
    this.headerSinceMs = 0;
  }

  /** Nothing more will come, or it takes too long: the message that has begun is lost. @internal */
  cutShort(reason: 'cut-short' | 'header-timeout' = 'cut-short'): void {
    if (this.heldBytes > 0) {
      this.counters.received++;
      this.counters.discard(reason);
    }
    this.dropHeld();
  }

  /** Stops reading until `outbox` has room. @internal */
  stallOn(outbox: Outbox): void {
    if (this.stalled) return;
    this.stall();
    outbox.waitForRoom(this);
  }

  /** Stops reading until `resume` is called. @internal */
  stall(): void {
    this.stalled = true;
    this.socket?.pause();
  }

  /** Goes on reading, beginning with what had arrived before. @internal */
  resume(): void {
    this.stalled = false;
    if (this.closing) return;
    this.lastActivityMs = this.pipeline.runtime.now(); // it was us who made it wait
    if (this.heldBytes > 0) this.#consumeHeld();
    if (this.stalled || this.closing) return;
    this.socket?.resume();
    if (this.ended) this.#finish();
  }

  /** Queues bytes that are not a message: an error reply, a pong. */
  send(bytes: Uint8Array): void {
    this.outbox.appendBytes(bytes);
  }

  /** @internal */
  onWritten(): void {
    this.outbox.written();
  }

  /** @internal */
  onEnd(): void {
    this.ended = true;
    if (!this.stalled) this.#finish();
  }

  #finish(): void {
    if (this.finished) return;
    this.finished = true;
    this.afterEnd();
  }

  /** Half-closes once everything queued has left, and reads no more. */
  closeGently(reason: EndReason): void {
    if (this.closing) return;
    this.closing = true;
    this.endReason ??= reason;
    this.closingSinceMs = this.pipeline.runtime.now();
    this.dropHeld();
    this.endWhenEmpty();
  }

  protected endWhenEmpty(): void {
    const end = () => this.socket?.end();
    if (this.outbox.waitingBytes === 0) end();
    else this.outbox.onEmpty = end;
  }

  /** Closes at once. */
  destroy(reason?: EndReason): void {
    this.closing = true;
    this.endReason ??= reason;
    this.dropHeld();
    this.socket?.destroy();
  }

  /** @internal */
  onOpen(): void {}

  /** Called when the peer has half-closed and everything it sent before has been handled. */
  protected abstract afterEnd(): void;

  /** @internal */
  abstract onClose(error: Error | undefined): void;
}
