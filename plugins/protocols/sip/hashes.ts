/**
 * What a stateless proxy must be able to make again, byte for byte, from a retransmission, a CANCEL or an ACK alone (RFC 3261
 * section 16.11): the branch of our Via and the To-tag of our own replies. They are made from the message and nothing else, so they
 * are the same at every replica, whatever its keys, and after a restart. A secret would protect nothing: whoever could aim for the
 * branch of another's request knows that request, and can copy its Via.
 */
import { KeyedHash, viewOf } from 'pointsman';
import { isSame, writeHex } from './bytes.ts';
import type { Header } from './header.ts';
import { magicCookie } from './via.ts';

/** The longest part that is hashed as it is; a longer one is replaced by its own hash, which has this many bytes. */
const partBytes = 254;
const isLong = 255;
const hashBytes = 8;

/**
 * The hash of a request that its retransmissions, its CANCEL and the ACK to its refusal have as well, and no other request. The parts
 * of it that tell, up to five of any length, are put one after the other, each behind its length, so that no others make the same
 * bytes, and hashed at once: 120 ns.
 */
export class TransactionHash {
  readonly #hash: KeyedHash;
  readonly #longHash: KeyedHash;
  readonly #parts = Buffer.alloc(5 * (1 + partBytes));
  readonly #view = viewOf(this.#parts);
  #at = 0;

  /** @param use tells it from others of the same request */
  constructor(use: string) {
    const key = Buffer.alloc(8, use);
    this.#hash = new KeyedHash(key);
    this.#longHash = new KeyedHash(key);
  }

  /** Valid until the next call. */
  of(header: Header): KeyedHash {
    const { bytes, via } = header;
    if (via.hasUniqueBranch(bytes)) {
      this.#add(header, via.branchStart + magicCookie.length, via.branchEnd);
      this.#add(header, via.hostStart, via.sentByEnd);
    } else {
      this.#add(header, via.start, via.end);
      this.#add(header, header.from.tagStart, header.from.tagEnd);
      this.#add(header, header.callIdStart, header.callIdEnd);
      this.#add(header, header.cseqStart, header.cseqEnd);
      this.#add(header, header.uriStart, header.uriEnd);
    }
    this.#hash.hash(this.#parts, 0, this.#at);
    this.#at = 0;
    return this.#hash;
  }

  #add({ bytes, view }: Header, start: number, end: number): void {
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
}

/**
 * The To-tag of our own replies, by which we know the ACK to one of them (sections 8.2.7 and 17.1.1.3). The ACK to what another server
 * passes on of ours, in a call that it has sent through us again, has the tag but another Via, and is for that server.
 */
export class TagHash {
  readonly #hash = new TransactionHash('to-tag');
  readonly #tag = Buffer.alloc(16);

  /** Valid until the next call. */
  of(header: Header): Buffer {
    const { high, low } = this.#hash.of(header);
    writeHex(this.#tag, 0, high, low);
    return this.#tag;
  }

  /** Whether the To-tag of a message is ours. */
  isIn(header: Header): boolean {
    const { bytes, to } = header;
    return to.tagEnd - to.tagStart === 16 && isSame(bytes, to.tagStart, to.tagEnd, this.of(header));
  }
}
