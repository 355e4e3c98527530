/**
 * Reads a JSON text (RFC 8259) without building anything from it: one pass checks the whole grammar, UTF-8 included, and
 * notes where the watched members of the top-level object stand. It accepts exactly what JSON.parse accepts, but for two
 * things about which readers may disagree: nesting beyond a bound, and a watched member that appears twice.
 */

export type JsonFault = 'malformed-json' | 'invalid-utf8' | 'nested-too-deep' | 'duplicate-member';

// The functions below answer the place behind what they have read, or one of these.
const malformed = -1;
const invalidUtf8 = -2;
const nestedTooDeep = -3;

const none = -1;

/** A watched member of the top-level object. Its places count from the first byte of the text. */
export class Member {
  readonly name: string;
  readonly codePoints: readonly number[];
  present = false;
  /** The first byte of its name: the quote. */
  at = 0;
  valueAt = 0;
  valueEnd = 0;
  /** The commas around it, or -1. */
  commaBefore = none;
  commaAfter = none;

  constructor(name: string) {
    this.name = name;
    this.codePoints = Array.from(name, (character) => character.codePointAt(0)!);
  }

  get valueLength(): number {
    return this.valueEnd - this.valueAt;
  }

  /** Where to cut so that the member and one comma are gone, and the text is JSON as before. */
  get cutFrom(): number {
    return this.commaAfter === none && this.commaBefore !== none ? this.commaBefore : this.at;
  }

  get cutEnd(): number {
    return this.commaAfter === none ? this.valueEnd : this.commaAfter + 1;
  }
}

export class JsonScan {
  /** What is wrong with the text that was scanned last; undefined: it is JSON, or blank. */
  fault: JsonFault | undefined;
  /** Its top-level value is an object, as far as it was read. */
  isObject = false;
  /** How many members that object has. */
  memberCount = 0;
  /** The place behind its opening brace. */
  bodyAt = 0;

  readonly #members: Member[] = [];
  readonly #depth: number;
  #start = 0;
  #hasDuplicate = false;

  /** @param depth how many objects and arrays may be nested in each other */
  constructor(depth: number) {
    this.#depth = depth;
  }

  /** Watches a member from now on. */
  watch(name: string): Member {
    const known = this.#members.find((member) => member.name === name);
    if (known !== undefined) return known;
    const member = new Member(name);
    this.#members.push(member);
    return member;
  }

  /** Scans `bytes[start, end)`; what it found stands in the fields and watched members until the next call. */
  scan(bytes: Buffer, start: number, end: number): void {
    this.#start = start;
    this.#hasDuplicate = false;
    this.fault = undefined;
    this.isObject = false;
    this.memberCount = 0;
    for (const member of this.#members) member.present = false;

    let at = spaceEnd(bytes, start, end);
    if (at >= end) return;
    at = this.#value(bytes, at, end, 0);
    if (at >= 0 && spaceEnd(bytes, at, end) < end) at = malformed;
    if (at < 0)
      this.fault = at === invalidUtf8 ? 'invalid-utf8' : at === malformed ? 'malformed-json' : 'nested-too-deep';
    else if (this.#hasDuplicate) this.fault = 'duplicate-member';
  }

  #value(bytes: Buffer, at: number, end: number, depth: number): number {
    switch (byteAt(bytes, at, end)) {
      case 0x22: // "
        return stringEnd(bytes, at + 1, end);
      case 0x7b: // {
        return depth < this.#depth ? this.#object(bytes, at + 1, end, depth + 1) : nestedTooDeep;
      case 0x5b: // [
        return depth < this.#depth ? this.#array(bytes, at + 1, end, depth + 1) : nestedTooDeep;
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

  #object(bytes: Buffer, at: number, end: number, depth: number): number {
    const isTop = depth === 1;
    if (isTop) {
      this.isObject = true;
      this.bodyAt = at - this.#start;
    }
    let commaAt = none;
    at = spaceEnd(bytes, at, end);
    if (byteAt(bytes, at, end) === closingBrace) return at + 1;
    for (;;) {
      const nameAt = at;
      if (byteAt(bytes, at, end) !== quote) return malformed;
      at = stringEnd(bytes, at + 1, end);
      if (at < 0) return at;
      const member = isTop ? this.#watched(bytes, nameAt + 1, at - 1) : undefined;
      at = spaceEnd(bytes, at, end);
      if (byteAt(bytes, at, end) !== colon) return malformed;
      const valueAt = spaceEnd(bytes, at + 1, end);
      const valueEnd = this.#value(bytes, valueAt, end, depth);
      if (valueEnd < 0) return valueEnd;
      at = spaceEnd(bytes, valueEnd, end);
      const next = byteAt(bytes, at, end);
      if (isTop) this.memberCount++;
      if (member !== undefined) {
        if (member.present) this.#hasDuplicate = true;
        const start = this.#start;
        member.present = true;
        member.at = nameAt - start;
        member.valueAt = valueAt - start;
        member.valueEnd = valueEnd - start;
        member.commaBefore = commaAt === none ? none : commaAt - start;
        member.commaAfter = next === comma ? at - start : none;
      }
      if (next === closingBrace) return at + 1;
      if (next !== comma) return malformed;
      commaAt = at;
      at = spaceEnd(bytes, at + 1, end);
    }
  }

  #array(bytes: Buffer, at: number, end: number, depth: number): number {
    at = spaceEnd(bytes, at, end);
    if (byteAt(bytes, at, end) === closingBracket) return at + 1;
    for (;;) {
      at = this.#value(bytes, at, end, depth);
      if (at < 0) return at;
      at = spaceEnd(bytes, at, end);
      const next = byteAt(bytes, at, end);
      if (next === closingBracket) return at + 1;
      if (next !== comma) return malformed;
      at = spaceEnd(bytes, at + 1, end);
    }
  }

  /** The watched member whose name stands in `bytes[at, end)`. */
  #watched(bytes: Buffer, at: number, end: number): Member | undefined {
    for (const member of this.#members) if (spells(bytes, at, end, member.codePoints)) return member;
    return undefined;
  }
}

const quote = 0x22;
const comma = 0x2c;
const colon = 0x3a;
const backslash = 0x5c;
const closingBracket = 0x5d;
const letterU = 0x75;
const closingBrace = 0x7d;

/** 1 for bytes that stand for themselves in strings: looked up, which reads a long string at 1.4 instead of 1.8 ns a byte. */
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

/** 0, which is nowhere allowed in JSON, where the text has ended. */
function byteAt(bytes: Buffer, at: number, end: number): number {
  return at < end ? bytes[at]! : 0;
}

function spaceEnd(bytes: Buffer, at: number, end: number): number {
  while (at < end) {
    const byte = bytes[at]!;
    if (byte !== 0x20 && byte !== 0x0a && byte !== 0x0d && byte !== 0x09) break;
    at++;
  }
  return at;
}

/** @param at behind the opening quote; the answer is behind the closing one */
function stringEnd(bytes: Buffer, at: number, end: number): number {
  for (;;) {
    while (at < end && isPlain[bytes[at]!] === 1) at++;
    if (at >= end) return malformed;
    const byte = bytes[at++]!;
    if (byte === quote) return at;
    if (byte === backslash) at = escapeEnd(bytes, at, end);
    else at = byte < 0x20 ? malformed : utf8End(bytes, at, end, byte);
    if (at < 0) return at;
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
