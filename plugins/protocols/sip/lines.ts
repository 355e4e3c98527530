/** Our own header lines, made once for each token: what differs from message to message is only the branch. */
import { writeHex } from './bytes.ts';
import { ascii } from './characters.ts';
import type { Self } from './self.ts';

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
  readonly #via: Buffer;
  #recordRoute: Buffer | undefined;
  #secureRecordRoute: Buffer | undefined;

  constructor(self: Self, token: Buffer) {
    this.token = token;
    this.#self = self;
    this.#via = Buffer.concat([self.via, branchDigits, self.tokenParameter, token, lineEnd]);
  }

  /** Valid until the next call. */
  via(branchHigh: number, branchLow: number): Buffer {
    writeHex(this.#via, this.#self.via.length, branchHigh, branchLow);
    return this.#via;
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
