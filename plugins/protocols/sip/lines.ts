/** Our own header lines, made once for each token: what differs from message to message is only the branch. */
import { writeHex } from './bytes.ts';
import { ascii } from './characters.ts';
import { type Self, viaTransports } from './self.ts';

const lineEnd = ascii('\r\n');
const recordRoute = ascii('Record-Route: ');
const path = ascii('Path: ');
const uriEnd = ascii('>\r\n');
/** `ob` tells the registrar that we keep the flow to the client (RFC 5626 section 5.1). */
const pathEnd = ascii(';ob>\r\n');
const branchDigits = ascii('0'.repeat(16));

export class OwnLines {
  /** The token they carry: of a client, or of a backend. */
  readonly token: Buffer;
  readonly #self: Self;
  /** By the place of the transport in `viaTransports`. */
  readonly #vias: (Buffer | undefined)[] = viaTransports.map(() => undefined);
  #recordRoute: Buffer | undefined;
  #secureRecordRoute: Buffer | undefined;

  constructor(self: Self, token: Buffer) {
    this.token = token;
    this.#self = self;
  }

  /**
   * Valid until the next call.
   * @param transport the place in `viaTransports` of the one that the request leaves on
   */
  via(transport: number, branchHigh: number, branchLow: number): Buffer {
    const start = this.#self.vias[transport]!;
    let via = this.#vias[transport];
    if (via === undefined) {
      via = Buffer.concat([start, branchDigits, this.#self.tokenParameter, this.token, lineEnd]);
      this.#vias[transport] = via;
    }
    writeHex(via, start.length, branchHigh, branchLow);
    return via;
  }

  recordRoute(isSips: boolean): Buffer {
    if (isSips) return (this.#secureRecordRoute ??= this.#line(recordRoute, isSips, uriEnd));
    return (this.#recordRoute ??= this.#line(recordRoute, isSips, uriEnd));
  }

  path(isSips: boolean): Buffer {
    return this.#line(path, isSips, pathEnd);
  }

  #line(name: Buffer, isSips: boolean, end: Buffer): Buffer {
    return Buffer.concat([name, isSips ? this.#self.sipsUri : this.#self.sipUri, this.token, end]);
  }
}
