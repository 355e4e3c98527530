/** Puts header lines together. */
import { CR, SPACE, skipBlanks, writeHex } from './bytes.ts';

export class Writer {
  readonly #buffer: Buffer;
  #at = 0;
  #taken = 0;

  /** @param capacity in bytes; whoever uses it knows how much it will write at most */
  constructor(capacity: number) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  /** Begins anew: what `take` has answered before may be written over. */
  clear(): void {
    this.#at = 0;
    this.#taken = 0;
  }

  add(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
  }

  /** Adds 16 hexadecimal digits. */
  addHex(high: number, low: number): void {
    this.#at = writeHex(this.#buffer, this.#at, high, low);
  }

  /** Adds part of a header value; a fold and the blanks behind it become one space (RFC 3261 section 7.3.1). */
  addValue(bytes: Buffer, start: number, end: number): void {
    for (let at = start; at < end; ) {
      if (bytes[at] === CR) {
        this.#buffer[this.#at++] = SPACE;
        at = skipBlanks(bytes, at, end);
      } else this.#buffer[this.#at++] = bytes[at++]!;
    }
  }

  /** Answers what was added since the last `take`. */
  take(): Buffer {
    const taken = this.#buffer.subarray(this.#taken, this.#at);
    this.#taken = this.#at;
    return taken;
  }
}
