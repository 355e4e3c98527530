/** Our own address as peers see it, in the header lines that carry it. */
import type { TokenBook } from 'pointsman';
import { isWord, Literal } from './bytes.ts';
import { ascii } from './characters.ts';
import { tokenParameter, type Uri } from './fields.ts';

export class Self {
  /** Our Via up to its branch. */
  readonly via: Buffer;
  /** Behind the branch: the parameter that carries the token. */
  readonly tokenParameter: Buffer = ascii(`;${tokenParameter}=`);
  /** Our URI in angle brackets, up to its token. */
  readonly sipUri: Buffer;
  /** For requests that demand TLS all the way (RFC 3261 section 16.6, step 4). */
  readonly sipsUri: Buffer;
  /** The same, to compare with; and where the host stands in it. */
  readonly routeStart: Literal;
  readonly hostOffset: number = '<sip:'.length;
  readonly hostBytes: number;
  readonly port: number;
  readonly #host: Buffer;
  readonly #defaultPort: number;
  readonly #identifiers: TokenBook;

  /**
   * @param advertise `host:port`, an IPv6 host in brackets
   * @param transport of the listener: `tcp`, `tls` or `unix`
   * @throws SyntaxError if `advertise` is of another form
   */
  constructor(advertise: string, transport: string, identifiers: TokenBook) {
    const parts = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(advertise);
    if (parts === null) throw new SyntaxError(`sip needs an \`advertise\` of the form host:port, not "${advertise}"`);
    const isTls = transport === 'tls';
    this.#host = ascii(parts[1]!.toLowerCase());
    this.port = Number(parts[2]);
    this.#defaultPort = isTls ? 5061 : 5060;
    this.#identifiers = identifiers;
    this.via = ascii(`Via: SIP/2.0/${isTls ? 'TLS' : 'TCP'} ${advertise};branch=z9hG4bK`);
    const parameters = `;transport=${isTls ? 'tls' : 'tcp'};lr;${tokenParameter}=`;
    this.sipUri = ascii(`<sip:${advertise}${parameters}`);
    this.routeStart = new Literal(this.sipUri);
    this.hostBytes = this.#host.length;
    this.sipsUri = isTls ? ascii(`<sips:${advertise};transport=tcp;lr;${tokenParameter}=`) : this.sipUri;
  }

  /** Whether a URI has our address. */
  isAddressedBy(bytes: Buffer, uri: Uri): boolean {
    const port = uri.port || (uri.isSips ? 5061 : this.#defaultPort);
    return port === this.port && isWord(bytes, uri.hostStart, uri.hostEnd, this.#host);
  }

  /** Whether a URI is of our making: our address, or a token that another replica with our keys has written. */
  wrote(bytes: Buffer, uri: Uri): boolean {
    if (this.isAddressedBy(bytes, uri)) return true;
    if (uri.tokenStart === 0) return false;
    const named = this.#identifiers.read(bytes, uri.tokenStart, uri.tokenEnd);
    if (typeof named !== 'string' || named === 'gone') return true;
    // Plain identifiers prove nothing: any word may be the name of a backend that is gone.
    return named === 'unknown' && this.#identifiers.mode !== 'plain';
  }
}
