/** The Route values at the top of a request that we have written ourselves (RFC 3261 section 16.4). */
import type { Message, Refusal } from 'pointsman';
import { Address, Uri } from './fields.ts';
import { flaws } from './flaws.ts';
import { field, type Header } from './header.ts';
import type { Self } from './self.ts';

/** We record two routes at once, one for each side (RFC 5658), so two come back. */
const recordedAtOnce = 2;

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
      const address = this.#address;
      if (!address.read(bytes, at, header.lineEnds[line]!)) return flaws.route;
      const uri = this.#uri;
      if (!uri.read(bytes, address.uriStart, address.uriEnd) || !self.wrote(bytes, uri)) break;
      // The two of a pair have one address; another replica's, behind ours in a Path, is not for us to take out.
      if (this.count > 0 && !uri.hasAddressOf(bytes, this.#uriBefore)) break;
      this.#uri = this.#uriBefore;
      this.#uriBefore = uri;
      this.count++;
      if (this.tokenStart === 0) {
        this.tokenStart = uri.tokenStart;
        this.tokenEnd = uri.tokenEnd;
      }
      at = address.next;
      if (at === 0) {
        line = header.nextLine(line);
        at = line < 0 ? 0 : header.valueStart(line);
      }
    }
    this.restLine = line;
    this.restStart = at;
    return undefined;
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
