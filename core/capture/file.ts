/**
 * Reads capture files, pcap and pcapng (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng), one packet after the other, so that a
 * file may be larger than memory. No length in a file is trusted before it is checked against bounds.
 */
import { closeSync, openSync, readSync } from 'node:fs';

/** A packet as it was on the wire, from its link layer on. */
export interface Packet {
  /** A number from the registry of link types (LINKTYPE_…). */
  readonly linkType: number;
  /** Microseconds since 1970. */
  readonly timeMicros: number;
  /** Shorter than on the wire if the capture was told to cut packets. */
  readonly bytes: Buffer;
}

/** Returns the next bytes: fewer at the end of the file, none after it. The memory is reused at the next call. */
export type ReadBytes = (count: number) => Buffer;

/** The file is not a capture, or is impossible. */
export class CaptureError extends Error {}

/** The longest packet that capture tools write; a longer one means that the file is broken. */
const mostPacketBytes = 262_144;
const mostBlockBytes = mostPacketBytes + 65_536;
/** How many interfaces a section may have. */
const mostInterfaces = 65_536;

/** @throws the system's error if the file cannot be opened */
export function openCapture(path: string): { readonly read: ReadBytes; close(): void } {
  const descriptor = path === '-' ? 0 : openSync(path, 'r');
  let held: Buffer = Buffer.allocUnsafe(0);
  const read = (count: number): Buffer => {
    if (held.length < count) {
      const more = Buffer.allocUnsafe(Math.max(count, 65_536));
      let length = held.copy(more);
      while (length < count) {
        const got = readSync(descriptor, more, length, more.length - length, null);
        if (got === 0) break;
        length += got;
      }
      held = more.subarray(0, length);
    }
    const bytes = held.subarray(0, count);
    held = held.subarray(bytes.length);
    return bytes;
  };
  return { read, close: () => (descriptor === 0 ? undefined : closeSync(descriptor)) };
}

/** @returns whether the file ended where it may: between two packets */
export type Packets = Generator<Packet, boolean>;

/** @throws CaptureError while it is read, if it is no capture or is broken */
export function* packetsOf(read: ReadBytes): Packets {
  const magic = Buffer.from(read(4));
  if (magic.length < 4) throw new CaptureError('it is no capture: it has less than 4 bytes');
  if (magic.readUInt32BE() === sectionHeader) return yield* blocks(read);
  for (const littleEndian of [true, false]) {
    const perSecond = classicMagics.get(littleEndian ? magic.readUInt32LE() : magic.readUInt32BE());
    if (perSecond !== undefined) return yield* records(read, littleEndian, perSecond);
  }
  throw new CaptureError(`it is no capture: it begins with ${magic.toString('hex')}, as neither pcap nor pcapng does`);
}

/** The units of time in a second, by magic number. */
const classicMagics = new Map([
  [0xa1b2c3d4, 1e6],
  [0xa1b23c4d, 1e9],
]);

function* records(read: ReadBytes, littleEndian: boolean, perSecond: number): Packets {
  const header = read(20);
  if (header.length < 20) return false;
  // The upper bits tell of a checksum at the end of frames, which the length in IP leaves out anyway.
  const linkType = numbers(header, littleEndian).u32(16) & 0xffff;
  for (;;) {
    const record = read(16);
    if (record.length === 0) return true;
    if (record.length < 16) return false;
    const { u32 } = numbers(record, littleEndian);
    const captured = u32(8);
    if (captured > mostPacketBytes) throw new CaptureError(`a packet claims to have ${captured} bytes`);
    const timeMicros = u32(0) * 1e6 + Math.floor((u32(4) * 1e6) / perSecond);
    const bytes = read(captured);
    if (bytes.length < captured) return false;
    yield { linkType, timeMicros, bytes };
  }
}

/** The types of blocks that matter here. */
const sectionHeader = 0x0a0d0d0a;
const interfaceDescription = 1;
const obsoletePacket = 2;
const simplePacket = 3;
const enhancedPacket = 6;

interface Interface {
  readonly linkType: number;
  readonly microsPerUnit: number;
  readonly snapBytes: number;
}

/** pcapng, after the type of its first block. */
function* blocks(read: ReadBytes): Packets {
  let littleEndian = true;
  let interfaces: Interface[] = [];
  let typeBytes: Buffer | undefined;
  for (;;) {
    const isFirst = typeBytes === undefined;
    typeBytes = isFirst ? Buffer.from([0x0a, 0x0d, 0x0d, 0x0a]) : Buffer.from(read(4));
    if (typeBytes.length === 0) return true;
    if (typeBytes.length < 4) return false;
    const isSection = typeBytes.readUInt32BE() === sectionHeader;
    const head = Buffer.from(read(isSection ? 8 : 4));
    if (head.length < (isSection ? 8 : 4)) return false;
    if (isSection) {
      littleEndian = head.readUInt32LE(4) === 0x1a2b3c4d;
      if (!littleEndian && head.readUInt32BE(4) !== 0x1a2b3c4d) throw new CaptureError('a section has no byte order');
      interfaces = [];
    }
    const type = numbers(typeBytes, littleEndian).u32(0);
    const blockBytes = numbers(head, littleEndian).u32(0);
    if (blockBytes < (isSection ? 28 : 12) || blockBytes % 4 !== 0 || blockBytes > mostBlockBytes) {
      throw new CaptureError(`a block claims to have ${blockBytes} bytes`);
    }
    const rest = blockBytes - 4 - head.length;
    const body = read(rest);
    if (body.length < rest) return false;
    const content = body.subarray(0, rest - 4); // its length stands once more at the end
    if (type === interfaceDescription) {
      if (interfaces.length >= mostInterfaces) throw new CaptureError('a section has too many interfaces');
      interfaces.push(interfaceOf(content, littleEndian));
    } else {
      const packet = packetIn(type, content, littleEndian, interfaces);
      if (packet !== undefined) yield packet;
    }
  }
}

function interfaceOf(content: Buffer, littleEndian: boolean): Interface {
  if (content.length < 8) throw new CaptureError('the description of an interface is too short');
  const { u16, u32 } = numbers(content, littleEndian);
  let microsPerUnit = 1;
  for (let at = 8; at + 4 <= content.length; ) {
    const option = u16(at);
    const length = u16(at + 2);
    if (option === 0) break;
    // if_tsresol: a power of ten, or with its upper bit of two.
    if (option === 9 && length === 1 && at + 4 < content.length) {
      const power = content[at + 4]!;
      microsPerUnit = 1e6 / (power & 0x80 ? 2 ** (power & 0x7f) : 10 ** power);
    }
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return { linkType: u16(0), microsPerUnit, snapBytes: u32(4) };
}

function packetIn(
  type: number,
  content: Buffer,
  littleEndian: boolean,
  interfaces: readonly Interface[],
): Packet | undefined {
  const { u16, u32 } = numbers(content, littleEndian);
  if (type === simplePacket && content.length >= 4) {
    const [its] = interfaces;
    if (its === undefined) throw new CaptureError('a packet has no interface');
    const captured = Math.min(u32(0), its.snapBytes === 0 ? mostPacketBytes : its.snapBytes, content.length - 4);
    return { linkType: its.linkType, timeMicros: 0, bytes: content.subarray(4, 4 + captured) };
  }
  if ((type !== enhancedPacket && type !== obsoletePacket) || content.length < 20) return undefined;
  const its = interfaces[type === enhancedPacket ? u32(0) : u16(0)];
  if (its === undefined) throw new CaptureError('a packet has no interface');
  const captured = u32(12);
  if (captured > content.length - 20) throw new CaptureError(`a packet claims to have ${captured} bytes`);
  const timeMicros = Math.floor((u32(4) * 2 ** 32 + u32(8)) * its.microsPerUnit);
  return { linkType: its.linkType, timeMicros, bytes: content.subarray(20, 20 + captured) };
}

function numbers(bytes: Buffer, littleEndian: boolean) {
  return littleEndian
    ? { u16: (at: number) => bytes.readUInt16LE(at), u32: (at: number) => bytes.readUInt32LE(at) }
    : { u16: (at: number) => bytes.readUInt16BE(at), u32: (at: number) => bytes.readUInt32BE(at) };
}
