import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExplainOptions, explain } from '../../../../core/cli/explain.ts';
import { connection, type PacketOptions, pcap } from '../../../support/capture.ts';
import { makeCertificate } from '../../../support/certificates.ts';
import { collect } from '../streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string | Buffer): string {
  writeFileSync(join(directory, name), content);
  return join(directory, name);
}

function config(name: string, pipeline: string, more = '', listen = 'tcp://127.0.0.1:5'): string {
  return file(
    name,
    `pools: { workers: { backends: { one: tcp://127.0.0.1:1, two: tcp://127.0.0.1:2 } } }
listeners: { edge: { listen: "${listen}", pool: workers, pipeline: [${pipeline}], ${more} } }
`,
  );
}

const inTurn = config('a.yaml', '{ ndjson: { correlation: id } }, { round-robin: }');
const datagrams = config('udp.yaml', '{ ndjson: { correlation: id } }, { round-robin: }', '', 'udp://127.0.0.1:5');

async function run(options: Omit<ExplainOptions, 'format'> & { readonly config?: string; readonly format?: 'json' }) {
  const { config = inTurn, ...asked } = options;
  const output = collect();
  const code = await explain([config], { format: 'text', ...asked }, output);
  const strip = (text: string) => text.replaceAll(`${directory}/`, '');
  return { code, text: strip(output.stdout.text), errors: strip(output.stderr.text) };
}

const listener = '192.0.2.9:5';
const first = connection('192.0.2.1:4000', listener, ['{"id":1}\n{"id"', ':2}\n']);
const second = connection('192.0.2.2:4000', listener, ['{"id":1,"backend":"nobody"}\n', '{"id":9']);
const traffic = file(
  'traffic.pcap',
  pcap([...first.slice(0, 2), ...second.slice(0, 2), ...first.slice(2), ...second.slice(2)]),
);

const explained = `message 1 from client 192.0.2.1:4000, connection 1, byte 0, at 2026-01-01T00:00:00.000001Z
  frame          ndjson: 9 bytes
  detectId       ndjson: it names nobody
  chooseBackend  round-robin: one, out of one and two
  insertId       ndjson: the identifier of one, 2 edits
  forward        to one: the strategy chose it
  9 bytes in, 34 out
    ~ {{+"backend":"one",+}"id":[-1-]{+1000000001+}}\\n

message 2 from client 192.0.2.2:4000, connection 2, byte 0, at 2026-01-01T00:00:00.000003Z
  frame          ndjson: 28 bytes
  detectId       ndjson: nobody, at byte 19, names no backend of the pool
  refuse         ndjson: 46 bytes back to the sender
  outcome        refused: unknown-backend
  28 bytes
      {"id":1,"backend":"nobody"}\\n
  46 bytes back
      {"id":1,"error":{"reason":"unknown-backend"}}\\n

`;

describe('a capture', () => {
  it('is explained message by message, with a summary', async () => {
    expect(await run({ pcap: traffic })).toEqual({
      code: 0,
      text: `${explained}message 3 from client 192.0.2.1:4000, connection 1, byte 9, at 2026-01-01T00:00:00.000004Z
  frame          ndjson: 9 bytes
  detectId       ndjson: it names nobody
  chooseBackend  round-robin: two, out of one and two
  insertId       ndjson: the identifier of two, 2 edits
  forward        to two: the strategy chose it
  9 bytes in, 34 out
    ~ {{+"backend":"two",+}"id":[-2-]{+1000000002+}}\\n

message 4 from client 192.0.2.2:4000, connection 2, byte 28, at 2026-01-01T00:00:00.000006Z
  frame          ndjson: needs more bytes: where the message ends cannot be told yet, 7 have come
  7 bytes
      {"id":9

summary
  messages                 4
  forwarded                2
    one                    1
    two                    1
    the strategy chose it  2
  refused                  1
    unknown-backend        1
  incomplete               1

capture
  8 packets, 8 to and from the listener; 2 connections sent something
  connection 2: 7 bytes of messages whose end is missing
`,
      errors: '',
    });
  });

  it('is shown up to a limit, and counted to its end', async () => {
    const { text } = await run({ pcap: traffic, limit: 2 });
    expect(text.startsWith(`${explained}… and 2 more messages\n\nsummary\n  messages                 4\n`)).toBe(true);
  });

  it('is explained for programs in lines of JSON', async () => {
    const { text } = await run({ pcap: traffic, format: 'json', limit: 1 });
    const lines = text.trimEnd().split('\n');
    const base64 = (text: string) => Buffer.from(text).toString('base64');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      {
        type: 'message',
        number: 1,
        time: '2026-01-01T00:00:00.000001Z',
        connection: { number: 1, client: '192.0.2.1:4000', listener: '192.0.2.9:5' },
        offset: 0,
        from: 'client',
        received: base64('{"id":1}\n'),
        answers: [
          { hook: 'frame', plugin: 'ndjson', answer: { kind: 'length', bytes: 9 }, edits: [] },
          { hook: 'detectId', plugin: 'ndjson', answer: { kind: 'nothing' }, edits: [] },
          { hook: 'chooseBackend', plugin: 'round-robin', answer: { kind: 'backend', name: 'one' }, edits: [] },
          {
            hook: 'insertId',
            plugin: 'ndjson',
            answer: { kind: 'nothing' },
            edits: [
              { offset: 6, removed: base64('1'), inserted: base64('1000000001') },
              { offset: 1, removed: '', inserted: base64('"backend":"one",') },
            ],
          },
        ],
        available: ['one', 'two'],
        token: 'one',
        outcome: { kind: 'forwarded', to: { backend: 'one' }, reason: 'strategy' },
        sent: base64('{"backend":"one","id":1000000001}\n'),
      },
      {
        type: 'summary',
        shown: 1,
        messages: 4,
        forwarded: 2,
        byDestination: { one: 1, two: 1 },
        byReason: { strategy: 2 },
        refused: 1,
        refusedByReason: { 'unknown-backend': 1 },
        discarded: 0,
        discardedByReason: {},
        skipped: 0,
        incomplete: 1,
        connections: 2,
        incompleteConnections: 1,
        losses: [
          {
            connection: { number: 2, client: '192.0.2.2:4000', listener: '192.0.2.9:5' },
            startsMidStream: false,
            missingBytes: 0,
            incompleteBytes: 7,
            unreadBytes: 0,
          },
        ],
        capture: {
          packets: 8,
          listenerPackets: 8,
          fragments: 0,
          cutPackets: 0,
          forgottenConnections: 0,
          endsWhole: true,
        },
      },
    ]);
  });

  it('says of which connections something is missing', async () => {
    const line = '{"id":1}\n';
    const packets: PacketOptions[] = [
      { from: '192.0.2.1:4000', to: listener, sequence: 7, payload: line },
      { from: '192.0.2.1:4000', to: listener, sequence: 7 + 2 * line.length, payload: line },
    ];
    const { text } = await run({ pcap: file('holes.pcap', pcap(packets).subarray(0, -3)), limit: 1 });
    expect(text).toContain(`
capture
  1 packet, 1 to and from the listener; 1 connection sent something
  the file ends in the middle of a packet
  connection 1: its beginning is not in the capture
`);
    const { text: whole } = await run({ pcap: file('holes.pcap', pcap(packets)), limit: 1 });
    expect(whole).toContain('  messages                 2\n');
    expect(whole).toContain('  connection 1: its beginning is not in the capture; 9 bytes missing\n');
  });

  it('of UDP has a message in each datagram', async () => {
    const packets = ['{"id":1}\n', '{"id":2}\n'].map((payload) => ({
      from: '[2001:db8::1]:9',
      to: '[2001:db8::2]:5',
      udp: true,
      payload,
    }));
    const { text } = await run({ config: datagrams, pcap: file('udp.pcap', pcap(packets)) });
    expect(text).toContain(
      'message 2 from client [2001:db8::1]:9, connection 1, byte 9, at 2026-01-01T00:00:00.000001Z\n',
    );
    expect(text).toContain('  forwarded                2\n');
  });

  it('is turned down if nothing in it is for the listener', async () => {
    const sad = (errors: string) => ({ code: 2, text: '', errors });
    expect(await run({ pcap: traffic, port: [{ address: undefined, port: 80 }] })).toEqual(
      sad('pointsman: in traffic.pcap nothing was sent to port 80 over tcp: its tcp packets go to ports 5\n'),
    );
    expect(await run({ pcap: traffic, port: [{ address: '192.0.2.7', port: 5 }] })).toEqual(
      sad('pointsman: in traffic.pcap nothing was sent to 192.0.2.7, port 5 over tcp: its tcp packets go to ports 5\n'),
    );
    expect(await run({ config: datagrams, pcap: traffic })).toEqual(
      sad('pointsman: in traffic.pcap nothing was sent to port 5 over udp: none of its packets is udp\n'),
    );
    expect(await run({ pcap: file('text', 'no capture') })).toEqual(
      sad('pointsman: cannot read text: it is no capture: it begins with 6e6f2063, as neither pcap nor pcapng does\n'),
    );
    expect(await run({ pcap: join(directory, 'none') })).toEqual(sad('pointsman: cannot read none: no such file\n'));
    expect(await run({ port: [{ address: undefined, port: 80 }] })).toEqual(
      sad('pointsman: --port is about a capture: --pcap\n'),
    );
  });
});

it('ends in a report or in a refusal, whatever bytes of a capture are changed', async () => {
  const whole = pcap([...first.slice(0, 2), ...second.slice(0, 2), ...first.slice(2), ...second.slice(2)]);
  const change = fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 }));
  await fc.assert(
    fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 12 }), async (changes) => {
      const bytes = Buffer.from(whole);
      for (const [at, value] of changes) bytes[24 + (at % (bytes.length - 24))] = value;
      const { code, text } = await run({ pcap: file('fuzzed.pcap', bytes), compare: [inTurn] });
      // Whatever it is, the same config does the same with it.
      expect([0, 2]).toContain(code);
      expect(text === '').toBe(code === 2);
    }),
    { numRuns: 100 },
  );
});

it('has no messages to show if it is of TLS', async () => {
  const { certificate, key } = await makeCertificate('edge.example.net');
  file('cert.pem', certificate);
  file('key.pem', key);
  const secure = config(
    'tls.yaml',
    '{ ndjson: { correlation: id } }, { round-robin: }',
    'tls: { certificate: cert.pem, key: key.pem }',
    'tls://127.0.0.1:5',
  );
  const hello = Buffer.from([0x16, 3, 1, 0, 5, 1, 0, 0, 1, 0]).toString('latin1');
  expect(
    await run({ config: secure, pcap: file('tls.pcap', pcap(connection('192.0.2.1:9', listener, [hello]))) }),
  ).toEqual({
    code: 2,
    text: '',
    errors: 'pointsman: what clients send in tls.pcap is encrypted with TLS, so there are no messages to be seen\n',
  });
});

it('may make up times, and closes connections that are silent for as long as the config allows', async () => {
  const silent = { from: '192.0.2.1:9', to: listener, payload: '{"id":1}\n' };
  const packets = [
    { ...silent, sequence: 1, micros: 0 },
    { ...silent, from: '192.0.2.2:9', sequence: 1, micros: 2.4e15 },
    { ...silent, sequence: 10, micros: 1 },
  ];
  const { text } = await run({ pcap: file('times.pcap', pcap(packets)) });
  expect(text).toContain('message 2 from client 192.0.2.2:9, connection 2, byte 0, at 2102-01-20T18:40:00.000000Z\n');
  expect(text.slice(text.indexOf('summary'))).toBe(`summary
  messages                 2
  forwarded                2
    one                    1
    two                    1
    the strategy chose it  2

capture
  3 packets, 3 to and from the listener; 2 connections sent something
  connection 1: its beginning is not in the capture; 9 bytes not looked at, as the connection is closed
  connection 2: its beginning is not in the capture
`);
});

describe('another config', () => {
  const named = config('b.yaml', '{ ndjson: { correlation: id, stamp: [request] } }, { hashing: { key: message } }');
  const same = config('same.yaml', '{ ndjson: { correlation: id } }, { round-robin: }');
  const small = config('c.yaml', '{ ndjson: { correlation: id } }, { round-robin: }', 'limits: { messageBytes: 20 }');
  const renamed = config('d.yaml', '{ ndjson: { correlation: id, id: server } }, { round-robin: }');

  it('that does the same leaves nothing to say', async () => {
    expect(await run({ pcap: traffic, compare: [same] })).toEqual({
      code: 0,
      text: `summary
  messages       4
  treated alike  4

both
                     a.yaml  same.yaml
  forwarded          2       2
    one              1       1
    two              1       1
  refused            1       1
    unknown-backend  1       1
  incomplete         1       1

capture
  8 packets, 8 to and from the listener; 2 connections sent something
`,
      errors: '',
    });
  });

  it('shows which messages of a capture it refuses for another reason', async () => {
    expect(await run({ pcap: traffic, compare: [small] })).toEqual({
      code: 1,
      text: `message 2 from client 192.0.2.2:4000, connection 2, byte 0, at 2026-01-01T00:00:00.000003Z: reason, reply
  a.yaml  refused: unknown-backend; 28 bytes in
  c.yaml  refused: too-large; 28 bytes in
  the reply
    a.yaml  {"id":1,"error":{"reason":"unknown-backend"}}\\n
    c.yaml  {"id":1,"error":{"reason":"too-large"}}\\n
                                       ^
  as it came
    {"id":1,"backend":"nobody"}\\n

message 4 from client 192.0.2.2:4000, connection 2, byte 28, at 2026-01-01T00:00:00.000006Z: framing
  a.yaml  waits for more: 7 bytes have come
  c.yaml  sees no message that begins there, or has closed the connection
  as it came
    {"id":9

summary
  messages       4
  treated alike  2
  differ         2
    in framing   1
    in reason    1
    in reply     1

both
                     a.yaml  c.yaml
  forwarded          2       2
    one              1       1
    two              1       1
  refused            1       1
    too-large        0       1
    unknown-backend  1       0
  incomplete         1       0

capture
  8 packets, 8 to and from the listener; 2 connections sent something
`,
      errors: '',
    });
  });

  it('shows what it writes differently into a message', async () => {
    const message = file('message', '{"id":1}\n{"id":2}\n');
    expect(await run({ message, compare: [renamed], limit: 1 })).toEqual({
      code: 1,
      text: `message 1 byte 0: bytes
  a.yaml  to one: the strategy chose it; 9 bytes in, 34 bytes out
  d.yaml  to one: the strategy chose it; 9 bytes in, 33 bytes out
  as it leaves
    a.yaml  {"backend":"one","id":1000000001}\\n
    d.yaml  {"server":"one","id":1000000001}\\n
              ^
  as it came
    {"id":1}\\n

… and 1 more that differ

summary
  messages       2
  treated alike  0
  differ         2
    in bytes     2

both
             a.yaml  d.yaml
  forwarded  2       2
    one      1       1
    two      1       1
`,
      errors: '',
    });
  });

  it('shows for programs what it does differently', async () => {
    const { code, text } = await run({ pcap: traffic, compare: [small], format: 'json' });
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const connection = { number: 2, client: '192.0.2.2:4000', listener: '192.0.2.9:5' };
    const none = { discarded: 0, discardedByReason: {}, skipped: 0 };
    const alike = { forwarded: 2, byDestination: { one: 1, two: 1 }, byReason: { strategy: 2 }, refused: 1, ...none };
    expect(code).toBe(1);
    expect(lines).toEqual([
      {
        type: 'difference',
        number: 2,
        time: '2026-01-01T00:00:00.000003Z',
        connection,
        offset: 0,
        differences: ['reason', 'reply'],
        first: expect.objectContaining({ outcome: expect.objectContaining({ reason: 'unknown-backend' }) }),
        second: expect.objectContaining({ outcome: expect.objectContaining({ reason: 'too-large' }) }),
      },
      {
        type: 'difference',
        number: 4,
        time: '2026-01-01T00:00:00.000006Z',
        connection,
        offset: 28,
        differences: ['framing'],
        first: expect.objectContaining({ outcome: { kind: 'incomplete' } }),
        second: null,
      },
      {
        type: 'summary',
        shown: 2,
        messages: 4,
        differing: 2,
        byDifference: { framing: 1, outcome: 0, destination: 0, reason: 1, reply: 1, bytes: 0 },
        first: { config: 'a.yaml', messages: 4, ...alike, refusedByReason: { 'unknown-backend': 1 }, incomplete: 1 },
        second: { config: 'c.yaml', messages: 3, ...alike, refusedByReason: { 'too-large': 1 }, incomplete: 0 },
        connections: 2,
        capture: {
          packets: 8,
          listenerPackets: 8,
          fragments: 0,
          cutPackets: 0,
          forgottenConnections: 0,
          endsWhole: true,
        },
      },
    ]);
  });

  it('is compared on samples, from either side', async () => {
    const alike = (text: string) => `summary\n  messages       1\n  treated alike  1\n\nboth\n${text}`;
    expect(await run({ sample: 'an answer', compare: [named] })).toEqual({
      code: 0,
      text: alike(`                    a.yaml  b.yaml
  discarded         1       1
    no-destination  1       1
`),
      errors: '',
    });
    expect(await run({ sample: 'a request', compare: [renamed], format: 'json' })).toMatchObject({ code: 1 });
  });

  it('is not compared if it cannot be, or on nothing', async () => {
    const broken = config('broken.yaml', '{ ndjson: { correlation: id } }, { nothing: }');
    expect(await run({ pcap: traffic, compare: [broken] })).toMatchObject({ code: 2, text: '' });
    expect(await run({ compare: [small] })).toEqual({
      code: 2,
      text: '',
      errors: 'pointsman: say on which messages to compare them: --message, --sample or --pcap\n',
    });
  });
});
