/**
 * Our own header lines. Each keeps what was last written to it: messages of one peer come in a row, and only the branch differs
 * from one to the next.
 */
import { writeHex } from './bytes.ts';
import { ascii } from './characters.ts';
import { tokenParameter } from './parameters.ts';
import type { OwnAddress } from './self.ts';

const lineEnd = ascii('\r\n');
const recordRoute = ascii('Record-Route: ');
const path = ascii('Path: ');
const uriEnd = ascii('>\r\n');
/** `ob` tells the registrar that we keep the flow to the client (RFC 5626 section 5.1). */
const pathEnd = ascii(';ob>\r\n');
const branchDigits = ascii('0'.repeat(16));
/** After the branch: the parameter that carries the token. */
const viaToken = ascii(`;${tokenParameter}=`);

/** A line with a token in it. */
class TokenLine {
  readonly #start: Buffer;
  readonly #end: Buffer;
  #token: Buffer | undefined;
  #bytes: Buffer | undefined;

  constructor(start: Buffer, end: Buffer) {
    this.#start = start;
    this.#end = end;
  }

  /** Valid until it is written with another token. */
  with(token: Buffer): Buffer {
    if (this.#token === token) return this.#bytes!;
    if (this.#token?.length === token.length) this.#bytes!.set(token, this.#start.length);
    else this.#bytes = Buffer.concat([this.#start, token, this.#end]);
    this.#token = token;
    return this.#bytes!;
  }
}

/** The lines that show one address of ours. */
export class OwnLines {
  readonly #address: OwnAddress;
  /** By the place of the transport in `viaTransports`. */
  readonly #vias: readonly TokenLine[];
  readonly #recordRoute: TokenLine;
  readonly #secureRecordRoute: TokenLine;

  constructor(address: OwnAddress) {
    this.#address = address;
    this.#vias = address.vias.map((via) => new TokenLine(Buffer.concat([via, branchDigits, viaToken]), lineEnd));
    this.#recordRoute = new TokenLine(Buffer.concat([recordRoute, address.sipUri]), uriEnd);
    this.#secureRecordRoute = new TokenLine(Buffer.concat([recordRoute, address.sipsUri]), uriEnd);
  }

  /**
   * Valid until the next call.
   * @param transport the place in `viaTransports` of the one that the request leaves on
   */
  via(transport: number, token: Buffer, branchHigh: number, branchLow: number): Buffer {
    const via = this.#vias[transport]!.with(token);
    writeHex(via, this.#address.vias[transport]!.length, branchHigh, branchLow);
    return via;
  }

  /** Valid until the next call. */
  recordRoute(isSips: boolean, token: Buffer): Buffer {
    return (isSips ? this.#secureRecordRoute : this.#recordRoute).with(token);
  }

  path(isSips: boolean, token: Buffer): Buffer {
    return Buffer.concat([path, isSips ? this.#address.sipsUri : this.#address.sipUri, token, pathEnd]);
  }
}
