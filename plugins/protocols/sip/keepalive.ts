/**
 * What peers send between messages to keep a flow open, and to learn whether it is (RFC 5626 section 3.5): CR LF twice, which we answer
 * by one, and in datagrams STUN Binding requests (RFC 5389), which we answer by the address that they come from.
 */
import type { Client, Framed, Scan } from 'pointsman';
import { CR, LF } from './characters.ts';
import { framingFlaws } from './flaws.ts';

/** Noted of a peer whose last bytes were a CR LF between messages: the first half of a ping. */
const halfPing = 1;
const pong = Buffer.from('\r\n');

// STUN: type, length of what follows the header, magic cookie, 12 bytes that tell one transaction from others (RFC 5389 section 6).
const headerBytes = 20;
const cookieOffset = 4;
const magicCookie = 0x2112a442;
const bindingRequest = 0x0001;
const bindingResponse = 0x0101;
const xorMappedAddress = 0x0020;
const addressOffset = headerBytes + 8;

/** Answers bytes that are no message, and begin with CR or less; undefined: they are none of these either. */
export function readKeepalive(
  bytes: Buffer,
  start: number,
  end: number,
  scan: Scan,
  isUdp: boolean,
): Framed | undefined {
  if (bytes[start] === CR) {
    if (end - start < 2) return 'more';
    if (bytes[start + 1] !== LF) return framingFlaws.lineEnd;
    scan.note = scan.note === halfPing ? 0 : halfPing;
    return scan.note === halfPing ? scan.skip(2) : scan.skip(2, pong);
  }
  if (!isUdp || scan.from !== 'client' || !isBindingRequest(bytes, start, end)) return undefined;
  const transaction = bytes.subarray(start + cookieOffset, start + headerBytes);
  return scan.skip(end - start, bindingResponseTo(transaction, scan.source as Client));
}

function isBindingRequest(bytes: Buffer, start: number, end: number): boolean {
  return (
    end - start >= headerBytes &&
    bytes.readUInt16BE(start) === bindingRequest &&
    bytes.readUInt16BE(start + 2) === end - start - headerBytes &&
    bytes.readUInt32BE(start + cookieOffset) === magicCookie
  );
}

/** @param transaction the request's cookie and what follows it, with which the address is masked (section 15.2) */
function bindingResponseTo(transaction: Buffer, { address, port }: Client): Buffer {
  const ip = bytesOf(address);
  const response = Buffer.alloc(addressOffset + ip.length);
  response.writeUInt16BE(bindingResponse, 0);
  response.writeUInt16BE(response.length - headerBytes, 2);
  transaction.copy(response, cookieOffset);
  response.writeUInt16BE(xorMappedAddress, headerBytes);
  response.writeUInt16BE(4 + ip.length, headerBytes + 2);
  response.writeUInt16BE(ip.length === 4 ? 1 : 2, headerBytes + 4);
  response.writeUInt16BE(port ^ (magicCookie >>> 16), headerBytes + 6);
  for (let i = 0; i < ip.length; i++) response[addressOffset + i] = ip[i]! ^ transaction[i]!;
  return response;
}

/** The 4 or 16 bytes of an IP address. */
function bytesOf(address: string): number[] {
  if (!address.includes(':')) return address.split('.').map(Number);
  const [front, back] = address.split('::').map((groups) => groups.split(':').filter(Boolean).flatMap(bytesOfGroup));
  const zeros = Array.from({ length: 16 - front!.length - (back?.length ?? 0) }, () => 0);
  return [...front!, ...zeros, ...(back ?? [])];
}

/** The last group may be written as an IPv4 address. */
function bytesOfGroup(group: string): number[] {
  if (group.includes('.')) return bytesOf(group);
  const value = Number.parseInt(group, 16);
  return [value >> 8, value & 0xff];
}
