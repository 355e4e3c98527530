/** Our own address as peers see it, in the header lines that carry it. */
import type { Backend, Client, TokenBook } from 'pointsman';
import { isWord, Literal } from './bytes.ts';
import { ascii } from './characters.ts';
import { tokenParameter, type Uri } from './fields.ts';

/** As a Via names transports (RFC 3261 section 20.42, RFC 7118 section 5.2). */
export const viaTransports = ['TCP', 'TLS', 'UDP', 'WS', 'WSS'] as const;

/** What each transport of an address is to SIP: its name in Via and in a URI, and the port that needs no mention. */
const transports: Readonly<Record<string, { via: (typeof viaTransports)[number]; uri: string; port: number }>> = {
  tcp: { via: 'TCP', uri: 'tcp', port: 5060 },
  unix: { via: 'TCP', uri: 'tcp', port: 5060 },
  tls: { via: 'TLS', uri: 'tls', port: 5061 },
  udp: { via: 'UDP', uri: 'udp', port: 5060 },
  ws: { via: 'WS', uri: 'ws', port: 80 },
  wss: { via: 'WSS', uri: 'ws', port: 443 },
};

export class Self {
  /** Our Via up to its branch, for each of `viaTransports`. */
  readonly vias: readonly Buffer[];
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
  /** The places in `viaTransports` of the listener's transport, and of each backend's, by its index. */
  readonly #toClients: number;
  readonly #toBackends: (number | undefined)[] = [];

  /**
   * @param advertise `host:port`, an IPv6 host in brackets
   * @param transport of the listener
   * @throws SyntaxError if `advertise` is of another form
   */
  constructor(advertise: string, transport: string, identifiers: TokenBook) {
    const parts = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(advertise);
    if (parts === null) throw new SyntaxError(`sip needs an \`advertise\` of the form host:port, not "${advertise}"`);
    const own = transports[transport]!;
    const isSecure = transport === 'tls' || transport === 'wss';
    this.#host = ascii(parts[1]!.toLowerCase());
    this.port = Number(parts[2]);
    this.#defaultPort = own.port;
    this.#toClients = viaTransports.indexOf(own.via);
    this.#identifiers = identifiers;
    // On UDP the response comes to where the request came from (RFC 3581), which is a link and not the listener.
    this.vias = viaTransports.map((via) =>
      ascii(`Via: SIP/2.0/${via} ${advertise}${via === 'UDP' ? ';rport' : ''};branch=z9hG4bK`),
    );
    const parameters = `;transport=${own.uri};lr;${tokenParameter}=`;
    this.sipUri = ascii(`<sip:${advertise}${parameters}`);
    this.routeStart = new Literal(this.sipUri);
    this.hostBytes = this.#host.length;
    const secureTransport = own.uri === 'ws' ? 'ws' : 'tcp';
    this.sipsUri = isSecure
      ? ascii(`<sips:${advertise};transport=${secureTransport};lr;${tokenParameter}=`)
      : this.sipUri;
  }

  /** The place in `viaTransports` of the transport that a request to this peer leaves on. */
  transportTo(destination: Backend | Client): number {
    if (!('address' in destination && 'pool' in destination)) return this.#toClients;
    const { index, address } = destination;
    return (this.#toBackends[index] ??= viaTransports.indexOf(transports[address.transport]!.via));
  }

  /** Whether a URI has our address. */
  isAddressedBy(bytes: Buffer, uri: Uri): boolean {
    const port = uri.port || (uri.isSips && this.#defaultPort === 5060 ? 5061 : this.#defaultPort);
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
