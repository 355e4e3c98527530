/**
 * What a client's address adds to the Via it has sent: `received` (RFC 3261 section 18.2.1) and `rport` (RFC 3581); and what the
 * Via says of where it wants its answers.
 */
import type { Client } from 'pointsman';
import { isSame, readDecimal } from './bytes.ts';
import { ascii, isDigit } from './characters.ts';
import type { Header } from './header.ts';

const LEFT_BRACKET = 0x5b;
const defaultPort = 5060;

/** Replaces what stands from `start` to `removeEnd` by `added`. */
type Edit = (start: number, removeEnd: number, added: Buffer) => void;

export class Sender {
  readonly #address: Buffer;
  readonly #received: Buffer;
  readonly #port: Buffer;
  readonly #client: Client;

  constructor(client: Client) {
    this.#client = client;
    this.#address = ascii(client.address);
    this.#received = ascii(`;received=${client.address}`);
    this.#port = ascii(`=${client.port}`);
  }

  /**
   * A client on UDP is answered where it sends from only if it asks for that with `rport` (RFC 3581 section 4); else at the port
   * of its Via (RFC 3261 section 18.2.2). Its address is the one it sends from in any case: what its Via says of that (`maddr`)
   * would let it aim our answers at others.
   */
  listenFor({ bytes, via }: Header): void {
    const { hostEnd, sentByEnd, rportStart } = via;
    let digits = sentByEnd;
    while (digits > hostEnd && isDigit[bytes[digits - 1]!] === 1) digits--;
    const port = digits === sentByEnd ? defaultPort : readDecimal(bytes, digits, sentByEnd, 5);
    const isPort = port > 0 && port < 65_536;
    this.#client.answerAt(rportStart > 0 || !isPort ? this.#client.port : port);
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
