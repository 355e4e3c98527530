/** Replies of our own (RFC 3261 section 8.2.6): the request's Via, From, To, Call-ID and CSeq, and no body. */
import { ascii } from './characters.ts';
import type { Status } from './flaws.ts';
import type { Header } from './header.ts';
import { field } from './names.ts';
import type { Sender } from './sender.ts';
import { Writer } from './writer.ts';

const via = ascii('Via: ');
const from = ascii('From: ');
const to = ascii('To: ');
const tag = ascii(';tag=');
const callId = ascii('Call-ID: ');
const cseq = ascii('CSeq: ');
const unsupported = ascii('Unsupported: ');
const end = ascii('Content-Length: 0\r\n\r\n');
const lineEnd = ascii('\r\n');

/** More than all constants in a reply together, and what compact names grow by. */
const spareBytes = 4096;

/**
 * @param sender fills in the top Via; undefined where the peer's address is not looked at
 * @param toTag for a To without a tag
 */
export function writeReply(header: Header, status: Status, sender: Sender | undefined, toTag: Buffer): Buffer {
  const { bytes } = header;
  const reply = new Writer(header.bodyStart - header.start + spareBytes);
  reply.add(status.line);
  for (let line = header.first[field.via]!; line >= 0; line = header.nextLine(line)) {
    reply.add(via);
    let at = header.valueStart(line);
    if (line === header.first[field.via]) at = copyTopVia(reply, header, sender);
    reply.addValue(bytes, at, header.valueEnd(line));
    reply.add(lineEnd);
  }
  copyLine(reply, header, from, field.from);
  copyLine(reply, header, to, field.to, header.to.tagStart === 0 ? toTag : undefined);
  copyLine(reply, header, callId, field.callId);
  copyLine(reply, header, cseq, field.cseq);
  if (status.code === 420) {
    for (let line = header.first[field.proxyRequire]!; line >= 0; line = header.nextLine(line)) {
      reply.add(unsupported);
      reply.addValue(bytes, header.valueStart(line), header.valueEnd(line));
      reply.add(lineEnd);
    }
  }
  reply.add(status.headers);
  reply.add(end);
  return reply.take();
}

function copyLine(reply: Writer, header: Header, name: Buffer, id: number, newTag?: Buffer): void {
  const line = header.first[id]!;
  reply.add(name);
  reply.addValue(header.bytes, header.valueStart(line), header.valueEnd(line));
  if (newTag !== undefined) {
    reply.add(tag);
    reply.add(newTag);
  }
  reply.add(lineEnd);
}

/** Copies the top Via with what the sender's address adds to it; answers where it ends in the request. */
function copyTopVia(reply: Writer, header: Header, sender: Sender | undefined): number {
  const { bytes, via } = header;
  let at = via.start;
  sender?.amend(header, (start, removeEnd, added) => {
    reply.addValue(bytes, at, start);
    reply.add(added);
    at = removeEnd;
  });
  reply.addValue(bytes, at, via.end);
  return via.end;
}
