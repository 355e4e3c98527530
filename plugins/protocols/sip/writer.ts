/** Puts the header lines of a reply together. */
import { skipBlanks } from './bytes.ts';
import { CR, SPACE } from './characters.ts';

export class Writer {
  readonly #buffer: Buffer;
  #at = 0;

  /** @param capacity in bytes; the caller knows how much it will write at most */
  constructor(capacity: number) {
    this.#buffer = Buffer.allocUnsafeSlow(capacity);
  }

  add(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.#at);
    this.#at += bytes.length;
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

  /** Returns what was added. */
  take(): Buffer {
    return this.#buffer.subarray(0, this.#at);
  }
}
