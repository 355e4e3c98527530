/** What a client's address adds to the Via it has sent: `received` (RFC 3261 section 18.2.1) and `rport` (RFC 3581). */
import type { Client } from 'pointsman';
import { ascii, isSame } from './bytes.ts';
import type { Header } from './header.ts';

const LEFT_BRACKET = 0x5b;

export class Sender {
  readonly #address: Buffer;
  readonly #received: Buffer;
  readonly #port: Buffer;

  constructor(client: Client) {
    this.#address = ascii(client.address);
    this.#received = ascii(`;received=${client.address}`);
    this.#port = ascii(`=${client.port}`);
  }

  /** Calls `edit` in the order of the places: `added` takes the place of what stands from `start` to `removeEnd`. */
  amend({ bytes, via }: Header, edit: (start: number, removeEnd: number, added: Buffer) => void): void {
    if (this.#address.length === 0) return; // a unix socket
    const isBracketed = bytes[via.hostStart] === LEFT_BRACKET ? 1 : 0;
    const isOwnAddress = isSame(bytes, via.hostStart + isBracketed, via.hostEnd - isBracketed, this.#address);
    const asksForPort = via.emptyRportEnd > 0;
    const hasReceived = via.receivedStart > 0;
    const receivedStart = hasReceived ? via.receivedStart : via.end;
    const isPortFirst = via.emptyRportEnd <= receivedStart;
    if (asksForPort && isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, this.#port);
    if (asksForPort || !isOwnAddress) {
      if (hasReceived) edit(receivedStart, via.receivedEnd, this.#address);
      else edit(receivedStart, receivedStart, this.#received);
    }
    if (asksForPort && !isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, this.#port);
  }
}
