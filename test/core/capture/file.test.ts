import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CaptureError, openCapture, type Packet, packetsOf } from '../../../core/capture/file.ts';
import { type PacketOptions, packet, pcap, pcapng, reading } from '../../support/capture.ts';

const packets: PacketOptions[] = [
  { from: '192.0.2.1:4000', to: '192.0.2.9:5060', payload: 'one', micros: 1_500_000 },
  { from: '192.0.2.1:4000', to: '192.0.2.9:5060', payload: 'three', micros: 3_000_001 },
];
const beginning = 1_767_225_600_000_000;
const expected = [
  { linkType: 1, timeMicros: beginning + 1_500_000, bytes: packet(packets[0]!) },
  { linkType: 1, timeMicros: beginning + 3_000_001, bytes: packet(packets[1]!) },
];

function read(file: Buffer): { packets: Packet[]; endsWhole: boolean } {
  const generator = packetsOf(reading(file));
  const packets: Packet[] = [];
  for (;;) {
    const { done, value } = generator.next();
    if (done) return { packets, endsWhole: value };
    packets.push(value);
  }
}

const formats = [
  ['pcap', pcap],
  ['pcapng', pcapng],
] as const;
const variants = formats.flatMap(([name, write]) =>
  [true, false].flatMap((littleEndian) =>
    [true, false].map((nanoseconds) => ({ name, write, littleEndian, nanoseconds })),
  ),
);

describe.each(variants)('$name, little-endian $littleEndian, nanoseconds $nanoseconds', ({ write, ...options }) => {
  const file = write(packets, options);

  it('is read packet by packet', () => {
    expect(read(file)).toEqual({ packets: expected, endsWhole: true });
  });

  it('may end at every byte: whole packets are read, and that it is not whole is told', () => {
    const whole = new Set<number>();
    for (let length = 4; length < file.length; length++) {
      const { packets, endsWhole } = read(file.subarray(0, length));
      expect(packets).toEqual(expected.slice(0, packets.length));
      if (endsWhole) whole.add(length);
    }
    // Between packets, and between the blocks before them.
    expect(whole.size).toBe(write === pcap ? 2 : 4);
  });
});

describe('a file that is no capture', () => {
  const fault = (bytes: Buffer) => {
    try {
      read(bytes);
      return undefined;
    } catch (error) {
      expect(error).toBeInstanceOf(CaptureError);
      return (error as CaptureError).message;
    }
  };

  it('is told by its first bytes', () => {
    expect(fault(Buffer.from('GET /'))).toBe(
      'it is no capture: it begins with 47455420, as neither pcap nor pcapng does',
    );
    expect(fault(Buffer.alloc(0))).toBe('it is no capture: it has less than 4 bytes');
  });

  it('claims lengths that no packet has', () => {
    const long = pcap(packets);
    long.writeUInt32LE(0xffff_ffff, 24 + 8);
    expect(fault(long)).toBe('a packet claims to have 4294967295 bytes');
    const block = pcapng(packets);
    block.writeUInt32LE(0xffff_fffc, 28 + 4);
    expect(fault(block)).toBe('a block claims to have 4294967292 bytes');
    const empty = pcapng(packets);
    empty.writeUInt32LE(0, 28 + 4);
    expect(fault(empty)).toBe('a block claims to have 0 bytes');
  });

  it('ends, or ends in a CaptureError, whatever bytes are changed', () => {
    fc.assert(
      fc.property(
        fc.constantFrom(pcap(packets), pcapng(packets), pcapng(packets, { nanoseconds: true })),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 8 }),
        (file, changes) => {
          const bytes = Buffer.from(file);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          expect(fault(bytes)).toSatisfy((message) => message === undefined || message !== '');
        },
      ),
      { numRuns: 500 },
    );
  });
});

it('is read from a file longer than what is read at once', () => {
  const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
  const payload = 'x'.repeat(1400);
  const many = Array.from({ length: 100 }, (): PacketOptions => ({ ...packets[0]!, payload, micros: 0 }));
  writeFileSync(join(directory, 'long.pcap'), pcap(many));
  const { read, close } = openCapture(join(directory, 'long.pcap'));
  const lengths = [...packetsOf(read)].map(({ bytes }) => bytes.length);
  close();
  rmSync(directory, { recursive: true });
  expect(lengths).toEqual(many.map(() => 14 + 40 + 1400));
});
