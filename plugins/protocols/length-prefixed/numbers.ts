/** Whole numbers in fields of fixed width: binary, or in decimal digits. */

/** Reads and writes whole numbers from 0 in `size` bytes. */
export interface NumberCodec {
  readonly size: number;
  /** The first number that does not fit. */
  readonly limit: number;
  /** Returns -1 if some byte is not a digit; inexact above 2^53. */
  read(bytes: Buffer, at: number): number;
  write(value: number, target: Buffer): void;
}

export function numberCodec(
  size: number,
  endian: 'big' | 'little',
  encoding: 'binary' | keyof typeof digitBytes = 'binary',
): NumberCodec {
  return encoding === 'binary' ? new BinaryCodec(size, endian) : new DecimalCodec(size, digitBytes[encoding]);
}

/**
 * The last four bytes are read and written as an integer, those before them as a multiple of 2^32, so that no step needs fractions.
 */
class BinaryCodec implements NumberCodec {
  readonly size: number;
  readonly limit: number;
  /** The offset of the most significant byte, and the direction of the next one. */
  readonly #first: number;
  readonly #step: number;

  constructor(size: number, endian: 'big' | 'little') {
    this.size = size;
    this.limit = 256 ** size;
    this.#first = endian === 'big' ? 0 : size - 1;
    this.#step = endian === 'big' ? 1 : -1;
  }

  read(bytes: Buffer, start: number): number {
    const { size } = this;
    const step = this.#step;
    let at = start + this.#first;
    let high = 0;
    let low = 0;
    let left = size;
    for (; left > 4; left--, at += step) high = high * 256 + bytes[at]!;
    for (; left > 0; left--, at += step) low = (low << 8) | bytes[at]!;
    return high * 2 ** 32 + (low >>> 0);
  }

  write(value: number, target: Buffer): void {
    const { size } = this;
    const step = this.#step;
    let at = this.#first + (size - 1) * step;
    let low = value >>> 0;
    for (let left = Math.min(size, 4); left > 0; left--, at -= step, low >>>= 8) target[at] = low & 0xff;
    let high = Math.floor(value / 2 ** 32);
    for (let left = size - 4; left > 0; left--, at -= step, high = Math.floor(high / 256)) target[at] = high % 256;
  }
}

/** Which byte stands for which digit of a number, and how many digits there are: one decimal digit a byte, or two. */
const digitBytes = {
  ascii: Uint8Array.from({ length: 10 }, (_, digit) => 0x30 + digit),
  bcd: Uint8Array.from({ length: 100 }, (_, digit) => Math.floor(digit / 10) * 16 + (digit % 10)),
};

/** The most significant digit comes first. */
class DecimalCodec implements NumberCodec {
  readonly size: number;
  readonly limit: number;
  readonly #bytes: Uint8Array;
  /** The digit that a byte stands for; -1: none. */
  readonly #digits = new Int16Array(256).fill(-1);

  constructor(size: number, bytes: Uint8Array) {
    this.size = size;
    this.limit = bytes.length ** size;
    this.#bytes = bytes;
    for (const [digit, byte] of bytes.entries()) this.#digits[byte] = digit;
  }

  read(bytes: Buffer, at: number): number {
    let value = 0;
    for (let i = 0; i < this.size; i++) {
      const digit = this.#digits[bytes[at + i]!]!;
      if (digit < 0) return -1;
      value = value * this.#bytes.length + digit;
    }
    return value;
  }

  write(value: number, target: Buffer): void {
    const base = this.#bytes.length;
    for (let i = this.size - 1; i >= 0; i--) {
      target[i] = this.#bytes[value % base]!;
      value = Math.floor(value / base);
    }
  }
}
