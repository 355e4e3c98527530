/** Our own header lines, made once for each token and address: what differs from message to message is only the branch. */
import { writeHex } from './bytes.ts';
import { ascii } from './characters.ts';
import { tokenParameter } from './fields.ts';
import { type OwnAddress, viaTransports } from './self.ts';

const lineEnd = ascii('\r\n');
const recordRoute = ascii('Record-Route: ');
const path = ascii('Path: ');
const uriEnd = ascii('>\r\n');
/** `ob` tells the registrar that we keep the flow to the client (RFC 5626 section 5.1). */
const pathEnd = ascii(';ob>\r\n');
const branchDigits = ascii('0'.repeat(16));
/** Behind the branch: the parameter that carries the token. */
const viaToken = ascii(`;${tokenParameter}=`);

/** Those that carry one token: of a client, or of a backend. */
export class TokenLines {
  readonly token: Buffer;
  readonly #all = new Map<OwnAddress, OwnLines>();
  /** Whoever has the token nearly always talks to peers who reach us at one address. */
  #last: OwnLines | undefined;

  constructor(token: Buffer) {
    this.token = token;
  }

  /** With that address. */
  at(address: OwnAddress): OwnLines {
    if (this.#last?.address === address) return this.#last;
    let lines = this.#all.get(address);
    if (lines === undefined) {
      lines = new OwnLines(address, this.token);
      this.#all.set(address, lines);
    }
    this.#last = lines;
    return lines;
  }
}

/** Those that carry one token at one address. */
export class OwnLines {
  readonly address: OwnAddress;
  readonly #token: Buffer;
  /** By the place of the transport in `viaTransports`. */
  readonly #vias: (Buffer | undefined)[] = viaTransports.map(() => undefined);
  #recordRoute: Buffer | undefined;
  #secureRecordRoute: Buffer | undefined;

  constructor(address: OwnAddress, token: Buffer) {
    this.address = address;
    this.#token = token;
  }

  /**
   * Valid until the next call.
   * @param transport the place in `viaTransports` of the one that the request leaves on
   */
  via(transport: number, branchHigh: number, branchLow: number): Buffer {
    const start = this.address.vias[transport]!;
    let via = this.#vias[transport];
    if (via === undefined) {
      via = Buffer.concat([start, branchDigits, viaToken, this.#token, lineEnd]);
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
    return Buffer.concat([name, isSips ? this.address.sipsUri : this.address.sipUri, this.#token, end]);
  }
}
