/**
 * HalfSipHash-2-4 with 64 bits of output (J.-P. Aumasson, D. J. Bernstein: SipHash, the variant on 32-bit words): a keyed
 * hash for short inputs that needs no BigInt. Under a secret key nobody outside can make two inputs collide on purpose,
 * which is what the affinity table and ids that protocols derive ask for; under a public key it serves consistent hashing.
 */

export class KeyedHash {
  /** The two halves of the last hash, as signed 32-bit integers. */
  high = 0;
  low = 0;
  readonly #k0: number;
  readonly #k1: number;

  /** @param key 8 bytes; undefined: all zero, for hashes that replicas must agree on */
  constructor(key?: Uint8Array) {
    if (key !== undefined && key.length !== 8) throw new RangeError(`a key has 8 bytes, not ${key.length}`);
    this.#k0 = key === undefined ? 0 : key[0]! | (key[1]! << 8) | (key[2]! << 16) | (key[3]! << 24);
    this.#k1 = key === undefined ? 0 : key[4]! | (key[5]! << 8) | (key[6]! << 16) | (key[7]! << 24);
  }

  /** Hashes `bytes[start, end)` into `high` and `low`. */
  hash(bytes: Uint8Array, start = 0, end: number = bytes.length): void {
    // Without `| 0` V8 takes this sum for any number and keeps it as a double: 44 bytes took 214 ns instead of 106.
    let v0 = this.#k0 | 0;
    let v1 = this.#k1 ^ 0xee;
    let v2 = 0x6c796765 ^ this.#k0;
    let v3 = 0x74656462 ^ this.#k1;
    const length = end - start;
    const wordsEnd = start + (length & ~3);
    let last = length << 24;
    let tail = wordsEnd;
    for (let shift = 0; tail < end; shift += 8) last |= bytes[tail++]! << shift;

    for (let at = start; at <= wordsEnd; at += 4) {
      const word =
        at === wordsEnd ? last : bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
      v3 ^= word;
      for (let round = 0; round < 2; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= word;
    }

    // The rounds stand here again, because a function of their own would have to answer four numbers.
    v2 ^= 0xee;
    for (let half = 0; half < 2; half++) {
      for (let round = 0; round < 4; round++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      if (half === 0) {
        this.low = v1 ^ v3;
        v1 ^= 0xdd;
      } else {
        this.high = v1 ^ v3;
      }
    }
  }
}
