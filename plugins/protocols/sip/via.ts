/** The reader of Via (RFC 3261 section 20.42). A place of 0: the part is not there. */
import * as bytewise from './bytes.ts';
import * as characters from './characters.ts';
import * as common from './parameters.ts';
import { Parameters } from './parameters.ts';

// See characters.ts for the reason.
const { SPACE, QUOTE, COLON, SEMICOLON, EQUALS, classOf, isTokenByte, isDigit, ascii } = characters;
const { isBlank, skipBlanks, trimBlanks, skipClass, skipInLine, skipToken, isSame, isWord, readDecimal, wordOf } =
  bytewise;
const { isBareValue, nextValue, skipHost, smallInMark, tokenMark, tokenWord } = common;

const DOT = 0x2e;
const SLASH = 0x2f;

/** How branches begin that no other transaction has (section 8.1.1.7). */
export const magicCookie: Buffer = ascii('z9hG4bK');

const words = {
  branch: ascii('branch'),
  received: ascii('received'),
  rport: ascii('rport'),
  sip: ascii('sip'),
  version: ascii('2.0'),
} as const;

// What is looked for four bytes at a time, and what makes letters small.
const sipSlash = wordOf('SIP/');
const versionSlash = wordOf('2.0/');
const branchStart = wordOf(';bra');
const smallInStart = 0x20202000;
const branchRest = wordOf('nch=');
const smallInRest = 0x00202020;

const isUsualValue = classOf((byte) => isBareValue[byte] === 1 && byte !== EQUALS);

const parameters = new Parameters();

/** One value of a Via header field (section 20.42). */
export class Via {
  start = 0;
  /** Behind its last parameter. */
  end = 0;
  /** Where the next value in the same header line begins; 0 if there is none. */
  next = 0;
  /** Where its version stands, if that is another than 2.0; 0: it is not. */
  otherVersionStart = 0;
  hostStart = 0;
  hostEnd = 0;
  /** Behind the port; equals `hostEnd` where there is none. `hostStart` to here is the sent-by. */
  sentByEnd = 0;
  branchStart = 0;
  branchEnd = 0;
  receivedStart = 0;
  receivedEnd = 0;
  /** Behind an `rport` that asks to be filled in (RFC 3581 section 4). */
  emptyRportEnd = 0;
  /** An `rport`, filled in or not: its sender wants its answers where it sends from (RFC 3581 section 3). */
  rportStart = 0;
  tokenStart = 0;
  tokenEnd = 0;
  /** Some parameter's value holds an `=`, which no server may write there (section 25.1), and not every server reads. */
  isOdd = false;

  /**
   * @param view of `bytes`
   * @param end behind the CR LF of its line
   * @returns false if it is malformed or a parameter that matters stands there twice
   */
  read(bytes: Buffer, view: DataView, at: number, end: number): boolean {
    return this.#readUsual(bytes, view, at, end) || this.#readAny(bytes, at, end);
  }

  /** A branch from before RFC 3261 may be that of others too (section 16.11), and so may the cookie alone (RFC 4475 section 3.2.1). */
  hasUniqueBranch(bytes: Buffer): boolean {
    const cookieEnd = this.branchStart + magicCookie.length;
    return this.branchEnd > cookieEnd && isSame(bytes, this.branchStart, cookieEnd, magicCookie);
  }

  /** Without blanks where none are usual, without quotes, without folds: a fifth of the time of `#readAny`. False if it is not like that. */
  #readUsual(bytes: Buffer, view: DataView, at: number, end: number): boolean {
    if (bytes[at] === SPACE) at++;
    this.start = at;
    if (at + 8 > end || view.getInt32(at, true) !== sipSlash || view.getInt32(at + 4, true) !== versionSlash)
      return false;
    at += 8;
    const transport = at;
    while (isTokenByte[bytes[at]!] === 1) at++;
    if (at === transport || bytes[at++] !== SPACE) return false;
    this.hostStart = at;
    this.hostEnd = this.sentByEnd = at = skipInLine(isTokenByte, bytes, at);
    if (at === this.hostStart) return false;
    if (bytes[at] === COLON) {
      const port = ++at;
      while (isDigit[bytes[at]!] === 1) at++;
      if (at === port || at - port > 5) return false;
      this.sentByEnd = at;
    }
    this.branchStart = this.branchEnd = this.receivedStart = this.receivedEnd = 0;
    this.emptyRportEnd = this.tokenStart = this.tokenEnd = 0;
    this.rportStart = this.otherVersionStart = 0;
    this.isOdd = false;
    while (bytes[at] === SEMICOLON) {
      const word = at + 8 <= end ? view.getInt32(at, true) : 0;
      if (
        (word | smallInStart) === branchStart &&
        (view.getInt32(at + 4, true) | smallInRest) === branchRest &&
        this.branchStart === 0
      ) {
        this.branchStart = at + 8;
        this.branchEnd = at = this.#skipValue(bytes, at + 8);
        if (at === this.branchStart) return false;
        continue;
      }
      if ((word | smallInMark) === tokenMark && this.tokenStart === 0) {
        this.tokenStart = at + 4;
        this.tokenEnd = at = this.#skipValue(bytes, at + 4);
        if (at === this.tokenStart) return false;
        continue;
      }
      const nameStart = ++at;
      while (isTokenByte[bytes[at]!] === 1) at++;
      const nameEnd = at;
      let valueStart = 0;
      if (bytes[at] === EQUALS) {
        valueStart = at + 1;
        at = this.#skipValue(bytes, valueStart);
      }
      if (nameEnd === nameStart || at === valueStart) return false;
      if (!this.#keep(bytes, nameStart, nameEnd, valueStart, at)) return false;
    }
    this.end = at;
    this.next = 0;
    if (at + 2 === end) return true;
    this.next = nextValue(bytes, at, end);
    return this.next > 0 && this.next < end;
  }

  /** Where the value at `at` ends, which has no quotes. */
  #skipValue(bytes: Buffer, at: number): number {
    at = skipInLine(isUsualValue, bytes, at);
    if (bytes[at] !== EQUALS) return at;
    this.isOdd = true;
    return skipInLine(isBareValue, bytes, at);
  }

  /** Notes a parameter that matters; false if it may not be there, or not so. */
  #keep(bytes: Buffer, nameStart: number, nameEnd: number, valueStart: number, valueEnd: number): boolean {
    switch (nameEnd - nameStart) {
      case words.branch.length:
        if (!isWord(bytes, nameStart, nameEnd, words.branch)) return true;
        if (valueStart === 0 || this.branchStart > 0) return false;
        this.branchStart = valueStart;
        this.branchEnd = valueEnd;
        return true;
      case tokenWord.length:
        if (!isWord(bytes, nameStart, nameEnd, tokenWord)) return true;
        if (valueStart === 0 || this.tokenStart > 0) return false;
        this.tokenStart = valueStart;
        this.tokenEnd = valueEnd;
        return true;
      case words.rport.length:
        if (!isWord(bytes, nameStart, nameEnd, words.rport)) return true;
        this.rportStart = nameStart;
        if (valueStart === 0) this.emptyRportEnd = nameEnd;
        return true;
      case words.received.length:
        if (!isWord(bytes, nameStart, nameEnd, words.received)) return true;
        this.receivedStart = valueStart;
        this.receivedEnd = valueEnd;
        return true;
      default:
        return true;
    }
  }

  #readAny(bytes: Buffer, at: number, end: number): boolean {
    this.branchStart = this.branchEnd = this.receivedStart = this.receivedEnd = 0;
    this.emptyRportEnd = this.tokenStart = this.tokenEnd = 0;
    this.rportStart = this.otherVersionStart = 0;
    this.isOdd = false;
    this.start = at = skipBlanks(bytes, at, end);
    at = this.#readProtocol(bytes, at, end);
    if (at < 0) return false;
    this.hostStart = at;
    this.hostEnd = this.sentByEnd = at = skipHost(bytes, at, end);
    if (this.hostEnd === this.hostStart) return false;
    at = skipBlanks(bytes, at, end);
    if (at < end && bytes[at] === COLON) {
      at = skipBlanks(bytes, at + 1, end);
      this.sentByEnd = skipToken(bytes, at, end);
      if (readDecimal(bytes, at, this.sentByEnd, 5) < 0) return false;
      at = this.sentByEnd;
    }
    parameters.open(bytes, trimBlanks(bytes, this.sentByEnd, at), end);
    while (parameters.next()) {
      const { nameStart, nameEnd, valueStart, valueEnd } = parameters;
      const isQuoted = bytes[valueStart] === QUOTE;
      if (!isQuoted && skipClass(isUsualValue, bytes, valueStart, valueEnd) < valueEnd) this.isOdd = true;
      if (!this.#keep(bytes, nameStart, nameEnd, valueStart, valueEnd)) return false;
    }
    this.end = parameters.at;
    this.next = nextValue(bytes, this.end, end);
    return this.next < end && parameters.endsValue();
  }

  /** Reads `SIP / 2.0 / transport` and the blank behind it; answers where the sent-by begins, or -1. */
  #readProtocol(bytes: Buffer, at: number, end: number): number {
    let wordEnd = skipToken(bytes, at, end);
    if (!isWord(bytes, at, wordEnd, words.sip)) return -1;
    at = skipSlash(bytes, wordEnd, end);
    if (at < 0) return -1;
    wordEnd = skipToken(bytes, at, end);
    if (!isWord(bytes, at, wordEnd, words.version)) {
      if (!isVersion(bytes, at, wordEnd)) return -1;
      this.otherVersionStart = at;
    }
    at = skipSlash(bytes, wordEnd, end);
    if (at < 0) return -1;
    wordEnd = skipToken(bytes, at, end);
    if (wordEnd === at || wordEnd === end || !isBlank(bytes[wordEnd]!)) return -1;
    return skipBlanks(bytes, wordEnd, end);
  }
}

/** Digits, a dot, and digits again. */
function isVersion(bytes: Buffer, start: number, end: number): boolean {
  const dot = skipClass(isDigit, bytes, start, end);
  const isMinor = dot + 1 < end && skipClass(isDigit, bytes, dot + 1, end) === end;
  return dot > start && bytes[dot] === DOT && isMinor;
}

function skipSlash(bytes: Buffer, at: number, end: number): number {
  at = skipBlanks(bytes, at, end);
  return at < end && bytes[at] === SLASH ? skipBlanks(bytes, at + 1, end) : -1;
}
