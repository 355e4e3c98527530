import { describe, expect, it } from 'vitest';
import { type Example, playExample } from './run.ts';

const signed = { more: 'keys: [{ id: k1, secret: "${file:secret}" }]', files: { secret: 'a secret of some length' } };

/** A plugin that says hello to backends, and lets nothing else out before they welcome it. */
const greeting = {
  more: 'plugins: [./greet.ts]',
  files: {
    'greet.ts': `import { definePlugin, Type } from 'pointsman';
      export default definePlugin({ name: 'greet', summary: 'Greets.', pointsman: '^1', options: Type.Object({}),
        apply(hooks) {
          hooks.onLink.tap('greet', (link) => { link.send(Buffer.from('hello\\n')); link.hold(); });
          hooks.detectId.tap({ name: 'greet', stage: -1 }, (message) => {
            if (message.from === 'backend' && message.view().toString() === 'welcome\\n') message.source.release();
            return undefined;
          });
        } });`,
  },
  pipeline: '[{ lines: }, { turns: }, { greet: }]',
};

interface Passing extends Example {
  readonly shows: string;
}

describe('passes', () => {
  it.each<Passing>([
    { shows: 'backend', steps: '{ send: { text: "hi\\n" }, expect: { backend: a } }' },
    { shows: 'notBackend', steps: '{ send: { text: "hi\\n" }, expect: { notBackend: [b, c] } }' },
    {
      shows: 'sameBackendAs, by name, by number and by client',
      steps: `{ as: one, send: { text: "hi\\n", from: alice } },
        { send: { text: "@a hi\\n", from: bob }, expect: { sameBackendAs: one } },
        { send: { text: "hi\\n", from: bob } },
        { send: { text: "@b hi\\n" }, expect: { sameBackendAs: 3 } },
        { send: { text: "@a hi\\n" }, expect: { sameBackendAs: alice } }`,
    },
    {
      shows: 'client, of those that wait for their answer on one link',
      steps: `{ send: { text: "@a one\\n", from: alice }, expect: { contains: "#1 one" } },
        { send: { text: "@a two\\n", from: bob }, expect: { contains: "#2 two" } },
        { reply: { from: a, text: "#2 due\\n" }, expect: { client: bob, bytes: "due\\n" } },
        { reply: { from: a, text: "#1 uno\\n" }, expect: { client: alice, bytes: "uno\\n" } }`,
    },
    { shows: 'contains', steps: '{ send: { text: "hi\\n" }, expect: { contains: [hi, "@a"] } }' },
    { shows: 'bytes', steps: '{ send: { text: "hi\\n" }, expect: { bytes: "@a #1 hi\\n" } }' },
    {
      shows: 'bytes of what is more than ASCII',
      steps: '{ send: { text: "é…\\n" }, expect: { bytes: "@a #1 é…\\n" } }',
    },
    { shows: 'nothing in bytes', steps: '{ send: { text: "hi" }, expect: { bytes: "" } }' },
    { shows: 'hex', steps: '{ send: { text: "hi\\n" }, expect: { hex: "4061 2023 3120 68690A" } }' },
    { shows: 'a plain identifier', steps: '{ send: { text: "hi\\n" }, expect: { identifier: a } }' },
    { shows: 'a signed identifier', ...signed, steps: '{ send: { text: "hi\\n" }, expect: { identifier: a } }' },
    {
      shows: 'an identifier that peers bring back in another form',
      more: 'plugins: [./routes.ts]',
      files: {
        'routes.ts': `import { definePlugin, Type } from 'pointsman';
          export default definePlugin({ name: 'routes', summary: 'Writes.', pointsman: '^1', options: Type.Object({}),
            apply(hooks) {
              hooks.frame.tap('routes', (bytes, start, end) => bytes.subarray(start, end).indexOf(10) + 1 || 'more');
              hooks.insertId.tap('routes', (message, { text }) => void message.splice(0, 0, Buffer.concat([text, Buffer.from(':')])));
            } });`,
      },
      pipeline: '[{ routes: }, { turns: }]',
      backends: 'a: tcp://127.0.0.1:1, ab: tcp://127.0.0.1:2',
      steps: `{ send: { text: "to ab\\n" }, expect: { identifier: a, bytes: "a:to ab\\n" } },
        { send: { text: "to a\\n" }, expect: { identifier: ab, bytes: "ab:to a\\n" } }`,
    },
    {
      shows: 'an identifier in a message that comes in two steps',
      steps: '{ send: { text: "h" } }, { send: { text: "i\\n" }, expect: { bytes: "@a #1 hi\\n", identifier: a } }',
    },
    {
      shows: 'a handshake that a backend answers before anything is sent',
      ...greeting,
      steps: `{ send: { text: "hi\\n" }, expect: { bytes: "" } },
        { reply: { from: a, text: "welcome\\n" }, expect: { backend: a, contains: "@a #1 hi\\n" } },
        { send: { text: "hi\\n" }, expect: { bytes: "" } }`,
    },
    { shows: 'no identifier', steps: '{ send: { text: "?\\n" }, expect: { identifier: false } }' },
    {
      shows: 'refused, by true, reason, reply, and its contrary',
      steps: `{ send: { text: "?\\n" }, expect: { refused: true } },
        { send: { text: "?\\n" }, expect: { refused: question } },
        { send: { text: "?\\n" }, expect: { refused: "error ques", bytes: "error question\\n" } },
        { send: { text: "hi\\n" }, expect: { refused: false, discarded: false } }`,
    },
    {
      shows: 'discarded, by true and reason',
      steps: `{ send: { text: "bye\\n" }, expect: { discarded: true, refused: false } },
        { send: { text: "bye\\n" }, expect: { discarded: bye, bytes: "ciao\\n" } }`,
    },
    {
      shows: 'closed, of whoever sent last and by name',
      steps: `{ send: { text: "hi\\n", from: alice }, expect: { closed: false } },
        { send: { text: "a\\0", from: bob }, expect: { closed: true } },
        { advance: 0s, expect: { closed: bob } },
        { send: { text: "hi\\n", from: alice }, expect: { closed: false } }`,
    },
    {
      shows: 'stats, any part of them',
      steps: `{ send: { text: "hi\\n" } }, { send: { text: "?\\n" }, expect: { stats: {
        fromClients: { received: 2, forwarded: 1, refusedFor: { question: 1, bye: 0 } }, routes: { strategy: 1 },
        connections: { open: 1 }, exchanges: { open: 1 }, affinity: { entries: 0 }, queued: 0,
        backends: { a: { up: true, messages: 1 }, b: { messages: 0 } } } } }`,
    },
    {
      shows: 'bytes as hex, base64, file, and cut to single ones',
      files: { 'hi.txt': 'hi\n' },
      steps: `{ send: { hex: "68 69 0a" }, expect: { bytes: "@a #1 hi\\n" } },
        { send: { base64: aGkK }, expect: { bytes: "@b #2 hi\\n" } },
        { send: { file: hi.txt }, expect: { bytes: "@c #3 hi\\n" } },
        { send: { text: "hi\\n", split: every-byte }, expect: { bytes: "@a #4 hi\\n" } },
        { reply: { text: "#4 oh\\n", split: every-byte }, expect: { bytes: "oh\\n" } }`,
    },
    {
      shows: 'bytes copied from what was received last',
      ...signed,
      steps: `{ as: one, send: { text: "x y é\\n" }, expect: { contains: "é" } },
        { reply: { text: "{{#\\\\d+ }}{{@(\\\\w+) }} é {{[xy] }}\\n" }, expect: { contains: " é x y " } },
        { send: { text: "@{{^\\\\w+}} again\\n" }, expect: { sameBackendAs: one, identifier: a } },
        { reply: { hex: "{{30:3}} 21 0a" }, expect: { bytes: "!\\n" } }`,
    },
    {
      shows: 'time that passes',
      listener: 'limits: { headerSeconds: 31 },',
      steps: `{ send: { text: half } }, { advance: 30s, expect: { closed: false } },
        { advance: 500ms, expect: { closed: false } },
        { advance: 2s, expect: { closed: true, stats: { fromClients: { discardedFor: { header-timeout: 1 } } } } }`,
    },
    {
      shows: 'backends that go down and come back',
      steps: `{ send: { text: "@b hi\\n" }, expect: { backend: b } },
        { down: [b], expect: { stats: { backends: { b: { up: false } } } } },
        { send: { text: "@b hi\\n" }, expect: { refused: backend-down } },
        { up: [b] }, { advance: 10s }, { send: { text: "@b hi\\n" }, expect: { backend: b } }`,
    },
    {
      shows: 'backends that drain and are ready again',
      backends: 'a: tcp://127.0.0.1:1, b: tcp://127.0.0.1:2',
      steps: `{ drain: [b], expect: { stats: { backends: { b: { state: drain } } } } },
        { send: { text: "@b hi\\n" }, expect: { backend: b } },
        { send: { text: "hi\\n" }, expect: { backend: a } }, { send: { text: "hi\\n" }, expect: { backend: a } },
        { up: [b] }, { send: { text: "hi\\n" }, expect: { backend: a } }, { send: { text: "hi\\n" }, expect: { backend: b } }`,
    },
    {
      shows: 'dedicated links, each with its answer',
      pool: 'links: dedicated,',
      pipeline: '[{ lines: { shared: false } }, { turns: }]',
      steps: `{ send: { text: "@a one\\n", from: alice } }, { send: { text: "@a two\\n", from: bob } },
        { reply: { from: a, text: "due\\n" }, expect: { client: bob } }`,
    },
    {
      shows: 'a name that is an address, where onConnect turns it away',
      more: 'plugins: [./deny.ts]',
      files: {
        'deny.ts': `import { definePlugin, refusal, Type } from 'pointsman';
          export default definePlugin({ name: 'deny', summary: 'Denies.', pointsman: '^1', options: Type.Object({}),
            apply: (hooks) => hooks.onConnect.tap('deny', async ({ address }) =>
              address === '203.0.113.7' ? refusal('denied') : undefined) });`,
      },
      pipeline: '[{ lines: }, { turns: }, { deny: }]',
      steps: `{ send: { text: "hi\\n", from: "203.0.113.8" }, expect: { backend: a, closed: false } },
        { send: { text: "hi\\n", from: "203.0.113.7" }, expect: { bytes: "", closed: true } }`,
    },
  ])('$shows', async (example) => {
    const { report } = await playExample(example);
    expect(report).toBe('✓ it\n\n1 test: 1 passed\n');
  });
});

interface Failing extends Example {
  readonly shows: string;
  /** The report, without the lines that all have. */
  readonly report: string;
}

const hello = '{ send: { text: "hello\\n" }, ';

describe('fails, and says where and why:', () => {
  it.each<Failing>([
    {
      shows: 'backend',
      steps: `${hello}expect: { backend: b } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  backend
          expected  backend b
          got       backend a
          to a:
            @a #1 hello\\n`,
    },
    {
      shows: 'backend, of a message that goes nowhere',
      steps: '{ send: { text: "?\\n" }, expect: { backend: b } }',
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:42  backend
          expected  backend b
          got       15 bytes to client; refused: question
          to client:
            error question\\n
        logged: message refused (question)`,
    },
    {
      shows: 'backend, of a message that waits for a link',
      ...greeting,
      steps: '{ send: { text: "hi\\n" }, expect: { backend: a, contains: hi } }',
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:43  backend
          expected  backend a
          got       nothing left; it is held until a answers what it got when its link came up: let it \`reply\` first
        edge.yaml:12:55  contains
          expected  "hi"
          got       nothing left; it is held until a answers what it got when its link came up: let it \`reply\` first`,
    },
    {
      shows: 'client',
      steps: `{ send: { text: "@a one\\n", from: alice } }, { send: { text: "@a two\\n", from: bob } },
        { reply: { text: "#1 uno\\n" }, expect: { client: bob } }`,
      report: `
        edge.yaml:13:7  step 3, reply
        edge.yaml:13:48  client
          expected  client bob
          got       client alice
          to alice:
            uno\\n`,
    },
    {
      shows: 'sameBackendAs',
      steps: `{ as: one, send: { text: "hello\\n" } },
        { as: two, send: { text: "again\\n", from: bob }, expect: { sameBackendAs: one } }`,
      report: `
        edge.yaml:13:7  step 2, send from bob (two)
        edge.yaml:13:66  sameBackendAs
          expected  backend a, as of step 1
          got       backend b
          to b:
            @b #2 again\\n`,
    },
    {
      shows: 'sameBackendAs, of a step without a backend',
      steps: `{ advance: 1s }, ${hello}expect: { sameBackendAs: 1 } }`,
      report: `
        edge.yaml:12:24  step 2, send from client
        edge.yaml:12:63  sameBackendAs
          expected  the backend of step 1
          got       step 1 went to no backend`,
    },
    {
      shows: 'notBackend',
      steps: `${hello}expect: { notBackend: a } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  notBackend
          expected  nothing goes to a
          got       12 bytes to a
          to a:
            @a #1 hello\\n`,
    },
    {
      shows: 'contains',
      steps: `${hello}expect: { contains: [hello, "good bye", '"'] } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  contains
          expected  "good bye" and "\\""
          got       not in what left
          to a:
            @a #1 hello\\n`,
    },
    {
      shows: 'bytes',
      steps: `${hello}expect: { bytes: "@a #2 hello\\n" } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  bytes
          expected 12 bytes, got 12 bytes to a, different from byte 4 on
          expected  @a #2 hello\\n
          got       @a #1 hello\\n
                        ^`,
    },
    {
      shows: 'bytes that are too few',
      steps: `{ send: { text: "?\\n?\\n" }, expect: { bytes: "error question\\nerror" } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:45  bytes
          expected 20 bytes, got 30 bytes to client; refused: question, different from byte 20 on
          expected  error(the end)
          got       error question\\n
                         ^
        logged: message refused (question)
        logged: message refused (question)`,
    },
    {
      shows: 'hex',
      steps: `${hello}expect: { hex: "4061 2023 3120 6865 6c6c 6f0b" } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  hex
          expected 12 bytes, got 12 bytes to a, different from byte 11 on
          expected  00000000  40 61 20 23 31 20 68 65  6c 6c 6f 0b              |@a #1 hello.|
          got       00000000  40 61 20 23 31 20 68 65  6c 6c 6f 0a              |@a #1 hello.|
                                                                ^^`,
    },
    {
      shows: 'identifier',
      steps: `${hello}expect: { identifier: b } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  identifier
          expected  an identifier that names b
          got       an identifier that names a
          to a:
            @a #1 hello\\n`,
    },
    {
      shows: 'identifier, of one that does not verify',
      ...signed,
      pipeline: '[{ lines: { shared: false } }, { turns: }]',
      steps: `${hello}expect: { backend: a } },
        { reply: { text: "@cizgmzpk forged\\n" }, expect: { identifier: a } }`,
      report: `
        edge.yaml:13:7  step 2, reply
        edge.yaml:13:58  identifier
          expected  an identifier that names a
          got       an identifier that is forged
          to client:
            @cizgmzpk forged\\n`,
    },
    {
      shows: 'refused, true',
      steps: `${hello}expect: { refused: true } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  refused
          expected  refused
          got       12 bytes to a
          to a:
            @a #1 hello\\n`,
    },
    {
      shows: 'refused, false, and for another reason',
      steps: `{ send: { text: "?\\n" }, expect: { refused: false, discarded: true } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:42  refused
          expected  not refused
          got       refused: question
        edge.yaml:12:58  discarded
          expected  discarded
          got       15 bytes to client; refused: question
          to client:
            error question\\n
        logged: message refused (question)`,
    },
    {
      shows: 'discarded',
      steps: `{ send: { text: "bye\\n" }, expect: { discarded: question } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:44  discarded
          expected  discarded: question
          got       discarded: bye
          to client:
            ciao\\n`,
    },
    {
      shows: 'closed',
      steps: `${hello}expect: { closed: true } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  closed
          expected  the connection of client is closed
          got       the connection of client is open`,
    },
    {
      shows: 'stats',
      steps: `${hello}expect: { stats: { fromClients: { received: 2, refusedFor: { x: 1 } }, backends: { a: { up: false } } } } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:46  stats
          expected  fromClients.received 2, fromClients.refusedFor.x 1, backends.a.up false
          got       fromClients.received 1, fromClients.refusedFor.x 0, backends.a.up true`,
    },
    {
      shows: 'what a plugin throws',
      steps: `{ send: { text: "boom\\n" }, expect: { backend: a } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
        edge.yaml:12:45  backend
          expected  backend a
          got       19 bytes to client; refused: plugin-error
          to client:
            error plugin-error\\n
        logged: [lines] detectId: boom
        logged: message refused (plugin-error)`,
    },
    {
      shows: 'a reply to nothing',
      steps: '{ reply: { text: x } }',
      report: `
        edge.yaml:12:7  step 1, reply
          no backend has received anything yet`,
    },
    {
      shows: 'a reply by somebody else',
      steps: `${hello}}, { reply: { from: b, text: x } }`,
      report: `
        edge.yaml:12:39  step 2, reply from b
          b has received nothing yet`,
    },
    {
      shows: 'a reply on a link that is closed',
      steps: `${hello}}, { down: [a] }, { reply: { text: x } }`,
      report: `
        edge.yaml:12:54  step 3, reply
          the link that brought a its last message is closed
        logged: requests lost with their link (a)
        logged: backend is down (a: read ECONNRESET)`,
    },
    {
      shows: 'a client that is closed',
      steps: `{ send: { text: "a\\0" } }, { send: { text: b } }`,
      report: `
        edge.yaml:12:34  step 2, send from client
          the connection of client is closed
        logged: message refused (nul)`,
    },
    {
      shows: 'a copy of nothing',
      steps: `{ send: { text: "{{#}}" } }`,
      report: `
        edge.yaml:12:7  step 1, send from client
          {{#}} copies from what client received, which is nothing yet`,
    },
    {
      shows: 'a copy that is not there',
      steps: `${hello}}, { reply: { text: "{{#\\\\d+ }}{{nope}}" } }`,
      report: `
        edge.yaml:12:39  step 2, reply
          {{nope}} matches nothing in what a received last`,
    },
    {
      shows: 'a copy from beyond the end',
      steps: `${hello}}, { reply: { hex: "{{10:3}}" } }`,
      report: `
        edge.yaml:12:39  step 2, reply
          {{10:3}} reaches beyond what a received last, which has 12 bytes`,
    },
    {
      shows: 'a plugin that cannot start',
      more: 'plugins: [./late.ts]',
      files: {
        'late.ts': `import { definePlugin, Type } from 'pointsman';
          export default definePlugin({ name: 'late', summary: 'Fails.', pointsman: '^1', options: Type.Object({}),
            apply: (hooks, options, scope) => scope.onStart(() => { throw new Error('not today'); }) });`,
      },
      pipeline: '[{ lines: }, { turns: }, { late: }]',
      steps: `${hello}}`,
      report: `
          [late] onStart: not today`,
    },
  ])('$shows', async (example) => {
    const { report } = await playExample(example);
    const lines = example.report.slice(1).replaceAll(/^ {4}/gm, '');
    expect(report).toBe(`✗ it\n${lines}\n\n1 test: 1 failed\n`);
  });
});

it('goes the same way with the same seed, and begins each test anew', async () => {
  const example = {
    steps:
      '{ send: { text: "hi\\n" } }, { down: [a, b, c] }, { up: [a, b, c] }, { advance: 150ms, expect: { stats: { backends: { a: { up: true } } } } }',
  };
  const outcome = async (seed: number) => (await playExample({ ...example, seed })).report;
  const outcomes = await Promise.all(Array.from({ length: 12 }, (_, seed) => outcome(seed)));
  expect(new Set(outcomes).size).toBe(2); // how long it waits before it connects again is drawn
  expect(await Promise.all(Array.from({ length: 12 }, (_, seed) => outcome(seed)))).toEqual(outcomes);
});
