/** Finds the messages that two configs treat differently. */
import type { MessageRecord, Outcome } from './recorder.ts';
import type { Placed } from './replay.ts';

/**
 * `framing`: the messages do not end at the same place, or one of the two saw none there; `outcome`: forwarded, refused, discarded,
 * skipped; `destination`: forwarded to another peer; `reason`: refused or discarded for another one; `reply`: other bytes back;
 * `bytes`: other bytes forwarded.
 */
export type Difference = 'framing' | 'outcome' | 'destination' | 'reason' | 'reply' | 'bytes';

/** What the two configs made of the bytes at one place; undefined: that one saw no message there. */
export interface Pair {
  readonly offset: number;
  readonly first: MessageRecord | undefined;
  readonly second: MessageRecord | undefined;
}

/** The messages of one connection, as two configs framed them, side by side. */
export class Pairing {
  readonly #first: Placed[] = [];
  readonly #second: Placed[] = [];

  /**
   * @param first what the first config has framed since the last call
   * @param ended there will be no more of either: what only one of them saw is not waited for
   */
  *add(
    first: readonly Placed[],
    second: readonly Placed[],
    ended: { readonly first: boolean; readonly second: boolean },
  ): Generator<Pair> {
    this.#first.push(...first);
    this.#second.push(...second);
    for (;;) {
      const [one] = this.#first;
      const [other] = this.#second;
      if (one === undefined && other === undefined) return;
      if (one === undefined && !ended.first) return;
      if (other === undefined && !ended.second) return;
      const offset = Math.min(one?.offset ?? Number.POSITIVE_INFINITY, other?.offset ?? Number.POSITIVE_INFINITY);
      yield {
        offset,
        first: one?.offset === offset ? this.#first.shift()!.record : undefined,
        second: other?.offset === offset ? this.#second.shift()!.record : undefined,
      };
    }
  }
}

/** Empty if both treat the message alike. */
export function differencesOf({ first, second }: Pair): readonly Difference[] {
  if (first === undefined || second === undefined) return ['framing'];
  const isCut = ({ outcome }: MessageRecord) => outcome?.kind === 'incomplete';
  if (framedBytes(first) !== framedBytes(second) || isCut(first) !== isCut(second)) return ['framing'];
  const one = first.outcome;
  const other = second.outcome;
  if (one?.kind !== other?.kind) return ['outcome'];
  const differences: Difference[] = [];
  if (toOf(one) !== toOf(other)) differences.push('destination');
  if (reasonOf(one) !== reasonOf(other)) differences.push('reason');
  if (!areEqual(replyOf(one), replyOf(other))) differences.push('reply');
  if (!areEqual(first.sent, second.sent)) differences.push('bytes');
  return differences;
}

/** A message that closes the connection has all with it that had arrived; where it ends the framer has said. */
function framedBytes({ answers: [framed], received }: MessageRecord): number {
  return framed?.answer.kind === 'length' ? framed.answer.bytes : received.length;
}

const toOf = (outcome: Outcome | undefined) => (outcome?.kind === 'forwarded' ? JSON.stringify(outcome.to) : undefined);
/** Why a message is forwarded to the same peer makes no difference to anybody. */
const reasonOf = (outcome: Outcome | undefined) =>
  outcome?.kind === 'refused' || outcome?.kind === 'discarded' ? outcome.reason : undefined;
const replyOf = (outcome: Outcome | undefined) =>
  outcome !== undefined && 'reply' in outcome ? outcome.reply : undefined;

function areEqual(one: Buffer | undefined, other: Buffer | undefined): boolean {
  return one === undefined || other === undefined ? one === other : one.equals(other);
}
