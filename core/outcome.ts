/**
 * What can happen to a message other than being forwarded. Every message has exactly one outcome: forwarded, refused (its sender
 * gets the protocol's own error reply) or discarded (nobody gets anything), the last two with a reason.
 */

/** The reasons that the core itself gives. Plugins may give others, in kebab-case as well. */
export const coreReasons = [
  /** The framer cannot tell where the message ends; the connection is closed. */
  'broken-frame',
  /** The message, or its header, is longer than the listener's limits allow; the connection is closed. */
  'too-large',
  /** The header of the message did not arrive in time; the connection is closed. */
  'header-timeout',
  /** The sender closed or reset its connection in the middle of a message. */
  'cut-short',
  /** The identifier does not verify: forged, damaged, or of a kind that does not belong there. */
  'forged-identifier',
  /** The identifier names a backend that the pool does not have. */
  'unknown-backend',
  /** The identifier names a backend that is down, fails its checks or is in maintenance. */
  'backend-down',
  /** The connection to the backend ended before the request was answered, or the answer did not come in time. */
  'backend-lost',
  /** No backend of the pool can be given new work. */
  'no-backend',
  /** The client connection that the message names is closed. */
  'client-gone',
  /** A message on a shared link names no client connection. */
  'no-destination',
  /** A queue or table that the message needs is full, it has waited in one for too long, or too many requests wait for their answers. */
  'overloaded',
  /** More messages came in a short time than are allowed. */
  'rate-limited',
  /** The client did not read what was sent to it; its connection is closed. */
  'slow-client',
  /** A plugin threw, or answered something that is not allowed. */
  'plugin-error',
  /** The worker that held it has ended. */
  'worker-ended',
  /** The balancer is stopping. */
  'stopping',
] as const;

export type CoreReason = (typeof coreReasons)[number];
export type Reason = CoreReason | (string & {});

/** Those of the core whose messages nobody misses: whoever would have got them has gone, or has been told that we go. */
export const ordinaryReasons: ReadonlySet<Reason> = new Set<CoreReason>(['client-gone', 'stopping']);

/**
 * A message is refused: the `refuse` hook turns this into the protocol's error reply. Create refusals that are always the same only
 * once.
 */
export class Refusal {
  readonly reason: Reason;
  /**
   * Whatever the protocol's `refuse` tap needs to know: a status, a field name. A string, or an object's member `text`, is logged.
   */
  readonly detail: unknown;
  constructor(reason: Reason, detail?: unknown) {
    this.reason = reason;
    this.detail = detail;
  }
}

export interface DiscardOptions {
  /** Sent back to the message's sender. */
  readonly reply?: Uint8Array;
  /**
   * Nobody misses the message, and no operator needs to know about it: it was meant for the balancer, such as a ping that the
   * protocol answers itself, or the acknowledgement of one of our replies. It is counted all the same. Default: false.
   */
  readonly ordinary?: boolean;
}

/**
 * A message is dropped; `reply` (if any) goes back to its sender. Create discards that are always the same only once, in `apply`.
 */
export class Discard {
  readonly reason: Reason;
  readonly reply: Uint8Array | undefined;
  readonly ordinary: boolean;
  constructor(reason: Reason, options: DiscardOptions = {}) {
    if (typeof options !== 'object' || options instanceof Uint8Array) {
      throw new TypeError('write discard(reason, { reply, ordinary })');
    }
    const { reply, ordinary = false } = options;
    if (reply !== undefined && !(reply instanceof Uint8Array)) throw new TypeError('a reply is bytes, not text');
    this.reason = reason;
    this.reply = reply;
    this.ordinary = ordinary;
  }
}

export const refusal = (reason: Reason, detail?: unknown): Refusal => new Refusal(reason, detail);
export const discard = (reason: Reason, options?: DiscardOptions): Discard => new Discard(reason, options);
