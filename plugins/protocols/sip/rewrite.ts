/** The edits that a proxy makes on the way (RFC 3261 sections 16.6 and 16.7). All else leaves as it came. */
import type { Client, Link, Message, Token, TokenBook } from 'pointsman';
import { ascii, beginsWith } from './bytes.ts';
import type { BranchHash } from './hashes.ts';
import { field, type Header, method } from './header.ts';
import type { OwnRoutes } from './routes.ts';
import type { Self } from './self.ts';
import type { Sender } from './sender.ts';
import { Writer } from './writer.ts';

const initialMaxForwards = ascii('Max-Forwards: 70\r\n');
const decimals = Array.from({ length: 256 }, (_, value) => ascii(String(value)));
const recordRoute = ascii('Record-Route: ');
const path = ascii('Path: ');
/** `ob` tells the registrar that we keep the flow to the client (RFC 5626 section 5.1). */
const pathEnd = ascii(';ob>\r\n');
const uriEnd = ascii('>\r\n');
const lineEnd = ascii('\r\n');
const space = ascii(' ');
const lengthLine = ascii('Content-Length: ');
const sips = ascii('sips:');

/** Methods that open a dialog or change its targets (section 12.2): they record routes within a dialog too. */
const targetMethods: ReadonlySet<number> = new Set([
  method.invite,
  method.subscribe,
  method.notify,
  method.refer,
  method.update,
]);
const unrecordedMethods: ReadonlySet<number> = new Set([method.register, method.cancel, method.ack]);

export class Rewriter {
  readonly #self: Self;
  readonly #identifiers: TokenBook;
  readonly #branchHash: BranchHash;
  /** Our own lines of the message at hand. */
  readonly #lines: Writer;

  constructor(self: Self, identifiers: TokenBook, branchHash: BranchHash) {
    this.#self = self;
    this.#identifiers = identifiers;
    this.#branchHash = branchHash;
    const longestUri = Math.max(self.sipUri.length, self.sipsUri.length) + identifiers.longest.text;
    this.#lines = new Writer(self.via.length + identifiers.longest.text + 2 * longestUri + 256);
  }

  /** @param token of the backend it comes from or goes to; undefined if it goes from client to client */
  request(
    message: Message,
    header: Header,
    routes: OwnRoutes,
    sender: Sender | undefined,
    token: Token | undefined,
  ): void {
    routes.remove(header, message);
    if (header.maxForwards > 0) {
      const line = header.first[field.maxForwards]!;
      const start = header.valueStart(line);
      message.splice(start - message.start, header.valueEnd(line) - start, decimals[header.maxForwards - 1]!);
    }
    sender?.amend(header, (start, removeEnd, added) => {
      message.splice(start - message.start, removeEnd - start, added);
    });
    this.#addLines(message, header, routes, token);
    this.#normalise(message, header);
  }

  response(message: Message, header: Header): void {
    const { via } = header;
    if (via.next > 0) message.splice(via.start - message.start, via.next - via.start);
    else {
      const line = header.first[field.via]!;
      const start = header.lineStarts[line]!;
      message.splice(start - message.start, header.lineEnds[line]! - start);
    }
    this.#lines.clear();
    this.#normalise(message, header);
  }

  /** Our lines stand above all others, so that their values are the first of their kind. */
  #addLines(message: Message, header: Header, routes: OwnRoutes, token: Token | undefined): void {
    const lines = this.#lines;
    lines.clear();
    const fromClient = message.from === 'client';
    const source = fromClient
      ? this.#identifiers.ofClient(message.source as Client)
      : this.#identifiers.ofBackend((message.source as Link).backend);

    const { high, low } = this.#branchHash.of(header);
    lines.add(this.#self.via);
    lines.addHex(high, low);
    lines.add(this.#self.tokenParameter);
    lines.add(source.text);
    lines.add(lineEnd);

    const isSips = beginsWith(header.bytes, header.uriStart, header.uriEnd, sips);
    const ownUri = isSips ? this.#self.sipsUri : this.#self.sipUri;
    if (header.method === method.register) {
      if (fromClient) {
        lines.add(path);
        lines.add(ownUri);
        lines.add(source.text);
        lines.add(pathEnd);
      }
    } else if (recordsRoute(header, routes)) {
      lines.add(recordRoute);
      lines.add(ownUri);
      lines.add(source.text);
      lines.add(uriEnd);
      lines.add(recordRoute);
      lines.add(ownUri);
      lines.add(this.#destinationToken(message, token).text);
      lines.add(uriEnd);
    }
    if (header.maxForwards < 0) lines.add(initialMaxForwards);
    message.splice(header.linesStart - message.start, 0, lines.take());
  }

  /** `token` is that of `message.backend`, which a message may as well come from as go to. */
  #destinationToken(message: Message, token: Token | undefined): Token {
    const { client, backend } = message;
    const leavesBackend = message.from === 'backend' && backend === (message.source as Link).backend;
    return client !== undefined && (leavesBackend || token === undefined) ? this.#identifiers.ofClient(client) : token!;
  }

  /** One form that every server reads alike: no folded lines, and the length written in one way. */
  #normalise(message: Message, header: Header): void {
    if (!header.hasCanonicalLength) {
      const line = header.first[field.contentLength]!;
      const start = header.lineStarts[line]!;
      this.#lines.add(lengthLine);
      this.#lines.add(ascii(String(header.bodyBytes)));
      this.#lines.add(lineEnd);
      message.splice(start - message.start, header.lineEnds[line]! - start, this.#lines.take());
    }
    for (let fold = 0; fold < header.foldCount; fold++) {
      const offset = header.foldStarts[fold]! - message.start;
      const length = header.foldEnds[fold]! - header.foldStarts[fold]!;
      if (!isRemoved(message, offset)) message.splice(offset, length, space);
    }
  }
}

function recordsRoute(header: Header, routes: OwnRoutes): boolean {
  if (unrecordedMethods.has(header.method)) return false;
  return routes.count === 0 || targetMethods.has(header.method);
}

/** Whether an edit has removed what stands at `offset`. */
function isRemoved(message: Message, offset: number): boolean {
  for (let i = 0; i < message.editCount; i++) {
    const at = message.editOffsets[i]!;
    if (offset >= at && offset < at + message.editRemoves[i]!) return true;
  }
  return false;
}
