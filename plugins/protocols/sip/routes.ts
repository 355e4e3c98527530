/** The Route values at the top of a request that we have written ourselves (RFC 3261 section 16.4). */
import type { Message, Refusal } from 'pointsman';
import { skipBlanks, skipClass } from './bytes.ts';
import { COMMA, classOf, GREATER } from './characters.ts';
import { Address, Uri } from './fields.ts';
import { flaws } from './flaws.ts';
import type { Header } from './header.ts';
import { field } from './names.ts';
import type { Self } from './self.ts';

/** We record two routes at once, one for each side (RFC 5658), so two come back. */
const recordedAtOnce = 2;

/** Letters and digits, and nothing that ends a parameter. Names of backends may hold more. */
const isTokenText = classOf((byte) => /[0-9A-Za-z]/.test(String.fromCharCode(byte)));

export class OwnRoutes {
  /** How many there are. */
  count = 0;
  tokenStart = 0;
  tokenEnd = 0;
  /** The line of the first value that stays, and where it begins; -1: none stays. */
  restLine = -1;
  restStart = 0;

  readonly #address = new Address();
  #uri = new Uri();
  #uriBefore = new Uri();

  /** Looks for them. */
  find(header: Header, self: Self): Refusal | undefined {
    const { bytes } = header;
    this.count = this.tokenStart = this.tokenEnd = 0;
    let line = header.first[field.route]!;
    let at = line < 0 ? 0 : header.valueStart(line);
    while (line >= 0 && this.count < recordedAtOnce) {
      const uri = this.#uri;
      const lineEnd = header.lineEnds[line]!;
      let next = this.#readUsual(header, self, at, lineEnd);
      if (next < 0) {
        const address = this.#address;
        if (!address.read(bytes, at, lineEnd)) return flaws.route;
        if (!uri.read(bytes, address.uriStart, address.uriEnd) || !self.wrote(bytes, uri)) break;
        next = address.next;
      }
      // The two of a pair have one address; another replica's, behind ours in a Path, is not for us to take out.
      if (this.count > 0 && !uri.hasAddressOf(bytes, this.#uriBefore)) break;
      this.#uri = this.#uriBefore;
      this.#uriBefore = uri;
      this.count++;
      if (this.tokenStart === 0) {
        this.tokenStart = uri.tokenStart;
        this.tokenEnd = uri.tokenEnd;
      }
      at = next;
      if (at === 0) {
        line = header.nextLine(line);
        at = line < 0 ? 0 : header.valueStart(line);
      }
    }
    this.restLine = line;
    this.restStart = at;
    return undefined;
  }

  /**
   * Reads a value that came back byte for byte as we write it, as most do: nothing of it needs a look but the token. Answers
   * where the next value in the same line begins, 0 if there is none, and -1 if the value is not of this form.
   */
  #readUsual({ bytes, view }: Header, self: Self, at: number, lineEnd: number): number {
    const { routeStart } = self;
    if (!routeStart.isAt(view, at, lineEnd)) return -1;
    const tokenStart = at + routeStart.length;
    const tokenEnd = skipClass(isTokenText, bytes, tokenStart, lineEnd);
    if (tokenEnd === tokenStart || bytes[tokenEnd] !== GREATER) return -1;
    const behind = tokenEnd + 1;
    const isLast = behind + 2 === lineEnd; // CR LF
    if (!isLast && bytes[behind] !== COMMA) return -1;
    const hostStart = at + self.hostOffset;
    this.#uri.set(hostStart, hostStart + self.hostBytes, self.port, tokenStart, tokenEnd);
    return isLast ? 0 : skipBlanks(bytes, behind + 1, lineEnd);
  }

  /** Takes them out of the message. */
  remove(header: Header, message: Message): void {
    if (this.count === 0) return;
    let line = header.first[field.route]!;
    for (; line !== this.restLine; line = header.nextLine(line)) {
      const start = header.lineStarts[line]!;
      message.splice(start - message.start, header.lineEnds[line]! - start);
    }
    if (line < 0) return;
    const start = header.valueStart(line);
    if (this.restStart > start) message.splice(start - message.start, this.restStart - start);
  }
}
