import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { segmentIn } from '../../../core/capture/segment.ts';
import { type LinkLayer, packet } from '../../support/capture.ts';

const linkTypes: Record<LinkLayer, number> = {
  ethernet: 1,
  tagged: 1,
  raw: 101,
  loopback: 0,
  cooked: 113,
  cookedV2: 276,
};
const hosts = [
  ['192.0.2.1:4000', '198.51.100.9:5060', '192.0.2.1', '198.51.100.9'],
  ['[2001:db8::1]:4000', '[2001:db8:0:1::9]:5060', '2001:db8::1', '2001:db8:0:1::9'],
] as const;
const segmentOf = (link: LinkLayer, bytes: Buffer) => segmentIn({ linkType: linkTypes[link], timeMicros: 0, bytes });

describe.each(Object.keys(linkTypes) as LinkLayer[])('in the link layer %s', (link) => {
  it.each(hosts)('a TCP segment from %s is found', (from, to, fromAddress, toAddress) => {
    const bytes = packet({ from, to, sequence: 0xffff_fff0, flags: 'SAFR', payload: 'hello', link });
    expect(segmentOf(link, Buffer.concat([bytes, Buffer.alloc(6)]))).toEqual({
      transport: 'tcp',
      fromAddress,
      fromPort: 4000,
      toAddress,
      toPort: 5060,
      sequence: 0xffff_fff0,
      syn: true,
      ack: true,
      fin: true,
      rst: true,
      payload: Buffer.from('hello'),
      cutBytes: 0,
    });
  });

  it.each(hosts)('a UDP datagram from %s is found', (from, to, fromAddress, toAddress) => {
    const found = segmentOf(link, packet({ from, to, udp: true, payload: 'hello', link }));
    expect(found).toMatchObject({ transport: 'udp', fromAddress, toAddress, fromPort: 4000, toPort: 5060 });
    expect(found).toMatchObject({ payload: Buffer.from('hello'), cutBytes: 0 });
  });
});

describe('a packet', () => {
  const [from, to] = hosts[0];

  it('that the capture has cut says how much is missing', () => {
    const bytes = packet({ from, to, payload: 'hello' });
    expect(segmentOf('ethernet', bytes.subarray(0, -3))).toMatchObject({ payload: Buffer.from('he'), cutBytes: 3 });
    const datagram = packet({ from, to, udp: true, payload: 'hello' });
    expect(segmentOf('ethernet', datagram.subarray(0, -5))).toMatchObject({ payload: Buffer.alloc(0), cutBytes: 5 });
  });

  it('that is a fragment is none', () => {
    const bytes = packet({ from, to, payload: 'hello', link: 'raw' });
    bytes[6] = 0x20;
    expect(segmentOf('raw', bytes)).toBe('fragment');
  });

  it('has its payload behind extension headers', () => {
    const bytes = packet({ from: hosts[1][0], to: hosts[1][1], payload: 'hello', link: 'raw' });
    const options = Buffer.from([6, 0, 1, 4, 0, 0, 0, 0]);
    const longer = Buffer.concat([bytes.subarray(0, 40), options, bytes.subarray(40)]);
    longer[6] = 0;
    longer.writeUInt16BE(longer.length - 40, 4);
    expect(segmentOf('raw', longer)).toMatchObject({ fromPort: 4000, payload: Buffer.from('hello') });
    longer[6] = 44;
    expect(segmentOf('raw', longer)).toBe('fragment');
  });

  it('of another kind is of no interest', () => {
    const bytes = packet({ from, to, payload: 'hello' });
    bytes[12] = 0x88;
    expect(segmentOf('ethernet', bytes)).toBe('other');
    expect(segmentIn({ linkType: 147, timeMicros: 0, bytes })).toBe('other');
  });

  it('never breaks the reader, whatever its bytes and wherever it ends', () => {
    const seeds = hosts.flatMap(([from, to]) =>
      [true, false].map((udp) => packet({ from, to, udp, payload: 'hello', link: 'raw' })),
    );
    fc.assert(
      fc.property(
        fc.constantFrom(...seeds),
        fc.constantFrom(0, 1, 101, 108, 113, 276),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 6 }),
        fc.nat(),
        (seed, linkType, changes, end) => {
          const bytes = Buffer.from(seed);
          for (const [at, value] of changes) bytes[at % bytes.length] = value;
          const cut = bytes.subarray(0, end % (bytes.length + 1));
          const found = segmentIn({ linkType, timeMicros: 0, bytes: cut });
          if (typeof found === 'string') return;
          expect(found.payload.length).toBeLessThanOrEqual(cut.length);
          expect(found.cutBytes).toBeGreaterThanOrEqual(0);
          expect(found.cutBytes).toBeLessThanOrEqual(65_575);
        },
      ),
      { numRuns: 1000 },
    );
  });
});
