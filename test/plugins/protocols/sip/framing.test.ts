import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { defaultLimits } from '../../../../core/settings.ts';
import { Header } from '../../../../plugins/protocols/sip/header.ts';
import sip from '../../../../plugins/protocols/sip/index.ts';
import type { Rig } from '../../../support/embedded.ts';
import { bytesOf, parse, request, sipRig } from './ua.ts';

const oneBackend = () => sipRig({ backends: ['a'] });

/** Everything that follows from bytes sent over a connection of their own, piece by piece. */
function outcome(rig: Rig, ...pieces: Uint8Array[]) {
  const { link } = rig.backends[0]!;
  const writesBefore = link.writes.length;
  const client = rig.client();
  for (const piece of pieces) client.send(piece);
  const { ended } = client;
  const reply = client.text();
  // Connections differ in their tokens and ports.
  const plain = (text: string) => text.replace(/pm=[a-z2-7]+/g, 'pm=token').replace(/rport=\d{5,6}/gi, 'rport=1');
  const forwarded = plain(Buffer.concat(link.writes.slice(writesBefore)).toString('latin1'));
  client.reset();
  return { forwarded, reply: plain(reply), ended };
}

describe('every sample', () => {
  it.each(sip.samples!.map(({ name, bytes }) => [name, bytes] as const))(
    'is read alike however it is cut: %s',
    async (_name, bytes) => {
      const rig = await oneBackend();
      const whole = outcome(rig, bytes);
      expect(parse(whole.forwarded)).toHaveLength(1);
      expect(whole.ended).toBe(false);
      for (let cut = 1; cut < bytes.length; cut++) {
        expect(outcome(rig, bytes.subarray(0, cut), bytes.subarray(cut))).toEqual(whole);
      }
      expect(outcome(rig, ...bytesOf(bytes))).toEqual(whole);
    },
  );

  it('is read alike when all come in one piece', async () => {
    const rig = await oneBackend();
    const all = sip.samples!.map(({ bytes }) => bytes);
    expect(outcome(rig, Buffer.concat(all))).toEqual(outcome(rig, ...all));
  });
});

describe('known defects of others', () => {
  const length = (line: string) => request('MESSAGE', { body: 'hello' }).replace('Content-Length: 5', line);

  it.each([
    ['2^31 - 10 (CVE-2026-39863)', 'Content-Length: 2147483638'],
    ['2^31 + 10 (CVE-2026-39863)', 'Content-Length: 2147483658'],
    ['2^32 + 32 (CVE-2026-23457)', 'Content-Length: 4294967328'],
    ['26 digits (Envoy GHSA-rh3p-qxp2-vx3f)', `Content-Length: ${'9'.repeat(26)}`],
    ['11 digits', 'Content-Length: 00000000005'],
    ['negative', 'Content-Length: -5'],
    ['empty', 'Content-Length:'],
    ['blank', 'Content-Length: \t'],
    ['+5', 'Content-Length: +5'],
    ['0x5', 'Content-Length: 0x5'],
    ['5.0', 'Content-Length: 5.0'],
    ['5, 5', 'Content-Length: 5, 5'],
    ['two of them', 'Content-Length: 5\r\nContent-Length: 5'],
    ['l beside the long form', 'l: 5\r\nContent-Length: 5'],
    ['only in a folded Subject', 'Subject: x\r\n Content-Length: 5'],
    ['as Content_Length', 'Content-Length: 5\r\nContent_Length: 0'],
    ['missing', 'X: y'],
    ['an empty header name (CVE-2023-25725)', ': x\r\nContent-Length: 5'],
    ['a header name with a space', 'X Y: z\r\nContent-Length: 5'],
    ['a header name with NUL', 'X\0: z\r\nContent-Length: 5'],
    ['a header line without a colon', 'Content-Length 5\r\nContent-Length: 5'],
    ['a bare LF', 'Content-Length: 5\nX: y'],
    ['a bare CR', 'Content-Length: 5\rX: y'],
    ['CR CR LF', 'Content-Length: 5\r'],
    ['a fold as the first line', 'folded'],
  ])('Content-Length %s: an error, and no byte behind it is read', async (what, line) => {
    const rig = await oneBackend();
    const sent = what.startsWith('a fold') ? request('MESSAGE').replace('\r\nVia', '\r\n \r\nVia') : length(line);
    const { forwarded, reply, ended } = outcome(rig, Buffer.from(sent + request('MESSAGE'), 'latin1'));
    expect(forwarded).toBe('');
    expect(reply).toMatch(/^SIP\/2\.0 4(00|13) /);
    expect(ended).toBe(true);
    expect(rig.stats().fromClients).toMatchObject({ received: 1, refused: 1 });
  });

  it.each([
    ['folded', 'Content-Length:\r\n 5'],
    ['compact', 'l:5'],
    ['with blanks before the colon', 'CONTENT-length \t :\t5 '],
    ['with leading zeros', 'Content-Length: 0000000005'],
  ])('Content-Length %s is legal', async (_what, line) => {
    const rig = await oneBackend();
    const { forwarded } = outcome(rig, Buffer.from(length(line) + request('MESSAGE'), 'latin1'));
    expect(parse(forwarded).map(({ body }) => body)).toEqual(['hello', '']);
  });

  it('Via and Route are found with blanks before the colon (CVE-2020-28361)', async () => {
    const rig = await oneBackend();
    const text = request('INVITE', { extra: ['Route\t: <sip:192.0.2.1;lr>'] }).replace('Via:', 'Via :');
    const { forwarded } = outcome(rig, Buffer.from(text, 'latin1'));
    expect(forwarded).not.toMatch(/^Route/m);
    expect(forwarded).toContain('received=');
  });

  it('no state leaks from one message to the next (Envoy sip_proxy)', async () => {
    const rig = await oneBackend();
    const rich = request('INVITE', { extra: ['Route: <sip:192.0.2.1;lr>', 'Proxy-Require: x'], body: 'long body' });
    const bare = request('MESSAGE', { via: 'SIP/2.0/TCP 198.51.100.1', branch: 'z9hG4bKb' });
    const alone = outcome(rig, Buffer.from(bare, 'latin1'));
    expect(outcome(rig, Buffer.from(rich + bare, 'latin1')).forwarded).toBe(alone.forwarded);
  });

  it('a refusal tells nothing of the message before, which came from another peer', async () => {
    const rig = await oneBackend();
    for (const broken of ['\rx', 'x\n', 'x'.repeat(9000)]) {
      outcome(rig, Buffer.from(request('MESSAGE'), 'latin1'));
      expect(outcome(rig, Buffer.from(broken, 'latin1'))).toEqual({ forwarded: '', reply: '', ended: true });
    }
  });

  it('what is no SIP closes the connection without an answer', async () => {
    const rig = await oneBackend();
    for (const text of [
      'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
      '\x16\x03\x01\x00\xa5\x01\x00\x00\r\n',
      '\n',
      ' \r\n',
      'INVITE\r\n',
    ]) {
      expect(outcome(rig, Buffer.from(text, 'latin1'))).toEqual({ forwarded: '', reply: '', ended: true });
    }
  });
});

describe('limits', () => {
  it('a start-line over 8 KiB gets the connection closed, before its end comes', async () => {
    const rig = await oneBackend();
    expect(outcome(rig, Buffer.alloc(8194, 'a'))).toMatchObject({ ended: true });
    expect(outcome(rig, Buffer.alloc(8193, 'a'))).toMatchObject({ ended: false });
    expect(outcome(rig, ...bytesOf(Buffer.alloc(8194, 'a')))).toMatchObject({ ended: true });
    expect(outcome(rig, Buffer.from(request('MESSAGE', { uri: `sip:${'a'.repeat(9000)}` })))).toMatchObject({
      ended: true,
    });
  });

  it('a header over the limit, or of more than 200 lines, is answered by 513', async () => {
    const rig = await sipRig({ backends: ['a'], limits: { headerBytes: 2000 } });
    const long = Buffer.from(request('MESSAGE', { extra: [`X: ${'x'.repeat(2000)}`] }), 'latin1');
    const whole = outcome(rig, long);
    expect(whole.reply).toMatch(/^SIP\/2\.0 513 /);
    expect(whole.ended).toBe(true);
    expect(outcome(rig, ...bytesOf(long))).toEqual(whole);
    const lines = Buffer.from(request('MESSAGE', { extra: Array(200).fill('X:y') }), 'latin1');
    expect(outcome(rig, lines).reply).toMatch(/^SIP\/2\.0 513 /);
    expect(outcome(rig, Buffer.from(request('MESSAGE', { extra: Array(193).fill('X:y') }))).forwarded).not.toBe('');
  });

  it('a body over the limit is answered by 413 before it comes', async () => {
    const rig = await sipRig({ backends: ['a'], limits: { messageBytes: 5000 } });
    const text = request('MESSAGE').replace('Content-Length: 0', 'Content-Length: 6000');
    expect(outcome(rig, Buffer.from(text, 'latin1')).reply).toMatch(/^SIP\/2\.0 413 /);
  });
});

describe('generated bytes', () => {
  const header = new Header();
  const frame = (bytes: Buffer, start = 0, end = bytes.length) => {
    header.open(bytes, start);
    return header.read(end, defaultLimits, false);
  };

  // Pieces of SIP, sound and unsound, put together at random.
  const pieces = [
    'INVITE sip:a@b SIP/2.0',
    'SIP/2.0 200 OK',
    'Via: SIP/2.0/TCP a;branch=z9hG4bK1',
    'v : SIP / 2.0 / TLS [::1]:5061',
    'From: "a\\" <b>" <sip:a@b>;tag=1',
    'To: sip:a@b',
    't: <sip:a@b',
    'Call-ID: 1',
    'CSeq: 1 INVITE',
    'CSeq: 1',
    'l: 3',
    'Content-Length: 0',
    'Content-Length: 99999',
    'Route: <sip:192.0.2.1;lr;pm=abc>,',
    'Route: ,',
    'Max-Forwards: 7',
    '\r\n',
    '\r\n',
    '\r\n',
    '\r\n\r\n',
    '\r\n ',
    ...'\r\n\0;,<> \t:"\\x',
  ];
  // Whole messages of odd but sound lines, in any order, with up to two bytes spoiled.
  const needed = [
    [
      'Via: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1;rport',
      'v:SIP / 2.0 /TCP\r\n a : 5060\r\n\t;received=b ,SIP/2.0/UDP c',
    ],
    ['From: <sip:a@b>;tag=1', 'f : "x, \\" ;tag=2" <sip:a@b;x>\r\n ;tag=1'],
    ['To: sip:a@b', 't:\r\n sip:a@b;tag=9'],
    ['Call-ID: 1', 'i:\t1@x '],
    ['CSeq: 1 INVITE', 'CSEQ : 001\r\n INVITE'],
    ['Content-Length: 3', 'l: 0003', 'Content-Length:\r\n 3\r\n '],
  ];
  const optional = [
    ['Max-Forwards: 9', 'max-forwards:\r\n 0255 '],
    ['Route: <sip:192.0.2.1;lr>', 'Route: <sip:192.0.2.1;lr>\r\n , <sip:192.0.2.1:5060;lr>,<sip:x;lr>'],
    ['Route: <sip:192.0.2.1;lr>,\r\n <sip:y;lr>', 'Route: <sip:z>'],
    ['Subject: x', 'Subject:\r\n \r\n y'],
    ['Via: SIP/2.0/UDP d', 'Record-Route: <sip:r;lr>'],
  ];
  const lines = fc
    .tuple(
      ...needed.map((forms) => fc.constantFrom(...forms)),
      ...optional.map((forms) => fc.constantFrom(undefined, ...forms)),
    )
    .chain((chosen) => fc.shuffledSubarray(chosen, { minLength: chosen.length }))
    .map((chosen) => chosen.filter((line) => line !== undefined));
  const spoilt = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { maxLength: 2 });
  const message = fc
    .tuple(fc.constantFrom('INVITE sip:a@b SIP/2.0', 'INVITE tel:1 SIP/2.0'), lines, spoilt)
    .map(([startLine, header, changes]) => {
      const bytes = Buffer.from(`${startLine}\r\n${header.join('\r\n')}\r\n\r\nabc`, 'latin1');
      for (const [at, byte] of changes) bytes[at % bytes.length] = byte;
      return bytes;
    });
  const garbage = fc.oneof(
    fc.array(fc.constantFrom(...pieces), { maxLength: 40 }).map((chosen) => Buffer.from(chosen.join(''), 'latin1')),
    fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)),
    message,
  );

  it('never make the reader throw, or look at bytes that have not come', () => {
    fc.assert(
      fc.property(garbage, fc.uint8Array({ maxLength: 50 }), (bytes, stale) => {
        const alone = frame(bytes);
        header.understand();
        const behind = Buffer.concat([Buffer.alloc(5, '\n'), bytes, stale]);
        expect(frame(behind, 5, 5 + bytes.length)).toEqual(alone);
      }),
      { numRuns: 3000 },
    );
  });

  it('once more told whole never become incomplete, and the verdict does not depend on what follows', () => {
    fc.assert(
      fc.property(garbage, garbage, (bytes, more) => {
        const first = frame(bytes);
        if (first !== 'more') expect(frame(Buffer.concat([bytes, more]))).toEqual(first);
      }),
      { numRuns: 3000 },
    );
  });

  it('are answered or passed on alike however they are cut, and what is passed on is read as we meant it', async () => {
    const rig = await oneBackend();
    let passedOn = 0;
    fc.assert(
      fc.property(fc.oneof(garbage, message), fc.array(fc.nat(), { maxLength: 4 }), (bytes, cuts) => {
        const ends = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
        const pieces = ends
          .map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end))
          .filter(({ length }) => length > 0);
        const whole = outcome(rig, bytes);
        expect(outcome(rig, ...pieces)).toEqual(whole);
        if (whole.forwarded === '') return;
        passedOn++;
        const forwarded = Buffer.from(whole.forwarded, 'latin1');
        expect(frame(forwarded)).toBe(forwarded.length);
        expect(header.understand()).toBe(undefined);
        expect(header.foldCount).toBe(0);
        expect(header.hasCanonicalLength).toBe(true);
      }),
      { numRuns: 1000 },
    );
    expect(passedOn).toBeGreaterThan(100);
    expect(rig.logged.filter((entry) => 'err' in entry)).toEqual([]);
    rig.stats();
  });
});
