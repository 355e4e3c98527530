/**
 * Values that a stateless proxy must make again, byte for byte, from a retransmission, a CANCEL or an ACK alone (RFC
 * 3261 section 16.11): the branch of our Via and the To-tag of our own replies. Keyed: nobody can aim for a collision.
 */
import { KeyedHash } from 'pointsman';
import { isSame, writeHex } from './bytes.ts';
import { ascii } from './characters.ts';
import type { Header } from './header.ts';

const magicCookie = ascii('z9hG4bK');

/** How long parts may be that are hashed as they are; of a longer one its own hash is taken, which has this many bytes. */
const partBytes = 254;
const isLong = 255;
const hashBytes = 8;

/**
 * A hash of up to five parts of a message, of any length. They are put one after the other, each behind its length, so that no
 * others make the same bytes, and hashed at once: 120 ns for a branch.
 */
class PartsHash {
  readonly hash: KeyedHash;
  readonly #longHash: KeyedHash;
  readonly #parts = Buffer.alloc(5 * (1 + partBytes));
  readonly #view = new DataView(this.#parts.buffer, this.#parts.byteOffset, this.#parts.length);
  #at = 0;

  constructor(key: Uint8Array) {
    this.hash = new KeyedHash(key);
    this.#longHash = new KeyedHash(key);
  }

  /** @param header whose bytes the part is of */
  add({ bytes, view }: Header, start: number, end: number): void {
    const parts = this.#parts;
    let at = this.#at;
    if (end - start <= partBytes) {
      parts[at++] = end - start;
      let from = start;
      for (; from + 4 <= end; from += 4, at += 4) this.#view.setInt32(at, view.getInt32(from, true), true);
      for (; from < end; from++) parts[at++] = bytes[from]!;
    } else {
      this.#longHash.hash(bytes, start, end);
      parts[at++] = isLong;
      parts.writeInt32LE(this.#longHash.high, at);
      parts.writeInt32LE(this.#longHash.low, at + 4);
      at += hashBytes;
    }
    this.#at = at;
  }

  /** Leaves the hash of all parts in `hash`, and begins anew. */
  finish(): void {
    this.hash.hash(this.#parts, 0, this.#at);
    this.#at = 0;
  }
}

/** What follows the magic cookie in the branch of our Via. */
export class BranchHash {
  readonly #parts: PartsHash;

  constructor(key: Uint8Array) {
    this.#parts = new PartsHash(key);
  }

  /** A request, its retransmissions, its CANCEL and the ACK to its refusal have one branch; no other request has it. */
  of(header: Header): KeyedHash {
    const { via } = header;
    const parts = this.#parts;
    if (via.branchEnd - via.branchStart > magicCookie.length && this.#hasCookie(header)) {
      parts.add(header, via.branchStart + magicCookie.length, via.branchEnd);
      parts.add(header, via.hostStart, via.sentByEnd);
    } else {
      // From before RFC 3261: a branch of that time is not unique (section 16.11), nor is one of the cookie alone (RFC 4475 section 3.2.1).
      parts.add(header, via.start, via.end);
      parts.add(header, header.from.tagStart, header.from.tagEnd);
      parts.add(header, header.callIdStart, header.callIdEnd);
      parts.add(header, header.cseqStart, header.cseqEnd);
      parts.add(header, header.uriStart, header.uriEnd);
    }
    parts.finish();
    return parts.hash;
  }

  #hasCookie({ bytes, via }: Header): boolean {
    return isSame(bytes, via.branchStart, via.branchStart + magicCookie.length, magicCookie);
  }
}

/** The To-tag of our own replies, by which we know the ACK to one of them (sections 8.2.7 and 17.1.1.3). */
export class TagHash {
  readonly #parts: PartsHash;
  readonly #tag = Buffer.alloc(16);

  constructor(key: Uint8Array) {
    this.#parts = new PartsHash(key);
  }

  /** Valid until the next call. */
  of(header: Header): Buffer {
    this.#parts.add(header, header.callIdStart, header.callIdEnd);
    this.#parts.add(header, header.from.tagStart, header.from.tagEnd);
    this.#parts.finish();
    writeHex(this.#tag, 0, this.#parts.hash.high, this.#parts.hash.low);
    return this.#tag;
  }

  /** Whether the To-tag of a message is ours. */
  isIn(header: Header): boolean {
    const { bytes, to } = header;
    return to.tagEnd - to.tagStart === 16 && isSame(bytes, to.tagStart, to.tagEnd, this.of(header));
  }
}
