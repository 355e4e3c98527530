/** What a framer knows besides the bytes: how far it got in a message that is still arriving, and the limits. */
import type { Client } from './client.ts';
import type { Link } from './link.ts';
import type { Side } from './message.ts';
import type { Limits } from './settings.ts';

/** One for each connection and link. */
export class Scan {
  /** Who sends what is framed. */
  readonly from: Side;
  readonly source: Client | Link;
  readonly limits: Limits;
  /**
   * The transport has told where the message ends (WebSocket): what comes before `end` is all there is, so 'more' means 'broken'.
   * Bytes that do not fit the protocol then cost only this message, not the connection.
   */
  readonly isWhole: boolean;
  /**
   * How many bytes from `start` the framer need not look at again. The core sets it to 0 for each new message; the framer sets it
   * when it answers 'more', and finds it again when more bytes have arrived.
   */
  resume = 0;
  /** For the framer alone: what it remembers of this peer from one call to the next; 0 at first. */
  note = 0;

  // For the core: how long the message is that has begun, once that is known, and what `skip` was told.
  /** @internal */
  neededBytes = 0;
  /** @internal */
  skipped = 0;
  /** @internal */
  reply: Uint8Array | undefined;

  constructor(from: Side, source: Client | Link, limits: Limits, isWhole = false) {
    this.from = from;
    this.source = source;
    this.limits = limits;
    this.isWhole = isWhole;
  }

  /** Says that the next `length` bytes belong to no message; `reply` goes back to their sender (a pong). */
  skip(length: number, reply?: Uint8Array): 'skip' {
    if (reply !== undefined && !(reply instanceof Uint8Array)) throw new TypeError('a reply is bytes, not text');
    this.skipped = length;
    this.reply = reply;
    return 'skip';
  }
}
