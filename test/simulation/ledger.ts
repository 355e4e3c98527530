/** What was sent, and what must therefore arrive: peers report to it, and it objects. */
import type { BackendState } from '../../core/settings.ts';
import type { Dialect, Read } from './dialects.ts';

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
  /** How many times the backend that it names had been unusable, and was no more, when it was sent. */
  readonly outages: number;
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
  isUsable(backend: string): boolean;
  outages(backend: string): number;
  closed(backend: string): Closed | undefined;
  /** How long answers are waited for at least. */
  replySeconds(): number;
  /** How many messages have been sent anew. */
  redispatched(): number;
}

export class Ledger {
  readonly #dialect: Dialect;
  readonly #health: Health;
  readonly rechooses: boolean;
  readonly #replays: boolean;
  readonly #sent = new Map<string, Sent>();
  readonly #delivered = new Map<string, { readonly backend: string; readonly way: Way }>();
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

  send(label: string, sent: Omit<Sent, 'outages' | 'redispatched' | 'atMs'>): void {
    const { backend } = sent;
    // It may be down just now.
    const outages =
      backend === undefined ? 0 : this.#health.outages(backend) - (this.#health.isUsable(backend) ? 0 : 1);
    this.#sent.set(label, {
      ...sent,
      outages,
      redispatched: this.#health.redispatched(),
      atMs: this.#health.now(),
    });
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
    if (sent.forged) throw new Violation(`the forged ${label} has reached ${backend}`);
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
    this.#delivered.set(label, { backend, way });
    if (this.#correlates && !this.#refused.has(label)) this.#waiting.add(label);
    this.deliveries++;
    if (sent.backend === undefined || sent.backend === backend) return sent;
    if (sent.client === balancerId) throw new Violation(`${label} asks ${sent.backend} and has reached ${backend}`);
    if (this.rechooses && (again === true || this.#replayed.has(label) || this.mayReplay(label))) return sent;
    if (this.rechooses && this.#health.outages(sent.backend) > sent.outages) return sent;
    throw new Violation(`${label} names ${sent.backend} and has reached ${backend}`);
  }

  /** A backend answers. */
  answer(label: string): void {
    this.#answers.add(label);
  }

  /** An answer has reached a client. */
  arrive({ label, number }: Read, client: number): string {
    if (!this.#answers.delete(label)) throw new Violation(`the answer ${label} arrived again, or nobody has sent it`);
    const request = label.slice(0, label.indexOf('/'));
    const sent = this.sentBy(request);
    if (sent.client !== client) throw new Violation(`the answer ${label} has reached client ${client}`);
    if (number !== undefined && number !== sent.number) {
      throw new Violation(`the answer ${label} has the number ${number} instead of ${sent.number}`);
    }
    if (this.#correlates && this.#answered.has(request)) throw new Violation(`${request} was answered twice`);
    if (this.#refused.has(request)) throw new Violation(`${request} was refused and answered`);
    this.#answered.add(request);
    this.#waiting.delete(request);
    this.arrivals++;
    return request;
  }

  /** A client was told that its request is refused. */
  refuse(request: string): void {
    this.refusals++;
    this.sentBy(request);
    if (this.#refused.has(request)) throw new Violation(`${request} was refused twice`);
    if (this.#correlates && this.#answered.has(request)) throw new Violation(`${request} was answered and refused`);
    const delivered = this.#delivered.get(request);
    if (delivered !== undefined && ((delivered.way.works && !this.#isOverdue(request)) || !this.#correlates)) {
      throw new Violation(`${request} was refused although ${delivered.backend} has it and may answer`);
    }
    this.#refused.add(request);
    this.#waiting.delete(request);
  }

  /** Whether a request that has arrived behind a later one of its client was not sent anew meanwhile. */
  isMisplaced({ redispatched }: Sent): boolean {
    return redispatched === this.#health.redispatched();
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
