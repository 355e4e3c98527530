import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type ExplainOptions, explain } from '../../../core/cli/explain.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, content: string): string {
  writeFileSync(join(directory, name), content, 'latin1');
  return join(directory, name);
}

interface Asked extends Partial<ExplainOptions> {
  readonly config: string;
  /** The content of the message file, each character a byte. */
  readonly bytes?: string;
}

async function run({ config, bytes, ...options }: Asked) {
  const output = collect();
  const message = bytes === undefined ? options : { ...options, message: file('message', bytes) };
  const code = await explain([config], { format: 'text', ...message }, output);
  const strip = (text: string) => text.replaceAll(`${directory}/`, '');
  return { code, text: strip(output.stdout.text), errors: strip(output.stderr.text) };
}

/** What is printed when all is well. */
async function explained(asked: Asked): Promise<string> {
  const { code, text, errors } = await run(asked);
  expect({ code, errors }).toEqual({ code: 0, errors: '' });
  return text;
}

file('secret-1', 'the first of two secrets');
file('secret-2', 'the second of two secrets');
const signed = file(
  'signed.yaml',
  `keys: [{ id: k2, secret: "\${file:secret-2}" }, { id: k1, secret: "\${file:secret-1}" }]
pools:
  workers: { backends: { one: tcp://127.0.0.1:1, two: { address: tcp://127.0.0.1:2, weight: 2, number: 7, priority: 1 } }, minimumUp: 2, outliers: { latencyFactor: 3 }, checks: [{ message: { form: json-ping, rise: 1, port: 80 } }, { message: { form: json-ping, over: link } }] }
  others: { links: dedicated, backends: { one: tcp://127.0.0.1:1, three: tcp://127.0.0.1:3 } }
listeners:
  edge:
    listen: tcp://127.0.0.1:5
    advertise: edge.example.net:5
    pool: workers
    pipeline: [{ ndjson: { correlation: id, affinity: session } }, { hashing: { key: message } }]
    identifiers: { whenDown: rechoose }
    limits: { messageBytes: 100, connectionsPerAddress: 9 }
  relaying: { listen: tcp://127.0.0.1:6, pool: others, pipeline: [{ ndjson: { stamp: [request] } }, { round-robin: }] }
`,
);
const examples = 'test/examples';

describe('a listener', () => {
  it('is explained with what bounds it: networks, limits of the pool and of its backends', async () => {
    const limited = file(
      'limited.yaml',
      `pools:
  workers:
    limits: { inFlight: 30 }
    backendLimits: { inFlight: 20, messagesPerSecond: 5 }
    queueSeconds: 2
    replay: once
    backends: { one: tcp://127.0.0.1:1, two: { address: tcp://127.0.0.1:2, state: drain, limits: { inFlight: 15 } } }
listeners:
  edge:
    listen: tcp://127.0.0.1:5
    pool: workers
    allow: [10.0.0.0/8, "::1"]
    deny: [10.9.0.0/16]
    pipeline: [{ ndjson: { correlation: id, replayable: { values: [get] } } }, { round-robin: }]
`,
    );
    expect(await explained({ config: limited })).toContain(`, as text
                 a message whose backend is down or gone is refused
  allow          10.0.0.0/8, ::1
  deny           10.9.0.0/16

pool workers
  one  tcp://127.0.0.1:1  weight 1, inFlight 20, messagesPerSecond 5
  two  tcp://127.0.0.1:2  weight 1, drain, inFlight 15
  limits         of all together: inFlight 30
  queue          new requests wait up to 2 s for room
  replay         requests lost with a backend are sent to one other backend
`);
  });

  it('is explained hook by hook', async () => {
    expect(
      await explained({ config: signed, listener: 'edge' }),
    ).toBe(`listener edge on tcp://127.0.0.1:5, advertised as edge.example.net:5
  links          shared: one carries many clients
  identifiers    signed with k2, verified with k2 and k1, as text
                 a message whose backend is down or gone goes to another one

pool workers
  one  tcp://127.0.0.1:1  weight 1
  two  tcp://127.0.0.1:2  weight 2, number 7, priority 1
  check          message every 2 s ± 10 % at port 80, within 1 s; 3 failures in a row: out, 1 success: in
    form: "json-ping"
  check          message every 2 s ± 10 % over the links, within 1 s; 3 failures in a row: out, 2 successes: in
    form: "json-ping"
  outliers       out after 5 failures in a row or when 3 times as slow as the median, for 30 s, then longer, up to 300 s; at most 30 % at once

pipeline
  onConnect      no plugin turns clients away
  frame          ndjson
  detectId       ndjson
  chooseBackend  the affinity table, then hashing
  insertId       ndjson
  forward        messages leave as they are then
  refuse         ndjson
  onDrop         nobody is told of messages that go nowhere
  onLink         nothing is sent ahead
  onDisconnect   nothing is done

plugins
  ndjson: Carries one JSON object per line, JSON-RPC 2.0 among them; the identifier is a member of the object.
    correlation: "id"
    affinity: "session"
    id: "backend"
    stamp: ["request","response"]
    strip: false
    affinitySeconds: 300
    keys: []
    delimiter: "lf"
    notObject: "refuse"
    failure: {"member":"error","codes":[-32603]}
    depth: 128
    error: {"error":{"reason":"{reason}"}}
  hashing: Gives all work of one key to one backend; a backend that joins or leaves moves its own share of the keys only.
    key: "message"

limits
  messageBytes           100     default 1114112
  headerBytes            65536
  queueBytes             262144
  connections            65536
  connectionsPerAddress  9       default 0
  inFlight               65536
  headerSeconds          10
  idleSeconds            3600
  replySeconds           60
  affinityEntries        65536
`);
  });

  it('is one of several', async () => {
    const text = await explained({ config: signed });
    expect(text.match(/^listener .*$/gm)).toEqual([
      'listener edge on tcp://127.0.0.1:5, advertised as edge.example.net:5',
      'listener relaying on tcp://127.0.0.1:6',
    ]);
    expect(text).toContain(
      '  links          dedicated: one for each client and backend; answers are passed on unread\n',
    );
  });

  it('is there for programs', async () => {
    const { listeners } = JSON.parse(await explained({ config: signed, format: 'json', listener: 'edge' }));
    expect(listeners).toEqual([
      {
        listener: 'edge',
        listen: 'tcp://127.0.0.1:5',
        advertise: 'edge.example.net:5',
        pool: 'workers',
        links: 'shared',
        relaysAnswers: false,
        backends: [
          { name: 'one', address: 'tcp://127.0.0.1:1', weight: 1, priority: 0, state: 'ready' },
          { name: 'two', address: 'tcp://127.0.0.1:2', weight: 2, number: 7, priority: 1, state: 'ready' },
        ],
        checks: [
          {
            name: 'message',
            options: { form: 'json-ping' },
            timing: expect.objectContaining({ intervalSeconds: 2, rise: 1, port: 80 }),
          },
          {
            name: 'message',
            options: { form: 'json-ping' },
            timing: expect.objectContaining({ over: 'link' }),
          },
        ],
        outliers: expect.objectContaining({ consecutiveFailures: 5, latencyFactor: 3 }),
        replay: 'never',
        identifiers: {
          mode: 'signed',
          form: 'text',
          signs: 'k2',
          verify: ['k2', 'k1'],
          whenDown: 'rechoose',
          whenGone: 'rechoose',
        },
        limits: expect.arrayContaining([{ limit: 'messageBytes', value: 100, isDefault: false }]),
        hasAffinity: true,
        plugins: [
          { name: 'ndjson', summary: expect.any(String), options: expect.objectContaining({ correlation: 'id' }) },
          { name: 'hashing', summary: expect.any(String), options: { key: 'message' } },
        ],
        hooks: [
          { hook: 'onConnect', plugins: [] },
          { hook: 'frame', plugins: ['ndjson'] },
          { hook: 'detectId', plugins: ['ndjson'] },
          { hook: 'chooseBackend', plugins: ['hashing'] },
          { hook: 'insertId', plugins: ['ndjson'] },
          { hook: 'forward', plugins: [] },
          { hook: 'refuse', plugins: ['ndjson'] },
          { hook: 'onDrop', plugins: [] },
          { hook: 'onLink', plugins: [] },
          { hook: 'onDisconnect', plugins: [] },
        ],
      },
    ]);
  });
});

describe('a message', () => {
  it('of ndjson shows its edits in the line', async () => {
    const bytes = '{"jsonrpc":"2.0","method":"echo","id":1}\n';
    expect(await explained({ config: `${examples}/ndjson.yaml`, bytes })).toBe(`message from client 198.51.100.1
  frame          ndjson: 41 bytes
  detectId       ndjson: it names nobody
  chooseBackend  least-loaded: worker-3, out of worker-1, worker-2 and worker-3
  insertId       ndjson: the identifier of worker-3, 2 edits
  forward        to worker-3: the strategy chose it
  41 bytes in, 71 out
    ~ {{+"backend":"worker-3",+}"jsonrpc":"2.0","method":"echo","id":[-1-]{+1000000001+}}\\n
`);
  });

  it('of length-prefixed shows its edits in hexdumps', async () => {
    const bytes = '\0\0\0\x0a\0\0\0\0\0\x07PING';
    expect(
      await explained({ config: `${examples}/length-prefixed.yaml`, bytes }),
    ).toBe(`message from client 198.51.100.1
  frame          length-prefixed: 14 bytes
  detectId       length-prefixed: the number 0: it names nobody
  chooseBackend  round-robin: switch-1, out of switch-1, switch-2 and switch-3
  insertId       length-prefixed: the identifier of switch-1, 2 edits
  forward        to switch-1: the strategy chose it
  14 bytes in, 14 out
    in
    00000000  00 00 00 0a 00 00 00 00  00 07 50 49 4e 47        |..........PING|
                          ^^ ^^ ^^ ^^  ^^ ^^
    out
    00000000  00 00 00 0a 00 01 00 00  00 01 50 49 4e 47        |..........PING|
                          ^^ ^^ ^^ ^^  ^^ ^^
`);
  });

  it('of SIP shows lines that are new and lines that are changed', async () => {
    expect(await explained({ config: `${examples}/sip.yaml`, sample: 'a call' })).toBe(`message from client 198.51.100.1
  frame          sip: 445 bytes
  detectId       sip: it names nobody
  chooseBackend  hashing: uas-3, out of uas-1, uas-2 and uas-3
  insertId       sip: the identifier of uas-3, 6 edits
  forward        sip: it has seen the message
  forward        to uas-3: the strategy chose it
  445 bytes in, 760 out
      INVITE sip:bob@example.net SIP/2.0\\r\\n
    + Via: SIP/2.0/TCP 127.0.0.1:5060;branch=z9hG4bK3260996e39be454e;pm=ceaxbiaaq757or44xaaaaaaaaaaaaairwqzqo4hqklv23tqxki\\r\\n
    + Record-Route: <sip:127.0.0.1:5060;transport=tcp;lr;pm=ceaxbiaaq757or44xaaaaaaaaaaaaairwqzqo4hqklv23tqxki>\\r\\n
    + Record-Route: <sip:127.0.0.1:5060;transport=tcp;lr;pm=uas-3>\\r\\n
    ~ Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK74bf9;rport{+=40000;received=198.51.100.1+}\\r\\n
    ~ Max-Forwards: [-70-]{+69+}\\r\\n
      From: "Alice" <sip:alice@example.org>;tag=a73k\\r\\n
      To: <sip:bob@example.net>\\r\\n
      Call-ID: 3848276298220188511@192.0.2.10\\r\\n
      … 8 lines that stay
      c=IN IP4 192.0.2.10\\r\\n
      t=0 0\\r\\n
      m=audio 49172 RTP/AVP 0\\r\\n
`);
  });

  it('of a third-party plugin is explained like any other', async () => {
    expect(
      await explained({ config: `${examples}/mllp.yaml`, sample: 'an admission' }),
    ).toBe(`message from client 198.51.100.1
  frame          mllp: 50 bytes
  detectId       mllp: it names nobody
  chooseBackend  round-robin: lab-1, out of lab-1 and lab-2
  insertId       mllp: the identifier of lab-1, 1 edit
  forward        to lab-1: the strategy chose it
  50 bytes in, 60 out
    ~ \\x0bMSH|^~\\\\&|ADT|A|LAB|B|20261123||ADT^A01|1|P|2.5\\r{+ZPM|lab-1\\r+}\\x1c\\r
`);
  });

  it('is there for programs', async () => {
    const text = await explained({ config: `${examples}/mllp.yaml`, sample: 'an admission', format: 'json' });
    const base64 = (bytes: string) => Buffer.from(bytes).toString('base64');
    const received = '\x0bMSH|^~\\&|ADT|A|LAB|B|20261123||ADT^A01|1|P|2.5\r\x1c\r';
    expect(JSON.parse(text)).toEqual({
      messages: [
        {
          from: 'client',
          received: base64(received),
          answers: [
            { hook: 'frame', plugin: 'mllp', answer: { kind: 'length', bytes: 50 }, edits: [] },
            { hook: 'detectId', plugin: 'mllp', answer: { kind: 'nothing' }, edits: [] },
            { hook: 'chooseBackend', plugin: 'round-robin', answer: { kind: 'backend', name: 'lab-1' }, edits: [] },
            {
              hook: 'insertId',
              plugin: 'mllp',
              answer: { kind: 'nothing' },
              edits: [{ offset: 48, removed: '', inserted: base64('ZPM|lab-1\r') }],
            },
          ],
          available: ['lab-1', 'lab-2'],
          token: 'lab-1',
          outcome: { kind: 'forwarded', to: { backend: 'lab-1' }, reason: 'strategy' },
          sent: base64(received.replace('\x1c', 'ZPM|lab-1\r\x1c')),
        },
      ],
      greetings: [],
      unreadBytes: 0,
    });
  });
});

/** The token of a backend in the listener edge of that config. */
async function tokenBy(config: string, backend: string): Promise<string> {
  const bytes = Array.from({ length: 20 }, (_, session) => `{"session":"${session}"}\n`).join('');
  const { messages } = JSON.parse(await explained({ config, listener: 'edge', bytes, format: 'json' }));
  return messages.find(({ outcome }: { outcome: { to: { backend: string } } }) => outcome.to.backend === backend).token;
}

describe('several messages in one file', () => {
  it('are explained in turn: why each goes where it goes, or nowhere', async () => {
    const config = readFileSync(signed, 'utf8');
    const older = file('older.yaml', config.replace(/^keys: .*$/m, 'keys: [{ id: k1, secret: "${file:secret-1}" }]'));
    const larger = file('larger.yaml', config.replace('one: tcp://127.0.0.1:1', 'gone: tcp://127.0.0.1:9'));
    const forged = 'cabgwmtpnzs65bb2vl4z6h2bcmsvi';
    const bytes = [
      '{"session":"s","n":1}',
      '{"session":"s","n":2}',
      `{"backend":"${await tokenBy(older, 'two')}","n":3}`,
      `{"backend":"${await tokenBy(larger, 'gone')}","n":4}`,
      `{"backend":"${forged}","n":5}`,
      'nonsense',
      '',
    ].join('\n');
    expect(await explained({ config: signed, listener: 'edge', bytes })).toBe(`message 1 of 6 from client 198.51.100.1
  frame          ndjson: 22 bytes
  detectId       ndjson: it names nobody
  chooseBackend  hashing: two, out of one and two
  insertId       ndjson: the identifier of two, 2 edits
  forward        to two: the strategy chose it
  22 bytes in, 82 out
    ~ {{+"backend":"cabgwmtuo5xstxvnafd3ipwdzqqu2rq","id":1000000001,+}"session":"s","n":1}\\n

message 2 of 6 from client 198.51.100.1
  frame          ndjson: 22 bytes
  detectId       ndjson: it names nobody
  chooseBackend  the affinity table has it
  insertId       ndjson: the identifier of two, 2 edits
  forward        to two: a related message went there
  22 bytes in, 82 out
    ~ {{+"backend":"cabgwmtuo5xstxvnafd3ipwdzqqu2rq","id":1000000002,+}"session":"s","n":2}\\n

message 3 of 6 from client 198.51.100.1
  frame          ndjson: 52 bytes
  detectId       ndjson: cabgwmluo5x6lm626bfgzi22lc4j7ea, at byte 12, names two; it verifies
  chooseBackend  not asked
  insertId       ndjson: the identifier of two, 2 edits
  forward        to two: the message names it
  52 bytes in, 68 out
    ~ {{+"id":1000000003,+}"backend":[-"cabgwmluo5x6lm626bfgzi22lc4j7ea"-]{+"cabgwmtuo5xstxvnafd3ipwdzqqu2rq"+},"n":3}\\n

message 4 of 6 from client 198.51.100.1
  frame          ndjson: 53 bytes
  detectId       ndjson: cabgwmthn5xgkysrjmnebljpo5dkkmsm, at byte 12, names no backend of the pool
  chooseBackend  hashing: one, out of one and two
  insertId       ndjson: the identifier of one, 2 edits
  forward        to one: the strategy chose it, as the backend that the message names is down or gone
  53 bytes in, 68 out
    ~ {{+"id":1000000004,+}"backend":[-"cabgwmthn5xgkysrjmnebljpo5dkkmsm"-]{+"cabgwmtpnzs52f2lrfooqthoo7tlzpy"+},"n":4}\\n

message 5 of 6 from client 198.51.100.1
  frame          ndjson: 50 bytes
  detectId       ndjson: cabgwmtpnzs65bb2vl4z6h2bcmsvi, at byte 12, is forged: it verifies with none of the keys
  refuse         ndjson: 41 bytes back to the sender
  outcome        refused: forged-identifier
  50 bytes
      {"backend":"cabgwmtpnzs65bb2vl4z6h2bcmsvi","n":5}\\n
  41 bytes back
      {"error":{"reason":"forged-identifier"}}\\n

message 6 of 6 from client 198.51.100.1
  frame          ndjson: 9 bytes
  detectId       ndjson: refused: malformed-json
  refuse         ndjson: 38 bytes back to the sender
  outcome        refused: malformed-json
  9 bytes
      nonsense\\n
  38 bytes back
      {"error":{"reason":"malformed-json"}}\\n
`);
  });
});

describe('what a backend sends', () => {
  it('finds no request to answer on a shared link', async () => {
    const asked = { config: `${examples}/ndjson.yaml`, from: 'worker-2', bytes: '{"id":1000000001}\n' };
    expect(await explained(asked)).toBe(`message from worker-2
  frame          ndjson: 18 bytes
  detectId       ndjson: it names nobody
  refuse         ndjson: no reply
  outcome        discarded: no-destination, as no request waits for it here; its sender gets no reply
  18 bytes
      {"id":1000000001}\\n
`);
  });

  it('goes to the client of a dedicated link', async () => {
    const asked = {
      config: `${examples}/mllp.yaml`,
      from: 'lab-2',
      client: '203.0.113.9',
      bytes: '\x0bMSA|AA\r\x1c\r',
    };
    expect(await explained(asked)).toBe(`message from lab-2
  frame          mllp: 10 bytes
  detectId       mllp: it names nobody
  chooseBackend  not asked
  insertId       mllp: the identifier of lab-2, 1 edit
  forward        to client 203.0.113.9:40000: the link serves this client only
  10 bytes in, 20 out
    ~ \\x0bMSA|AA\\r{+ZPM|lab-2\\r+}\\x1c\\r
`);
  });

  it('may be passed on unread', async () => {
    const asked = { config: signed, listener: 'relaying', from: 'three', bytes: '{}\n' };
    expect(await explained(asked)).toBe(`message from three
  frame          ndjson: 3 bytes
  3 bytes
      {}\\n

3 bytes from three
  passed on to the client of the link, unread: on dedicated links the protocol need not see answers
`);
  });
});

describe('what is no whole message', () => {
  it.each([
    {
      when: 'its length is known, but more must come',
      config: `${examples}/length-prefixed.yaml`,
      bytes: '\0\0\0\x0a\0\0\0\0\0\x07PI',
      text: `message from client 198.51.100.1
  frame          length-prefixed: needs more bytes: the message has 14, 12 have come
  12 bytes
    00000000  00 00 00 0a 00 00 00 00  00 07 50 49              |..........PI|
`,
    },
    {
      when: 'its end is not in sight',
      config: `${examples}/ndjson.yaml`,
      bytes: '{"id":',
      text: `message from client 198.51.100.1
  frame          ndjson: needs more bytes: where the message ends cannot be told yet, 6 have come
  6 bytes
      {"id":
`,
    },
    {
      when: 'it is broken',
      config: `${examples}/mllp.yaml`,
      bytes: 'GET / HTTP/1.1\r\n',
      text: `message from client 198.51.100.1
  frame          mllp: refused: no-start-block
  outcome        discarded: no-start-block; its sender gets no reply
  16 bytes
      GET / HTTP/1.1\\r\\n
`,
    },
    {
      when: 'it is too large',
      config: `${examples}/length-prefixed.yaml`,
      bytes: '\0\0\0\x06\0\0\0\0\0\x01\x7f\0\0\0\0\0\0\0\0\x02',
      text: `message 1 of 2 from client 198.51.100.1
  frame          length-prefixed: 10 bytes
  detectId       length-prefixed: the number 0: it names nobody
  chooseBackend  round-robin: switch-1, out of switch-1, switch-2 and switch-3
  insertId       length-prefixed: the identifier of switch-1, 2 edits
  forward        to switch-1: the strategy chose it
  10 bytes in, 10 out
    in
    00000000  00 00 00 06 00 00 00 00  00 01                    |..........|
                          ^^ ^^ ^^ ^^  ^^ ^^
    out
    00000000  00 00 00 06 00 01 00 00  00 01                    |..........|
                          ^^ ^^ ^^ ^^  ^^ ^^

message 2 of 2 from client 198.51.100.1
  frame          length-prefixed: 2130706436 bytes
  outcome        discarded: too-large; its sender gets no reply
  10 bytes
    00000000  7f 00 00 00 00 00 00 00  00 02                    |..........|
`,
    },
  ])('is explained as well, and ends with 1: $when', async ({ config, bytes, text }) => {
    expect(await run({ config, bytes })).toEqual({ code: 1, text, errors: '' });
  });
});

describe('what is asked for and not there ends with 2:', () => {
  const config = signed;
  it.each<{ asked: Asked; errors: string }>([
    {
      asked: { config, listener: 'egde' },
      errors: 'pointsman: there is no listener "egde"; did you mean "edge"?\n',
    },
    { asked: { config, bytes: 'x' }, errors: 'pointsman: say to which listener: --listener edge or relaying\n' },
    {
      asked: { config, listener: 'edge', bytes: 'x', from: 'thre' },
      errors: 'pointsman: the pool "workers" has no backend "thre"; there are client, one and two\n',
    },
    {
      asked: { config, listener: 'edge', bytes: 'x', client: 'alice' },
      errors: 'pointsman: "alice" is no IP address\n',
    },
    {
      asked: { config, listener: 'edge', message: 'nowhere' },
      errors: 'pointsman: cannot read nowhere: no such file\n',
    },
    { asked: { config, listener: 'edge', bytes: '' }, errors: 'pointsman: message is empty\n' },
    {
      asked: { config, client: '203.0.113.7' },
      errors: 'pointsman: --client is about a message: --message or --sample\n',
    },
    { asked: { config, from: 'one' }, errors: 'pointsman: --from is about a message: --message or --sample\n' },
    {
      asked: { config: `${examples}/mllp.yaml`, sample: 'a discharge' },
      errors: 'pointsman: there is no sample "a discharge"; there is "an admission"\n',
    },
  ])('$errors', async ({ asked, errors }) => {
    expect(await run(asked)).toEqual({ code: 2, text: '', errors });
  });
});

it('says so if the client is turned away before it can send anything', async () => {
  file(
    'deny.ts',
    `import { definePlugin, refusal, Type } from 'pointsman';
export default definePlugin({ name: 'deny', summary: 'Denies.', pointsman: '^1', options: Type.Object({}),
  apply: (hooks) => hooks.onConnect.tap('deny', ({ address }) => address === '203.0.113.7' ? refusal('denied') : undefined) });`,
  );
  const config = file(
    'denying.yaml',
    `plugins: [./deny.ts]
pools: { calls: { backends: { a: tcp://127.0.0.1:1 } } }
listeners: { edge: { listen: tcp://127.0.0.1:2, pool: calls, pipeline: [{ ndjson: }, { round-robin: }, { deny: }] } }
`,
  );
  expect(await run({ config, bytes: '{}\n', client: '203.0.113.7' })).toEqual({
    code: 1,
    text: `before that
  onConnect      deny: refused: denied

3 bytes not looked at, as the connection is closed
`,
    errors: '',
  });
  expect(await explained({ config, bytes: '{}\n' })).toContain(
    'before that\n  onConnect      deny: accepted\n\nmessage from ',
  );
});

it('says what is wrong with a config, and explains nothing then', async () => {
  const config = file(
    'wrong.yaml',
    'listeners: { edge: { listen: tcp://127.0.0.1:5, pool: calls, pipeline: [{ ndjson: }] } }\n',
  );
  expect(await run({ config })).toEqual({
    code: 1,
    text: '',
    errors: 'wrong.yaml:1:55  there is no pool "calls"\n1 error; nothing to explain\n',
  });
});
