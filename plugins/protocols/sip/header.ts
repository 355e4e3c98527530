/**
 * The header reader. Fields are looked into only as far as routing needs them, once the message is whole (RFC 3261 section 16.3,
 * "reasonable syntax"), and what matters of them is noted: no strings, no allocation.
 */
import { KnownBytes, type Refusal } from 'pointsman';
import { Address, countValues } from './address.ts';
import * as bytewise from './bytes.ts';
import * as characters from './characters.ts';
import { flaws } from './flaws.ts';
import { HeaderLines, sipSlash } from './header-lines.ts';
import * as names from './names.ts';
import { hasKnownScheme, isUriByte } from './uri.ts';
import { Via } from './via.ts';

// See characters.ts for the reason.
const { SPACE, COLON, DEL, classOf, isDigit, ascii } = characters;
const { isBlank, skipBlanks, skipInLine, skipToken, isSame, readDecimal } = bytewise;
const { field, readMethod } = names;

// Limits of the protocol, beside the listener's.
const viaValues = 70;
const routeValues = 64;
/** How long values of the two are at least, with the comma or line end behind them. */
const leastViaBytes = 'SIP/2.0/T h,'.length;
const leastRouteBytes = '<sip:h>,'.length;
/** A CSeq number is below 2^31 (section 8.1.1.5); leading zeros do not count. */
const largestCseq = 0x7fffffff;
const largestMaxForwards = 255;

const versionDigits = ascii('2.0');
const versionSpace = new KnownBytes(ascii('2.0 '));
/** How nearly every Request-URI begins. */
const usualScheme = new KnownBytes(ascii('sip:'));
const isCallIdByte = classOf((byte) => byte > SPACE && byte !== DEL);

const anyVia = new Via();

export class Header extends HeaderLines {
  /** Of responses: 100 to 699. */
  status = 0;
  readonly via = new Via();
  readonly from = new Address();
  readonly to = new Address();
  callIdStart = 0;
  callIdEnd = 0;
  /** The number in CSeq. */
  cseqStart = 0;
  cseqEnd = 0;
  #cseqMethodStart = 0;
  /** -1: the field is missing. */
  maxForwards = -1;
  /** A reply to the request can be written that others can read: all that it copies is sound. Known once it is understood. */
  isAnswerable = false;

  #understood = false;
  #flaw: Refusal | undefined;

  override open(bytes: Buffer, start: number): void {
    super.open(bytes, start);
    this.#understood = this.isAnswerable = false;
  }

  /**
   * Looks into the fields that routing needs (section 16.3, "reasonable syntax"), once for each message.
   * @returns the first thing that is wrong with them
   */
  understand(): Refusal | undefined {
    if (!this.#understood) {
      this.#understood = true;
      // All of them are read, whatever is wrong with one: a reply copies the first of each, if they are sound.
      const startLine = this.#checkStartLine();
      const hasVia = this.#readVias();
      const via = hasVia && this.via.otherVersionStart === 0 ? undefined : flaws.via;
      const hasFrom = this.#readAddress(field.from, this.from);
      const from = hasFrom && this.counts[field.from] === 1 ? undefined : flaws.from;
      const hasTo = this.#readAddress(field.to, this.to);
      const to = hasTo && this.counts[field.to] === 1 ? undefined : flaws.to;
      const hasCallId = this.#readCallId();
      const callId = hasCallId && this.counts[field.callId] === 1 ? undefined : flaws.callId;
      const hasCseq = this.#readCseq();
      const cseq = hasCseq && this.#isCseqSound() ? undefined : flaws.cseq;
      const maxForwards = this.#readMaxForwards() ? undefined : flaws.maxForwards;
      this.#flaw = startLine ?? via ?? from ?? to ?? callId ?? cseq ?? maxForwards ?? this.#checkCounts();
      if (this.isShort) this.#flaw ??= flaws.shortBody;
      this.isAnswerable = hasVia && hasFrom && hasTo && hasCallId && hasCseq;
    }
    return this.#flaw;
  }

  /** The scheme and version come last: a malformed line is none of a known version. */
  #checkStartLine(): Refusal | undefined {
    const { bytes } = this;
    const end = this.linesStart - 2;
    if (!this.isRequest) {
      const at = this.start + sipSlash.length;
      const code = at + versionSpace.length;
      this.status = readDecimal(bytes, code, Math.min(code + 3, end), 3);
      const isSound =
        versionSpace.isAt(this.view, at, end) &&
        this.status >= 100 &&
        this.status < 700 &&
        (code + 3 === end || bytes[code + 3] === SPACE);
      return isSound ? undefined : flaws.statusLine;
    }
    const { uriStart, uriEnd } = this;
    if (skipInLine(isUriByte, bytes, uriStart) !== uriEnd) return flaws.requestLine;
    if (this.hasUsualVersion && usualScheme.isAt(this.view, uriStart, uriEnd - 1)) return undefined;
    const schemeEnd = skipToken(bytes, uriStart, uriEnd);
    if (schemeEnd === uriStart || bytes[schemeEnd] !== COLON || schemeEnd + 1 >= uriEnd) return flaws.requestLine;
    const version = uriEnd + 1 + sipSlash.length;
    for (let at = version; at < end; at++) {
      if (isBlank(bytes[at]!)) return flaws.requestLine;
    }
    if (!isSame(bytes, version, end, versionDigits)) return flaws.version;
    return hasKnownScheme(bytes, uriStart, uriEnd) ? undefined : flaws.scheme;
  }

  /** In requests all of them: servers read them all, and Kamailio closes the link for one that it cannot read. */
  #readVias(): boolean {
    const { bytes, view, via } = this;
    let line = this.first[field.via]!;
    if (line < 0 || !via.read(bytes, view, this.valueStarts[line]!, this.lineEnds[line]!)) return false;
    if (via.isOdd) this.oddity = flaws.oddVia;
    if (!this.isRequest || (via.next === 0 && this.counts[field.via] === 1)) return true;
    for (let at = via.next; line >= 0; at = line < 0 ? 0 : this.valueStarts[line]!) {
      for (; at > 0; at = anyVia.next) {
        if (!anyVia.read(bytes, view, at, this.lineEnds[line]!)) return false;
        if (anyVia.isOdd) this.oddity = flaws.oddVia;
      }
      line = this.nextLine(line);
    }
    return true;
  }

  #readAddress(id: number, address: Address): boolean {
    const line = this.first[id]!;
    if (line < 0) return false;
    const isSound = address.read(this.bytes, this.valueStarts[line]!, this.lineEnds[line]!);
    return isSound && address.next === 0;
  }

  #readCallId(): boolean {
    const line = this.first[field.callId]!;
    if (line < 0) return false;
    this.callIdStart = this.valueStart(line);
    this.callIdEnd = this.valueEnd(line);
    if (this.callIdEnd <= this.callIdStart) return false;
    return skipInLine(isCallIdByte, this.bytes, this.callIdStart) === this.callIdEnd;
  }

  #readCseq(): boolean {
    const { bytes } = this;
    const line = this.first[field.cseq]!;
    if (line < 0) return false;
    const end = this.valueEnd(line);
    this.cseqStart = this.valueStart(line);
    let at = this.cseqStart;
    while (isDigit[bytes[at]!] === 1) at++;
    this.cseqEnd = at;
    if (at === this.cseqStart) return false;
    const name = skipBlanks(bytes, at, end);
    this.#cseqMethodStart = name;
    return name > at && name < end && skipToken(bytes, name, end) === end;
  }

  #isCseqSound(): boolean {
    const { bytes } = this;
    if (this.counts[field.cseq] !== 1) return false;
    // Nine digits are below 2^31 whatever they are.
    if (this.cseqEnd > this.cseqStart + 9 && !this.#isSequence()) return false;
    const end = this.valueEnd(this.first[field.cseq]!);
    if (this.isRequest) return isSame(bytes, this.#cseqMethodStart, end, bytes, this.methodStart, this.methodEnd);
    this.method = readMethod(bytes, this.#cseqMethodStart, end);
    return true;
  }

  #isSequence(): boolean {
    let digits = this.cseqStart;
    while (digits < this.cseqEnd - 1 && this.bytes[digits] === 0x30) digits++;
    const number = readDecimal(this.bytes, digits, this.cseqEnd, 10);
    return number >= 0 && number <= largestCseq;
  }

  #readMaxForwards(): boolean {
    this.maxForwards = -1;
    const count = this.counts[field.maxForwards]!;
    if (count === 0) return true;
    const line = this.first[field.maxForwards]!;
    this.maxForwards = readDecimal(this.bytes, this.valueStart(line), this.valueEnd(line), 10);
    return count === 1 && this.maxForwards >= 0 && this.maxForwards <= largestMaxForwards;
  }

  /** Values are counted only where there is room for too many. A response has those that we have added to the request. */
  #checkCounts(): Refusal | undefined {
    const mostVias = this.isRequest ? viaValues : viaValues + 1;
    const mostRoutes = this.isRequest ? routeValues : routeValues + 2;
    let viaBytes = 0;
    let routeBytes = 0;
    for (let line = 0; line < this.lineCount; line++) {
      const id = this.fields[line]!;
      if (id > field.recordRoute) continue;
      const bytes = this.lineEnds[line]! - this.valueStarts[line]!;
      if (id === field.via) viaBytes += bytes;
      else routeBytes += bytes;
    }
    if (viaBytes <= mostVias * leastViaBytes && routeBytes <= mostRoutes * leastRouteBytes) return undefined;
    const isTooMuch =
      this.#values(field.via) > mostVias || this.#values(field.route) + this.#values(field.recordRoute) > mostRoutes;
    return isTooMuch ? flaws.tooManyValues : undefined;
  }

  #values(id: number): number {
    let values = 0;
    for (let line = this.first[id]!; line >= 0; line = this.nextLine(line)) {
      values += countValues(this.bytes, this.valueStarts[line]!, this.lineEnds[line]!);
    }
    return values;
  }
}
