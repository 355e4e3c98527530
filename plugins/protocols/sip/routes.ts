/** The Route values at the top of a request that we have written ourselves (RFC 3261 section 16.4). */
import type { Message, Refusal } from 'pointsman';
import { Address } from './address.ts';
import { skipBlanks, skipClass } from './bytes.ts';
import { COMMA, classOf, GREATER } from './characters.ts';
import { flaws } from './flaws.ts';
import type { Header } from './header.ts';
import { field } from './names.ts';
import type { OwnAddress, Self } from './self.ts';
import { mayHoldToken, Rerouting } from './strict.ts';
import { Uri } from './uri.ts';

/** We record two routes at once, one for each side (RFC 5658), so two come back. */
const recordedAtOnce = 2;

/** Letters and digits, and nothing that ends a parameter. Names of backends may hold more. */
const isTokenText = classOf((byte) => /[0-9A-Za-z]/.test(String.fromCharCode(byte)));

export class OwnRoutes {
  /** How many there are; one that a strict router has put into the Request-URI is one of them. */
  count = 0;
  /** Those that we have recorded, of them: in front of them may stand what the client was configured with, which carries no token. */
  #recorded = 0;
  tokenStart = 0;
  tokenEnd = 0;
  /** The first route that stays demands TLS all the way. */
  leadToSips = false;
  /** The line of the first value that stays, and where it begins; -1: none stays. */
  #restLine = -1;
  #restStart = 0;
  /** The request has passed a strict router, or comes to one. */
  #rerouting: Rerouting | undefined;

  readonly #address = new Address();
  #uri = new Uri();
  #uriBefore = new Uri();

  /** Whether routes of others stay. */
  get leaveOthers(): boolean {
    return this.#restLine >= 0;
  }

  /** Looks for them. What a strict router has put elsewhere is where it belongs in `header` afterwards. */
  find(header: Header, self: Self): Refusal | undefined {
    this.count = this.#recorded = this.tokenStart = this.tokenEnd = 0;
    this.#restLine = -1;
    this.#rerouting = undefined;
    this.leadToSips = false;
    const first = header.first[field.route]!;
    if (first < 0) return undefined;
    if (mayHoldToken(header) && this.#isRequestUriOwn(header, self)) return this.#findBehindStrict(header, self);

    const { bytes } = header;
    const address = this.#address;
    let line = first;
    let at = header.valueStart(line);
    let isRead = false; // `address` is the value at `at`
    while (line >= 0 && this.#recorded < recordedAtOnce) {
      const lineEnd = header.lineEnds[line]!;
      let next = this.#readUsual(header, self.toClients, at, lineEnd);
      if (next < 0 && self.toBackends !== self.toClients) next = this.#readUsual(header, self.toBackends, at, lineEnd);
      if (next < 0) {
        if (!address.read(bytes, at, lineEnd)) return flaws.route;
        isRead = true;
        if (!this.#uri.read(bytes, address.uriStart, address.uriEnd) || !self.wrote(bytes, this.#uri)) break;
        next = address.next;
      }
      if (!this.#take()) break;
      isRead = false;
      at = next;
      if (at === 0) {
        line = header.nextLine(line);
        at = line < 0 ? 0 : header.valueStart(line);
      }
    }
    this.#restLine = line;
    this.#restStart = at;
    if (line < 0) return undefined;
    if (!isRead && !address.read(bytes, at, header.lineEnds[line]!)) return flaws.route;
    if (!this.#uri.read(bytes, address.uriStart, address.uriEnd)) return undefined;
    this.leadToSips = this.#uri.isSips;
    return this.#uri.isLoose ? undefined : this.#reroute(header, Rerouting.before(header, this.count));
  }

  /** `#uri` is of ours; false if it was not recorded together with the one before it. */
  #take(): boolean {
    const uri = this.#uri;
    if (this.#recorded > 0 && !arePair(this.#uriBefore, uri)) return false;
    this.#uri = this.#uriBefore;
    this.#uriBefore = uri;
    this.count++;
    if (this.#recorded > 0 || uri.tokenStart > 0) this.#recorded++;
    if (this.tokenStart === 0) {
      this.tokenStart = uri.tokenStart;
      this.tokenEnd = uri.tokenEnd;
    }
    return true;
  }

  /**
   * Reads a value that came back byte for byte as we write it, as most do: nothing of it needs a look but the token. Answers
   * where the next value in the same line begins, 0 if there is none, and -1 if the value is not of this form.
   */
  #readUsual({ bytes, view }: Header, own: OwnAddress, at: number, lineEnd: number): number {
    if (!own.routeStart.isAt(view, at, lineEnd)) return -1;
    const tokenStart = at + own.routeStart.length;
    const tokenEnd = skipClass(isTokenText, bytes, tokenStart, lineEnd);
    if (tokenEnd === tokenStart || bytes[tokenEnd] !== GREATER) return -1;
    const behind = tokenEnd + 1;
    const isLast = behind + 2 === lineEnd; // CR LF
    if (!isLast && bytes[behind] !== COMMA) return -1;
    this.#uri.setToken(tokenStart, tokenEnd);
    return isLast ? 0 : skipBlanks(bytes, behind + 1, lineEnd);
  }

  #isRequestUriOwn({ bytes, uriStart, uriEnd }: Header, self: Self): boolean {
    return this.#uri.read(bytes, uriStart, uriEnd) && this.#uri.tokenStart > 0 && self.wrote(bytes, this.#uri);
  }

  #findBehindStrict(header: Header, self: Self): Refusal | undefined {
    const { bytes } = header;
    this.#take();
    const rerouting = Rerouting.behind(header);
    if (rerouting === undefined) return flaws.route;
    while (this.#recorded < recordedAtOnce) {
      const [next] = rerouting.routes;
      const isOwn =
        next !== undefined && this.#uri.read(bytes, next.uriStart, next.uriEnd) && self.wrote(bytes, this.#uri);
      if (!isOwn || !this.#take()) break;
      rerouting.routes.shift();
    }
    return this.#reroute(header, rerouting);
  }

  #reroute(header: Header, rerouting: Rerouting | undefined): Refusal | undefined {
    if (rerouting === undefined || !rerouting.goBeforeStrict(header)) return flaws.route;
    if (rerouting.routes.length > 0) this.#restLine = header.first[field.route]!;
    this.#rerouting = rerouting;
    return undefined;
  }

  /** Takes them out of the message. */
  remove(header: Header, message: Message): void {
    if (this.#rerouting !== undefined) {
      this.#rerouting.apply(header, message);
      return;
    }
    if (this.count === 0) return;
    let line = header.first[field.route]!;
    for (; line !== this.#restLine; line = header.nextLine(line)) {
      const start = header.lineStarts[line]!;
      message.splice(start - message.start, header.lineEnds[line]! - start);
    }
    if (line < 0) return;
    const start = header.valueStart(line);
    if (this.#restStart > start) message.splice(start - message.start, this.#restStart - start);
  }
}

/**
 * Whether two URIs of ours, one behind the other, were recorded at once: then both carry tokens. One in a Path stands alone, whoever's
 * the next is.
 */
function arePair(first: Uri, second: Uri): boolean {
  return second.tokenStart > 0 && !first.isOutbound && !second.isOutbound;
}
