/** Reading ASCII in place: classes of bytes (RFC 3261 section 25.1) and comparisons that make no string. */

export const CR = 13;
export const LF = 10;
export const SPACE = 32;
export const TAB = 9;
export const QUOTE = 0x22;
const BACKSLASH = 0x5c;
export const COMMA = 0x2c;
export const COLON = 0x3a;
export const SEMICOLON = 0x3b;
export const LESS = 0x3c;
export const EQUALS = 0x3d;
export const GREATER = 0x3e;
export const QUESTION = 0x3f;
export const AT = 0x40;

/** 1 for the bytes of a `token`: header names, methods, parameter names. */
export const isTokenByte = new Uint8Array(256);
for (const byte of Buffer.from("-.!%*_+`'~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ", 'latin1')) {
  isTokenByte[byte] = 1;
}

const lowerCase = Uint8Array.from({ length: 256 }, (_, byte) => (byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte));

/** Blanks between the parts of a value: CR and LF stand there only where a line is folded. */
export function isBlank(byte: number): boolean {
  return byte === SPACE || byte === TAB || byte === CR || byte === LF;
}

export function skipBlanks(bytes: Buffer, at: number, end: number): number {
  while (at < end && isBlank(bytes[at]!)) at++;
  return at;
}

/** Where `bytes[start, end)` ends without the blanks at its end. */
export function trimBlanks(bytes: Buffer, start: number, end: number): number {
  while (end > start && isBlank(bytes[end - 1]!)) end--;
  return end;
}

export function skipToken(bytes: Buffer, at: number, end: number): number {
  while (at < end && isTokenByte[bytes[at]!] === 1) at++;
  return at;
}

/** Where the quoted string at `at` ends, its closing quote included; -1 if it has none or holds a bare NUL. */
export function skipQuoted(bytes: Buffer, at: number, end: number): number {
  for (at++; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === QUOTE) return at + 1;
    if (byte === BACKSLASH) at++;
    else if (byte === 0) return -1;
  }
  return -1;
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

export function ascii(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

const hexDigits = ascii('0123456789abcdef');

/** Writes 16 hexadecimal digits; answers where they end. */
export function writeHex(target: Buffer, at: number, high: number, low: number): number {
  for (let shift = 28; shift >= 0; shift -= 4) target[at++] = hexDigits[(high >>> shift) & 15]!;
  for (let shift = 28; shift >= 0; shift -= 4) target[at++] = hexDigits[(low >>> shift) & 15]!;
  return at;
}
