/** Writes captures for tests: packets of TCP and UDP, in any of the link layers and file formats that can be read. */

export interface PacketOptions {
  /** `address:port`, IPv6 in brackets. */
  readonly from: string;
  readonly to: string;
  readonly udp?: boolean;
  readonly sequence?: number;
  /** Of S, A, F and R. Undefined: A. */
  readonly flags?: string;
  readonly payload?: string | Uint8Array;
  /** Microseconds since 2026-01-01. Undefined: one more than the packet before. */
  readonly micros?: number;
  /** The capture keeps only that many bytes. */
  readonly kept?: number;
  readonly link?: LinkLayer;
}

const linkLayers = {
  ethernet: { type: 1, header: (etherType: number) => Buffer.concat([Buffer.alloc(12), u16(etherType)]) },
  tagged: {
    type: 1,
    header: (etherType: number) =>
      Buffer.concat([Buffer.alloc(12), u16(0x88a8), u16(7), u16(0x8100), u16(9), u16(etherType)]),
  },
  raw: { type: 101, header: () => Buffer.alloc(0) },
  loopback: { type: 0, header: (etherType: number) => Buffer.from([etherType === 0x0800 ? 2 : 30, 0, 0, 0]) },
  cooked: { type: 113, header: (etherType: number) => Buffer.concat([Buffer.alloc(14), u16(etherType)]) },
  cookedV2: { type: 276, header: (etherType: number) => Buffer.concat([u16(etherType), Buffer.alloc(18)]) },
};
export type LinkLayer = keyof typeof linkLayers;

/** 2026-01-01T00:00:00Z */
const beginning = 1_767_225_600;

const u16 = (value: number) => Buffer.from([value >> 8, value & 0xff]);
function u32(value: number, littleEndian = false): Buffer {
  const bytes = Buffer.alloc(4);
  if (littleEndian) bytes.writeUInt32LE(value >>> 0);
  else bytes.writeUInt32BE(value >>> 0);
  return bytes;
}

/** The bytes of a packet, from its link layer on. Checksums are left 0, as in captures of hosts whose network card computes them. */
export function packet({
  from,
  to,
  udp = false,
  sequence = 0,
  flags = 'A',
  payload = '',
  link = 'ethernet',
}: PacketOptions): Buffer {
  const [fromAddress, fromPort] = endpoint(from);
  const [toAddress, toPort] = endpoint(to);
  const bytes = typeof payload === 'string' ? Buffer.from(payload, 'latin1') : Buffer.from(payload);
  const bits = [...flags].reduce((sum, flag) => sum | { F: 1, S: 2, R: 4, A: 16 }[flag]!, 0);
  const transport = udp
    ? Buffer.concat([u16(fromPort), u16(toPort), u16(8 + bytes.length), u16(0), bytes])
    : Buffer.concat([
        u16(fromPort),
        u16(toPort),
        u32(sequence),
        u32(0),
        Buffer.from([0x50, bits]),
        Buffer.alloc(6),
        bytes,
      ]);
  const isV6 = fromAddress.length === 16;
  const addresses = Buffer.concat([fromAddress, toAddress]);
  const protocol = udp ? 17 : 6;
  const ip = isV6
    ? Buffer.concat([Buffer.from([0x60, 0, 0, 0]), u16(transport.length), Buffer.from([protocol, 64]), addresses])
    : Buffer.concat([
        Buffer.from([0x45, 0]),
        u16(20 + transport.length),
        Buffer.from([0, 0, 0x40, 0, 64, protocol, 0, 0]),
        addresses,
      ]);
  return Buffer.concat([linkLayers[link].header(isV6 ? 0x86dd : 0x0800), ip, transport]);
}

function endpoint(text: string): [Buffer, number] {
  const colon = text.lastIndexOf(':');
  return [address(text.slice(0, colon)), Number(text.slice(colon + 1))];
}

function address(text: string): Buffer {
  if (!text.startsWith('[')) return Buffer.from(text.split('.').map(Number));
  const [head, tail] = text
    .slice(1, -1)
    .split('::')
    .map((half) => half.split(':').filter(Boolean));
  const zeros = Array.from({ length: 8 - head!.length - (tail?.length ?? 0) }, () => '0');
  return Buffer.concat([...head!, ...zeros, ...(tail ?? [])].map((group) => u16(Number.parseInt(group, 16))));
}

export interface FileOptions {
  readonly littleEndian?: boolean;
  readonly nanoseconds?: boolean;
}

/** A pcap file. All packets have the link layer of the first one. */
export function pcap(
  packets: readonly PacketOptions[],
  { littleEndian = true, nanoseconds = false }: FileOptions = {},
): Buffer {
  const number = (value: number) => u32(value, littleEndian);
  const half = (value: number) => (littleEndian ? u16(value).reverse() : u16(value));
  const { type } = linkLayers[packets[0]?.link ?? 'ethernet'];
  const parts = [
    number(nanoseconds ? 0xa1b23c4d : 0xa1b2c3d4),
    half(2),
    half(4),
    number(0),
    number(0),
    number(262_144),
    number(type),
  ];
  for (const { micros, bytes, kept } of timed(packets)) {
    const part = (micros % 1_000_000) * (nanoseconds ? 1000 : 1);
    parts.push(
      number(beginning + Math.floor(micros / 1_000_000)),
      number(part),
      number(kept.length),
      number(bytes.length),
      kept,
    );
  }
  return Buffer.concat(parts);
}

/** A pcapng file with one interface, whose times are in nanoseconds if asked for. */
export function pcapng(
  packets: readonly PacketOptions[],
  { littleEndian = true, nanoseconds = false }: FileOptions = {},
): Buffer {
  const number = (value: number) => u32(value, littleEndian);
  const half = (value: number) => (littleEndian ? u16(value).reverse() : u16(value));
  const block = (type: number, body: Buffer) => {
    const padded = Buffer.concat([body, Buffer.alloc(-body.length & 3)]);
    return Buffer.concat([number(type), number(padded.length + 12), padded, number(padded.length + 12)]);
  };
  const { type } = linkLayers[packets[0]?.link ?? 'ethernet'];
  const resolution = nanoseconds ? [half(9), half(1), Buffer.from([9, 0, 0, 0]), half(0), half(0)] : [];
  const parts = [
    block(0x0a0d0d0a, Buffer.concat([number(0x1a2b3c4d), half(1), half(0), number(0xffffffff), number(0xffffffff)])),
    block(1, Buffer.concat([half(type), half(0), number(0), ...resolution])),
    block(4, Buffer.from('names that are not read')),
  ];
  for (const { micros, bytes, kept } of timed(packets)) {
    const time = BigInt(beginning * 1e6 + micros) * (nanoseconds ? 1000n : 1n);
    const halves = [number(Number(time >> 32n)), number(Number(time & 0xffffffffn))];
    parts.push(block(6, Buffer.concat([number(0), ...halves, number(kept.length), number(bytes.length), kept])));
  }
  return Buffer.concat(parts);
}

function timed(packets: readonly PacketOptions[]) {
  let next = 0;
  return packets.map((options) => {
    const micros = options.micros ?? next;
    next = micros + 1;
    const bytes = packet(options);
    return { micros, bytes, kept: bytes.subarray(0, options.kept) };
  });
}

/** Reads a capture out of memory, as from a file. */
export function reading(bytes: Buffer): (count: number) => Buffer {
  let at = 0;
  return (count) => {
    const read = bytes.subarray(at, at + count);
    at += read.length;
    return read;
  };
}

/** What one client sends, segment by segment: its SYN first, its FIN last. */
export function connection(from: string, to: string, payloads: readonly string[], first = 1000): PacketOptions[] {
  const packets: PacketOptions[] = [{ from, to, sequence: first, flags: 'S' }];
  let sequence = first + 1;
  for (const payload of payloads) {
    packets.push({ from, to, sequence, payload });
    sequence += payload.length;
  }
  return [...packets, { from, to, sequence, flags: 'FA' }];
}
