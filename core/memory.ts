/**
 * The memory that messages pass through: sockets read into, and outboxes collect in, one ArrayBuffer, the arena. Within one array
 * `copyWithin` copies 128 bytes in 47 ns; between two, `subarray` and `set` take 102 ns (and leave a view to be collected),
 * `Buffer.copy` 106 ns.
 */

const arenaBytes = 33_554_432;
/** Room before the bytes that are read, for the beginning of a message that came with an earlier read. */
export const headroomBytes = 65_536;
const readBytes = 65_536;

// The system gives memory to a page when it is first touched, so a quiet balancer does not have all of this.
const memory = new ArrayBuffer(arenaBytes);
const arena = new Uint8Array(memory);
/** Kept, as looking it up for each copy takes 10 ns. */
const { copyWithin, set } = Uint8Array.prototype;

/** The beginning of the arena, so that offsets here are offsets in the arena: `headroomBytes`, then what sockets read into. */
export const readMemory: Buffer = Buffer.from(memory, 0, headroomBytes + readBytes);

const readView = new DataView(memory, 0, readMemory.length);

/** To read bytes four at a time, and compare them with KnownBytes. One of what sockets read into is there already; others take 80 ns. */
export function viewOf(bytes: Uint8Array): DataView {
  return bytes === readMemory ? readView : new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/** From this length on, a call is faster than a loop. */
const shortBytes = 24;

/** Copies `source[from, until)` to `target` at `at`, where the two do not overlap. For short pieces: a number, a token. */
export function copyBytes(source: Uint8Array, from: number, until: number, target: Uint8Array, at: number): void {
  if (until - from >= shortBytes) target.set(source.subarray(from, until), at);
  else for (let i = from, to = at; i < until; i++, to++) target[to] = source[i]!;
}

/** A piece of memory that output is collected in. */
export class Slab {
  readonly bytes: Buffer;
  /** Where it begins in the arena; -1: it is outside. */
  readonly #arenaStart: number;

  constructor(bytes: Buffer, arenaStart = -1) {
    this.bytes = bytes;
    this.#arenaStart = arenaStart;
  }

  get isInArena(): boolean {
    return this.#arenaStart >= 0;
  }

  /** Copies all of `source` here, to `at`. */
  insert(source: Uint8Array, at: number): void {
    if (source.length >= shortBytes) set.call(this.bytes, source, at);
    else copyBytes(source, 0, source.length, this.bytes, at);
  }

  /** Copies the first `length` bytes of another slab to the beginning of this one. */
  putStartOf(other: Slab, length: number): void {
    const from = other.#arenaStart;
    if (from >= 0 && this.isInArena) copyWithin.call(arena, this.#arenaStart, from, from + length);
    else copyBytes(other.bytes, 0, length, this.bytes, 0);
  }

  /** Copies `source[from, until)` here, to `at`. */
  put(source: Uint8Array, from: number, until: number, at: number): void {
    if (source === readMemory && this.#arenaStart >= 0) copyWithin.call(arena, this.#arenaStart + at, from, until);
    else copyBytes(source, from, until, this.bytes, at);
  }
}

/**
 * Powers of four, so that whatever is given back fits the next taker. The smallest holds a usual message: where a thousand clients
 * get one slab each, their beginnings must not all share the same few cache lines.
 */
const sizes = [1024, 4096, 16_384, 65_536, 262_144];
/** Bytes kept of each size, in addition to those in the arena. */
const keptBytes = 4 * 1024 * 1024;

/** Slabs that were given back, to be used again. */
class Slabs {
  /** By index in `sizes`. */
  readonly #spares: Slab[][] = sizes.map(() => []);
  #arenaUsed = readMemory.length;

  /** A slab of at least `bytes` bytes. Its contents are undefined. */
  take(bytes: number): Slab {
    for (let i = 0; i < sizes.length; i++) {
      if (bytes <= sizes[i]!) return this.#spares[i]!.pop() ?? this.#make(sizes[i]!);
    }
    return new Slab(Buffer.allocUnsafeSlow(2 ** Math.ceil(Math.log2(bytes))));
  }

  give(slab: Slab): void {
    const { length } = slab.bytes;
    for (let i = 0; i < sizes.length; i++) {
      if (length !== sizes[i]) continue;
      const spares = this.#spares[i]!;
      if (slab.isInArena || spares.length * length < keptBytes) spares.push(slab);
      return;
    }
  }

  #make(size: number): Slab {
    const at = this.#arenaUsed;
    if (at + size > arenaBytes) return new Slab(Buffer.allocUnsafeSlow(size));
    this.#arenaUsed = at + size;
    return new Slab(Buffer.from(memory, at, size), at);
  }
}

export const slabs = new Slabs();
export const noSlab = new Slab(Buffer.alloc(0));
