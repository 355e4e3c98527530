/** Numbers that are the same for a seed each time, so that what fails once fails again. */
import { VirtualRuntime } from '../runtime/virtual.ts';

export class Random {
  readonly #next: () => number;

  constructor(seed: number) {
    this.#next = new VirtualRuntime(seed).random;
  }

  /** A whole number from 0 up to `limit`, without it. */
  below(limit: number): number {
    return Math.floor(this.#next() * limit);
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.below(256)));
  }

  /** The bytes in pieces, cut at random; short pieces are as likely as long ones. */
  split(bytes: Buffer): Buffer[] {
    const pieces: Buffer[] = [];
    for (let at = 0; at < bytes.length; ) {
      const length = 1 + this.below(this.pick([1, 4, 16, bytes.length]));
      pieces.push(bytes.subarray(at, at + length));
      at += length;
    }
    return pieces;
  }

  /** The bytes with some of them changed, left out, doubled or added. */
  mutate(bytes: Buffer): Buffer {
    let mutated = Buffer.from(bytes);
    for (let changes = 1 + this.below(4); changes > 0; changes--) {
      const at = this.below(mutated.length + 1);
      const length = 1 + this.below(4);
      const change = this.below(5);
      if (change === 0 && at < mutated.length) mutated[at] = mutated[at]! ^ (1 << this.below(8));
      else if (change === 1) mutated.subarray(at, at + length).fill(this.pick([0x00, 0x7f, 0x80, 0xff]));
      else {
        const end = change === 2 ? at + length : at;
        const added = change === 3 ? mutated.subarray(at, at + length) : change === 4 ? this.bytes(length) : [];
        mutated = Buffer.concat([mutated.subarray(0, at), Buffer.from(added), mutated.subarray(end)]);
      }
    }
    return mutated;
  }
}
