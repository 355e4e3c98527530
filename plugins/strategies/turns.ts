/**
 * Smooth weighted turns, as nginx takes them: each candidate earns its weight, the richest is taken and pays what all have
 * earned. Weights 5, 1, 1 give a a b a c a a, never five in a row. One that sits out keeps what it has.
 *
 * There are two ways to reckon that: `Turns` where the candidates differ from round to round, in as many steps as there are
 * candidates, and `Rotation` where they seldom do, in as many as there are different weights.
 */
import type { Backend } from 'pointsman';

export class Turns {
  /** What each backend has earned and not yet spent, by its index. */
  readonly #credits: number[] = [];
  #richest: Backend | undefined;
  #earned = 0;

  /** Offers a backend for this round. */
  offer(backend: Backend): void {
    const credit = (this.#credits[backend.index] ?? 0) + backend.weight;
    this.#credits[backend.index] = credit;
    this.#earned += backend.weight;
    if (this.#richest === undefined || credit > this.#credits[this.#richest.index]!) this.#richest = backend;
  }

  /** Ends the round: returns whose turn it is; undefined if nobody was offered. */
  take(): Backend | undefined {
    const taken = this.#richest;
    if (taken !== undefined) this.#credits[taken.index]! -= this.#earned;
    this.#richest = undefined;
    this.#earned = 0;
    return taken;
  }
}

/** After this many rounds the credits are recalculated, so that numbers stay small enough to be exact. */
const mostRounds = 1_000_000;

export class Rotation {
  /** What each backend had at the last `enter`, or when it last sat out, by its index. */
  readonly #credits: number[] = [];
  #lanes: readonly Lane[] = [];
  #backends: readonly Backend[] = [];
  /** What all earn in one round. */
  #earned = 0;
  /** Rounds since the last `enter`. */
  #rounds = 0;

  /** Sets the candidates from now on, with their current weights. */
  enter(backends: readonly Backend[]): void {
    for (const lane of this.#lanes) lane.note(this.#credits, this.#rounds);
    this.#rounds = 0;
    this.#backends = backends;
    const byWeight = new Map<number, Candidate[]>();
    this.#earned = 0;
    for (const backend of backends) {
      const { weight, index } = backend;
      this.#earned += weight;
      const candidates = byWeight.get(weight) ?? [];
      byWeight.set(weight, candidates);
      candidates.push({ backend, credit: this.#credits[index] ?? 0 });
    }
    this.#lanes = [...byWeight].map(([weight, candidates]) => new Lane(weight, candidates));
  }

  /** Whose turn it is; undefined if there is nobody. */
  next(): Backend | undefined {
    if (this.#rounds === mostRounds) this.enter(this.#backends);
    this.#rounds++;
    let richest: Lane | undefined;
    for (const lane of this.#lanes) if (richest === undefined || lane.isBefore(richest, this.#rounds)) richest = lane;
    return richest?.take(this.#earned);
  }
}

interface Candidate {
  readonly backend: Backend;
  /** What it has, without what it has earned since the last `enter`. */
  credit: number;
}

const isRicher = (one: Candidate, other: Candidate) =>
  one.credit > other.credit || (one.credit === other.credit && one.backend.index < other.backend.index);

/** The candidates of one weight. All earn the same, so what they earn does not change their order: the richest is the first. */
class Lane {
  readonly #weight: number;
  /** A ring, the richest first, that begins at `#head`. */
  readonly #ring: Candidate[];
  #head = 0;

  constructor(weight: number, candidates: Candidate[]) {
    this.#weight = weight;
    this.#ring = candidates.sort((one, other) => (isRicher(one, other) ? -1 : 1));
  }

  isBefore(other: Lane, rounds: number): boolean {
    const mine = this.#ring[this.#head]!;
    const its = other.#ring[other.#head]!;
    const difference = mine.credit + rounds * this.#weight - (its.credit + rounds * other.#weight);
    return difference > 0 || (difference === 0 && mine.backend.index < its.backend.index);
  }

  /** The first pays, and goes behind all that are richer now: nearly always to the end, where it is as soon as the ring begins later. */
  take(price: number): Backend {
    const ring = this.#ring;
    const taken = ring[this.#head]!;
    taken.credit -= price;
    let at = this.#head;
    this.#head = at + 1 === ring.length ? 0 : at + 1;
    for (let steps = ring.length - 1; steps > 0; steps--) {
      const before = at === 0 ? ring.length - 1 : at - 1;
      if (!isRicher(taken, ring[before]!)) break;
      ring[at] = ring[before]!;
      ring[before] = taken;
      at = before;
    }
    return taken.backend;
  }

  /** Writes down what each has after so many rounds. */
  note(credits: number[], rounds: number): void {
    for (const { backend, credit } of this.#ring) credits[backend.index] = credit + rounds * this.#weight;
  }
}
