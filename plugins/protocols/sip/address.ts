/** The reader of From, To and Route (RFC 3261 sections 20.10 and 20.34). A place of 0: the part is not there. */
import * as bytewise from './bytes.ts';
import type { ByteClass } from './characters.ts';
import * as characters from './characters.ts';
import * as common from './parameters.ts';
import { Parameters } from './parameters.ts';
import { isUriByte } from './uri.ts';

// See characters.ts for the reason.
const { SPACE, QUOTE, BACKSLASH, COMMA, SEMICOLON, LESS, EQUALS, GREATER, classOf, ascii } = characters;
const { skipBlanks, trimBlanks, skipClass, skipInLine, skipQuoted } = bytewise;
const { isBareValue, isFault, nextValue } = common;

/** What may stand between angle brackets. */
const isBracketed: ByteClass = classOf((byte) => byte > SPACE && byte !== BACKSLASH && !isFault(byte));
/** What stands in an address without angle brackets. */
const isBareUriByte: ByteClass = classOf((byte) => isUriByte[byte] === 1 && byte !== BACKSLASH);
/** What usual display names hold between their quotes. */
const isUsualName: ByteClass = classOf((byte) => byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH);

const tag = ascii('tag');

const parameters = new Parameters();

/** A `name-addr` or `addr-spec` with its parameters: one value of From, To or Route (sections 20.10 and 20.34). */
export class Address {
  start = 0;
  /** Behind its last parameter. */
  end = 0;
  /** Where the next value in the same header line begins; 0 if there is none. */
  next = 0;
  uriStart = 0;
  uriEnd = 0;
  tagStart = 0;
  tagEnd = 0;

  /**
   * @param end behind the CR LF of its line
   * @returns false if it is malformed
   */
  read(bytes: Buffer, at: number, end: number): boolean {
    return this.#readUsual(bytes, at, end) || this.#readAny(bytes, at, end);
  }

  /** `"Name" <URI>;tag=x`, with or without name and tag: a third of the time of `#readAny`. False if it is not like that. */
  #readUsual(bytes: Buffer, at: number, end: number): boolean {
    if (bytes[at] === SPACE) at++;
    this.start = at;
    if (bytes[at] === QUOTE) {
      at = skipInLine(isUsualName, bytes, at + 1);
      if (bytes[at++] !== QUOTE || bytes[at++] !== SPACE) return false;
    }
    if (bytes[at] !== LESS) return false;
    this.uriStart = at + 1;
    this.uriEnd = at = skipInLine(isBracketed, bytes, at + 1);
    if (at === this.uriStart || bytes[at++] !== GREATER) return false;
    this.tagStart = this.tagEnd = 0;
    if (bytes[at] === SEMICOLON) {
      const isTag = bytes[at + 1] === tag[0] && bytes[at + 2] === tag[1] && bytes[at + 3] === tag[2];
      if (!isTag || bytes[at + 4] !== EQUALS) return false;
      this.tagStart = at + 5;
      this.tagEnd = at = skipInLine(isBareValue, bytes, at + 5);
      if (at === this.tagStart) return false;
    }
    this.end = at;
    this.next = 0;
    return at + 2 === end;
  }

  #readAny(bytes: Buffer, at: number, end: number): boolean {
    this.tagStart = this.tagEnd = 0;
    this.start = at = skipBlanks(bytes, at, end);
    at = this.#readUri(bytes, at, end);
    if (at < 0 || this.uriEnd === this.uriStart) return false;
    parameters.open(bytes, at, end);
    while (parameters.next()) {
      if (!parameters.is(tag)) continue;
      if (parameters.valueStart === 0 || this.tagStart > 0) return false;
      this.tagStart = parameters.valueStart;
      this.tagEnd = parameters.valueEnd;
    }
    this.end = parameters.at;
    this.next = nextValue(bytes, this.end, end);
    return parameters.endsValue();
  }

  /** Reads the display name and the URI; answers where the parameters begin, or -1. */
  #readUri(bytes: Buffer, start: number, end: number): number {
    let at = start;
    for (; at < end; at++) {
      const byte = bytes[at]!;
      if (byte === LESS) {
        this.uriStart = at + 1;
        this.uriEnd = skipClass(isBracketed, bytes, at + 1, end);
        return this.uriEnd < end && bytes[this.uriEnd] === GREATER ? this.uriEnd + 1 : -1;
      }
      if (byte === QUOTE) {
        at = skipQuoted(bytes, at, end) - 1;
        if (at < 0) return -1;
      } else if (byte === SEMICOLON || byte === COMMA) break;
      else if (byte === 0) return -1;
    }
    this.uriStart = start;
    this.uriEnd = trimBlanks(bytes, start, at);
    return skipClass(isBareUriByte, bytes, start, this.uriEnd) === this.uriEnd ? this.uriEnd : -1;
  }
}

/** How many values `bytes[start, end)` lists: commas in quotes or angle brackets do not count. */
export function countValues(bytes: Buffer, start: number, end: number): number {
  let count = 1;
  for (let at = start; at < end; at++) {
    const byte = bytes[at]!;
    if (byte === COMMA) count++;
    else if (byte === QUOTE) {
      at = skipQuoted(bytes, at, end) - 1;
      if (at < 0) return count;
    } else if (byte === LESS) {
      at = bytes.indexOf(GREATER, at);
      if (at < 0) return count;
    }
  }
  return count;
}
