/** What header fields and URIs have in common: parameters, `;name=value` (RFC 3261 section 25.1), lists of values, hosts. */
import * as bytewise from './bytes.ts';
import type { ByteClass } from './characters.ts';
import * as characters from './characters.ts';

// See characters.ts for the reason.
const { SPACE, QUOTE, COMMA, SEMICOLON, LESS, EQUALS, GREATER, QUESTION, DEL, classOf, ascii } = characters;
const { skipBlanks, skipClass, skipToken, skipQuoted, isWord, wordOf } = bytewise;

const LEFT_BRACKET = 0x5b;
const RIGHT_BRACKET = 0x5d;

/** The name of our own parameter in Via and in the URIs of Record-Route and Path; its value is a token. */
export const tokenParameter = 'pm';
export const tokenWord: Buffer = ascii(tokenParameter);
/** How it begins, and what makes its letters small. */
export const tokenMark: number = wordOf(`;${tokenParameter}=`);
export const smallInMark = 0x00202000;

/** Ends a value, and may not stand where it does. */
export const isFault = (byte: number): boolean => byte === QUOTE || byte === LESS || byte === GREATER;
/** A value without quotes: a token, a host, or what a URI allows there. */
export const isBareValue: ByteClass = classOf(
  (byte) =>
    !(byte <= SPACE || byte === DEL || byte === SEMICOLON || byte === COMMA || byte === QUESTION || isFault(byte)),
);

/** Goes through `;name=value;name` of a header field or a URI. */
export class Parameters {
  nameStart = 0;
  nameEnd = 0;
  /** Of a quoted value, with its quotes; 0: the parameter has no value. */
  valueStart = 0;
  valueEnd = 0;
  /** Where the parameters end, once `next` has answered false. */
  at = 0;
  #bytes!: Buffer;
  #end = 0;

  open(bytes: Buffer, at: number, end: number): void {
    this.#bytes = bytes;
    this.at = at;
    this.#end = end;
  }

  /** Reads the next parameter; false at the end, which is in `at`, or where the bytes are no parameter. */
  next(): boolean {
    const bytes = this.#bytes;
    const end = this.#end;
    let at = skipBlanks(bytes, this.at, end);
    if (at === end || bytes[at] !== SEMICOLON) return false;
    const nameStart = skipBlanks(bytes, at + 1, end);
    const nameEnd = skipToken(bytes, nameStart, end);
    this.nameStart = nameStart;
    this.nameEnd = nameEnd;
    this.valueStart = this.valueEnd = 0;
    if (nameEnd === nameStart) return false;
    at = skipBlanks(bytes, nameEnd, end);
    if (at < end && bytes[at] === EQUALS) {
      at = skipBlanks(bytes, at + 1, end);
      const valueEnd = skipValue(bytes, at, end);
      if (valueEnd <= at) return false;
      this.valueStart = at;
      this.valueEnd = valueEnd;
      this.at = valueEnd;
    } else this.at = nameEnd;
    return true;
  }

  is(word: Uint8Array): boolean {
    return isWord(this.#bytes, this.nameStart, this.nameEnd, word);
  }

  /** Whether nothing but blanks and a comma (with another value behind it) follows the last parameter. */
  endsValue(): boolean {
    const at = skipBlanks(this.#bytes, this.at, this.#end);
    return at === this.#end || this.#bytes[at] === COMMA;
  }
}

/** Where the value at `at` ends; -1 if it is none. */
function skipValue(bytes: Buffer, at: number, end: number): number {
  const valueEnd = skipClass(isBareValue, bytes, at, end);
  if (valueEnd === end || !isFault(bytes[valueEnd]!)) return valueEnd;
  return valueEnd === at && bytes[at] === QUOTE ? skipQuoted(bytes, at, end) : -1;
}

/** Where the next value of a list begins, behind a comma at `at` and the blanks around it; 0 if there is none. */
export function nextValue(bytes: Buffer, at: number, end: number): number {
  at = skipBlanks(bytes, at, end);
  return at < end && bytes[at] === COMMA ? skipBlanks(bytes, at + 1, end) : 0;
}

/** `host` with its brackets if it is an IPv6 address. */
export function skipHost(bytes: Buffer, at: number, end: number): number {
  if (at < end && bytes[at] === LEFT_BRACKET) {
    const close = bytes.indexOf(RIGHT_BRACKET, at);
    return close < 0 || close >= end ? at : close + 1;
  }
  return skipToken(bytes, at, end);
}
