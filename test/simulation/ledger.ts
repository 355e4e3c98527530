/** What was sent, and what must therefore arrive: peers report to it, and it objects. */
import type { Dialect, Read } from './dialects.ts';

/** Something that must not happen has happened. */
export class Violation extends Error {}

export interface Sent {
  readonly client: number;
  readonly number: number;
  /** The backend that it names; undefined: none. */
  readonly backend: string | undefined;
  /** It must reach nobody. */
  readonly forged: boolean;
  /** How many times the backend that it names had been unusable, and was no more, when it was sent. */
  readonly outages: number;
  /** How many requests had got ids of the balancer's own by then: it may wait for its link so long that narrow ids come round. */
  readonly opened: number;
}

/** Who knows which backend may be reached. */
export interface Health {
  isUsable(backend: string): boolean;
  outages(backend: string): number;
}

export class Ledger {
  readonly #dialect: Dialect;
  readonly #health: Health;
  readonly rechooses: boolean;
  readonly #sent = new Map<string, Sent>();
  readonly #delivered = new Map<string, string>();
  /** Answers that were sent, and have not arrived. */
  readonly #answers = new Set<string>();
  readonly #answered = new Set<string>();
  deliveries = 0;
  arrivals = 0;
  refusals = 0;
  /** How many requests the balancer has given ids of its own. */
  opened = 0;

  /** @param rechooses whether a message that names a backend that is down may go to another one */
  constructor(dialect: Dialect, rechooses: boolean, health: Health) {
    this.#dialect = dialect;
    this.rechooses = rechooses;
    this.#health = health;
  }

  send(label: string, sent: Omit<Sent, 'outages' | 'opened'>): void {
    const { backend } = sent;
    // It may be down just now.
    const outages =
      backend === undefined ? 0 : this.#health.outages(backend) - (this.#health.isUsable(backend) ? 0 : 1);
    this.#sent.set(label, { ...sent, outages, opened: this.opened });
  }

  sentBy(label: string): Sent {
    const sent = this.#sent.get(label);
    if (sent === undefined) throw new Violation(`nobody has sent ${label}`);
    return sent;
  }

  isAnswered(label: string): boolean {
    return this.#answered.has(label);
  }

  /** A request has reached a backend. */
  deliver({ label }: Read, backend: string): Sent {
    const sent = this.sentBy(label);
    if (sent.forged) throw new Violation(`the forged ${label} has reached ${backend}`);
    const before = this.#delivered.get(label);
    if (before !== undefined) throw new Violation(`${label} has reached ${before} and ${backend}`);
    this.#delivered.set(label, backend);
    this.deliveries++;
    if (sent.backend === undefined || sent.backend === backend) return sent;
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
    const correlates = this.#dialect.links === 'shared' && this.#dialect.name !== 'sip';
    if (correlates && this.#answered.has(request)) throw new Violation(`${request} was answered twice`);
    this.#answered.add(request);
    this.arrivals++;
    return request;
  }

  /** Which backend has got a request. */
  whereIs(request: string): string | undefined {
    return this.#delivered.get(request);
  }
}
