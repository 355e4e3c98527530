/** The length field: where frames end, and what it says when they grow. */
import { type Message, type Refusal, refusal } from 'pointsman';
import { type NumberCodec, numberCodec } from './numbers.ts';
import type { Options } from './options.ts';

const tooShort = refusal('length-too-short');
const tooLarge = refusal('length-too-large');
const notDigits = refusal('length-not-digits');
const overflow = refusal('length-overflow');

export class LengthField {
  readonly offset: number;
  /** Its width varies with its value. */
  readonly isVarint: boolean;
  /** How many bytes it has in the current frame. */
  width: number;
  readonly #size: number;
  readonly #adjust: number;
  readonly #codec: NumberCodec | undefined;
  readonly #scratch: Buffer;

  constructor({ offset, size, encoding, endian, adjust }: Options['length']) {
    this.offset = offset;
    this.isVarint = encoding === 'varint';
    this.width = this.isVarint ? 1 : size;
    this.#size = size;
    this.#adjust = adjust;
    this.#codec = encoding === 'varint' ? undefined : numberCodec(size, endian, encoding);
    this.#scratch = Buffer.alloc(size);
  }

  /** Where the bytes that it counts (apart from `adjust`) begin in the current frame. */
  get end(): number {
    return this.offset + this.width;
  }

  /** Returns the length of the frame at `bytes[start]`, which becomes the current one. */
  frame(bytes: Buffer, start: number, end: number): number | 'more' | Refusal {
    const at = start + this.offset;
    let value: number;
    if (this.#codec !== undefined) {
      if (end - at < this.#size) return 'more';
      value = this.#codec.read(bytes, at);
      if (value < 0) return notDigits;
    } else {
      this.width = 1;
      value = 0;
      for (let scale = 1; ; scale *= 128, this.width++) {
        if (this.width > this.#size) return tooLarge;
        if (at + this.width > end) return 'more';
        const byte = bytes[at + this.width - 1]!;
        value += (byte & 0x7f) * scale;
        if (byte < 0x80) break;
      }
    }
    const length = this.end + this.#adjust + value;
    if (length < this.end) return tooShort;
    return length <= Number.MAX_SAFE_INTEGER ? length : tooLarge;
  }

  /** Makes the field say that the current frame is `growth` bytes longer. */
  resize(message: Message, growth: number): Refusal | undefined {
    const value = message.length - this.end - this.#adjust + growth;
    const scratch = this.#scratch;
    if (value < 0) return overflow;
    if (this.#codec !== undefined) {
      if (value >= this.#codec.limit) return overflow;
      this.#codec.write(value, scratch);
      message.splice(this.offset, this.width, scratch);
      return undefined;
    }
    let width = 0;
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) scratch[width++] = (rest % 128) | 0x80;
    scratch[width++] = rest;
    if (width > this.#size) return overflow;
    message.splice(this.offset, this.width, scratch.subarray(0, width));
    return undefined;
  }
}
