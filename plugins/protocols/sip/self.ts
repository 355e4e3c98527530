/**
 * Our own addresses as peers see them, in the header lines that carry them. Where clients and backends reach us in different ways
 * (clients by WebSocket, backends by TCP; either side of a NAT) each side is told its own, in a Record-Route of its own (RFC 5658).
 */
import { type Backend, type Client, KnownBytes, type ListenerFacts, type TokenBook } from 'pointsman';
import { isWord } from './bytes.ts';
import { ascii } from './characters.ts';
import { OwnLines } from './lines.ts';
import { tokenParameter } from './parameters.ts';
import type { Uri } from './uri.ts';

/** As a Via names transports (RFC 3261 section 20.42, RFC 7118 section 5.2). */
const viaTransports = ['TCP', 'TLS', 'UDP', 'WS', 'WSS'] as const;

/** What each transport of an address is to SIP: its name in Via and in a URI, and the port that needs no mention. */
const transports: Readonly<Record<string, { via: (typeof viaTransports)[number]; uri: string; port: number }>> = {
  tcp: { via: 'TCP', uri: 'tcp', port: 5060 },
  unix: { via: 'TCP', uri: 'tcp', port: 5060 },
  tls: { via: 'TLS', uri: 'tls', port: 5061 },
  udp: { via: 'UDP', uri: 'udp', port: 5060 },
  ws: { via: 'WS', uri: 'ws', port: 80 },
  wss: { via: 'WSS', uri: 'ws', port: 443 },
};

/** One address of ours. */
export class OwnAddress {
  /** The place in `viaTransports` of its transport. */
  readonly viaTransport: number;
  /** Our Via up to its branch, for each of `viaTransports`. */
  readonly vias: readonly Buffer[];
  /** Our URI in angle brackets, up to its token. */
  readonly sipUri: Buffer;
  /** For requests that demand TLS all the way (RFC 3261 section 16.6, step 4). */
  readonly sipsUri: Buffer;
  /** The same as `sipUri`, to compare with. */
  readonly routeStart: KnownBytes;
  /** The lines that carry the token of a request's sender, and those that carry its destination's: a request has both. */
  readonly linesOfSender: OwnLines;
  readonly linesOfDestination: OwnLines;
  readonly #host: Buffer;
  readonly #port: number;
  readonly #defaultPort: number;

  /**
   * @param hostPort `host:port`, an IPv6 host in brackets
   * @param transport `tcp`, `tls`, `udp`, `ws`, `wss` or `unix`
   * @throws SyntaxError if `hostPort` is of another form
   */
  constructor(hostPort: string, transport: string) {
    const parts = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+):(\d{1,5})$/.exec(hostPort);
    if (parts === null) throw new SyntaxError(`sip needs an \`advertise\` of the form host:port, not "${hostPort}"`);
    const own = transports[transport]!;
    const isSecure = transport === 'tls' || transport === 'wss';
    this.#host = ascii(parts[1]!.toLowerCase());
    this.#port = Number(parts[2]);
    this.#defaultPort = own.port;
    this.viaTransport = viaTransports.indexOf(own.via);
    // On UDP the response comes to where the request came from (RFC 3581), which is a link and not the listener.
    this.vias = viaTransports.map((via) =>
      ascii(`Via: SIP/2.0/${via} ${hostPort}${via === 'UDP' ? ';rport' : ''};branch=z9hG4bK`),
    );
    const parameters = `;transport=${own.uri};lr;${tokenParameter}=`;
    this.sipUri = ascii(`<sip:${hostPort}${parameters}`);
    this.routeStart = new KnownBytes(this.sipUri);
    const secureTransport = own.uri === 'ws' ? 'ws' : 'tcp';
    this.sipsUri = isSecure
      ? ascii(`<sips:${hostPort};transport=${secureTransport};lr;${tokenParameter}=`)
      : this.sipUri;
    this.linesOfSender = new OwnLines(this);
    this.linesOfDestination = new OwnLines(this);
  }

  /** Whether a URI has it. */
  isIn(bytes: Buffer, uri: Uri): boolean {
    const port = uri.port || (uri.isSips && this.#defaultPort === 5060 ? 5061 : this.#defaultPort);
    return port === this.#port && isWord(bytes, uri.hostStart, uri.hostEnd, this.#host);
  }
}

/** The one that differs where a peer is a backend. */
export const isBackend = (peer: Backend | Client): peer is Backend => 'pool' in peer;

export class Self {
  /** Where clients of this listener reach us. */
  readonly toClients: OwnAddress;
  /** Where backends reach us; the same unless the config says otherwise. */
  readonly toBackends: OwnAddress;
  readonly #listener: ListenerFacts;
  readonly #identifiers: TokenBook;
  /** Where the clients of other listeners reach us: a message may name one of those. */
  readonly #toOthers = new WeakMap<ListenerFacts, OwnAddress>();
  /** The places in `viaTransports` of each backend's transport, by its index. */
  readonly #backendTransports: (number | undefined)[] = [];

  /**
   * @param advertiseToBackends `transport://host:port`; undefined: what the listener advertises
   * @throws SyntaxError if an address is of another form
   */
  constructor(listener: ListenerFacts, advertiseToBackends: string | undefined, identifiers: TokenBook) {
    this.#listener = listener;
    this.#identifiers = identifiers;
    this.toClients = new OwnAddress(listener.advertise, listener.transport);
    this.toBackends = this.toClients;
    if (advertiseToBackends !== undefined) {
      const [transport, hostPort] = advertiseToBackends.split('://');
      this.toBackends = new OwnAddress(hostPort!, transport!);
    }
  }

  /** Where a peer reaches us. */
  addressFor(peer: Backend | Client): OwnAddress {
    if (isBackend(peer)) return this.toBackends;
    const { listener } = peer;
    if (listener === this.#listener) return this.toClients;
    let address = this.#toOthers.get(listener);
    if (address === undefined) {
      address = new OwnAddress(listener.advertise, listener.transport);
      this.#toOthers.set(listener, address);
    }
    return address;
  }

  /** The place in `viaTransports` of the transport that a request to this peer leaves on. */
  transportTo(destination: Backend | Client): number {
    if (!isBackend(destination)) return this.addressFor(destination).viaTransport;
    const { index, address } = destination;
    return (this.#backendTransports[index] ??= viaTransports.indexOf(transports[address.transport]!.via));
  }

  /** Whether a URI has our address. */
  isAddressedBy(bytes: Buffer, uri: Uri): boolean {
    return this.toClients.isIn(bytes, uri) || (this.toBackends !== this.toClients && this.toBackends.isIn(bytes, uri));
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
