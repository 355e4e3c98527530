/**
 * Reads a JSON text (RFC 8259) without building anything from it: one pass checks the whole grammar, UTF-8 included, and
 * notes where the watched members of the top-level object stand. It accepts exactly what JSON.parse accepts, but for two
 * things about which readers may disagree: nesting beyond a bound, and a watched member that appears twice.
 */
import { viewOf } from 'pointsman';

export type JsonFault = 'malformed-json' | 'invalid-utf8' | 'nested-too-deep' | 'duplicate-member';

// The functions below answer the place behind what they have read, or one of these.
const malformed = -1;
const invalidUtf8 = -2;
const nestedTooDeep = -3;

const none = -1;

/** A watched member of the top-level object. Its offsets count from the first byte of the text. */
export class Member {
  readonly name: string;
  readonly codePoints: readonly number[];
  /** The name without escapes but with its quotes, as nearly everybody writes it; its first and last four bytes. */
  readonly literal: Buffer;
  readonly head: number;
  readonly tail: number;
  present = false;
  /** The offset of its name's opening quote. */
  at = 0;
  valueAt = 0;
  valueEnd = 0;
  /** The offsets of the commas around it, or -1. */
  commaBefore = none;
  commaAfter = none;

  constructor(name: string) {
    this.name = name;
    this.codePoints = Array.from(name, (character) => character.codePointAt(0)!);
    this.literal = Buffer.from(`"${name}"`);
    const isWord = this.literal.length >= 4;
    this.head = isWord ? this.literal.readInt32LE(0) : 0;
    this.tail = isWord ? this.literal.readInt32LE(this.literal.length - 4) : 0;
  }

  get valueLength(): number {
    return this.valueEnd - this.valueAt;
  }

  /** Where to cut so that the member and one comma disappear and the rest is still JSON. */
  get cutFrom(): number {
    return this.commaAfter === none && this.commaBefore !== none ? this.commaBefore : this.at;
  }

  get cutEnd(): number {
    return this.commaAfter === none ? this.valueEnd : this.commaAfter + 1;
  }
}

export class JsonScan {
  /** What is wrong with the text scanned last; undefined: it is JSON, or blank. */
  fault: JsonFault | undefined;
  /** Its top-level value is an object, as far as it was read. */
  isObject = false;
  /** How many members that object has. */
  memberCount = 0;
  /** The offset after its opening brace. */
  bodyAt = 0;

  readonly #depth: number;
  readonly #terminator: number;
  readonly #members: Member[] = [];
  /** The same by the length of their literal. */
  readonly #byLength: Member[][] = [];
  #start = 0;
  #hasDuplicate = false;
  // A view of what was scanned last, kept because making one takes 80 ns, and most is read from the same memory.
  #bytes: Buffer | undefined;
  #view: DataView = new DataView(new ArrayBuffer(0));

  /**
   * @param depth how many objects and arrays may be nested in each other
   * @param terminator a byte that ends the text wherever it stands; undefined: none does
   */
  constructor(depth: number, terminator = none) {
    this.#depth = depth;
    this.#terminator = terminator;
  }

  /** Starts to watch a member. */
  watch(name: string): Member {
    const known = this.#members.find((member) => member.name === name);
    if (known !== undefined) return known;
    const member = new Member(name);
    this.#members.push(member);
    while (this.#byLength.length <= member.literal.length) this.#byLength.push([]);
    this.#byLength[member.literal.length]!.push(member);
    return member;
  }

  /**
   * Scans `bytes[start, end)`, or the part of it before the terminator. The fields and the watched members hold what it found until
   * the next call.
   * @returns where the text ended, which is `end` or the offset of the terminator; negative if it is not JSON
   */
  scan(bytes: Buffer, start: number, end: number): number {
    if (bytes !== this.#bytes) {
      this.#bytes = bytes;
      this.#view = viewOf(bytes);
    }
    this.#start = start;
    this.#hasDuplicate = false;
    this.fault = undefined;
    this.isObject = false;
    this.memberCount = 0;
    const members = this.#members;
    for (let i = 0; i < members.length; i++) members[i]!.present = false;

    let at = this.tokenAt(bytes, start, end);
    if (at === end || bytes[at] === this.#terminator) return at;
    at =
      bytes[at] === openingBrace
        ? this.topObject(bytes, this.#view, at + 1, end)
        : this.value(bytes, this.#view, at, end, 0);
    if (at >= 0) {
      at = this.tokenAt(bytes, at, end);
      if (at < end && bytes[at] !== this.#terminator) at = malformed;
    }
    if (at < 0) {
      this.fault = at === invalidUtf8 ? 'invalid-utf8' : at === malformed ? 'malformed-json' : 'nested-too-deep';
    } else if (this.#hasDuplicate) this.fault = 'duplicate-member';
    return at;
  }

  /** Whether the member is there, and its value is `text`, of which `view` is a view. */
  holds(member: Member, text: Buffer, view: DataView): boolean {
    const { length } = text;
    if (!member.present || member.valueLength !== length) return false;
    const scanned = this.#view;
    const at = this.#start + member.valueAt;
    let i = 0;
    for (; i + 4 <= length; i += 4) if (scanned.getInt32(at + i) !== view.getInt32(i)) return false;
    for (; i < length; i++) if (scanned.getInt8(at + i) !== view.getInt8(i)) return false;
    return true;
  }

  /** The object whose members are watched, and which most bytes belong to: what `#object` does, written out. */
  private topObject(bytes: Buffer, view: DataView, at: number, end: number): number {
    const start = this.#start;
    this.isObject = true;
    this.bodyAt = at - start;
    let commaAt = none;
    let byte = byteAt(bytes, at, end);
    if (byte <= space) {
      at = this.spaceEnd(bytes, at, end);
      byte = byteAt(bytes, at, end);
    }
    if (byte === closingBrace) return at + 1;
    for (let memberCount = 1; ; memberCount++) {
      if (byte !== quote) return malformed;
      const nameAt = at;
      let member: Member | undefined;
      at = plainEnd(bytes, view, at + 1, end);
      if (byteAt(bytes, at, end) === quote) {
        at++;
        member = this.watched(bytes, view, nameAt, at);
      } else {
        at = stringEnd(bytes, view, at, end);
        if (at < 0) return at;
        member = this.watchedEscaped(bytes, nameAt, at);
      }
      if (byteAt(bytes, at, end) !== colon) {
        at = this.spaceEnd(bytes, at, end);
        if (byteAt(bytes, at, end) !== colon) return malformed;
      }

      byte = byteAt(bytes, ++at, end);
      if (byte <= space) {
        at = this.spaceEnd(bytes, at, end);
        byte = byteAt(bytes, at, end);
      }
      const valueAt = at;
      if (byte === quote) {
        at = plainEnd(bytes, view, at + 1, end);
        if (byteAt(bytes, at, end) === quote) at++;
        else at = stringEnd(bytes, view, at, end);
      } else at = this.value(bytes, view, at, end, 1);
      if (at < 0) return at;
      const valueEnd = at;

      byte = byteAt(bytes, at, end);
      if (byte <= space) {
        at = this.spaceEnd(bytes, at, end);
        byte = byteAt(bytes, at, end);
      }
      if (member !== undefined) {
        if (member.present) this.#hasDuplicate = true;
        member.present = true;
        member.at = nameAt - start;
        member.valueAt = valueAt - start;
        member.valueEnd = valueEnd - start;
        member.commaBefore = commaAt === none ? none : commaAt - start;
        member.commaAfter = byte === comma ? at - start : none;
      }
      if (byte !== comma) {
        this.memberCount = memberCount;
        return byte === closingBrace ? at + 1 : malformed;
      }
      commaAt = at;
      byte = byteAt(bytes, ++at, end);
      if (byte <= space) {
        at = this.spaceEnd(bytes, at, end);
        byte = byteAt(bytes, at, end);
      }
    }
  }

  private value(bytes: Buffer, view: DataView, at: number, end: number, depth: number): number {
    switch (byteAt(bytes, at, end)) {
      case 0x22: // "
        return stringEnd(bytes, view, at + 1, end);
      case 0x7b: // {
        return depth < this.#depth ? this.object(bytes, view, at + 1, end, depth + 1) : nestedTooDeep;
      case 0x5b: // [
        return depth < this.#depth ? this.array(bytes, view, at + 1, end, depth + 1) : nestedTooDeep;
      case 0x74: // t
        return wordEnd(bytes, at, end, 'true');
      case 0x66: // f
        return wordEnd(bytes, at, end, 'false');
      case 0x6e: // n
        return wordEnd(bytes, at, end, 'null');
      default:
        return numberEnd(bytes, at, end);
    }
  }

  private object(bytes: Buffer, view: DataView, at: number, end: number, depth: number): number {
    at = this.tokenAt(bytes, at, end);
    if (byteAt(bytes, at, end) === closingBrace) return at + 1;
    for (;;) {
      if (byteAt(bytes, at, end) !== quote) return malformed;
      at = stringEnd(bytes, view, at + 1, end);
      if (at < 0) return at;
      at = this.tokenAt(bytes, at, end);
      if (byteAt(bytes, at, end) !== colon) return malformed;
      at = this.value(bytes, view, this.tokenAt(bytes, at + 1, end), end, depth);
      if (at < 0) return at;
      at = this.tokenAt(bytes, at, end);
      const next = byteAt(bytes, at, end);
      if (next === closingBrace) return at + 1;
      if (next !== comma) return malformed;
      at = this.tokenAt(bytes, at + 1, end);
    }
  }

  private array(bytes: Buffer, view: DataView, at: number, end: number, depth: number): number {
    at = this.tokenAt(bytes, at, end);
    if (byteAt(bytes, at, end) === closingBracket) return at + 1;
    for (;;) {
      at = this.value(bytes, view, at, end, depth);
      if (at < 0) return at;
      at = this.tokenAt(bytes, at, end);
      const next = byteAt(bytes, at, end);
      if (next === closingBracket) return at + 1;
      if (next !== comma) return malformed;
      at = this.tokenAt(bytes, at + 1, end);
    }
  }

  /** The next offset that is not white space, nearly always `at`. */
  private tokenAt(bytes: Buffer, at: number, end: number): number {
    return at < end && bytes[at]! <= 0x20 ? this.spaceEnd(bytes, at, end) : at;
  }

  private spaceEnd(bytes: Buffer, at: number, end: number): number {
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === this.#terminator) break;
      if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    }
    return at;
  }

  /** The watched member whose name is `bytes[at, end)`, quotes included: ASCII without escapes. */
  private watched(bytes: Buffer, view: DataView, at: number, end: number): Member | undefined {
    const length = end - at;
    if (length >= this.#byLength.length) return undefined;
    const candidates = this.#byLength[length]!;
    if (candidates.length === 0) return undefined;
    if (length < 4) return this.watchedEscaped(bytes, at, end);
    // The first and last four bytes are most of a name: byte by byte these took a fifth of the scan.
    const head = view.getInt32(at, true);
    const tail = view.getInt32(end - 4, true);
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[i]!;
      if (candidate.head !== head || candidate.tail !== tail) continue;
      const { literal } = candidate;
      let matched = 4;
      while (matched < length - 4 && bytes[at + matched] === literal[matched]) matched++;
      if (matched >= length - 4) return candidate;
    }
    return undefined;
  }

  /** The same, for any name. */
  private watchedEscaped(bytes: Buffer, at: number, end: number): Member | undefined {
    for (const member of this.#members) if (spells(bytes, at + 1, end - 1, member.codePoints)) return member;
    return undefined;
  }
}

const space = 0x20;
const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const closingBracket = 0x5d;
const letterU = 0x75;
const openingBrace = 0x7b;
const closingBrace = 0x7d;

/** 1 for bytes that stand for themselves in strings. */
const isPlain = new Uint8Array(256).fill(1, 0x20, 0x80);
isPlain[quote] = isPlain[backslash] = 0;

/** What the letter behind a backslash stands for; 0: nothing. */
const escapes = new Uint8Array(256);
for (const [letter, meaning] of ['""', '\\\\', '//', 'b\b', 'f\f', 'n\n', 'r\r', 't\t']) {
  escapes[letter!.charCodeAt(0)] = meaning!.charCodeAt(0);
}

/** The value of a hexadecimal digit, or -1. */
const hexDigits = new Int8Array(256).fill(-1);
for (let value = 0; value < 16; value++) {
  const digit = value.toString(16);
  hexDigits[digit.charCodeAt(0)] = hexDigits[digit.toUpperCase().charCodeAt(0)] = value;
}

/** The next byte; after the end of the text 0, which is allowed nowhere in JSON. */
function byteAt(bytes: Buffer, at: number, end: number): number {
  return at < end ? bytes[at]! : 0;
}

/**
 * The first place from `at` that does not stand for itself in a string: a quote, a backslash, a control character, or a part
 * of a character beyond ASCII. Most bytes of a message are passed here, so it looks at eight at once, which takes 0.3 ns a byte;
 * looking each one up in a table takes 1.3.
 */
function plainEnd(bytes: Buffer, view: DataView, at: number, end: number): number {
  at |= 0; // says that it is an integer, which spares conversions in the loop
  const last = (end - 8) | 0;
  while (at <= last) {
    const a = view.getInt32(at, true);
    const b = view.getInt32((at + 4) | 0, true);
    const aHits = a | ((a ^ 0x02020202) - 0x21212121) | ((a ^ 0x5c5c5c5c) - 0x01010101);
    const bHits = b | ((b ^ 0x02020202) - 0x21212121) | ((b ^ 0x5c5c5c5c) - 0x01010101);
    if (((aHits | bHits) & topBits) !== 0) return at + firstHit(aHits, bHits);
    at = (at + 8) | 0;
  }
  return plainEndBytewise(bytes, at, end);
}

/**
 * The top bit of each byte. In `plainEnd` a byte has it if it is beyond ASCII, if it is less than 0x21 once 2 is flipped in it,
 * which puts the quote next to the control characters, or if nothing of it is left once a backslash is. A subtraction
 * borrows from the bytes above one that is hit, which may then be taken for hits, but never from those below.
 */
const topBits = 0x80808080 | 0;

/** Which of eight bytes is the first that was hit. */
function firstHit(aHits: number, bHits: number): number {
  const a = aHits & topBits;
  const b = bHits & topBits;
  return a !== 0 ? lowestBit(a) >> 3 : 4 + (lowestBit(b) >> 3);
}

function lowestBit(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

function plainEndBytewise(bytes: Buffer, at: number, end: number): number {
  while (at < end && isPlain[bytes[at]!] === 1) at++;
  return at;
}

/** @param at behind the opening quote, or further in; the answer is behind the closing one */
function stringEnd(bytes: Buffer, view: DataView, at: number, end: number): number {
  for (;;) {
    at = plainEnd(bytes, view, at, end);
    let byte = byteAt(bytes, at, end);
    if (byte === quote) return at + 1;
    // Where one is, there are mostly more: scripts other than Latin.
    do {
      at++;
      if (byte === backslash) at = escapeEnd(bytes, at, end);
      else at = byte < 0x20 ? malformed : utf8End(bytes, at, end, byte);
      if (at < 0) return at;
      byte = byteAt(bytes, at, end);
    } while (byte >= 0x80 || byte === backslash);
  }
}

/** @param at behind the backslash */
function escapeEnd(bytes: Buffer, at: number, end: number): number {
  const letter = byteAt(bytes, at, end);
  if (letter !== letterU) return escapes[letter] === 0 ? malformed : at + 1;
  return at + 4 < end && hexValue(bytes, at + 1) >= 0 ? at + 5 : malformed;
}

/** The value of four hexadecimal digits; negative if one of them is none. */
function hexValue(bytes: Buffer, at: number): number {
  return (
    (hexDigits[bytes[at]!]! << 12) |
    (hexDigits[bytes[at + 1]!]! << 8) |
    (hexDigits[bytes[at + 2]!]! << 4) |
    hexDigits[bytes[at + 3]!]!
  );
}

/**
 * Checks one character of more than one byte (RFC 3629 section 4).
 * @param at behind its first byte
 */
function utf8End(bytes: Buffer, at: number, end: number, first: number): number {
  if (first < 0xc2 || first > 0xf4) return invalidUtf8;
  const behind = first < 0xe0 ? at + 1 : first < 0xf0 ? at + 2 : at + 3;
  if (behind > end) return invalidUtf8;
  // The second byte rules out overlong forms, surrogates, and what is beyond U+10FFFF.
  const second = bytes[at]!;
  const lowest = first === 0xe0 ? 0xa0 : first === 0xf0 ? 0x90 : 0x80;
  const highest = first === 0xed ? 0x9f : first === 0xf4 ? 0x8f : 0xbf;
  if (second < lowest || second > highest) return invalidUtf8;
  while (++at < behind) if ((bytes[at]! & 0xc0) !== 0x80) return invalidUtf8;
  return behind;
}

function numberEnd(bytes: Buffer, at: number, end: number): number {
  if (byteAt(bytes, at, end) === 0x2d) at++; // -
  at = byteAt(bytes, at, end) === 0x30 ? at + 1 : digitsEnd(bytes, at, end);
  if (at >= 0 && byteAt(bytes, at, end) === 0x2e) at = digitsEnd(bytes, at + 1, end); // .
  if (at < 0 || (byteAt(bytes, at, end) | 0x20) !== 0x65) return at; // e or E
  const sign = byteAt(bytes, ++at, end);
  return digitsEnd(bytes, sign === 0x2b || sign === 0x2d ? at + 1 : at, end);
}

/** At least one digit. */
function digitsEnd(bytes: Buffer, at: number, end: number): number {
  const first = at;
  while (at < end && bytes[at]! >= 0x30 && bytes[at]! <= 0x39) at++;
  return at === first ? malformed : at;
}

function wordEnd(bytes: Buffer, at: number, end: number, word: string): number {
  const behind = at + word.length;
  if (behind > end) return malformed;
  for (let i = 0; at < behind; i++, at++) if (bytes[at] !== word.charCodeAt(i)) return malformed;
  return behind;
}

/** Whether a string's content that has passed `stringEnd`, escapes undone, is these code points. */
function spells(bytes: Buffer, at: number, end: number, codePoints: readonly number[]): boolean {
  if (end - at < codePoints.length) return false;
  let matched = 0;
  while (at < end) {
    let point = bytes[at++]!;
    if (point >= 0x80) {
      let more = point < 0xe0 ? 1 : point < 0xf0 ? 2 : 3;
      for (point &= 0x3f >> more; more > 0; more--) point = (point << 6) | (bytes[at++]! & 0x3f);
    } else if (point === backslash) {
      point = bytes[at++]!;
      if (point !== letterU) point = escapes[point]!;
      else {
        point = hexValue(bytes, at);
        at += 4;
        // Two escapes make one character beyond U+FFFF.
        if ((point & 0xfc00) === 0xd800 && bytes[at] === backslash && bytes[at + 1] === letterU) {
          const low = hexValue(bytes, at + 2);
          if ((low & 0xfc00) === 0xdc00) {
            point = 0x10000 + ((point & 0x3ff) << 10) + (low & 0x3ff);
            at += 6;
          }
        }
      }
    }
    if (matched === codePoints.length || point !== codePoints[matched++]) return false;
  }
  return matched === codePoints.length;
}
