/** The edits that a proxy makes (RFC 3261 sections 16.6 and 16.7). Everything else leaves as it came. */
import type { Backend, Client, Link, Message, TokenBook } from 'pointsman';
import { beginsWith } from './bytes.ts';
import { ascii } from './characters.ts';
import { TransactionHash } from './hashes.ts';
import type { Header } from './header.ts';
import { field, method } from './names.ts';
import type { OwnRoutes } from './routes.ts';
import { isBackend, type Self } from './self.ts';
import type { Sender } from './sender.ts';

const initialMaxForwards = ascii('Max-Forwards: 70\r\n');
const decimals = Array.from({ length: 256 }, (_, value) => ascii(String(value)));
const space = ascii(' ');
const emptyLineBytes = 2;
const sips = ascii('sips:');

/** Methods that open a dialog or change its targets (section 12.2): they record routes within a dialog too. */
const targetMethods = setOf(method.invite, method.subscribe, method.notify, method.refer, method.update);
const unrecordedMethods = setOf(method.register, method.cancel, method.ack);

/** One bit for each. */
function setOf(...methods: number[]): number {
  return methods.reduce((bits, id) => bits | (1 << id), 0);
}

/** Where identifiers are written. */
export interface Places {
  /** In requests that may begin a dialog or change its targets. */
  readonly recordRoute: boolean;
  /** In registrations. */
  readonly path: boolean;
}

export class Rewriter {
  readonly #places: Places;
  readonly #self: Self;
  readonly #identifiers: TokenBook;
  readonly #branchHash = new TransactionHash('branch');

  constructor(places: Places, self: Self, identifiers: TokenBook) {
    this.#places = places;
    this.#self = self;
    this.#identifiers = identifiers;
  }

  /** Edits are made from the top of the message to its end, as they are kept in that order. */
  request(message: Message, header: Header, routes: OwnRoutes, sender: Sender | undefined): void {
    this.#addLines(message, header, routes);
    if (sender?.amends(header)) {
      sender.amend(header, (start, removeEnd, added) => {
        message.splice(start - message.start, removeEnd - start, added);
      });
    }
    routes.remove(header, message);
    if (header.maxForwards > 0) {
      const line = header.first[field.maxForwards]!;
      const start = header.valueStart(line);
      message.splice(start - message.start, header.valueEnd(line) - start, decimals[header.maxForwards - 1]!);
    }
    normalise(message, header);
  }

  response(message: Message, header: Header): void {
    const { via } = header;
    if (via.next > 0) message.splice(via.start - message.start, via.next - via.start);
    else {
      const line = header.first[field.via]!;
      const start = header.lineStarts[line]!;
      message.splice(start - message.start, header.lineEnds[line]! - start);
    }
    normalise(message, header);
  }

  /** Our lines stand above all others, so that their values are the first of their kind. */
  #addLines(message: Message, header: Header, routes: OwnRoutes): void {
    const at = header.linesStart - message.start;
    const fromClient = message.from === 'client';
    const source = fromClient ? (message.source as Client) : (message.source as Link).backend;
    const destination = message.destination!;
    const { high, low } = this.#branchHash.of(header);
    const token = this.#tokenOf(source);
    const { linesOfSender } = this.#self.addressFor(destination);
    message.splice(at, 0, linesOfSender.via(this.#self.transportTo(destination), token, high, low));

    if (header.method === method.register) {
      if (fromClient && this.#places.path) message.splice(at, 0, linesOfSender.path(isSips(header), token));
    } else if (this.#places.recordRoute && recordsRoute(header, routes)) {
      const secure = isSips(header) || routes.leadToSips;
      message.splice(at, 0, linesOfSender.recordRoute(secure, token));
      const { linesOfDestination } = this.#self.addressFor(source);
      message.splice(at, 0, linesOfDestination.recordRoute(secure, this.#tokenOf(destination)));
    }
    if (header.maxForwards < 0) message.splice(at, 0, initialMaxForwards);
  }

  #tokenOf(peer: Backend | Client): Buffer {
    return (isBackend(peer) ? this.#identifiers.ofBackend(peer) : this.#identifiers.ofClient(peer)).text;
  }
}

function isSips({ bytes, uriStart, uriEnd }: Header): boolean {
  return beginsWith(bytes, uriStart, uriEnd, sips);
}

function lengthLine({ bodyBytes }: Header): Buffer {
  return ascii(`Content-Length: ${bodyBytes}\r\n`);
}

/**
 * Puts the message in a form that every server reads alike: no folded lines, the length written in one way, and nothing after the
 * body.
 */
function normalise(message: Message, header: Header): void {
  if (!header.hasLength) {
    message.splice(header.bodyStart - emptyLineBytes - message.start, 0, lengthLine(header));
  } else if (!header.hasCanonicalLength) {
    const line = header.first[field.contentLength]!;
    const start = header.lineStarts[line]!;
    message.splice(start - message.start, header.lineEnds[line]! - start, lengthLine(header));
  }
  if (header.surplusBytes > 0) message.splice(message.length - header.surplusBytes, header.surplusBytes);
  for (let fold = 0; fold < header.foldCount; fold++) {
    const offset = header.foldStarts[fold]! - message.start;
    const length = header.foldEnds[fold]! - header.foldStarts[fold]!;
    if (!isRemoved(message, offset)) message.splice(offset, length, space);
  }
}

function recordsRoute(header: Header, routes: OwnRoutes): boolean {
  const bit = 1 << header.method;
  if ((unrecordedMethods & bit) !== 0) return false;
  // A route of ours without a token is one that the client was configured with.
  return routes.tokenStart === 0 || (targetMethods & bit) !== 0;
}

/** Whether an edit has removed the bytes at `offset`. */
function isRemoved(message: Message, offset: number): boolean {
  for (let i = 0; i < message.editCount; i++) {
    const at = message.editOffsets[i]!;
    if (offset >= at && offset < at + message.editRemoves[i]!) return true;
  }
  return false;
}
