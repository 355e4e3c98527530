/** Records what was sent and what must therefore arrive: peers report to it, and it objects. */
import type { BackendState } from '../../core/settings.ts';
import type { Dialect, Read } from './dialects.ts';
import { kindOf } from './labels.ts';

/** Something that must not happen has happened. */
export class Violation extends Error {}

/** Who sends what checks ask over links. */
export const balancerId = 0;

export interface Sent {
  /** Clients count from 1. */
  readonly client: number;
  readonly number: number;
  /** The backend that it names; undefined: none. */
  readonly backend: string | undefined;
  /** It must reach nobody. */
  readonly forged: boolean;
  /** The request that it takes back, whose refusal it acknowledges, or that it tries anew; undefined: none. */
  readonly follows?: string | undefined;
  /** When, in milliseconds of the virtual clock. */
  readonly atMs: number;
  /** How many messages had been sent anew by then, which may bring them out of order. */
  readonly redispatched: number;
}

/** A backend that somebody keeps from new work, or from any. */
export interface Closed {
  readonly state: BackendState | 'removed';
  readonly sinceMs: number;
}

/** A link as its backend sees it. */
interface Way {
  /** It has not broken, and no end of it has closed. */
  readonly works: boolean;
  /** Where it leads: a backend that has moved is another one to those who replay. */
  readonly address: string;
}

/** Who knows which backend may be reached, and what time it is. */
export interface Health {
  now(): number;
  /** Since when messages that name it may go there; infinite: they may not. */
  usableSinceMs(backend: string): number;
  closed(backend: string): Closed | undefined;
  /** How long answers are waited for at least. */
  replySeconds(): number;
  /** How many messages have been sent anew. */
  redispatched(): number;
  /** When the keys last changed; before 0: never. */
  keysSinceMs(): number;
  /** Whether the balancer can still have it in mind where messages of that client went. */
  remembers(client: number): boolean;
  /** Whether a client is connected, and is not being closed. */
  isThere(client: number): boolean;
}

/** A request that a backend has sent to a client. */
interface Inquiry {
  readonly backend: string;
  readonly client: number;
  readonly forged: boolean;
  readonly way: Way;
  outcome: 'none yet' | 'arrived' | 'refused';
}

/** How long the balancer must know where a call has gone: while it rings, and after it was answered (sip.md, principle 1). */
const ringingMs = 300_000;
const settledMs = 32_000;

const requestOf = (answer: string) => answer.slice(0, answer.indexOf('/'));
const isLast = (status: number | undefined) => status === undefined || status >= 200;
/** Refusals (RFC 3261 section 21.4.4, RFC 5626 section 11.5): what is named is forged, or a client that is gone. */
const forbidden = 403;
const flowFailed = 430;

export class Ledger {
  readonly #dialect: Dialect;
  readonly #health: Health;
  readonly rechooses: boolean;
  readonly #replays: boolean;
  readonly #sent = new Map<string, Sent>();
  readonly #delivered = new Map<string, { readonly backend: string; readonly way: Way; readonly atMs: number }>();
  /** When their last answer was first given. */
  readonly #settledMs = new Map<string, number>();
  readonly #inquiries = new Map<string, Inquiry>();
  readonly #refused = new Set<string>();
  readonly #replayed = new Set<string>();
  /** Requests that wait for an answer, where they must get one or be refused. */
  readonly #waiting = new Set<string>();
  /** Answers that were sent, and have not arrived. */
  readonly #answers = new Set<string>();
  readonly #answered = new Set<string>();
  deliveries = 0;
  arrivals = 0;
  refusals = 0;
  /** How many requests the balancer has given ids of its own. */
  opened = 0;

  /**
   * @param rechooses whether a message that names a backend that is down may go to another one
   * @param replays whether requests of even numbers may be sent to a second backend
   */
  constructor(dialect: Dialect, { rechooses, replays }: { rechooses: boolean; replays: boolean }, health: Health) {
    this.#replays = replays;
    this.#dialect = dialect;
    this.rechooses = rechooses;
    this.#health = health;
  }

  send(label: string, sent: Omit<Sent, 'redispatched' | 'atMs'>): void {
    this.#sent.set(label, { ...sent, redispatched: this.#health.redispatched(), atMs: this.#health.now() });
  }

  sentBy(label: string): Sent {
    const sent = this.#sent.get(label);
    if (sent === undefined) throw new Violation(`nobody has sent ${label}`);
    return sent;
  }

  isAnswered(label: string): boolean {
    return this.#answered.has(label);
  }

  /** Whether requests are correlated by ids of the balancer, so that each is answered or refused, once. */
  get #correlates(): boolean {
    return this.#dialect.links === 'shared' && this.#dialect.name !== 'sip';
  }

  mayReplay(label: string): boolean {
    const { client, number } = this.sentBy(label);
    return this.#replays && number % 2 === 0 && client !== balancerId;
  }

  /** A request has reached a backend. */
  deliver({ label, again }: Read, backend: string, way: Way): Sent {
    const sent = this.sentBy(label);
    if (sent.forged && !this.#haveKeysChanged(sent)) throw new Violation(`${label} has reached ${backend}, not nobody`);
    const closed = this.#health.closed(backend);
    if (closed !== undefined && sent.atMs > closed.sinceMs && sent.client !== balancerId) {
      const isSession = sent.backend === backend || this.#dialect.relates;
      if (closed.state !== 'drain' || !isSession) {
        throw new Violation(`${label} has reached ${backend}, which has been in ${closed.state} since before`);
      }
    }
    const before = this.#delivered.get(label);
    // On a link that the backend has ended it still reads what had been written, though the request has been replayed meanwhile.
    const isLate = before !== undefined && !way.works && (before.way.works || this.#answered.has(label));
    if (isLate && this.mayReplay(label) && before.way.address !== way.address && !this.#replayed.has(label)) {
      this.#replayed.add(label);
      this.deliveries++;
      return sent;
    }
    if (before !== undefined) {
      if (
        !this.mayReplay(label) ||
        before.way.works ||
        before.way.address === way.address ||
        this.#replayed.has(label)
      ) {
        throw new Violation(
          `${label} has reached ${before.backend} at ${before.way.address} and ${backend} at ${way.address}`,
        );
      }
      if (this.#dialect.marks === true && again !== true) throw new Violation(`${label} is replayed without a mark`);
      if (this.#answered.has(label)) throw new Violation(`${label} is replayed although it has been answered`);
      this.#replayed.add(label);
    } else if (again === true && !this.mayReplay(label)) throw new Violation(`${label} is marked as a replay`);
    if (this.#refused.has(label) && way.works && !this.#isOverdue(label))
      throw new Violation(`${label} was refused and has reached ${backend}`);
    this.#delivered.set(label, { backend, way, atMs: this.#health.now() });
    if (this.#correlates && !this.#refused.has(label)) this.#waiting.add(label);
    this.deliveries++;
    if (sent.follows !== undefined) this.#checkFollower(label, sent, backend);
    if (sent.backend === undefined || sent.backend === backend) return sent;
    if (sent.client === balancerId) throw new Violation(`${label} asks ${sent.backend} and has reached ${backend}`);
    if (this.rechooses && (again === true || this.#replayed.has(label) || this.mayReplay(label))) return sent;
    if (this.rechooses && this.#health.usableSinceMs(sent.backend) >= sent.atMs) return sent;
    throw new Violation(`${label} names ${sent.backend} and has reached ${backend}`);
  }

  /** What follows a request comes to the backend that has got that, as long as this was usable and the balancer has to know. */
  #checkFollower(label: string, sent: Sent, backend: string): void {
    const first = this.#delivered.get(sent.follows!);
    if (first === undefined || first.backend === backend) return;
    const { client, atMs } = this.sentBy(sent.follows!);
    // On another connection it may have come first.
    if (client !== sent.client && first.atMs >= sent.atMs) return;
    const answeredMs = this.#settledMs.get(sent.follows!) ?? Number.POSITIVE_INFINITY;
    const untilMs = Math.min(atMs + ringingMs, answeredMs + settledMs);
    if (this.#health.now() >= untilMs || !this.#health.remembers(sent.client)) return;
    if (this.#health.usableSinceMs(first.backend) >= atMs) return;
    throw new Violation(`${label} has reached ${backend}, and ${sent.follows} ${first.backend}`);
  }

  /** Whether the keys have changed since it was sent, or what it follows. */
  #haveKeysChanged({ atMs, follows }: Sent): boolean {
    return this.#health.keysSinceMs() >= (follows === undefined ? atMs : this.sentBy(follows).atMs);
  }

  /**
   * What takes back a request, or acknowledges its refusal, has reached a backend.
   * @param transaction the request that the backend takes it to be about; undefined: it knows none
   */
  match(label: string, backend: string, transaction: string | undefined): void {
    const sent = this.sentBy(label);
    if (transaction === sent.follows || this.#haveKeysChanged(sent)) return;
    if (transaction === undefined && this.whereIs(sent.follows!) !== backend) return;
    throw new Violation(`${label} follows ${sent.follows}, and ${backend} takes it to follow ${transaction}`);
  }

  /** An answer is given. */
  answer(label: string, status?: number): void {
    this.#answers.add(label);
    const request = requestOf(label);
    if (isLast(status) && !this.#settledMs.has(request)) this.#settledMs.set(request, this.#health.now());
  }

  /** An answer has reached a client. */
  arrive({ label, number, status }: Read, client: number): string {
    if (!this.#answers.delete(label)) throw new Violation(`the answer ${label} arrived again, or nobody has sent it`);
    const request = requestOf(label);
    const sent = this.sentBy(request);
    if (sent.client !== client) throw new Violation(`the answer ${label} has reached client ${client}`);
    if (number !== undefined && number !== sent.number) {
      throw new Violation(`the answer ${label} has the number ${number} instead of ${sent.number}`);
    }
    if (this.#correlates && this.#answered.has(request)) throw new Violation(`${request} was answered twice`);
    if (this.#refused.has(request)) throw new Violation(`${request} was refused and answered`);
    if (isLast(status)) this.#answered.add(request);
    this.#waiting.delete(request);
    this.arrivals++;
    return request;
  }

  /** A backend asks a client. */
  inquire(label: string, inquiry: Omit<Inquiry, 'outcome'>): void {
    this.#inquiries.set(label, { ...inquiry, outcome: 'none yet' });
  }

  /** What a backend has asked has reached a client. */
  arriveAsked({ label }: Read, client: number): void {
    const inquiry = this.#inquiry(label);
    if (inquiry.outcome !== 'none yet')
      throw new Violation(`${label} has reached client ${client} and ${inquiry.outcome}`);
    if (inquiry.client !== client)
      throw new Violation(`${label} for client ${inquiry.client} has reached client ${client}`);
    if (inquiry.forged) throw new Violation(`${label} has reached client ${client}, not nobody`);
    inquiry.outcome = 'arrived';
  }

  /** A client's answer has reached a backend. */
  arriveBack({ label }: Read, backend: string): void {
    if (!this.#answers.delete(label)) throw new Violation(`the answer ${label} arrived again, or nobody has sent it`);
    const inquiry = this.#inquiry(requestOf(label));
    if (inquiry.backend !== backend) throw new Violation(`the answer ${label} has reached ${backend}`);
    this.#answered.add(requestOf(label));
    this.deliveries++;
  }

  /** A backend was told that its request is refused. */
  refuseAsked({ label, status }: Read, backend: string): void {
    const inquiry = this.#inquiry(label);
    if (inquiry.backend !== backend) throw new Violation(`the refusal of ${label} has reached ${backend}`);
    if (inquiry.outcome !== 'none yet') throw new Violation(`${label} has ${inquiry.outcome}, and was refused`);
    this.#checkForbidden(label, inquiry.forged, status);
    if (status === flowFailed && this.#health.isThere(inquiry.client))
      throw new Violation(`${label} was refused as if client ${inquiry.client} were gone`);
    inquiry.outcome = 'refused';
  }

  /** As long as the keys have not changed, only what is forged is taken for that. */
  #checkForbidden(label: string, isForged: boolean, status: number | undefined): void {
    if (status === forbidden && !isForged && this.#health.keysSinceMs() < 0)
      throw new Violation(`${label} was taken for forged`);
  }

  #inquiry(label: string): Inquiry {
    const inquiry = this.#inquiries.get(label);
    if (inquiry === undefined) throw new Violation(`no backend has sent ${label}`);
    return inquiry;
  }

  /** Requests to clients that are still there, over links that still work, of which nobody has heard. */
  get lostInquiries(): number {
    let lost = 0;
    for (const { outcome, way, client } of this.#inquiries.values()) {
      if (outcome === 'none yet' && way.works && this.#health.isThere(client)) lost++;
    }
    return lost;
  }

  /** Whether something of a client that needs no answer has reached its backend. */
  hasArrived(label: string): boolean {
    return kindOf(label) === 'answer' ? !this.#answers.has(label) : this.#delivered.has(label);
  }

  /** Whether a client has answered what a backend has asked, and the backend knows. */
  isAnsweredBack(inquiry: string): boolean {
    return this.#answered.has(inquiry);
  }

  /** A client was told that its request is refused. */
  refuse(request: string, client: number, status?: number): void {
    this.refusals++;
    const sent = this.sentBy(request);
    if (sent.client !== client) throw new Violation(`the refusal of ${request} has reached client ${client}`);
    this.#checkForbidden(request, sent.forged, status);
    if (this.#refused.has(request)) throw new Violation(`${request} was refused twice`);
    if (this.#correlates && this.#answered.has(request)) throw new Violation(`${request} was answered and refused`);
    const delivered = this.#delivered.get(request);
    if (delivered !== undefined && ((delivered.way.works && !this.#isOverdue(request)) || !this.#correlates)) {
      throw new Violation(`${request} was refused although ${delivered.backend} has it and may answer`);
    }
    this.#refused.add(request);
    this.#waiting.delete(request);
  }

  /** Whether a request that has arrived behind a later one of its client was not sent anew meanwhile, nor waited for whoever has room. */
  isMisplaced({ redispatched, backend, atMs }: Sent): boolean {
    const mayHaveWaited = this.rechooses && backend !== undefined && this.#health.usableSinceMs(backend) >= atMs;
    return redispatched === this.#health.redispatched() && !mayHaveWaited;
  }

  /** Whether nobody may wait for the answer any more, though it be taken for that of a later request. */
  isTooLate({ label, opened }: { readonly label: string; readonly opened: number }): boolean {
    if (this.opened - opened < (this.#dialect.answerWithin ?? Number.POSITIVE_INFINITY)) return false;
    return this.#isOverdue(label);
  }

  /** Whether its answer may have been given up on, which its client is told then. */
  #isOverdue(request: string): boolean {
    return this.#health.now() - this.sentBy(request).atMs >= this.#health.replySeconds() * 1000;
  }

  /**
   * Who has lost its backend has been told.
   * @param reads whether that client is there and reads
   */
  checkWaiting(reads: (client: number) => boolean): void {
    for (const request of this.#waiting) {
      const { client } = this.sentBy(request);
      if (this.#isOverdue(request)) this.#waiting.delete(request);
      // It may just be on its way to another backend.
      else if (this.mayReplay(request) && !this.#replayed.has(request)) continue;
      else if (this.#delivered.get(request)!.way.works === false && reads(client)) {
        throw new Violation(`${request} was lost with its link, and client ${client} has not been told`);
      }
    }
  }

  isRefused(request: string): boolean {
    return this.#refused.has(request);
  }

  /** Which backend has got a request. */
  whereIs(request: string): string | undefined {
    return this.#delivered.get(request)?.backend;
  }
}
