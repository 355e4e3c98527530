/**
 * A client that sends requests: what its address adds to its Via, `received` (RFC 3261 section 18.2.1) and `rport` (RFC 3581); what
 * the Via says of where it wants its answers; and how many it waits for.
 */
import type { Client } from 'pointsman';
import { readDecimal } from './bytes.ts';
import { ascii, isDigit } from './characters.ts';
import type { Header } from './header.ts';

const LEFT_BRACKET = 0x5b;
const defaultPort = 5060;
const receivedName = ';received=';

/** Replaces the bytes from `start` to `removeEnd` by `added`. */
type Edit = (start: number, removeEnd: number, added: Buffer) => void;

export class Sender {
  /** Its requests that are waiting for a final response. */
  answersDue = 0;
  readonly #client: Client;
  // Made when first needed.
  #received: Buffer | undefined;
  #port: Buffer | undefined;

  constructor(client: Client) {
    this.#client = client;
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
    if (this.#client.address === '') return false; // a unix socket
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
    const received = (this.#received ??= ascii(receivedName + this.#client.address));
    const port = (this.#port ??= ascii(`=${this.#client.port}`));
    if (asksForPort && isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, port);
    if (hasReceived) edit(receivedStart, via.receivedEnd, received.subarray(receivedName.length));
    else edit(receivedStart, receivedStart, received);
    if (asksForPort && !isPortFirst) edit(via.emptyRportEnd, via.emptyRportEnd, port);
  }

  #isAddress(bytes: Buffer, start: number, end: number): boolean {
    const { address } = this.#client;
    const isBracketed = bytes[start] === LEFT_BRACKET ? 1 : 0;
    const from = start + isBracketed;
    if (end - isBracketed - from !== address.length) return false;
    for (let i = 0; i < address.length; i++) if (bytes[from + i] !== address.charCodeAt(i)) return false;
    return true;
  }
}
