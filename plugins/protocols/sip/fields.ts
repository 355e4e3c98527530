/**
 * Readers for the header fields and URIs that routing depends on (RFC 3261 sections 20 and 25.1). Each one reads into
 * its own fields, places in the buffer, so that a message costs no allocation. A place of 0: the part is not there.
 */
import * as bytewise from './bytes.ts';
import type { ByteClass } from './characters.ts';
import * as characters from './characters.ts';

// See characters.ts for the reason.
const {
  SPACE,
  QUOTE,
  BACKSLASH,
  COMMA,
  COLON,
  SEMICOLON,
  LESS,
  EQUALS,
  GREATER,
  QUESTION,
  AT,
  classOf,
  isTokenByte,
  isDigit,
  ascii,
} = characters;
const {
  isBlank,
  skipBlanks,
  trimBlanks,
  skipClass,
  skipInLine,
  skipToken,
  skipQuoted,
  isWord,
  beginsWith,
  isSame,
  readDecimal,
  wordOf,
} = bytewise;

const words = {
  branch: ascii('branch'),
  lr: ascii('lr'),
  ob: ascii('ob'),
  received: ascii('received'),
  rport: ascii('rport'),
  sip: ascii('sip'),
  sips: ascii('sips'),
  tag: ascii('tag'),
  version: ascii('2.0'),
} as const;

/** The name of our own parameter in Via and in the URIs of Record-Route and Path; its value is a token. */
export const tokenParameter = 'pm';
const tokenWord = ascii(tokenParameter);

// What is looked for four bytes at a time.
const sipSlash = wordOf('SIP/');
const versionSlash = wordOf('2.0/');
const branchStart = wordOf(';bra');
const branchRest = wordOf('nch=');
export const tokenMark: number = wordOf(`;${tokenParameter}=`);
/** Makes the letters of the mark small. */
export const smallInMark = 0x00202000;
const smallInStart = 0x20202000;
const smallInRest = 0x00202020;

const DOT = 0x2e;
const SLASH = 0x2f;
const LEFT_BRACKET = 0x5b;
const RIGHT_BRACKET = 0x5d;

const DEL = 0x7f;
const isFault = (byte: number) => byte === QUOTE || byte === LESS || byte === GREATER;
/** A value without quotes: a token, a host, or what a URI allows there. */
const isBareValue: ByteClass = classOf(
  (byte) =>
    !(byte <= SPACE || byte === DEL || byte === SEMICOLON || byte === COMMA || byte === QUESTION || isFault(byte)),
);
/** What may stand between angle brackets. */
const isBracketed: ByteClass = classOf((byte) => byte > SPACE && byte !== BACKSLASH && !isFault(byte));
/** What may stand in a Request-URI. */
export const isUriByte: ByteClass = classOf((byte) => byte > SPACE && byte !== DEL && !isFault(byte));
/** What stands in an address without angle brackets. */
const isBareUriByte: ByteClass = classOf((byte) => isUriByte[byte] === 1 && byte !== BACKSLASH);
/** What usual display names hold between their quotes. */
const isUsualName: ByteClass = classOf((byte) => byte >= SPACE && byte !== QUOTE && byte !== BACKSLASH);
const isNotAt: ByteClass = classOf((byte) => byte !== AT);

/** Goes through `;name=value;name` of a header field or a URI. */
class Parameters {
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
function nextValue(bytes: Buffer, at: number, end: number): number {
  at = skipBlanks(bytes, at, end);
  return at < end && bytes[at] === COMMA ? skipBlanks(bytes, at + 1, end) : 0;
}

/** `host` with its brackets if it is an IPv6 address. */
function skipHost(bytes: Buffer, at: number, end: number): number {
  if (at < end && bytes[at] === LEFT_BRACKET) {
    const close = bytes.indexOf(RIGHT_BRACKET, at);
    return close < 0 || close >= end ? at : close + 1;
  }
  return skipToken(bytes, at, end);
}

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

  /**
   * @param view of `bytes`
   * @param end behind the CR LF of its line
   * @returns false if it is malformed or a parameter that matters stands there twice
   */
  read(bytes: Buffer, view: DataView, at: number, end: number): boolean {
    return this.#readUsual(bytes, view, at, end) || this.#readAny(bytes, at, end);
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
    while (bytes[at] === SEMICOLON) {
      const word = at + 8 <= end ? view.getInt32(at, true) : 0;
      if (
        (word | smallInStart) === branchStart &&
        (view.getInt32(at + 4, true) | smallInRest) === branchRest &&
        this.branchStart === 0
      ) {
        this.branchStart = at + 8;
        this.branchEnd = at = skipInLine(isBareValue, bytes, at + 8);
        if (at === this.branchStart) return false;
        continue;
      }
      if ((word | smallInMark) === tokenMark && this.tokenStart === 0) {
        this.tokenStart = at + 4;
        this.tokenEnd = at = skipInLine(isBareValue, bytes, at + 4);
        if (at === this.tokenStart) return false;
        continue;
      }
      const nameStart = ++at;
      while (isTokenByte[bytes[at]!] === 1) at++;
      const nameEnd = at;
      let valueStart = 0;
      if (bytes[at] === EQUALS) {
        valueStart = at + 1;
        at = skipInLine(isBareValue, bytes, valueStart);
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
      const { tag } = words;
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
      if (!parameters.is(words.tag)) continue;
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

/** A SIP or SIPS URI (section 19.1.1). */
export class Uri {
  isSips = false;
  userStart = 0;
  userEnd = 0;
  hostStart = 0;
  hostEnd = 0;
  /** 0: none is given. */
  port = 0;
  tokenStart = 0;
  tokenEnd = 0;
  /** It has the parameter `lr`: its server is a loose router (section 19.1.1). */
  isLoose = false;
  /** It has the parameter `ob`, which our Path has (RFC 5626 section 5.1). */
  isOutbound = false;

  /** @returns false if it is malformed, or of another scheme */
  read(bytes: Buffer, start: number, end: number): boolean {
    this.userStart = this.userEnd = this.port = this.tokenStart = this.tokenEnd = 0;
    this.isLoose = this.isOutbound = false;
    const schemeEnd = skipToken(bytes, start, end);
    if (schemeEnd === end || bytes[schemeEnd] !== COLON) return false;
    this.isSips = isWord(bytes, start, schemeEnd, words.sips);
    if (!this.isSips && !isWord(bytes, start, schemeEnd, words.sip)) return false;
    let at = schemeEnd + 1;
    // A user may hold `;` and `?` unescaped, but no part of a URI holds an `@` of its own.
    const atSign = skipClass(isNotAt, bytes, at, end);
    if (atSign < end) {
      this.userStart = at;
      this.userEnd = atSign;
      at = atSign + 1;
    }
    this.hostStart = at;
    this.hostEnd = at = skipHost(bytes, at, end);
    if (this.hostEnd === this.hostStart) return false;
    if (at < end && bytes[at] === COLON) {
      const portEnd = skipToken(bytes, at + 1, end);
      this.port = readDecimal(bytes, at + 1, portEnd, 5);
      if (this.port <= 0) return false;
      at = portEnd;
    }
    parameters.open(bytes, at, end);
    while (parameters.next()) {
      if (parameters.is(tokenWord)) {
        if (parameters.valueStart === 0 || this.tokenStart > 0) return false;
        this.tokenStart = parameters.valueStart;
        this.tokenEnd = parameters.valueEnd;
      } else if (parameters.is(words.lr)) this.isLoose = true;
      else if (parameters.is(words.ob)) this.isOutbound = true;
    }
    return parameters.at === end || bytes[parameters.at] === QUESTION;
  }

  /** Takes over what is known of a URI without reading it. */
  set(hostStart: number, hostEnd: number, port: number, tokenStart: number, tokenEnd: number): void {
    this.hostStart = hostStart;
    this.hostEnd = hostEnd;
    this.port = port;
    this.tokenStart = tokenStart;
    this.tokenEnd = tokenEnd;
    this.isOutbound = false;
  }

  /** Whether it has the host and port of another URI in the same bytes. */
  hasAddressOf(bytes: Buffer, other: Uri): boolean {
    return (
      this.port === other.port && isSame(bytes, this.hostStart, this.hostEnd, bytes, other.hostStart, other.hostEnd)
    );
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

/** Schemes of Request-URIs that are passed on; a server behind us may know what to do with them. */
const knownSchemes = ['sip:', 'sips:', 'tel:', 'urn:'].map(ascii);

export function hasKnownScheme(bytes: Buffer, start: number, end: number): boolean {
  for (const scheme of knownSchemes) {
    if (beginsWith(bytes, start, end, scheme)) return true;
  }
  return false;
}
