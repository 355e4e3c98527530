/**
 * Strict routers, which RFC 2543 had: they find themselves in the Request-URI, not in the first Route. What one before us has
 * moved is put back (RFC 3261 section 16.4), and for one behind us it is moved again (section 16.6, step 6). There are few of
 * them, so the routes are read in whole and written anew.
 */
import type { Message } from 'pointsman';
import { Address } from './address.ts';
import { skipClass } from './bytes.ts';
import { ascii, classOf, SEMICOLON } from './characters.ts';
import type { Header } from './header.ts';
import { field } from './names.ts';
import { smallInMark, tokenMark } from './parameters.ts';
import { isUriByte, Uri } from './uri.ts';

const routeStart = ascii('Route: ');
const comma = ascii(', ');
const less = ascii('<');
const greater = ascii('>');
const lineEnd = ascii('\r\n');

const isNotSemicolon = classOf((byte) => byte !== SEMICOLON);

/** A quick look whether the Request-URI may have our parameter: 20 ns for one of 40 bytes. */
export function mayHoldToken({ bytes, view, uriStart, uriEnd }: Header): boolean {
  for (let at = uriStart; ; at++) {
    at = skipClass(isNotSemicolon, bytes, at, uriEnd);
    if (at + 4 > uriEnd) return false;
    if ((view.getInt32(at, true) | smallInMark) === tokenMark) return true;
  }
}

/** Where a Route value stands in the message, and the URI in it. */
interface Route {
  readonly start: number;
  readonly end: number;
  readonly uriStart: number;
  readonly uriEnd: number;
  /** It is a Request-URI, and gets brackets. */
  readonly isBare: boolean;
}

export class Rerouting {
  /** The routes that stay, in order. */
  readonly routes: Route[];
  /** The Request-URI it leaves with. */
  #uri: Route;
  readonly #oldUri: Route;

  private constructor(header: Header, routes: Route[]) {
    const { uriStart, uriEnd } = header;
    this.#oldUri = this.#uri = { start: uriStart, end: uriEnd, uriStart, uriEnd, isBare: true };
    this.routes = routes;
  }

  /**
   * Behind a strict router: the Request-URI is the last Route.
   * @returns undefined if the routes are malformed
   */
  static behind(header: Header): Rerouting | undefined {
    const routes = readRoutes(header);
    if (routes === undefined) return undefined;
    const last = routes.pop()!;
    const rerouting = new Rerouting(header, routes);
    rerouting.#uri = last;
    return rerouting;
  }

  /**
   * Before a strict router.
   * @param skip the routes at the top that do not stay
   * @returns undefined if the routes are malformed
   */
  static before(header: Header, skip: number): Rerouting | undefined {
    const routes = readRoutes(header);
    return routes && new Rerouting(header, routes.slice(skip));
  }

  /** If a strict router is next, it gets what it looks for; in any case `header` gets its Request-URI. False if that is malformed. */
  goBeforeStrict(header: Header): boolean {
    const { bytes } = header;
    const [next] = this.routes;
    if (next !== undefined && uri.read(bytes, next.uriStart, next.uriEnd) && !uri.isLoose) {
      this.routes.push(this.#uri);
      this.#uri = this.routes.shift()!;
    }
    header.uriStart = this.#uri.uriStart;
    header.uriEnd = this.#uri.uriEnd;
    return skipClass(isUriByte, bytes, header.uriStart, header.uriEnd) === header.uriEnd;
  }

  /** Writes the Request-URI and the routes. */
  apply(header: Header, message: Message): void {
    const { bytes } = header;
    const { start, end } = this.#oldUri;
    const { uriStart, uriEnd } = this.#uri;
    message.splice(start - message.start, end - start, Buffer.from(bytes.subarray(uriStart, uriEnd)));
    let written = this.#write(bytes);
    for (let line = header.first[field.route]!; line >= 0; line = header.nextLine(line)) {
      const lineStart = header.lineStarts[line]!;
      message.splice(lineStart - message.start, header.lineEnds[line]! - lineStart, written);
      written = nothing;
    }
  }

  #write(bytes: Buffer): Buffer {
    if (this.routes.length === 0) return nothing;
    const values = this.routes.map(({ start, end, isBare }) => {
      // No token of a value holds a CR LF that is not a fold.
      const text = ascii(bytes.toString('latin1', start, end).replace(/\r\n[ \t]*/g, ' '));
      return isBare ? Buffer.concat([less, text, greater]) : text;
    });
    return Buffer.concat([routeStart, ...values.flatMap((value, i) => (i === 0 ? [value] : [comma, value])), lineEnd]);
  }
}

const nothing = Buffer.alloc(0);
const address = new Address();
const uri = new Uri();

/** All values of Route; undefined if one is malformed. There is one at least. */
function readRoutes(header: Header): Route[] | undefined {
  const routes: Route[] = [];
  for (let line = header.first[field.route]!; line >= 0; line = header.nextLine(line)) {
    for (let at = header.valueStart(line); at > 0; at = address.next) {
      if (!address.read(header.bytes, at, header.lineEnds[line]!)) return undefined;
      const { start, end, uriStart, uriEnd } = address;
      routes.push({ start, end, uriStart, uriEnd, isBare: false });
    }
  }
  return routes;
}
