import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Refusal } from '../../../../core/outcome.ts';
import { defaultLimits } from '../../../../core/settings.ts';
import { Address } from '../../../../plugins/protocols/sip/address.ts';
import type { Status } from '../../../../plugins/protocols/sip/flaws.ts';
import { Header } from '../../../../plugins/protocols/sip/header.ts';
import { field } from '../../../../plugins/protocols/sip/names.ts';
import { Via } from '../../../../plugins/protocols/sip/via.ts';

// What is read in one pass, words and tables at a time, held against the same written plainly.

type Verdict = number | 'more' | string;

const spellings: Readonly<Record<string, keyof typeof field>> = {
  v: 'via',
  via: 'via',
  f: 'from',
  from: 'from',
  t: 'to',
  to: 'to',
  i: 'callId',
  'call-id': 'callId',
  cseq: 'cseq',
  l: 'contentLength',
  'content-length': 'contentLength',
  'max-forwards': 'maxForwards',
  route: 'route',
  'record-route': 'recordRoute',
  'proxy-require': 'proxyRequire',
  content_length: 'lookAlike',
};

/** The length of the message, 'more', or the phrase that refuses it; and the values of each field, where there is a length. */
function readPlainly(text: string): { verdict: Verdict; values: Partial<Record<keyof typeof field, string[]>> } {
  const lines: string[] = [];
  let at = 0;
  for (;;) {
    const lf = text.indexOf('\n', at);
    if (lf < 0) return { verdict: 'more', values: {} };
    const line = text.slice(at, lf + 1);
    if (!/^[^\r]*\r\n$/.test(line)) return { verdict: 'CR or LF Alone in a Header', values: {} };
    if (lines.length === 0 && !/^(sip\/.*|[-.!%*_+`'~0-9a-z]+ .* sip\/\S*[ \t]*)\r\n$/is.test(line)) {
      return { verdict: 'Not SIP', values: {} };
    }
    at = lf + 1;
    if (line === '\r\n') break;
    lines.push(line);
  }
  const unfolded = lines.slice(1).reduce<string[]>((all, line) => {
    if (/^[ \t]/.test(line) && all.length > 0) all.push(`${all.pop()}${line}`);
    else all.push(line);
    return all;
  }, []);
  const values: Partial<Record<keyof typeof field, string[]>> = {};
  for (const line of unfolded) {
    const [, name, value] = /^([-.!%*_+`'~0-9a-z]+)[ \t]*:(.*)$/is.exec(line) ?? [];
    if (name === undefined) return { verdict: 'Bad Header Name', values: {} };
    const id = Object.hasOwn(spellings, name.toLowerCase()) ? spellings[name.toLowerCase()] : undefined;
    if (id !== undefined) (values[id] ??= []).push(value!.replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, ''));
  }
  const lengths = values.contentLength ?? [];
  if (values.lookAlike !== undefined) return { verdict: 'Bad Content-Length', values };
  if (lengths.length > 1) return { verdict: 'More Than One Content-Length', values };
  if (lengths.length === 0) return { verdict: 'Missing Content-Length', values };
  if (!/^\d{1,10}$/.test(lengths[0]!)) return { verdict: 'Bad Content-Length', values };
  return { verdict: at + Number(lengths[0]), values };
}

const header = new Header();

function read(bytes: Buffer, start: number, end: number): Verdict {
  header.open(bytes, start);
  const framed = header.read(end, defaultLimits, false);
  if (!(framed instanceof Refusal)) return framed;
  return /^SIP\/2\.0 \d+ (.*)\r\n$/.exec((framed.detail as Status).line.toString('latin1'))![1]!;
}

const name = fc.oneof(
  fc
    .tuple(fc.constantFrom(...Object.keys(spellings)), fc.infiniteStream(fc.boolean()))
    .map(([word, upper]) => [...word].map((c) => (upper.next().value ? c.toUpperCase() : c)).join('')),
  fc.constantFrom(
    'Contact',
    'User-Agent',
    'Max-Forward',
    'Route2',
    'Viaa',
    'Content-Lengths',
    'Call_ID',
    'x',
    'To-',
    '',
    // What the bit that makes letters small makes of other bytes.
    'Call\rID',
    'Max\rForwards',
    'Content\rLength',
    'Record\rRoute',
    'Via\x1a',
    'To\x1a',
    'From\x1a',
    'CSeq\x1a',
  ),
);
const value = fc.oneof(
  fc.constantFrom(
    '0',
    '7',
    '007',
    ' 12',
    '1 INVITE',
    '<sip:a@b>;tag=1',
    'SIP/2.0/TCP a;branch=z9hG4bK1',
    '-1',
    '99999999999',
  ),
  fc.string({ unit: fc.constantFrom(...'ab:;,"<> \t\0\x0b\xff'), maxLength: 40, size: 'max' }),
);
const line = fc
  .tuple(
    name,
    fc.constantFrom(':', ': ', ' : ', '\t:', ':  ', ':\r\n ', ''),
    value,
    fc.constantFrom('', ' ', '\r\n\t', '\r\n x'),
  )
  .map((parts) => parts.join(''));
const text = fc
  .tuple(
    fc.constantFrom('INVITE sip:a@b SIP/2.0', 'INVITE sip:a@b sip/2.0 ', 'SIP/2.0 200 OK', 'INVITE SIP/2.0', 'x'),
    fc.array(line, { maxLength: 12 }),
    fc.constantFrom('Content-Length: 0', 'l:3', 'CONTENT-LENGTH : 9', 'Content-Length:0'),
    fc.array(fc.tuple(fc.nat(), fc.constantFrom('\r', '\n', '\r\n', ' ', '\0', '\x1a', '\xe9')), {
      maxLength: 2,
    }),
  )
  .map(([startLine, lines, length, insertions]) => {
    let all = `${[startLine, ...lines, length].join('\r\n')}\r\n\r\n`;
    for (const [place, inserted] of insertions) {
      const at = place % (all.length + 1);
      all = all.slice(0, at) + inserted + all.slice(at);
    }
    return all;
  });

describe('the header reader', () => {
  it('finds the lines, names, values and flaws that a plain reader finds, wherever in a buffer and however much has come', () => {
    const seen = new Map<Verdict, number>();
    fc.assert(
      fc.property(text, fc.nat({ max: 9 }), fc.uint8Array({ maxLength: 20 }), fc.nat(), (whole, before, stale, cut) => {
        const bytes = Buffer.concat([Buffer.alloc(before, '\n'), Buffer.from(whole, 'latin1'), stale]);
        const verdict = read(bytes, before, before + whole.length);
        const plain = readPlainly(whole);
        expect(verdict).toEqual(plain.verdict);
        const kind = typeof verdict === 'number' ? 'a length' : verdict;
        seen.set(kind, (seen.get(kind) ?? 0) + 1);
        if (typeof verdict === 'number') {
          for (const [id, values] of Object.entries(plain.values)) {
            const found: string[] = [];
            for (let at = header.first[field[id as keyof typeof field]]!; at >= 0; at = header.nextLine(at)) {
              found.push(
                bytes.toString('latin1', header.valueStart(at), Math.max(header.valueStart(at), header.valueEnd(at))),
              );
            }
            expect([id, found]).toEqual([id, values]);
          }
        }
        const length = cut % (whole.length + 1);
        expect(read(bytes, before, before + length)).toEqual(readPlainly(whole.slice(0, length)).verdict);
      }),
      { numRuns: 5000 },
    );
    // All of them occur.
    expect([...seen.keys()].sort()).toEqual(
      [
        'a length',
        'Bad Content-Length',
        'Bad Header Name',
        'CR or LF Alone in a Header',
        'More Than One Content-Length',
        'Not SIP',
        'more',
        'Missing Content-Length',
      ].sort(),
    );
  });
});

describe('the readers of usual forms', () => {
  const parts = (...choices: string[][]) =>
    fc.tuple(...choices.map((some) => fc.constantFrom(...some))).map((chosen) => chosen.join(''));
  const parameters = fc
    .array(
      parts(
        [';', ' ;', ';;', ''],
        ['branch', 'BRANCH', 'rport', 'received', 'pm', 'tag', 'tag', 'x', ''],
        ['', '=', ' = '],
        ['', 'z9hG4bK1', 'a"b', '"q,;\\""', '1.2.3.4', '[::1]', 'long-value-of-a-parameter', '\x7f', '<'],
      ),
      { maxLength: 4 },
    )
    .map((chosen) => chosen.join(''));
  const via = fc
    .tuple(
      parts(
        ['SIP/2.0/', 'SIP/2.0/ ', 'sip/2.0/', 'SIP / 2.0 /', 'SIP/3.0/'],
        ['TCP', 'UDP', ''],
        [' ', '  ', ''],
        ['192.0.2.1', 'host.example', '[2001:db8::1]', 'a,b', ''],
        ['', ':5060', ':0', ':123456', ' : 1', ':'],
      ),
      parameters,
      fc.constantFrom('', ' ', ',', ' , SIP/2.0/TCP b', '\r\n ;branch=z9hG4bK2'),
    )
    .map((all) => all.join(''));
  const tags = parts(['', ';'], ['tag', 'TAG'], ['=', ''], ['', 'a1', 'long-value-of-a-tag', '"q"', ',']);
  const address = fc
    .tuple(
      parts(
        ['', '"A" ', '"A"', '"A \\" B" ', '"\0" ', 'A B ', '"A'],
        ['<sip:a@b>', '<sip:a@b;x=y?z>', '<>', '<sip:a b>', '<sip:a', 'sip:a@b', ''],
      ),
      fc.oneof(tags, parameters),
      fc.constantFrom('', ' ', ',', ', <sip:c>', '\r\n ;tag=2'),
    )
    .map((all) => all.join(''));

  /** Places in what stands behind the blanks, so that readings of the same text at other places compare. */
  function outcome(reader: Via | Address, blanks: string, value: string) {
    const bytes = Buffer.from(`X:${blanks}${value}\r\n\r\n`, 'latin1');
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    const end = bytes.length - 2;
    const isRead = reader instanceof Via ? reader.read(bytes, view, 2, end) : reader.read(bytes, 2, end);
    if (!isRead) return false;
    const start = 2 + blanks.length;
    return Object.fromEntries(
      Object.entries(reader).map(([part, at]) => [part, typeof at !== 'number' || at === 0 ? at : at - start]),
    );
  }

  // With two blanks in front a value is read in the way that takes any form.
  it.each([
    ['a Via', via, () => new Via()],
    ['a From or To', address, () => new Address()],
  ])('read %s as the reader of any form does', (_what, values, reader) => {
    const [usual, any] = [reader(), reader()];
    let sound = 0;
    fc.assert(
      fc.property(values, (value) => {
        const expected = outcome(any, '  ', value);
        expect(outcome(usual, ' ', value)).toEqual(expected);
        expect(outcome(usual, '', value)).toEqual(expected);
        if (expected !== false) sound++;
      }),
      { numRuns: 5000 },
    );
    expect(sound).toBeGreaterThan(200);
  });
});
