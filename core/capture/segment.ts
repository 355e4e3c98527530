/** Finds the TCP segment or UDP datagram in a packet: through its link layer, VLAN tags, IPv4 or IPv6 and its extension headers. */
import type { Packet } from './file.ts';

export interface Segment {
  readonly transport: 'tcp' | 'udp';
  readonly fromAddress: string;
  readonly fromPort: number;
  readonly toAddress: string;
  readonly toPort: number;
  /** The number of its first byte; 0 for UDP. */
  readonly sequence: number;
  readonly syn: boolean;
  readonly ack: boolean;
  readonly fin: boolean;
  readonly rst: boolean;
  /** The captured part of its payload. */
  readonly payload: Buffer;
  /** How many bytes of its payload the capture has cut off. */
  readonly cutBytes: number;
}

/** `fragment`: a part of an IP packet, which is not put together here; `other`: neither TCP nor UDP, or broken. */
export type Decoded = Segment | 'fragment' | 'other';

export function segmentIn({ linkType, bytes }: Packet): Decoded {
  const at = networkLayer(linkType, bytes);
  if (at === undefined || at >= bytes.length) return 'other';
  const version = bytes[at]! >> 4;
  const packet = bytes.subarray(at);
  if (version === 4) return ipv4(packet);
  return version === 6 ? ipv6(packet) : 'other';
}

/** The link types, by their numbers in the registry. */
const link = { loopbackNull: 0, ethernet: 1, loopback: 108, cooked: 113, cookedV2: 276 };
/** Raw IP: its own number, those of two systems that differ, IPv4 and IPv6. */
const rawTypes = [101, 12, 14, 228, 229];

/** Returns where IP begins; undefined: there is none. */
function networkLayer(linkType: number, bytes: Buffer): number | undefined {
  if (rawTypes.includes(linkType)) return 0;
  // The address family has the byte order and the numbers of the system that captured it; the version in IP says the same.
  if (linkType === link.loopbackNull || linkType === link.loopback) return 4;
  if (linkType === link.ethernet) return behindTags(bytes, 12);
  if (linkType === link.cooked) return behindTags(bytes, 14);
  if (linkType === link.cookedV2 && bytes.length >= 20) return isIp(bytes.readUInt16BE(0)) ? 20 : undefined;
  return undefined;
}

const isIp = (etherType: number) => etherType === 0x0800 || etherType === 0x86dd;
const mostTags = 4;

/** @param at the offset of the EtherType */
function behindTags(bytes: Buffer, at: number): number | undefined {
  for (let tag = 0; tag <= mostTags; tag++, at += 4) {
    if (at + 2 > bytes.length) return undefined;
    const etherType = bytes.readUInt16BE(at);
    if (isIp(etherType)) return at + 2;
    if (etherType !== 0x8100 && etherType !== 0x88a8) return undefined;
  }
  return undefined;
}

/** RFC 791 */
function ipv4(packet: Buffer): Decoded {
  if (packet.length < 20) return 'other';
  const headerBytes = (packet[0]! & 0x0f) * 4;
  if (headerBytes < 20 || packet.length < headerBytes) return 'other';
  if ((packet.readUInt16BE(6) & 0x3fff) !== 0) return 'fragment';
  const address = (at: number) => packet.subarray(at, at + 4).join('.');
  // Network cards that cut segments themselves leave the length 0.
  const totalBytes = packet.readUInt16BE(2) || packet.length;
  if (totalBytes < headerBytes) return 'other';
  return transport(packet[9]!, packet, headerBytes, totalBytes, address(12), address(16));
}

/** Extension headers that may precede the payload: hop-by-hop options, routing, destination options. */
const extensionHeaders = [0, 43, 60];
const mostExtensionHeaders = 8;

/** RFC 8200 */
function ipv6(packet: Buffer): Decoded {
  if (packet.length < 40) return 'other';
  const payloadBytes = packet.readUInt16BE(4);
  const totalBytes = payloadBytes === 0 ? packet.length : 40 + payloadBytes;
  let next = packet[6]!;
  let at = 40;
  for (let headers = 0; extensionHeaders.includes(next); headers++) {
    if (headers === mostExtensionHeaders || at + 2 > packet.length) return 'other';
    next = packet[at]!;
    at += (packet[at + 1]! + 1) * 8;
  }
  if (next === 44) return 'fragment';
  if (at > totalBytes || at > packet.length) return 'other';
  return transport(next, packet, at, totalBytes, ipv6Address(packet, 8), ipv6Address(packet, 24));
}

/** The system's text for the address (RFC 5952). */
function ipv6Address(packet: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, group) => packet.readUInt16BE(at + 2 * group).toString(16));
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1);
}

function transport(
  protocol: number,
  packet: Buffer,
  at: number,
  totalBytes: number,
  fromAddress: string,
  toAddress: string,
): Decoded {
  const isTcp = protocol === 6;
  if (!isTcp && protocol !== 17) return 'other';
  const least = isTcp ? 20 : 8;
  if (packet.length < at + least || totalBytes < at + least) return 'other';
  const headerBytes = isTcp ? (packet[at + 12]! >> 4) * 4 : least;
  if (headerBytes < least || at + headerBytes > totalBytes) return 'other';
  const ends = isTcp ? totalBytes : Math.min(totalBytes, at + (packet.readUInt16BE(at + 4) || totalBytes - at));
  // Short frames are padded: what stands behind IP is no payload.
  const payload = packet.subarray(at + headerBytes, Math.max(ends, at + headerBytes));
  const flags = isTcp ? packet[at + 13]! : 0;
  return {
    transport: isTcp ? 'tcp' : 'udp',
    fromAddress,
    fromPort: packet.readUInt16BE(at),
    toAddress,
    toPort: packet.readUInt16BE(at + 2),
    sequence: isTcp ? packet.readUInt32BE(at + 4) : 0,
    fin: (flags & 0x01) !== 0,
    syn: (flags & 0x02) !== 0,
    rst: (flags & 0x04) !== 0,
    ack: (flags & 0x10) !== 0,
    payload,
    cutBytes: Math.max(0, ends - at - headerBytes - payload.length),
  };
}
