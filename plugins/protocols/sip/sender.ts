/** What a client's address adds to the Via it has sent: `received` (RFC 3261 section 18.2.1) and `rport` (RFC 3581). */
import type { Client } from 'pointsman';
import { isSame } from './bytes.ts';
import { ascii } from './characters.ts';
import type { Header } from './header.ts';

const LEFT_BRACKET = 0x5b;

/** Replaces what stands from `start` to `removeEnd` by `added`. */
type Edit = (start: number, removeEnd: number, added: Buffer) => void;

export class Sender {
  readonly #address: Buffer;
  readonly #received: Buffer;
  readonly #port: Buffer;

  constructor(client: Client) {
    this.#address = ascii(client.address);
    this.#received = ascii(`;received=${client.address}`);
    this.#port = ascii(`=${client.port}`);
  }

  /** Whether there is anything to add. */
  amends({ bytes, via }: Header): boolean {
    if (this.#address.length === 0) return false; // a unix socket
    return via.emptyRportEnd > 0 || !this.#isAddress(bytes, via.hostStart, via.hostEnd);
  }

  /** Calls `edit` in the order of the places. */
  amend(header: Header, edit: Edit): void {
    if (!this.amends(header)) return;
    const { via } = header;
    const asksForPort = via.emptyRportEnd > 0;
    const hasReceived = via.receivedStart > 0;
    const receivedStart = hasReceived ? via.receivedStart : via.end;
    const isPortFirst = via.emptyRportEnd <= receivedStart;
    if (asksForPort && isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, this.#port);
    if (hasReceived) edit(receivedStart, via.receivedEnd, this.#address);
    else edit(receivedStart, receivedStart, this.#received);
    if (asksForPort && !isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, this.#port);
  }

  #isAddress(bytes: Buffer, start: number, end: number): boolean {
    const isBracketed = bytes[start] === LEFT_BRACKET ? 1 : 0;
    return isSame(bytes, start + isBracketed, end - isBracketed, this.#address);
  }
}
