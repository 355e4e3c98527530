import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Clients } from '../../../core/capture/clients.ts';
import { packetsOf } from '../../../core/capture/file.ts';
import { connection, type PacketOptions, pcap, reading } from '../../support/capture.ts';

const client = '192.0.2.1:4000';
const listener = '192.0.2.9:5060';
const sent = (sequence: number, payload: string, flags = 'A'): PacketOptions => ({
  from: client,
  to: listener,
  sequence,
  payload,
  flags,
});
const syn = sent(999, '', 'S');

/** What happened, in short: `1 bytes hello`, `1 missing 5`, `1 end`. */
function told(packets: readonly PacketOptions[], { udp = false, at = [5060] as (number | string)[] } = {}) {
  const endpoints = at.map((one) => {
    const [address, port] = typeof one === 'number' ? [undefined, one] : [one.split(':')[0], Number(one.split(':')[1])];
    return { address, port };
  });
  const clients = new Clients(udp ? 'udp' : 'tcp', endpoints);
  const events: string[] = [];
  for (const event of clients.events(packetsOf(reading(pcap(packets))))) {
    const { number, startsMidStream } = event.connection;
    const what =
      event.kind === 'bytes'
        ? ` ${event.bytes.toString('latin1')}`
        : event.kind === 'missing'
          ? ` ${event.missingBytes}`
          : '';
    events.push(`${number}${startsMidStream ? ' (begun before)' : ''} ${event.kind}${what}`);
  }
  return { events, facts: clients.facts };
}

describe('TCP', () => {
  it('is heard in order, from SYN to FIN', () => {
    expect(told(connection(client, listener, ['one', 'two'])).events).toEqual(['1 bytes one', '1 bytes two', '1 end']);
  });

  it('leaves out what comes again, and what overlaps', () => {
    const packets = [syn, sent(1000, 'abc'), sent(1000, 'abc'), sent(1001, 'bcde'), sent(999, '!'), syn];
    expect(told(packets).events).toEqual(['1 bytes abc', '1 bytes de']);
  });

  it('keeps what comes too early', () => {
    const packets = [syn, sent(1003, 'def'), sent(1005, 'fgh'), sent(1000, 'abc')];
    expect(told(packets).events).toEqual(['1 bytes abc', '1 bytes def', '1 bytes gh']);
  });

  it('says what is missing once nothing more comes', () => {
    const packets = [syn, sent(1000, 'abc'), sent(1005, 'fgh'), sent(1010, 'k'), sent(1013, '', 'FA')];
    expect(told(packets).events).toEqual([
      '1 bytes abc',
      '1 missing 2',
      '1 bytes fgh',
      '1 missing 2',
      '1 bytes k',
      '1 missing 2',
    ]);
  });

  it('does not wait for ever for what is missing', () => {
    const late = Array.from({ length: 257 }, (_, index) => sent(1001 + 2 * index, 'x'));
    const { events } = told([syn, ...late, sent(1000 + 600, '!')]);
    expect(events.slice(0, 3)).toEqual(['1 missing 1', '1 bytes x', '1 missing 1']);
    expect(events.filter((event) => event === '1 bytes x')).toHaveLength(257);
  });

  it('begins with what is there if its SYN is not', () => {
    const { events } = told([sent(5, 'abc'), sent(8, 'd'), sent(2, 'xyz')]);
    expect(events).toEqual(['1 (begun before) bytes abc', '1 (begun before) bytes d']);
  });

  it('goes on when numbers begin anew at 0', () => {
    const first = 0xffff_fffd;
    const packets = [sent(first - 1, '', 'S'), sent(0, 'd'), sent(first, 'abc'), sent(1, 'e')];
    expect(told(packets).events).toEqual(['1 bytes abc', '1 bytes d', '1 bytes e']);
  });

  it('ends by RST from either side, and hears nothing after that', () => {
    const reset = { from: listener, to: client, flags: 'R' };
    expect(told([syn, sent(1000, 'abc'), reset, sent(1003, 'd')]).events).toEqual(['1 bytes abc', '1 end']);
    expect(told([syn, sent(1000, 'abc', 'R'), sent(1003, 'd')]).events).toEqual(['1 bytes abc', '1 end']);
  });

  it('is another connection after another SYN from the same port', () => {
    const packets = [syn, sent(1000, 'abc'), sent(5000, '', 'S'), sent(5001, 'new')];
    expect(told(packets).events).toEqual(['1 bytes abc', '1 end', '2 bytes new']);
  });

  it('counts nobody who says nothing, and nobody who is a server', () => {
    const answer = { from: client, to: listener, sequence: 1, flags: 'SA' };
    expect(told([syn, sent(1000, '', 'F')]).events).toEqual([]);
    expect(told([answer, sent(2, 'HTTP/1.1 200 OK')]).events).toEqual([]);
  });

  it('has bytes missing where the capture has cut packets', () => {
    const cut = { ...sent(1000, 'abcdef'), kept: 54 + 4 };
    const { events, facts } = told([syn, cut, sent(1006, 'gh')]);
    expect(events).toEqual(['1 bytes abcd', '1 missing 2', '1 bytes gh']);
    expect(facts.cutPackets).toBe(1);
  });

  it('comes out as it went in, however it is cut, repeated and shuffled', () => {
    const text = Array.from({ length: 200 }, (_, index) => String.fromCharCode(33 + (index % 90))).join('');
    const piece = fc.tuple(fc.nat(199), fc.integer({ min: 1, max: 40 }));
    fc.assert(
      fc.property(
        fc.array(piece, { maxLength: 60 }),
        fc.integer({ min: 1, max: 50 }),
        fc.nat(),
        (pieces, size, first) => {
          const cover = Array.from(
            { length: Math.ceil(text.length / size) },
            (_, index) => [index * size, size] as const,
          );
          const all = [...pieces, ...cover].sort(([one], [other]) => ((one * 7) % 13) - ((other * 7) % 13));
          const base = first >>> 0;
          const packets = all.map(([at, length]) => sent((base + 1 + at) >>> 0, text.slice(at, at + length)));
          const { events } = told([sent(base, '', 'S'), ...packets]);
          expect(events.map((event) => event.replace(/^1 bytes /, '')).join('')).toBe(text);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('UDP', () => {
  const datagram = (from: string, payload: string): PacketOptions => ({ from, to: listener, udp: true, payload });

  it('is one client for each address and port, a datagram at a time', () => {
    const packets = [datagram(client, 'one'), datagram('192.0.2.2:4000', 'two'), datagram(client, 'three')];
    expect(told(packets, { udp: true }).events).toEqual(['1 bytes one', '2 bytes two', '1 bytes three']);
  });

  it('has no datagram that the capture has cut', () => {
    const cut = { ...datagram(client, 'one'), kept: 43 };
    const { events, facts } = told([cut, datagram(client, 'two')], { udp: true });
    expect(events).toEqual(['1 bytes two']);
    expect(facts.cutPackets).toBe(1);
  });

  it('tells both sides apart by the address of the listener if they have the same port', () => {
    const packets = [
      { from: '192.0.2.1:5060', to: listener, udp: true, payload: 'question' },
      { from: listener, to: '192.0.2.1:5060', udp: true, payload: 'answer' },
    ];
    expect(told(packets, { udp: true, at: [listener] }).events).toEqual(['1 bytes question']);
    expect(told(packets, { udp: true }).events).toEqual(['1 bytes question', '2 bytes answer']);
  });
});

it('says what else the capture has', () => {
  const packets = [syn, sent(1000, 'abc'), { from: client, to: '192.0.2.9:80' }, { from: listener, to: client }];
  expect(told(packets).facts).toEqual({
    packets: 4,
    listenerPackets: 3,
    fragments: 0,
    cutPackets: 0,
    forgottenConnections: 0,
    ports: new Map([
      [5060, 2],
      [80, 1],
      [4000, 1],
    ]),
    endsWhole: true,
  });
});

it('ends, whatever bytes of the packets are changed, with no more bytes than the capture has', () => {
  const packets = pcap(connection(client, listener, ['one', 'two', 'three', 'four']));
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 12 }), (changes) => {
      const bytes = Buffer.from(packets);
      // The lengths of records are for file.test.ts.
      for (const [at, value] of changes) bytes[24 + 16 + 14 + (at % 40)] = value;
      let heard = 0;
      const clients = new Clients('tcp', [{ address: undefined, port: 5060 }]);
      for (const event of clients.events(packetsOf(reading(bytes))))
        if (event.kind === 'bytes') heard += event.bytes.length;
      expect(heard).toBeLessThanOrEqual(bytes.length);
    }),
    { numRuns: 500 },
  );
});

it('forgets the connection that has been silent for longest when there are too many', () => {
  const many = 65_537;
  const packets: PacketOptions[] = [sent(1, 'first')];
  for (let n = 0; n < many - 1; n++) packets.push({ from: `10.1.${n >> 8}.${n & 255}:9`, to: listener, flags: 'S' });
  const { events, facts } = told(packets);
  expect(events).toEqual(['1 (begun before) bytes first', '1 (begun before) end']);
  expect(facts.forgottenConnections).toBe(1);
});
