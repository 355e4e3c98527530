/** The reader of SIP and SIPS URIs (RFC 3261 section 19.1.1). A place of 0: the part is not there. */
import * as bytewise from './bytes.ts';
import type { ByteClass } from './characters.ts';
import * as characters from './characters.ts';
import * as common from './parameters.ts';
import { Parameters } from './parameters.ts';

// See characters.ts for the reason.
const { SPACE, COLON, QUESTION, AT, DEL, classOf, ascii } = characters;
const { skipClass, skipToken, isWord, beginsWith, readDecimal } = bytewise;
const { isFault, skipHost, tokenWord } = common;

const words = { lr: ascii('lr'), ob: ascii('ob'), sip: ascii('sip'), sips: ascii('sips') } as const;

/** What may stand in a Request-URI. */
export const isUriByte: ByteClass = classOf((byte) => byte > SPACE && byte !== DEL && !isFault(byte));
const isNotAt: ByteClass = classOf((byte) => byte !== AT);

const parameters = new Parameters();

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

  /** Of a URI of ours that need not be read, as all of it is known but the token. */
  setToken(tokenStart: number, tokenEnd: number): void {
    this.tokenStart = tokenStart;
    this.tokenEnd = tokenEnd;
    this.isOutbound = false;
  }
}

/** Schemes of Request-URIs that are passed on; a server behind us may know what to do with them. */
const knownSchemes = ['sip:', 'sips:', 'tel:', 'urn:'].map(ascii);

export function hasKnownScheme(bytes: Buffer, start: number, end: number): boolean {
  for (const scheme of knownSchemes) {
    if (beginsWith(bytes, start, end, scheme)) return true;
  }
  return false;
}
