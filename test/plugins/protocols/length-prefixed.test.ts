import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PipelineHooks } from '../../../core/hooks.ts';
import { Refusal } from '../../../core/outcome.ts';
import type { ProtocolFacts, Scope } from '../../../core/plugin.ts';
import { Pool } from '../../../core/pool.ts';
import { Scan } from '../../../core/scan.ts';
import { defaultLimits } from '../../../core/settings.ts';
import lengthPrefixed from '../../../plugins/protocols/length-prefixed/index.ts';
import hashing from '../../../plugins/strategies/hashing.ts';
import roundRobin from '../../../plugins/strategies/round-robin.ts';
import { embed, optionsOf, type Rig, type RigOptions, type Wire } from '../../support/embedded.ts';
import { poolOf } from '../../support/pool.ts';

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(' ', ''), 'hex');
const keys = [{ id: 'k1', secret: Buffer.alloc(32, 7) }];

/** The plugin applied to nothing but what it declares. */
function applied(options: object, pool = poolOf('a', 'b', 'c')) {
  const hooks = new PipelineHooks();
  let facts: ProtocolFacts | undefined;
  const scope: Partial<Scope> = {
    pool,
    identifiers: { longest: { raw: 5, text: 5 } } as Scope['identifiers'],
    protocol: (declared) => void (facts = declared),
    perClient: () => () => undefined as never,
  };
  lengthPrefixed.apply!(
    hooks.forPlugin('length-prefixed'),
    optionsOf(lengthPrefixed, options) as never,
    scope as Scope,
  );
  const frame = (bytes: Buffer, start = 0, end = bytes.length) =>
    hooks.frame.call(bytes, start, end, new Scan('client', undefined as never, defaultLimits));
  return { frame, facts: facts! };
}

const framer = (length: object) => applied({ length }).frame;
const whyBroken = (framed: unknown) => (framed instanceof Refusal ? framed.reason : framed);

/** The balancer with this protocol and round-robin over the backends a, b and c, whose numbers are 1, 2 and 3. */
function rigOf(options: object, more: Partial<RigOptions> = {}): Promise<Rig> {
  return embed({ pipeline: [[lengthPrefixed, options], [roundRobin]], ...more });
}

/** What each backend got since last asked, in hex. */
const arrived = (rig: Rig) =>
  Object.fromEntries(rig.backends.map((backend) => [backend.name, backend.take().toString('hex')]));
const answer = (wire: Wire) => wire.take().toString('hex');

// An encoder that shares nothing with the plugin's.
function encode(value: bigint, size: number, encoding: string, endian = 'big'): Buffer {
  if (encoding === 'ascii') return Buffer.from(value.toString().padStart(size, '0'), 'latin1');
  if (encoding === 'bcd') return hex(value.toString().padStart(2 * size, '0'));
  if (encoding === 'varint') {
    const groups = value.toString(2).replace(/^0+(?=.)/, '');
    const padded = groups.padStart(Math.ceil(groups.length / 7) * 7, '0');
    const bytes = (padded.match(/.{7}/g) ?? []).reverse().map((group) => Number.parseInt(group, 2));
    return Buffer.from(bytes.map((byte, i) => (i === bytes.length - 1 ? byte : byte | 0x80)));
  }
  const bytes = hex(value.toString(16).padStart(2 * size, '0'));
  return endian === 'big' ? bytes : bytes.reverse();
}

const encodings = [
  ...[1, 2, 3, 4, 8].flatMap((size) => ['big', 'little'].map((endian) => ({ encoding: 'binary', size, endian }))),
  ...[1, 2, 4, 10].map((size) => ({ encoding: 'ascii', size, endian: 'big' })),
  ...[1, 2, 3, 7].map((size) => ({ encoding: 'bcd', size, endian: 'big' })),
  ...[1, 2, 5, 7].map((size) => ({ encoding: 'varint', size, endian: 'big' })),
];
const bases: Record<string, bigint> = { binary: 256n, ascii: 10n, bcd: 100n, varint: 128n };
const most = ({ encoding, size }: { encoding: string; size: number }) => bases[encoding]! ** BigInt(size) - 1n;
const safest = BigInt(Number.MAX_SAFE_INTEGER) - 100n;

describe('frame', () => {
  // The examples of netty's LengthFieldBasedFrameDecoder, and one for each other encoding.
  it.each([
    ['000c', { size: 2 }],
    ['000e', { size: 2, adjust: -2 }],
    ['cafe 00000c', { offset: 2, size: 3 }],
    ['00000c cafe', { size: 3, adjust: 2 }],
    ['ca 000c fe', { offset: 1, size: 2, adjust: 1 }],
    ['ca 0010 fe', { offset: 1, size: 2, adjust: -3 }],
    ['30303132', { size: 4, encoding: 'ascii' }],
    ['0012', { size: 2, encoding: 'bcd' }],
    ['0c', { size: 5, encoding: 'varint' }],
    ['0c00', { size: 2, endian: 'little' }],
  ])('%s "HELLO, WORLD" ends where it says', (header, length) => {
    const message = Buffer.concat([hex(header), Buffer.from('HELLO, WORLD')]);
    const frame = framer(length);
    expect(frame(message)).toBe(message.length);
    expect(frame(Buffer.concat([message, hex('ffff')]))).toBe(message.length);
  });

  it.each(encodings)('reads any value in $size bytes of $encoding ($endian)', (kind) => {
    const { size, encoding, endian } = kind;
    const frame = framer({ size, encoding, endian });
    const largest = most(kind) < safest ? most(kind) : safest;
    fc.assert(
      fc.property(fc.bigInt({ min: 0n, max: largest }), (value) => {
        const field = encode(value, size, encoding, endian);
        expect(frame(field)).toBe(Number(value) + field.length);
      }),
      { examples: [[0n], [1n], [largest]] },
    );
  });

  it.each(encodings)('waits for all of the field, and for nothing else ($size bytes of $encoding, $endian)', (kind) => {
    const field = encode(most(kind) < safest ? most(kind) : safest, kind.size, kind.encoding, kind.endian);
    const frame = framer({ ...kind, offset: 3 });
    const bytes = Buffer.concat([hex('aabbcc'), field]);
    for (let end = 0; end < bytes.length; end++) expect(frame(bytes, 0, end)).toBe('more');
    expect(frame(bytes)).toBeTypeOf('number');
  });

  it.each([
    ['length-too-short', '0001', { size: 2, adjust: -2 }],
    ['length-too-short', '0000', { size: 2, adjust: -1 }],
    ['length-too-large', 'ffffffffffffffff', { size: 8 }],
    ['length-too-large', '0020000000000000', { size: 8 }],
    ['length-too-large', '808080', { size: 3, encoding: 'varint' }],
    ['length-not-digits', '3031302f', { size: 4, encoding: 'ascii' }],
    ['length-not-digits', '3a313030', { size: 4, encoding: 'ascii' }],
    ['length-not-digits', '2b313030', { size: 4, encoding: 'ascii' }],
    ['length-not-digits', '20313030', { size: 4, encoding: 'ascii' }],
    ['length-not-digits', '0a00', { size: 2, encoding: 'bcd' }],
    ['length-not-digits', '000c', { size: 2, encoding: 'bcd' }],
  ])('answers %s for %s', (reason, bytes, length) => {
    expect(whyBroken(framer(length)(hex(bytes)))).toBe(reason);
  });

  it('sees nothing of what lies beyond the received bytes', () => {
    const length = fc.record({
      encoding: fc.constantFrom('binary', 'ascii', 'bcd', 'varint'),
      size: fc.integer({ min: 1, max: 10 }),
      offset: fc.integer({ min: 0, max: 6 }),
      adjust: fc.integer({ min: -20, max: 20 }),
    });
    fc.assert(
      fc.property(
        length,
        fc.uint8Array({ maxLength: 24 }),
        fc.uint8Array({ maxLength: 24 }),
        (options, bytes, stale) => {
          const frame = framer(options);
          const clean = frame(Buffer.from(bytes));
          expect(frame(Buffer.from([9, ...bytes, ...stale]), 1, 1 + bytes.length)).toEqual(clean);
          // More bytes never change an answer that did not ask for more.
          if (clean !== 'more') expect(frame(Buffer.from([...bytes, ...stale]))).toEqual(clean);
          if (typeof clean === 'number') expect(clean).toBeGreaterThan(options.offset);
          else expect(clean === 'more' || clean instanceof Refusal).toBe(true);
        },
      ),
      { numRuns: 2000 },
    );
  });

  it.each([1, 2, 3, 5, 8, 13, 64])('finds pipelined messages in chunks of %i bytes', async (chunk) => {
    const stream = hex('0003aabbcc 0000 0001dd 000a00010203040506070809');
    const rig = await rigOf({ length: { size: 2 } }, { backends: ['a'] });
    const client = rig.client();
    for (let at = 0; at < stream.length; at += chunk) client.send(stream.subarray(at, at + chunk));
    expect(rig.backend('a').take()).toEqual(stream);
    expect(rig.stats().fromClients).toMatchObject({ received: 4, forwarded: 4 });
  });

  it('finds the same messages wherever the stream is cut', async () => {
    const stream = hex('0003aabbcc 0000 0001dd 000a00010203040506070809');
    const rig = await rigOf({ length: { size: 2 } }, { backends: ['a'] });
    for (let cut = 0; cut <= stream.length; cut++) {
      const client = rig.client();
      client.send(stream.subarray(0, cut));
      client.send(stream.subarray(cut));
      expect(rig.backend('a').take()).toEqual(stream);
      client.reset();
    }
    expect(rig.stats().fromClients).toMatchObject({
      received: 4 * (stream.length + 1),
      forwarded: 4 * (stream.length + 1),
    });
  });

  it('refuses 4 GiB as soon as they are promised, and keeps none of them', async () => {
    const rig = await rigOf({});
    const client = rig.client();
    client.send(hex('ffffffff 00'));
    expect(client.ended).toBe(true);
    client.send(Buffer.alloc(1000));
    expect(rig.stats().fromClients).toMatchObject({
      received: 1,
      discarded: 1,
      held: 0,
      discardedFor: { 'too-large': 1 },
    });
  });

  it.each(lengthPrefixed.samples!.map((sample) => [sample.name, sample] as const))(
    'takes the sample "%s" whole',
    (_, sample) => {
      expect(applied(sample.options ?? {}).frame(Buffer.from(sample.bytes))).toBe(sample.bytes.length);
    },
  );
});

describe('an identifier written over a field', () => {
  const length = { size: 2 };

  it('names the backend that later messages go to', async () => {
    const rig = await rigOf({ length, id: { offset: 4, size: 2 } });
    const client = rig.client();
    client.send(hex('0006 1111 0000 aaaa'));
    expect(arrived(rig)).toEqual({ a: '000611110001aaaa', b: '', c: '' });
    client.send(hex('0006 1111 0003 bbbb 0006 2222 0001 cccc 0006 3333 0003 dddd'));
    expect(arrived(rig)).toEqual({ a: '000622220001cccc', b: '', c: '000611110003bbbb000633330003dddd' });
    expect(rig.stats().routes).toMatchObject({ strategy: 1, identifier: 3 });
  });

  it('is written into answers too, so that backends need not know', async () => {
    const rig = await rigOf({ length, id: { offset: 4, size: 2 } });
    const client = rig.client();
    client.send(hex('0006 1111 0002 aaaa'));
    rig.backend('b').link.send(hex('0006 1111 0000 bbbb'));
    expect(answer(client)).toBe('000611110002bbbb');
  });

  it('is left alone where the option stamp says so', async () => {
    const inRequests = await rigOf({ length, id: { offset: 2, stamp: ['request'] } });
    const client = inRequests.client();
    client.send(hex('0002 0000'));
    expect(arrived(inRequests).a).toBe('00020001');
    inRequests.backend('a').link.send(hex('0002 0000'));
    expect(answer(client)).toBe('00020000');
    expect(inRequests.stats().relayedBytes).toBe(4);

    const inResponses = await rigOf({ length, id: { offset: 2, stamp: ['response'] } });
    const other = inResponses.client();
    other.send(hex('0002 0000'));
    expect(arrived(inResponses).a).toBe('00020000');
    inResponses.backend('a').link.send(hex('0002 0000'));
    expect(answer(other)).toBe('00020001');
  });

  it('is zeroed for backends where the option strip says so', async () => {
    const rig = await rigOf({ length, id: { offset: 2, strip: true } });
    const client = rig.client();
    client.send(hex('0003 0002 aa'));
    expect(arrived(rig).b).toBe('00030000aa');
    rig.backend('b').link.send(hex('0003 0000 bb'));
    expect(answer(client)).toBe('00030002bb');
  });

  it('stands elsewhere in answers where the option answerOffset says so', async () => {
    const rig = await rigOf({ length, id: { offset: 2, answerOffset: 4 } });
    const client = rig.client();
    client.send(hex('0004 0002 0000'));
    rig.backend('b').link.send(hex('0004 0000 0000'));
    expect(answer(client)).toBe('000400000002');
  });

  it.each([
    [1, 'big', '02'],
    [2, 'big', '0002'],
    [3, 'little', '020000'],
    [4, 'big', '00000002'],
    [8, 'little', '0200000000000000'],
  ])('is a number of %i bytes, %s-endian', async (size, endian, written) => {
    const rig = await rigOf({ length: { size: 1 }, id: { offset: 1, size, endian } });
    const client = rig.client();
    const body = Buffer.concat([hex(written), hex('ee')]);
    client.send(Buffer.concat([Buffer.from([body.length]), body]));
    expect(arrived(rig).b).toBe(`${encode(BigInt(body.length), 1, 'binary').toString('hex')}${written}ee`);
  });

  it('that names no backend of the pool is refused', async () => {
    const rig = await rigOf({ length, id: { offset: 2, size: 8 } });
    const client = rig.client();
    client.send(hex('0008 0000000000000009 0008 ffffffffffffffff'));
    expect(rig.stats().fromClients).toMatchObject({ received: 2, discardedFor: { 'unknown-backend': 2 } });
    expect(client.ended).toBe(false);
  });

  it('that names a backend which is down is refused or chosen anew, as the listener says', async () => {
    const options = { length, id: { offset: 2 } };
    const refusing = await rigOf(options);
    const rechoosing = await rigOf(options, { identifiers: { whenDown: 'rechoose' } });
    for (const rig of [refusing, rechoosing]) {
      rig.backend('b').down();
      const client = rig.client();
      client.send(hex('0002 0002')); // finds b down, and goes elsewhere or nowhere
      client.send(hex('0002 0002'));
    }
    expect(refusing.stats().fromClients.discardedFor).toEqual({ 'backend-down': 2 });
    expect(rechoosing.stats().fromClients.forwarded).toBe(2);
    expect(rechoosing.backend('a').take().toString('hex')).toMatch(/^(00020001)+$/);
  });

  it('is absent from frames that end before it', async () => {
    const rig = await rigOf({ length, id: { offset: 4, size: 2 } });
    const client = rig.client();
    client.send(hex('0003 112233'));
    expect(arrived(rig)).toEqual({ a: '0003112233', b: '', c: '' });
    rig.backend('a').link.send(hex('0001 44'));
    expect(answer(client)).toBe('000144');
  });

  it('is a name with zeros in front', async () => {
    const rig = await rigOf(
      { length, id: { offset: 2, size: 8, encoding: 'bytes' } },
      { backends: ['uas-1', 'uas-2'] },
    );
    const client = rig.client();
    client.send(hex('0009 0000000000000000 ee'));
    expect(arrived(rig)['uas-1']).toBe('00090000007561732d31ee');
    client.send(hex('0009 000000 7561732d32 ee'));
    expect(arrived(rig)['uas-2']).toBe('00090000007561732d32ee');
    client.send(hex('0009 000000 7561732d39 ee'));
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'unknown-backend': 1 });
  });

  it('is a signed token, whichever byte that ends in', async () => {
    const backends = Array.from({ length: 400 }, (_, i) => `n${i}`); // among so many some end in a zero byte
    const rig = await rigOf({ length, id: { offset: 2, size: 24, encoding: 'bytes' } }, { backends, keys });
    const client = rig.client();
    const none = Buffer.concat([hex('0019'), Buffer.alloc(24), hex('ee')]);
    const tokens = backends.map((name) => {
      client.send(none);
      const stamped = rig.backend(name).take();
      expect(stamped.length).toBe(none.length);
      return { name, stamped };
    });
    expect(tokens.some(({ stamped }) => stamped[25] === 0)).toBe(true);
    for (const { name, stamped } of tokens) {
      client.send(stamped);
      expect(rig.backend(name).take()).toEqual(stamped);
    }
    const forged = Buffer.from(tokens[0]!.stamped);
    forged[20]! ^= 1;
    client.send(forged);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'forged-identifier': 1 });
  });
});

describe('an identifier that is inserted', () => {
  const insert = { marker: '1400 0002' };

  it('makes the frame and its length grow', async () => {
    const rig = await rigOf({ length: { size: 2 }, id: { insert: { ...insert, at: 'end' } } });
    const client = rig.client();
    client.send(hex('0004 cafebabe'));
    expect(arrived(rig).a).toBe('000acafebabe140000020001');
    client.send(hex('000a cafebabe 14000002 0003'));
    expect(arrived(rig).c).toBe('000acafebabe140000020003');
    rig.backend('c').link.send(hex('0001 ff'));
    expect(answer(client)).toBe('0007ff140000020003');
    rig.backend('c').link.send(hex('0007 ff 14000002 0003'));
    expect(answer(client)).toBe('0007ff140000020003');
  });

  it('goes to its offset, and other fields are found behind it', async () => {
    const options = {
      length: { size: 2 },
      id: { offset: 4, insert },
      correlation: { offset: 6, size: 2 },
      keys: { tail: { offset: 8, size: 1 } },
    };
    const rig = await rigOf(options);
    const client = rig.client();
    client.send(hex('0007 1111 2222 9999 dd'));
    const request = '000d1111140000020001222200' + '01dd';
    expect(arrived(rig).a).toBe(request);
    rig.backend('a').link.send(hex(request));
    expect(answer(client)).toBe('000d111114000002000122229999dd');
    client.send(hex('000d 1111 14000002 0002 2222 8888 ee'));
    expect(arrived(rig).b).toBe('000d1111140000020002222200' + '02ee');
    rig.backend('b').link.send(hex('0007 1111 2222 0002 ee'));
    expect(answer(client)).toBe('000d111114000002000222228888ee');
  });

  it('is taken out again where the option strip says so', async () => {
    const rig = await rigOf({ length: { size: 2, adjust: -2 }, id: { offset: 2, strip: true, insert } });
    const client = rig.client();
    client.send(hex('0004 eeee'));
    expect(arrived(rig).a).toBe('0004eeee');
    rig.backend('a').link.send(hex('0004 ffff'));
    expect(answer(client)).toBe('000a140000020001ffff');
    client.send(hex('000a 14000002 0003 eeee'));
    expect(arrived(rig).c).toBe('0004eeee');
  });

  it('is refused where the length field cannot say so', async () => {
    const rig = await rigOf({ length: { size: 2, encoding: 'ascii' }, id: { insert: { ...insert, at: 'end' } } });
    const client = rig.client();
    client.send(`93${'x'.repeat(93)}`);
    expect(rig.backend('a').take().length).toBe(101);
    client.send(`94${'x'.repeat(94)}`);
    expect(rig.stats().fromClients).toMatchObject({ forwarded: 1, discardedFor: { 'length-overflow': 1 } });
  });

  it('passes frames that end before its offset', async () => {
    const rig = await rigOf({ length: { size: 2 }, id: { offset: 8, insert } });
    rig.client().send(hex('0002 1234'));
    expect(arrived(rig).a).toBe('00021234');
  });

  it.each(
    encodings
      .filter((kind) => most(kind) > 99n)
      .flatMap((kind) => [
        { ...kind, at: 'offset' },
        { ...kind, at: 'end' },
      ]),
  )(
    'comes back as it was written, all other bytes as they were ($size bytes of $encoding, $endian, at $at)',
    async (kind) => {
      const { size, encoding, endian, at } = kind;
      const rig = await rigOf({ length: { size, encoding, endian }, id: { offset: 12, insert: { ...insert, at } } });
      const client = rig.client();
      const frameOf = (body: Buffer) => Buffer.concat([encode(BigInt(body.length), size, encoding, endian), body]);
      const largest = most(kind) < 20_000n ? Number(most(kind)) - 6 : 20_000;
      const filled = (bytes: number) => Buffer.alloc(bytes, 0x55);
      fc.assert(
        fc.property(fc.integer({ min: 12, max: largest }).map(filled), (body) => {
          client.send(frameOf(body));
          const { name, stamped, number } = rig.backends
            .map((backend, i) => ({ name: backend.name, stamped: backend.take(), number: i + 1 }))
            .find((backend) => backend.stamped.length > 0)!;
          const id = Buffer.concat([hex(insert.marker), Buffer.from([0, number])]);
          const cut = at === 'end' ? body.length : encoding === 'varint' ? 11 : 12 - size;
          expect(stamped.equals(frameOf(Buffer.concat([body.subarray(0, cut), id, body.subarray(cut)])))).toBe(true);
          client.send(stamped);
          expect(rig.backend(name).take().equals(stamped)).toBe(true);
        }),
        { examples: [[filled(12)], [filled(Math.min(largest, 125))], [filled(largest)]] },
      );
      const { strategy, identifier } = rig.stats().routes;
      expect(identifier).toBe(strategy);
    },
  );
});

describe('correlation', () => {
  const length = { size: 2 };

  it('brings each answer to its caller, whatever numbers the callers chose', async () => {
    const rig = await rigOf({ length, correlation: { offset: 2, size: 4 } }, { backends: ['a'] });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send(hex('0005 0000002a aa'));
    bob.send(hex('0005 0000002a bb'));
    expect(arrived(rig).a).toBe('000500000001aa' + '000500000002bb');
    expect(rig.backend('a').links).toHaveLength(1);
    rig.backend('a').link.send(hex('0005 00000002 b0 0005 00000001 a0'));
    expect(answer(alice)).toBe('00050000002aa0');
    expect(answer(bob)).toBe('00050000002ab0');
    expect(rig.stats()).toMatchObject({ fromClients: { forwarded: 2 }, fromBackends: { forwarded: 2 } });
  });

  it('restores a field at its other place in answers', async () => {
    const rig = await rigOf(
      { length, correlation: { offset: 6, answerOffset: 2, size: 4, endian: 'little' } },
      { backends: ['a'] },
    );
    const client = rig.client();
    client.send(hex('0008 11223344 fffefdfc'));
    expect(arrived(rig).a).toBe('00081122334401000000');
    rig.backend('a').link.send(hex('0005 01000000 ee'));
    expect(answer(client)).toBe('0005fffefdfcee');
  });

  it.each([1, 2, 3, 4, 8])('uses a field of %i bytes, and leaves the top bit of a wide one clear', (size) => {
    const { facts } = applied({ length, correlation: { offset: 2, size } });
    expect(facts.correlationBits).toBe(Math.min(8 * size, 31));
    expect(facts.correlates).toBe(true);
  });

  it('discards answers that nobody waits for', async () => {
    const rig = await rigOf({ length, correlation: { offset: 2, size: 2 } }, { backends: ['a'] });
    const client = rig.client();
    client.send(hex('0002 1234'));
    const { link } = rig.backend('a');
    link.send(hex('0002 0009 0002 0001 0002 0001 0001 00'));
    expect(answer(client)).toBe('00021234');
    expect(rig.stats().fromBackends).toMatchObject({
      received: 4,
      forwarded: 1,
      discardedFor: { 'no-destination': 3 },
    });
  });

  it('refuses a request when too many wait for answers', async () => {
    const error = { hex: '0003 0000 ff', copy: [{ from: 2, to: 2, size: 2 }] };
    const rig = await rigOf(
      { length, correlation: { offset: 2, size: 2 }, error },
      { backends: ['a'], limits: { inFlight: 1 } },
    );
    const client = rig.client();
    client.send(hex('0002 1111 0002 2222'));
    expect(answer(client)).toBe('00032222ff');
    expect(rig.stats().fromClients.refusedFor).toEqual({ overloaded: 1 });
  });

  it('leaves dedicated links alone, where a backend may send what is no answer', async () => {
    const rig = await rigOf({ length, correlation: { offset: 2, size: 2 } }, { backends: ['a'], links: 'dedicated' });
    const client = rig.client();
    client.send(hex('0002 1234'));
    expect(arrived(rig).a).toBe('00021234');
    rig.backend('a').link.send(hex('0002 0001'));
    expect(answer(client)).toBe('00020001');
  });

  describe('where backends send requests too', () => {
    const answers = { offset: 2, mask: 0x80, value: 0x80 };
    const options = { length, correlation: { offset: 3, size: 1, answers } };

    it('brings the answers of clients to the backend that asked', async () => {
      const rig = await rigOf(options, { links: 'dedicated' });
      const client = rig.client();
      client.send(hex('0002 0001 0002 0001'));
      const [a, b] = [rig.backend('a'), rig.backend('b')];
      a.take();
      b.take();
      a.link.send(hex('0002 0007'));
      b.link.send(hex('0002 0007'));
      expect(answer(client)).toBe('00020001' + '00020002');
      client.send(hex('0002 8002 0002 8001 0002 8001'));
      expect(arrived(rig)).toEqual({ a: '00028007', b: '00028007', c: '' });
      expect(rig.stats().fromClients.discardedFor).toEqual({ 'no-destination': 1 });
    });

    it('brings them there however much the backend has in flight', async () => {
      const pool = { backendLimits: { inFlight: 1 } };
      const rig = await rigOf(options, { links: 'dedicated', backends: ['a'], pool });
      const client = rig.client();
      client.send(hex('0002 0001'));
      rig.backend('a').link.send(hex('0002 0007'));
      rig.backend('a').take();
      client.send(hex('0002 8001 0002 0002'));
      expect(arrived(rig).a).toBe('00028007');
      expect(rig.stats().fromClients.discardedFor).toEqual({ overloaded: 1 });
    });

    it('does not take a request of a backend for an answer', async () => {
      const rig = await rigOf(options, { links: 'dedicated', backends: ['a'] });
      const client = rig.client();
      client.send(hex('0002 0055'));
      expect(arrived(rig).a).toBe('00020001');
      rig.backend('a').link.send(hex('0002 0001 0002 8001'));
      expect(answer(client)).toBe('00020001' + '00028055');
    });

    it('forgets the oldest requests of a backend that is never answered', async () => {
      const rig = await rigOf(
        { length, correlation: { ...options.correlation, size: 2 } },
        { links: 'dedicated', backends: ['a'] },
      );
      const client = rig.client();
      client.send(hex('0003 00 0001'));
      for (let i = 0; i < 257; i++) rig.backend('a').link.send(hex(`0003 00 ${(0x1000 + i).toString(16)}`));
      rig.backend('a').take();
      client.send(hex('0003 80 0001 0003 80 0002 0003 80 0101'));
      expect(arrived(rig).a).toBe('0003801001' + '0003801100');
      expect(rig.stats().fromClients.discardedFor).toEqual({ 'no-destination': 1 });
    });
  });
});

describe('related messages', () => {
  it('go where the first one of the same affinity field went', async () => {
    const rig = await rigOf({ length: { size: 1 }, affinity: { offset: 1, size: 2, seconds: 60 } });
    const client = rig.client();
    client.send(hex('03 1111 01 03 2222 02 03 1111 03 03 2222 04'));
    expect(arrived(rig)).toEqual({ a: '0311110103111103', b: '0322220203222204', c: '' });
    rig.advance(59_000);
    client.send(hex('03 1111 05'));
    expect(arrived(rig).a).toBe('03111105');
  });

  it('are hashed by a field that the option keys names', async () => {
    const rig = await embed({
      pipeline: [
        [lengthPrefixed, { length: { size: 1 }, keys: { terminal: { offset: 1, size: 2 } } }],
        [hashing, { key: 'terminal' }],
      ],
    });
    const client = rig.client();
    for (let i = 0; i < 20; i++) client.send(hex('03 aabb 00'));
    expect(
      Object.values(arrived(rig))
        .map((bytes) => bytes.length / 8)
        .sort(),
    ).toEqual([0, 0, 20]);
    for (let i = 0; i < 100; i++) client.send(Buffer.from([3, i, i, 0]));
    for (const bytes of Object.values(arrived(rig))) expect(bytes.length / 8).toBeGreaterThan(10);
  });
});

describe('a request that may be replayed', () => {
  const options = { length: { size: 1 }, correlation: { offset: 2, size: 1 } };
  const replaying = (replayable: object, more: object = {}) =>
    rigOf({ ...options, replayable, ...more }, { backends: ['a', 'b'], pool: { replay: 'once' } });

  it('is told by the value of a field, and marked in its place', async () => {
    const rig = await replaying({ offset: 1, size: 1, values: [3, 4], mark: { offset: 1, bits: 0x10 } });
    rig.client().send(hex('02 03 77'));
    expect(rig.backend('a').take().toString('hex')).toBe('020301');
    rig.backend('a').link.reset();
    expect(rig.backend('b').take().toString('hex')).toBe('021302');
    expect(rig.stats()).toMatchObject({
      exchanges: { abandoned: 1 },
      replays: { forwarded: 1 },
      routes: { replayed: 1 },
    });
  });

  it('is not one of another value, nor one without the field', async () => {
    const rig = await replaying({ offset: 3, size: 1, values: [3] });
    rig.client().send(hex('03 00 77 05 02 00 78'));
    rig.backend('a').link.reset();
    rig.backend('b').link.reset();
    rig.runtime.settle();
    expect(rig.stats()).toMatchObject({ exchanges: { abandoned: 2 }, replays: { received: 0 } });
  });

  it('is configured without contradictions', async () => {
    await expect(replaying({ offset: 1, size: 1, values: [3] }, { correlation: undefined })).rejects.toThrow(
      'replayable: which requests wait for an answer is known by their correlation only',
    );
    await expect(replaying({ offset: 1, size: 1, values: [3], mark: { offset: 2, bits: 1 } })).rejects.toThrow(
      'replayable.mark: in requests it overlaps correlation',
    );
  });
});

describe('the error reply', () => {
  const error = { hex: '0006 ffff 0000 00ee', copy: [{ from: 2, to: 4, size: 2 }] };
  const options = { length: { size: 2 }, error };

  it('is the frame of the option error, with what it copies from the request', async () => {
    const rig = await rigOf(options, { limits: { messageBytes: 100 } });
    for (const backend of rig.backends) backend.down();
    const client = rig.client();
    client.send(hex('0003 1234 99'));
    expect(answer(client)).toBe('0006ffff123400ee');
    client.send(hex('0001 99')); // too short to copy from
    expect(answer(client)).toBe('0006ffff000000ee');
    client.send(hex('ffff 5678 99')); // too long: framing is lost
    expect(answer(client)).toBe('0006ffff567800ee');
    expect(client.ended).toBe(true);
    expect(rig.stats().fromClients).toMatchObject({ received: 3, refused: 3 });
  });

  it.each([
    ['takes the correlation field', [{ from: 2, to: 4, size: 2 }], '0006ffff123400ee'],
    ['takes part of it', [{ from: 3, to: 4, size: 1 }], '0006ffff340000ee'],
    ['takes other fields too', [{ from: 2, to: 4, size: 3 }], '0006ffff123499ee'],
    ['takes nothing', [], '0006ffff000000ee'],
  ])('%s also from a request that is lost with its link', async (_what, copy, reply) => {
    const correlation = { offset: 2, size: 2 };
    const rig = await rigOf(
      { length: { size: 2 }, correlation, error: { hex: '0006 ffff 0000 00ee', copy } },
      { backends: ['a'] },
    );
    const client = rig.client();
    client.send(hex('0003 1234 99'));
    rig.backend('a').link.reset();
    expect(answer(client)).toBe(reply);
    expect(rig.stats().exchanges).toEqual({ open: 0, expired: 0, abandoned: 1, refused: 1 });
  });

  it('says something else for the reasons that the option names', async () => {
    const reasons = { 'rate-limited': { to: 6, hex: '58' } };
    const rig = await rigOf(
      { length: { size: 2 }, error: { hex: '0006 ffff 0000 00ee', copy: [{ from: 2, to: 4, size: 2 }], reasons } },
      { backends: ['a'], limits: { messagesPerSecond: 1 } },
    );
    const client = rig.client();
    client.send(hex('0003 1234 99 0003 5678 99'));
    expect(answer(client)).toBe('0006ffff567858ee');
    rig.backend('a').down();
    rig.advance(5000);
    client.send(hex('0003 1234 99'));
    expect(answer(client)).toBe('0006ffff123400ee');
    await expect(
      rigOf({ length: { size: 2 }, error: { hex: '0000', reasons: { overloaded: { to: 1, hex: '0101' } } } }),
    ).rejects.toThrow('error.reasons: the bytes for "overloaded" reach beyond error.hex');
  });

  it('is not sent for a request that is lost with its link if there is none', async () => {
    const rig = await rigOf({ length: { size: 2 }, correlation: { offset: 2, size: 2 } }, { backends: ['a'] });
    const client = rig.client();
    client.send(hex('0003 1234 99'));
    rig.backend('a').link.reset();
    expect(answer(client)).toBe('');
    expect(rig.stats().exchanges).toMatchObject({ abandoned: 1, refused: 0 });
  });

  it('is never the reply to an answer', async () => {
    const rig = await rigOf(
      { ...options, correlation: { offset: 2, size: 2, answers: { offset: 4, mask: 1, value: 1 } } },
      { limits: { messageBytes: 100 } },
    );
    const client = rig.client();
    client.send(hex('ffff 0000 01'));
    expect(answer(client)).toBe('');
    const another = rig.client();
    another.send(hex('ffff 0000 00'));
    expect(answer(another)).toBe('0006ffff000000ee');
    rig.backend('a').link.send(hex('ffff'));
    expect(answer(rig.client())).toBe('');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'too-large': 1 });
  });
});

describe('SMPP', () => {
  const { PDU } = createRequire(import.meta.url)('smpp') as {
    PDU: new (command: string, options: object) => { toBuffer(): Buffer };
  };
  const pdu = (command: string, sequence_number: number, more: object = {}) =>
    new PDU(command, { sequence_number, ...more }).toBuffer();
  const options = {
    length: { size: 4, adjust: -4 },
    correlation: { offset: 12, size: 4, answers: { offset: 4, mask: 128, value: 128 } },
    replay: { offset: 4, values: [1, 2, 9], answers: [0x80000001, 0x80000002, 0x80000009, 0x80000000] },
    error: { hex: '00000010 80000000 00000008 00000000', copy: [{ from: 12, to: 12, size: 4 }] },
  };
  const credentials = { system_id: 'esme', password: 'secret' };
  const submit = (sequence: number, text: string) =>
    pdu('submit_sm', sequence, { source_addr: '100', destination_addr: '447700900123', short_message: text });

  it('binds each further link as the client did, and drops the answers to that', async () => {
    const rig = await rigOf(options);
    const [a, b] = [rig.backend('a'), rig.backend('b')];
    const client = rig.client();
    client.send(pdu('bind_transceiver', 5, credentials));
    expect(a.take()).toEqual(pdu('bind_transceiver', 1, credentials));
    a.link.send(pdu('bind_transceiver_resp', 1, { system_id: 'smsc' }));
    expect(client.take()).toEqual(pdu('bind_transceiver_resp', 5, { system_id: 'smsc' }));

    client.send(submit(6, 'one'));
    expect(b.take()).toEqual(pdu('bind_transceiver', 5, credentials)); // and nothing behind it
    b.link.send(pdu('bind_transceiver_resp', 5, { system_id: 'smsc' }));
    expect(client.take()).toHaveLength(0);
    expect(b.take()).toEqual(submit(2, 'one'));
    b.link.send(pdu('submit_sm_resp', 2, { message_id: '42' }));
    expect(client.take()).toEqual(pdu('submit_sm_resp', 6, { message_id: '42' }));
    expect(rig.stats()).toMatchObject({
      fromClients: { received: 2, forwarded: 2 },
      fromBackends: { received: 3, forwarded: 2, discardedFor: { 'handshake-answer': 1 } },
    });
  });

  it('sends what was queued elsewhere if a backend does not answer the bind', async () => {
    const rig = await rigOf(options, { backends: ['a', 'b'] });
    const [a, b] = [rig.backend('a'), rig.backend('b')];
    const client = rig.client();
    client.send(pdu('bind_transmitter', 1, credentials));
    a.link.send(pdu('bind_transmitter_resp', 1));
    client.take();
    a.take();
    client.send(submit(2, 'one'));
    expect(b.take()).toEqual(pdu('bind_transmitter', 1, credentials));
    rig.advance(5001);
    expect(a.text()).toContain('one');
    expect(rig.stats().redispatched).toBe(1);
  });

  it('binds once where the first backend could not be reached', async () => {
    const rig = await rigOf(options, { backends: ['a', 'b'] });
    rig.backend('a').down();
    const client = rig.client();
    client.send(pdu('bind_receiver', 1, credentials));
    expect(rig.backend('b').take()).toEqual(pdu('bind_receiver', 2, credentials));
  });

  it('binds anew on a link that replaces a broken one', async () => {
    const rig = await rigOf(options, { backends: ['a'] });
    const a = rig.backend('a');
    const client = rig.client();
    client.send(pdu('bind_transceiver', 1, credentials));
    a.link.send(pdu('bind_transceiver_resp', 1));
    a.take();
    a.link.reset();
    client.send(submit(2, 'one'));
    expect(a.take()).toEqual(pdu('bind_transceiver', 1, credentials));
    a.link.send(pdu('bind_transceiver_resp', 1));
    expect(a.text()).toContain('one');
  });

  it('keeps the binds of clients apart', async () => {
    const rig = await rigOf(options, { backends: ['a', 'b'] });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send(pdu('bind_transceiver', 1, { system_id: 'alice' }));
    bob.send(pdu('bind_transceiver', 1, { system_id: 'bob' }));
    rig.backend('a').take();
    rig.backend('b').take();
    for (const client of [bob, alice]) client.send(submit(2, 'x'));
    expect(rig.backend('a').take()).toEqual(pdu('bind_transceiver', 1, { system_id: 'bob' }));
    expect(rig.backend('b').take()).toEqual(pdu('bind_transceiver', 1, { system_id: 'alice' }));
  });

  it('brings deliver_sm to the client, and its answer to the backend that sent it', async () => {
    const rig = await rigOf(options, { backends: ['a', 'b'] });
    const [a, b] = [rig.backend('a'), rig.backend('b')];
    const client = rig.client();
    client.send(pdu('bind_transceiver', 1, credentials));
    a.link.send(pdu('bind_transceiver_resp', 1));
    client.send(submit(2, 'one'));
    b.link.send(pdu('bind_transceiver_resp', 1));
    for (const wire of [client, a, b]) wire.take();
    a.link.send(pdu('deliver_sm', 1, { short_message: 'from a' }));
    b.link.send(pdu('deliver_sm', 1, { short_message: 'from b' }));
    expect(client.take()).toEqual(
      Buffer.concat([
        pdu('deliver_sm', 1, { short_message: 'from a' }),
        pdu('deliver_sm', 2, { short_message: 'from b' }),
      ]),
    );
    client.send(pdu('deliver_sm_resp', 2, { command_status: 8 }));
    client.send(pdu('deliver_sm_resp', 1));
    expect(b.take()).toEqual(pdu('deliver_sm_resp', 1, { command_status: 8 }));
    expect(a.take()).toEqual(pdu('deliver_sm_resp', 1));
  });

  it('answers what it refuses with a generic_nack of the same sequence number', async () => {
    const rig = await rigOf(options, { backends: ['a'] });
    rig.backend('a').down();
    const client = rig.client();
    client.send(submit(77, 'one'));
    expect(client.take()).toEqual(pdu('generic_nack', 77, { command_status: 8 }));
  });

  it('refuses a bind too long to be kept', async () => {
    const rig = await rigOf(options, { backends: ['a'] });
    const client = rig.client();
    const bind = Buffer.concat([pdu('bind_transceiver', 3, credentials), Buffer.alloc(4096)]);
    bind.writeUInt32BE(bind.length);
    client.send(bind);
    expect(client.take()).toEqual(pdu('generic_nack', 3, { command_status: 8 }));
    expect(rig.stats().fromClients.refusedFor).toEqual({ 'handshake-too-long': 1 });
  });

  it('carries an identifier in a parameter of its own', async () => {
    const id = { size: 2, insert: { marker: '1400 0002', at: 'end' } };
    const rig = await rigOf({ length: options.length, id });
    const client = rig.client();
    client.send(submit(1, 'one'));
    const stamped = rig.backend('a').take();
    expect(new PDU(stamped as never, {})).toMatchObject({ command_length: stamped.length, 5120: hex('0001') });
  });
});

describe('ISO 8583 behind a TPDU', () => {
  // 60, then who it is for and who it is from: swapped in the answer.
  const message = (to: string, from: string, stan: string) =>
    hex(`0015 60 ${to} ${from} 0800 2020000000000000 990000 ${stan}`);
  const options = { id: { offset: 3, answerOffset: 5 }, correlation: { offset: 5, answerOffset: 3, size: 2 } };

  it('balances over shared links, by the address it is for', async () => {
    const rig = await rigOf({ length: { size: 2 }, ...options });
    const [alice, bob] = [rig.client(), rig.client()];
    alice.send(message('0000', '0123', '000001'));
    bob.send(message('0001', '0123', '000001'));
    const a = rig.backend('a');
    expect(a.take()).toEqual(Buffer.concat([message('0001', '0001', '000001'), message('0001', '0002', '000001')]));
    a.link.send(message('0002', '0001', '000001'));
    a.link.send(message('0001', '0001', '000001'));
    expect(alice.take()).toEqual(message('0123', '0001', '000001'));
    expect(bob.take()).toEqual(message('0123', '0001', '000001'));
    alice.send(message('0003', '0123', '000002'));
    expect(rig.backend('c').take()).toEqual(message('0003', '0003', '000002'));
  });

  it.each([
    ['inclusive', { size: 2, adjust: -2 }, '0017'],
    ['in 4 ASCII digits', { size: 4, encoding: 'ascii' }, '30303231'],
    ['in BCD', { size: 2, encoding: 'bcd' }, '0021'],
  ])('frames a length %s', (_, length, header) => {
    const bytes = Buffer.concat([hex(header), message('0000', '0123', '000001').subarray(2)]);
    expect(framer(length)(bytes)).toBe(bytes.length);
  });
});

describe('frames of any content', () => {
  const replay = { offset: 1, size: 1, values: [1, 2], answers: [3, 4] };
  const insert = { marker: '01' };
  const answers = { offset: 1, mask: 1, value: 1 };
  const correlation = { offset: 2, answerOffset: 1, size: 2 };

  it.each([
    { length: { size: 1 }, id: { offset: 1, size: 1 }, correlation: { offset: 2, size: 1 } },
    { length: { size: 1 }, id: { offset: 1, size: 1, insert }, correlation: { ...correlation, answers } },
    { length: { size: 1 }, id: { size: 1, strip: true, insert: { ...insert, at: 'end' } }, correlation },
    { length: { size: 2, encoding: 'varint', adjust: 1 }, id: { offset: 4, size: 1, insert }, correlation, replay },
    {
      length: { size: 1 },
      id: { offset: 4, size: 2, encoding: 'bytes', insert },
      correlation: { ...correlation, answers },
      replay,
    },
  ])('do the plugin no harm, and each has its outcome (%j)', async (options) => {
    const rig = await rigOf(options, { identifiers: { whenDown: 'rechoose' } });
    const { encoding = 'binary', adjust = 0 } = options.length as { encoding?: string; adjust?: number };
    const body = fc.array(fc.integer({ min: 0, max: 4 }), { minLength: adjust, maxLength: 12 });
    const frames = fc
      .array(body)
      .map((bodies) =>
        Buffer.concat(
          bodies.flatMap((bytes) => [encode(BigInt(bytes.length - adjust), 1, encoding), Buffer.from(bytes)]),
        ),
      );
    fc.assert(
      fc.property(frames, frames, fc.boolean(), (requests, fromBackend, split) => {
        const client = rig.client();
        const cut = split ? requests.length >> 1 : 0;
        client.send(requests.subarray(0, cut));
        client.send(requests.subarray(cut));
        for (const backend of rig.backends) for (const link of backend.links) link.send(fromBackend);
        client.reset();
      }),
      { numRuns: 100 },
    );
    const { fromClients, fromBackends } = rig.stats();
    expect(fromClients.forwarded).toBeGreaterThan(50);
    expect(fromBackends.received).toBeGreaterThan(50);
    for (const reasons of [fromClients.discardedFor, fromBackends.discardedFor])
      expect(reasons).not.toHaveProperty('plugin-error');
  });
});

describe('options that contradict each other', () => {
  const length = { size: 2 };
  it.each([
    [
      { length: { encoding: 'ascii', endian: 'little' } },
      'length.endian: only a binary length can be little-endian, not one in ascii',
    ],
    [{ length, id: { offset: 1 } }, 'id: in requests it overlaps length'],
    [{ length, id: { offset: 2 }, correlation: { offset: 3 } }, 'id: in requests it overlaps correlation'],
    [
      { length, id: { offset: 2, answerOffset: 5 }, correlation: { offset: 4 } },
      'id: in answers it overlaps correlation',
    ],
    [
      { length, id: { offset: 0, insert: { marker: 'ff' } } },
      'id.offset: an identifier can be inserted only behind the length field',
    ],
    [
      { length, id: { offset: 4, insert: { marker: 'ff' } }, keys: { call: { offset: 3, size: 2 } } },
      'keys.call: the identifier would be inserted in its middle',
    ],
    [
      { length, id: { offset: 4, insert: { marker: 'ff' } }, failure: { offset: 3, size: 2, values: [1] } },
      'failure: the identifier would be inserted in its middle',
    ],
    [
      { length, failure: { offset: 2, size: 2, values: [1, 65_536] } },
      'failure.values: 65536 does not fit into the field, whose size is 2',
    ],
    [
      { length, correlation: { offset: 2 }, replayable: { offset: 6, size: 1, values: [256] } },
      'replayable.values: 256 does not fit into the field, whose size is 1',
    ],
    [{ length, id: { offset: 2, size: 9 } }, 'id.size: a number has at most 8 bytes, not 9'],
    [
      { length, id: { offset: 2, size: 4, encoding: 'bytes' } },
      'id.size: 4 bytes cannot hold the tokens of this listener, which have up to 5',
    ],
    [
      { length, id: { offset: 2, answerOffset: 4, insert: { marker: 'ff' } } },
      'id.answerOffset: an identifier is inserted at one place in requests and answers',
    ],
    [
      { length, correlation: { offset: 4, answers: { offset: 2, mask: 64, value: 128 } } },
      'correlation.answers: the value 128 has bits that the mask 64 has not',
    ],
    [
      { length, error: { hex: '0004 ff' } },
      'error.hex: must be one whole frame of 3 bytes, but its length field does not say so',
    ],
    [
      { length, error: { hex: '0001 ff', copy: [{ from: 2, to: 2, size: 4 }] } },
      'error.copy: bytes 2 to 5 are not in error.hex',
    ],
  ])('%j: %s', (options, message) => {
    const pool = poolOf('a', 'b');
    const shared = new Pool({ ...pool.settings, links: 'shared' });
    expect(() => applied(options, shared)).toThrow(message);
  });
});
