/** Replies of our own to requests of all sorts of damage: they are sound SIP, and hold nothing of the request but what they must copy. */
import { createRequire } from 'node:module';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { request, sipRig } from './ua.ts';

interface OthersMessage {
  status?: number;
  headers: Record<string, unknown> & {
    via?: { host: string; params: Record<string, string | null> }[];
    from?: { uri: string; params: Record<string, string> };
    to?: { uri: string; params: Record<string, string> };
    cseq?: { seq: number; method: string };
  };
  content: string;
}

/** A parser that others wrote. */
const others = createRequire(import.meta.url)('sip') as { parse(text: string): OthersMessage | undefined };

const statuses = [200, 400, 403, 404, 413, 414, 416, 420, 430, 483, 500, 503, 505, 513];
const copied: Readonly<Record<string, string>> = {
  v: 'Via',
  via: 'Via',
  f: 'From',
  from: 'From',
  t: 'To',
  to: 'To',
  i: 'Call-ID',
  'call-id': 'Call-ID',
  cseq: 'CSeq',
  'proxy-require': 'Unsupported',
};

/** The values that a reply may copy, unfolded, by the name they have there. */
function valuesIn(text: string): Record<string, string[]> {
  const values: Record<string, string[]> = {};
  const end = text.indexOf('\r\n\r\n');
  const unfolded = (end < 0 ? text : text.slice(0, end + 2)).replace(/(?:\r\n[ \t]+)+/g, ' ');
  for (const line of unfolded.split('\r\n').slice(1)) {
    const [, name = '', value = ''] = /^([^\s:]*)[ \t]*:(.*)$/s.exec(line) ?? [];
    const own = copied[name.toLowerCase()];
    if (own !== undefined) (values[own] ??= []).push(value.replace(/^[ \t]+|[ \t]+$/g, ''));
  }
  return values;
}

/** Holds a reply against the request that it answers. */
function check(reply: string, sent: string): void {
  const [header, ...rest] = reply.split('\r\n\r\n');
  expect(rest).toEqual(['']); // one message, without a body
  const [statusLine, ...lines] = header!.split('\r\n');
  expect(statusLine).toMatch(/^SIP\/2\.0 \d{3} [A-Za-z][-A-Za-z ]*$/);

  const mayCopy = valuesIn(sent);
  const values: Record<string, string[]> = {};
  for (const line of lines) {
    const [, name, value] = /^(Via|From|To|Call-ID|CSeq|Unsupported|Retry-After|Content-Length): ([^\r\n]*)$/.exec(
      line,
    )!;
    (values[name!] ??= []).push(value!);
  }
  expect(values['Content-Length']).toEqual(['0']);
  for (const name of ['From', 'Call-ID', 'CSeq']) expect(values[name]).toEqual([mayCopy[name]![0]]);
  const [to, requestTo] = [values.To![0]!, mayCopy.To![0]!];
  expect([requestTo, to.replace(/;tag=[0-9a-f]{16}$/, '')]).toContain(requestTo);
  expect(to.startsWith(requestTo)).toBe(true);
  expect(values.Unsupported ?? []).toEqual(statusLine!.includes(' 420 ') ? mayCopy.Unsupported : []);
  const [topVia, ...otherVias] = values.Via!;
  expect(otherVias).toEqual(mayCopy.Via!.slice(1));
  // What we know of its sender is written into the top one, and nothing else.
  const neutral = (via: string) =>
    via.replace(/received *= *[^;, \t]+|;received=198\.51\.100\.1/gi, '').replace(/(rport) *=[^;, \t]*/gi, '$1');
  expect(neutral(topVia!).replace(/;(?=[\s;,]|$)/g, '')).toBe(neutral(mayCopy.Via![0]!).replace(/;(?=[\s;,]|$)/g, ''));

  // The name of the protocol may be in any letter case, which that parser does not know.
  const read = others.parse(reply.replace(/sip(?=\s*\/\s*\d)/gi, 'SIP'))!;
  expect(statuses).toContain(read.status);
  expect(read.content).toBe('');
  expect(read.headers['content-length']).toBe(0);
  expect(read.headers['call-id']).toBe(values['Call-ID']![0]!.trim()); // that parser trims what Unicode calls blank
  expect(read.headers.via!.length).toBeGreaterThanOrEqual(values.Via!.length);
}

const damages: readonly ((text: string) => string)[] = [
  (text) => text.replace('Max-Forwards: 70', 'Max-Forwards: 0'),
  (text) => text.replace('sip:bob@example.net SIP', 'soap.beep://192.0.2.103 SIP'),
  (text) => text.replace('SIP/2.0\r', 'SIP/3.0\r'),
  (text) => text.replace('Max-Forwards: 70', 'Max-Forwards: 70\r\nProxy-Require: foo,\r\n bar'),
  (text) => text.replace('Max-Forwards: 70', 'Max-Forwards: many'),
  (text) => text.replace('Max-Forwards: 70', 'Route: <sip:192.0.2.1:5060;lr;pm=ceaxbiaaq>'),
  (text) => text.replace('Content-Length', `X: ${'x'.repeat(3000)}\r\nContent-Length`),
  (text) => text.replace('CSeq: 1', 'CSeq: 99999999999'),
  (text) => text.replace('bob@example.net SIP', 'bob @example.net SIP'),
  (text) => text.replace('Content-Length: 0', 'Content-Length: 1e3'),
  (text) => text.replace('Content-Length: 0', 'l: 0\r\nContent-Length: 0'),
  (text) => text.replace('To: ', 'To: "Bob '),
  (text) => text.replace(/(To: .*)\r/, '$1;tag=\r'),
  (text) => text.replace('To: ', 'To: <sip:x@y>\r\nTo: '),
  (text) => text.replace('From: ', 'Route: <sip:a\r\nFrom: '),
  (text) => text.replace('SIP/2.0/TCP', 'SIP/9.9/TCP'),
];
const changes: readonly ((text: string) => string)[] = [
  (text) => text,
  (text) => text.replace(/Via: (.*)\r/, 'v : $1 ; RPORT ;received=203.0.113.1,\r\n\tSIP/2.0/UDP other\r'),
  (text) => text.replace(/(Via: .*)\r/, '$1;rport\r\nVia: SIP / 2.0 / UDP x ;branch=y\r'),
  (text) => text.replace('From: ', 'f:\r\n  "A \\" <b>" '),
  (text) => text.replace('Call-ID: call-1', 'i:\tc;>%0d%0aX-Evil:1'),
  (text) => text.replace('CSeq: 1 ', 'CSeq:\r\n 1\r\n '),
  (text) => text.replace('To: <', 'T\t: "\\\0" <'),
];
const headerLines = fc
  .tuple(
    fc.constantFrom('INVITE', 'OPTIONS', 'REGISTER', 'BYE', 'FOO'),
    fc.subarray([...changes], { minLength: 1 }),
    fc.constantFrom(...damages),
    fc.array(
      fc.tuple(
        fc.nat(),
        fc.oneof(fc.integer({ min: 0, max: 255 }), fc.constantFrom(...Buffer.from('\r\n;,<>":\\ %\0'))),
      ),
      {
        maxLength: 2,
      },
    ),
  )
  .map(([method, chosen, damage, spoilt]) => {
    const text = damage(chosen.reduce((changed, change) => change(changed), request(method, { branch: 'z9hG4bKx' })));
    const bytes = Buffer.from(text, 'latin1');
    for (const [at, byte] of spoilt) bytes[at % bytes.length] = byte;
    return bytes.toString('latin1');
  });

describe('a reply of our own', () => {
  it('is sound to others, and copies what it must and nothing else', async () => {
    const rig = await sipRig({ backends: ['a'], limits: { headerBytes: 2000 } });
    const found = new Map<string, number>();
    fc.assert(
      fc.property(headerLines, (text) => {
        const client = rig.client();
        client.send(text);
        const reply = client.text();
        client.reset();
        if (reply === '') return;
        check(reply, text);
        const [status] = /\d{3}/.exec(reply)!;
        found.set(status, (found.get(status) ?? 0) + 1);
      }),
      { numRuns: 2000 },
    );
    expect([...found.keys()].sort()).toEqual(['200', '400', '403', '416', '420', '483', '505', '513']);
    expect([...found.values()].reduce((sum, count) => sum + count)).toBeGreaterThan(500);
    expect(rig.logged.filter((entry) => 'err' in entry)).toEqual([]);
    rig.stats();
  }, 60_000);
});

describe('CR LF, semicolons, brackets and their escapes in ids', () => {
  const piece = fc.constantFrom(
    '\r\n',
    '\r',
    '\n',
    '\r\n ',
    ';',
    '>',
    '<',
    ',',
    '"',
    '%0d%0a',
    '%0D%0AX: 1',
    'X-Evil: 1',
    ':',
    '=',
    'a',
    ' ',
    '\0',
    '@',
  );
  const id = fc.array(piece, { minLength: 1, maxLength: 6 }).map((pieces) => pieces.join(''));
  const places: readonly ((id: string) => string)[] = [
    (id) => request('INVITE', { callId: `x${id}` }),
    (id) => request('INVITE', { fromTag: `x${id}` }),
    (id) => request('INVITE', { toTag: `x${id}` }),
    (id) => request('INVITE', { branch: `z9hG4bKx${id}` }),
    (id) => request('INVITE', { via: `SIP/2.0/TCP x${id};branch=z9hG4bKx` }),
    (id) => request('INVITE', { uri: `sip:x${id}@example.net` }),
    (id) => request('INVITE', { branch: 'z9hG4bKx', extra: [`Route: <sip:192.0.2.1:5060;lr;pm=x${id}>`] }),
    (id) => request('INVITE', { branch: 'z9hG4bKx', extra: [`Route: <sip:x${id}@p.example.net>`] }),
    (id) => request('REGISTER', { branch: 'z9hG4bKx' }).replace('<sip:bob', `"x${id}" <sip:x${id}`),
    (id) =>
      request('INVITE', {
        branch: 'z9hG4bKx',
        maxForwards: 0,
        callId: `x${id}`,
        fromTag: `y${id}`,
        via: `SIP/2.0/TCP h;x=${id}`,
      }),
  ];
  const lineNames = (text: string) =>
    text
      .slice(0, text.indexOf('\r\n\r\n'))
      .replace(/(?:\r\n[ \t]+)+/g, ' ')
      .split('\r\n')
      .slice(1)
      .map((line) => line.slice(0, line.indexOf(':')).trim().toLowerCase());

  it('make no header line more than came in, whether passed on or refused', async () => {
    const rig = await sipRig({ backends: ['a'] });
    let [passedOn, refused] = [0, 0];
    fc.assert(
      fc.property(id, fc.constantFrom(...places), (id, place) => {
        const text = place(id);
        const { links } = rig.backend('a');
        const seen = links[0]?.writes.length ?? 0;
        const client = rig.client();
        client.send(text);
        const reply = client.text();
        client.reset();
        const forwarded = Buffer.concat(rig.backend('a').links[0]?.writes.slice(seen) ?? []).toString('latin1');
        if (forwarded !== '') {
          passedOn++;
          const names = lineNames(forwarded);
          const ours = names.indexOf('via', 1) < 0 ? [] : names.slice(0, names.indexOf('via', 1));
          expect(ours.every((name) => ['via', 'record-route', 'path'].includes(name))).toBe(true);
          // Routes may be left out or put into the Request-URI and back.
          const others = (list: string[]) => list.filter((name) => name !== 'route');
          expect(others(names.slice(ours.length))).toEqual(others(lineNames(text)));
        }
        if (reply !== '') {
          refused++;
          check(reply, text);
        }
      }),
      { numRuns: 2000 },
    );
    expect(passedOn).toBeGreaterThan(100);
    expect(refused).toBeGreaterThan(100);
    expect(rig.logged.filter((entry) => 'err' in entry)).toEqual([]);
  }, 60_000);
});
