/** Puts the bytes that one side of a TCP connection sent in order again (RFC 9293): repeated, overlapping, late and lost ones. */

/** The bytes that wait for earlier ones, and the segments they came in. */
const mostWaitingBytes = 1_048_576;
const mostWaitingSegments = 256;

/** What comes next: bytes, or a number of missing ones. */
export type Piece = { readonly timeMicros: number; readonly bytes: Buffer } | { readonly missingBytes: number };

interface Waiting {
  readonly sequence: number;
  readonly bytes: Buffer;
  readonly timeMicros: number;
}

export class Stream {
  /** The number of the next byte; undefined before anything is known. */
  #next: number | undefined;
  /** In the order of their numbers. */
  readonly #waiting: Waiting[] = [];
  #waitingBytes = 0;
  /** The number after the last byte, once that is known. */
  #end: number | undefined;
  readonly #waitingChanged: (bytes: number) => void;

  /** @param waitingChanged called with the number of bytes by which those that wait have grown or shrunk */
  constructor(waitingChanged: (bytes: number) => void) {
    this.#waitingChanged = waitingChanged;
  }

  /** The number of its first byte. */
  begin(sequence: number): void {
    this.#next = sequence >>> 0;
  }

  /** No byte comes after that number. */
  end(sequence: number): void {
    this.#end ??= sequence >>> 0;
  }

  get isComplete(): boolean {
    return this.#end !== undefined && this.#next !== undefined && after(this.#next, this.#end) >= 0;
  }

  /** Takes a segment. A stream that was not seen to begin begins with the first one. */
  *add(sequence: number, bytes: Buffer, timeMicros: number): Generator<Piece> {
    this.#next ??= sequence >>> 0;
    const late = after(this.#next, sequence);
    if (late >= bytes.length) return; // all of it has come before
    const fresh = late > 0 ? bytes.subarray(late) : bytes;
    if (late >= 0) {
      this.#next = (this.#next + fresh.length) >>> 0;
      yield { timeMicros, bytes: fresh };
      yield* this.#ready();
      return;
    }
    this.#keep({ sequence: sequence >>> 0, bytes: Buffer.from(fresh), timeMicros });
    while (this.#waitingBytes > mostWaitingBytes || this.#waiting.length > mostWaitingSegments) yield* this.skip();
  }

  /** Gives up the bytes that are missing before those that wait. */
  *skip(): Generator<Piece> {
    const [first] = this.#waiting;
    if (first === undefined) return;
    yield { missingBytes: after(first.sequence, this.#next!) };
    this.#next = first.sequence;
    yield* this.#ready();
  }

  /** Nothing more comes: returns everything that waits, and what is missing at the end. */
  *rest(): Generator<Piece> {
    while (this.#waiting.length > 0) yield* this.skip();
    const missing = this.#end === undefined || this.#next === undefined ? 0 : after(this.#end, this.#next);
    if (missing > 0) yield { missingBytes: missing };
  }

  #keep(segment: Waiting): void {
    // Late segments mostly come in order.
    let at = this.#waiting.length;
    while (at > 0 && after(this.#waiting[at - 1]!.sequence, segment.sequence) > 0) at--;
    const before = this.#waiting[at - 1];
    if (before?.sequence === segment.sequence && before.bytes.length >= segment.bytes.length) return;
    this.#waiting.splice(at, 0, segment);
    this.#count(segment.bytes.length);
  }

  *#ready(): Generator<Piece> {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const late = after(this.#next!, first.sequence);
      if (late < 0) return;
      this.#waiting.shift();
      this.#count(-first.bytes.length);
      if (late >= first.bytes.length) continue;
      const bytes = first.bytes.subarray(late);
      this.#next = (this.#next! + bytes.length) >>> 0;
      yield { timeMicros: first.timeMicros, bytes };
    }
  }

  #count(bytes: number): void {
    this.#waitingBytes += bytes;
    this.#waitingChanged(bytes);
  }
}

/** How far one number is after another, modulo 2^32. */
const after = (one: number, other: number) => (one - other) | 0;
