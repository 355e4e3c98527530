/** Reading ASCII in place: comparisons and steps that make no string. */
import type { ByteClass } from './characters.ts';
import * as characters from './characters.ts';

const { CR, LF, SPACE, TAB, QUOTE, BACKSLASH, classOf, isTokenByte, ascii } = characters;

/** The bytes of a quoted string, including folds, that need no closer look. */
const isQuotable: ByteClass = classOf((byte) => byte !== QUOTE && byte !== BACKSLASH && byte !== 0);

const lowerCase = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte));

/** Blanks between the parts of a value: CR and LF stand there only where a line is folded. */
export function isBlank(byte: number): boolean {
  return byte <= SPACE && (byte === SPACE || byte === TAB || byte === CR || byte === LF);
}

export function skipBlanks(bytes: Buffer, at: number, end: number): number {
  while (at < end && isBlank(bytes[at]!)) at++;
  return at;
}

/** The end of `bytes[start, end)` without trailing blanks. */
export function trimBlanks(bytes: Buffer, start: number, end: number): number {
  while (end > start && isBlank(bytes[end - 1]!)) end--;
  return end;
}

/** Where the bytes from `at` that belong to a class end. Four at a time take 0.8 ns a byte, one by one 1.8 ns. */
export function skipClass(belongs: ByteClass, bytes: Buffer, at: number, end: number): number {
  while (
    at + 4 <= end &&
    (belongs[bytes[at]!]! & belongs[bytes[at + 1]!]! & belongs[bytes[at + 2]!]! & belongs[bytes[at + 3]!]!) === 1
  ) {
    at += 4;
  }
  while (at < end && belongs[bytes[at]!] === 1) at++;
  return at;
}

/** The same where a byte that does not belong is sure to come before the bytes end: a class of none but what a line holds. */
export function skipInLine(belongs: ByteClass, bytes: Buffer, at: number): number {
  while (
    (belongs[bytes[at]!]! & belongs[bytes[at + 1]!]! & belongs[bytes[at + 2]!]! & belongs[bytes[at + 3]!]!) ===
    1
  ) {
    at += 4;
  }
  while (belongs[bytes[at]!] === 1) at++;
  return at;
}

export function skipToken(bytes: Buffer, at: number, end: number): number {
  return skipClass(isTokenByte, bytes, at, end);
}

/** Where the quoted string at `at` ends, its closing quote included; -1 if it has none or holds a bare NUL. */
export function skipQuoted(bytes: Buffer, at: number, end: number): number {
  for (at++; ; at += 2) {
    at = skipClass(isQuotable, bytes, at, end);
    if (at >= end || bytes[at] === 0) return -1;
    if (bytes[at] === QUOTE) return at + 1;
  }
}

/** Whether `bytes[start, end)` is `word` in any letter case. `word` is in lower case. */
export function isWord(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  return end - start === word.length && beginsWith(bytes, start, end, word);
}

/** Whether `bytes[start, end)` begins with `word` in any letter case. `word` is in lower case. */
export function beginsWith(bytes: Buffer, start: number, end: number, word: Uint8Array): boolean {
  if (end - start < word.length) return false;
  for (let i = 0; i < word.length; i++) {
    if (lowerCase[bytes[start + i]!] !== word[i]) return false;
  }
  return true;
}

/** Whether `bytes[start, end)` are exactly `other`, or the part of it from `otherStart` to `otherEnd`. */
export function isSame(
  bytes: Buffer,
  start: number,
  end: number,
  other: Uint8Array,
  otherStart = 0,
  otherEnd: number = other.length,
): boolean {
  if (end - start !== otherEnd - otherStart) return false;
  for (let at = start; at < end; at++) {
    if (bytes[at] !== other[otherStart + at - start]) return false;
  }
  return true;
}

/** The decimal number in `bytes[start, end)`; -1 if that is not 1 to `digits` digits. */
export function readDecimal(bytes: Buffer, start: number, end: number, digits: number): number {
  if (start >= end || end - start > digits) return -1;
  let value = 0;
  for (let at = start; at < end; at++) {
    const digit = bytes[at]! - 0x30;
    if (digit < 0 || digit > 9) return -1;
    value = value * 10 + digit;
  }
  return value;
}

/** Four characters as a DataView reads them. */
export function wordOf(text: string): number {
  return ascii(text).readInt32LE();
}

const hexDigits = ascii('0123456789abcdef');

/** Writes 16 hexadecimal digits; answers where they end. */
export function writeHex(target: Buffer, at: number, high: number, low: number): number {
  for (let shift = 28; shift >= 0; shift -= 4) target[at++] = hexDigits[(high >>> shift) & 15]!;
  for (let shift = 28; shift >= 0; shift -= 4) target[at++] = hexDigits[(low >>> shift) & 15]!;
  return at;
}
