/**
 * Smooth weighted turns, as nginx takes them: each candidate earns its weight, the richest is taken and pays what all have
 * earned. Weights 5, 1, 1 give a a b a c a a, never five in a row. Candidates may differ from round to round; one that
 * sits out keeps what it has.
 */
import type { Backend } from 'pointsman';

export class Turns {
  /** What each backend has earned and not yet spent, by its index. */
  readonly #credits: number[] = [];
  #richest: Backend | undefined;
  #earned = 0;

  /** Enters a backend into this round. */
  offer(backend: Backend): void {
    const credit = (this.#credits[backend.index] ?? 0) + backend.weight;
    this.#credits[backend.index] = credit;
    this.#earned += backend.weight;
    if (this.#richest === undefined || credit > this.#credits[this.#richest.index]!) this.#richest = backend;
  }

  /** Ends the round: whose turn it is, undefined if nobody was offered. */
  take(): Backend | undefined {
    const taken = this.#richest;
    if (taken !== undefined) this.#credits[taken.index]! -= this.#earned;
    this.#richest = undefined;
    this.#earned = 0;
    return taken;
  }
}
