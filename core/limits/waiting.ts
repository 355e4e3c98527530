/**
 * New requests that wait for a backend with room for them, in the order they came; their number and their time are limited.
 * Messages that belong to a session do not wait with them. Those that wait count as held, and as outstanding for their clients.
 */
import type { Client } from '../client.ts';
import type { Message } from '../message.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { PoolSettings } from '../settings.ts';

/** How often to check whether there is room, in addition to whenever an answer has made some. */
const tickMs = 20;
const defaultRequests = 1024;

export interface WaitingRequest {
  readonly bytes: Buffer;
  readonly client: Client;
  readonly deadlineMs: number;
}

export class Waiting {
  readonly #settings: PoolSettings;
  readonly #runtime: Runtime;
  readonly #resume: (request: WaitingRequest, isLate: boolean) => void;
  #queue: WaitingRequest[] = [];
  /** The index of the first one in the queue. */
  #first = 0;
  #bytes = 0;
  /** The one that is being sent on now. */
  #resumed: WaitingRequest | undefined;
  #cancelTick: (() => void) | undefined;
  #isScheduled = false;

  /** @param resume sends a request on; it may be made to wait again. A late one is to be refused */
  constructor(settings: PoolSettings, runtime: Runtime, resume: (request: WaitingRequest, isLate: boolean) => void) {
    this.#settings = settings;
    this.#runtime = runtime;
    this.#resume = resume;
  }

  get length(): number {
    return this.#queue.length - this.#first;
  }

  /** Whether a new request has to queue: others are waiting, and it is not the first of them. */
  get isLine(): boolean {
    return this.#resumed === undefined && this.length > 0;
  }

  /** Makes a request wait, perhaps again; false if there is no room in the queue. */
  add(message: Message, client: Client): boolean {
    if (this.#resumed !== undefined) this.#putBack(this.#resumed);
    else if (!this.#append(message, client)) return false;
    message.counters.held++;
    client.outstanding++; // so that it is not closed meanwhile
    return true;
  }

  #append(message: Message, client: Client): boolean {
    const { queueSeconds = 0, queueRequests = defaultRequests, queueBytes } = this.#settings;
    if (this.length >= queueRequests || this.#bytes + message.length > queueBytes) return false;
    const bytes = Buffer.allocUnsafeSlow(message.length);
    message.bytes.copy(bytes, 0, message.start, message.end);
    this.#queue.push({ bytes, client, deadlineMs: this.#runtime.now() + queueSeconds * 1000 });
    this.#bytes += bytes.length;
    this.#cancelTick ??= this.#runtime.after(tickMs, this.#tick);
    return true;
  }

  #putBack(request: WaitingRequest): void {
    if (this.#first > 0) this.#queue[--this.#first] = request;
    else this.#queue.unshift(request);
    this.#bytes += request.bytes.length;
  }

  /** Takes the first one out. */
  #shift(): WaitingRequest {
    const first = this.#queue[this.#first]!;
    this.#first++;
    this.#bytes -= first.bytes.length;
    if (2 * this.#first >= this.#queue.length) {
      this.#queue = this.#queue.slice(this.#first);
      this.#first = 0;
    }
    first.client.outstanding--;
    return first;
  }

  /** There may be room: checks at the end of the turn. */
  look(): void {
    if (this.#isScheduled || this.length === 0) return;
    this.#isScheduled = true;
    this.#runtime.atTurnEnd(() => {
      this.#isScheduled = false;
      this.#drain();
    });
  }

  readonly #tick = (): void => {
    this.#cancelTick = undefined;
    this.#drain();
    if (this.length > 0) this.#cancelTick ??= this.#runtime.after(tickMs, this.#tick);
  };

  /** Sends on requests that have waited, as far as there is room. */
  #drain(): void {
    while (this.length > 0) {
      const request = this.#shift();
      const { client, deadlineMs } = request;
      client.counters.held--;
      if (client.closed) {
        client.counters.discard('client-gone');
        continue;
      }
      this.#resumed = request;
      this.#resume(request, deadlineMs <= this.#runtime.now());
      this.#resumed = undefined;
      if (this.#queue[this.#first] === request) return;
      if (client.outstanding === 0) client.onSettled();
    }
  }

  /** Hands all requests, which still count as held, to `take`. */
  handOver(take: (request: WaitingRequest) => void): void {
    this.#cancelTick?.();
    this.#cancelTick = undefined;
    while (this.length > 0) {
      const request = this.#shift();
      take(request);
      if (request.client.outstanding === 0) request.client.onSettled();
    }
  }

  /** Gives all requests up. */
  stop(): void {
    this.handOver(({ client }) => {
      client.counters.held--;
      client.counters.discard('stopping');
    });
  }
}
