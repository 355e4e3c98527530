import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { JsonScan, type Member } from '../../../plugins/protocols/json-scan.ts';

const depth = 20;

/** Scans a text that lies inside a larger buffer whose other bytes would change the result if they were looked at. */
function scanned(text: string | Uint8Array, ...names: string[]): { scan: JsonScan; members: Member[]; bytes: Buffer } {
  const scan = new JsonScan(depth);
  const members = names.map((name) => scan.watch(name));
  const bytes = Buffer.from(text as string);
  for (const [before, behind] of [
    ['', ''],
    ['{"', '0"}]'],
  ] as const) {
    const larger = Buffer.concat([Buffer.from(before), bytes, Buffer.from(behind)]);
    scan.scan(larger, before.length, before.length + bytes.length);
  }
  return { scan, members, bytes };
}

const isBlank = (text: string) => /^[ \t\r\n]*$/.test(text);

/** What the reference makes of the bytes: the text, or undefined if they are no JSON. */
function reference(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    if (!isBlank(text)) JSON.parse(text);
    return text;
  } catch {
    return undefined;
  }
}

function agrees(bytes: Uint8Array): void {
  const { scan } = scanned(bytes);
  const expected = reference(bytes);
  if ((scan.fault === undefined) !== (expected !== undefined)) {
    throw new Error(`${scan.fault ?? 'accepted'}: ${JSON.stringify(Buffer.from(bytes).toString('latin1'))}`);
  }
  if (expected !== undefined) expect(scan.isObject).toBe(/^[ \t\r\n]*\{/.test(expected));
}

/** JSON as different writers would put it: white space between tokens, escapes where none are needed. */
const written = fc
  .tuple(fc.jsonValue({ maxDepth: 4 }), fc.infiniteStream(fc.nat(7)))
  .map(([value, choices]) => rewrite(JSON.stringify(value), () => choices.next().value!));

function rewrite(json: string, choose: () => number): string {
  return json.replace(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^"{}[\]:,]+/g, (token) => {
    const spaces = ['', '', '', '', ' ', '\t', '\r\n', ' \n'];
    return spaces[choose()] + (token.startsWith('"') ? respell(token, choose) : token) + spaces[choose()];
  });
}

function respell(literal: string, choose: () => number): string {
  return literal.replace(/[^"\\\ud800-\udfff]|\\./g, (unit) =>
    unit.length === 1 && choose() === 0 ? `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}` : unit,
  );
}

describe('the grammar', () => {
  it('is the one of JSON.parse for all short texts', () => {
    const alphabet = ['{', '}', '[', ']', ':', ',', '"', '\\', 'a', '0', '1', '-', '.', 'e', ' ', '\x01'];
    const visit = (text: string, left: number): void => {
      agrees(Buffer.from(text));
      if (left > 0) for (const letter of alphabet) visit(text + letter, left - 1);
    };
    visit('', 4);
  });

  it('is the one of JSON.parse for numbers, words and escapes', () => {
    const pieces = [
      '-',
      '0',
      '12',
      '.',
      'e',
      'E',
      '+',
      'true',
      'false',
      'null',
      'nul',
      '"\\',
      'u',
      '00e9',
      'b"',
      '"',
      '/',
    ];
    for (const a of pieces) {
      for (const b of pieces) for (const c of pieces) for (const d of pieces) agrees(Buffer.from(a + b + c + d));
    }
  });

  it('accepts whatever a writer of JSON may write', () => {
    fc.assert(
      fc.property(written, (text) => {
        expect(scanned(text).scan.fault).toBeUndefined();
      }),
      { numRuns: 2000 },
    );
  });

  it('is the one of JSON.parse for JSON with a byte changed, lost or added', () => {
    const bytes = fc.oneof(fc.constantFrom(...Buffer.from('{}[]:,"\\ 01-+.eEtfnu\n\0\x1f\x7f')), fc.nat(255));
    fc.assert(
      fc.property(written, fc.nat(), fc.nat(1), fc.array(bytes, { maxLength: 2 }), (text, at, lost, added) => {
        const whole = Buffer.from(text);
        at %= whole.length + 1;
        agrees(Buffer.concat([whole.subarray(0, at), Uint8Array.from(added), whole.subarray(at + lost)]));
      }),
      { numRuns: 20_000 },
    );
  });

  it('is the one of JSON.parse for garbage', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 12 }), agrees), { numRuns: 5000 });
  });

  it('is the one of JSON.parse wherever in a string a byte stands that is not itself there', () => {
    for (const byte of [0x00, 0x1f, 0x20, 0x21, 0x22, 0x23, 0x5b, 0x5c, 0x5d, 0x7f, 0x80, 0xff]) {
      for (let length = 1; length <= 18; length++) {
        for (let at = 0; at < length; at++) {
          const content = Buffer.alloc(length, 'x');
          content[at] = byte;
          agrees(Buffer.concat([Buffer.from('"'), content, Buffer.from('"')]));
          agrees(Buffer.concat([Buffer.from('{"'), content, Buffer.from('":"'), content, Buffer.from('"}')]));
        }
      }
    }
  });

  it('takes well-formed UTF-8 only', () => {
    const boundaries = [0x22, 0x7f, 0x80, 0x8f, 0x90, 0x9f, 0xa0, 0xbf, 0xc0];
    for (let first = 0x80; first < 0x100; first++) {
      for (let second = 0x20; second < 0x100; second++) agrees(Buffer.from([0x22, first, second, 0x22]));
      for (const second of boundaries) {
        for (const third of boundaries) {
          agrees(Buffer.from([0x22, first, second, third, 0x22]));
          for (const fourth of boundaries) agrees(Buffer.from([0x22, first, second, third, fourth, 0x22]));
        }
      }
    }
    expect(scanned(Buffer.from([0x22, 0xff, 0x22])).scan.fault).toBe('invalid-utf8');
    expect(scanned('\ufeff{}').scan.fault).toBe('malformed-json');
  });

  it('bounds the nesting of objects and arrays', () => {
    const nested = (levels: number) => `${'[{"a":'.repeat(levels / 2)}0${'}]'.repeat(levels / 2)}`;
    expect(scanned(nested(depth)).scan.fault).toBeUndefined();
    expect(scanned(nested(depth + 2)).scan.fault).toBe('nested-too-deep');
    expect(scanned('['.repeat(1_000_000)).scan.fault).toBe('nested-too-deep');
  });
});

describe('a text with a terminator', () => {
  it.each([0x0a, 0x00])('ends at the first one, and what is behind does not count: %i', (terminator) => {
    const scan = new JsonScan(depth, terminator);
    const member = scan.watch('a');
    const exact = new JsonScan(depth);
    const exactMember = exact.watch('a');
    const end = String.fromCharCode(terminator);
    const piece = fc.oneof(
      written,
      fc.constantFrom(end, ' ', '{', '}', '"', '{"a":1}', '{"a":', '[', ']', ',', '1', 'tru'),
    );
    fc.assert(
      fc.property(fc.array(piece, { maxLength: 5 }), (pieces) => {
        const bytes = Buffer.from(pieces.join(''));
        const found = bytes.indexOf(terminator);
        const lineEnd = found < 0 ? bytes.length : found;
        const at = scan.scan(bytes, 0, bytes.length);
        exact.scan(bytes, 0, lineEnd);
        expect(scan.fault === undefined).toBe(exact.fault === undefined);
        if (exact.fault !== undefined) return;
        expect([at, scan.isObject, scan.memberCount, member.present]).toEqual([
          lineEnd,
          exact.isObject,
          exact.memberCount,
          exactMember.present,
        ]);
      }),
      { numRuns: 5000 },
    );
  });
});

describe('a watched member', () => {
  it('is found at the top level, its value where it stands', () => {
    const { members, bytes } = scanned('{ "a" : {"b":1} , "b" : [ "b" ] }', 'b', 'c');
    const [b, c] = members;
    expect(bytes.subarray(b!.valueAt, b!.valueEnd).toString()).toBe('[ "b" ]');
    expect(c!.present).toBe(false);
  });

  it('is found by its name, however that is escaped', () => {
    const name = fc.string({
      unit: fc.constantFrom('a', 'b', '"', '\\', '/', '\n', '\u0001', 'é', '€', '😀', '\ufffd'),
    });
    const spelling = fc
      .tuple(name, fc.infiniteStream(fc.nat(2)))
      .map(([text, choices]) => `"${Array.from(text, (unit) => spell(unit, choices.next().value!)).join('')}"`);
    const spell = (character: string, style: number): string => {
      if (style === 0 || (style === 1 && character === '/')) {
        const escaped = Array.from({ length: character.length }, (_, i) => character.charCodeAt(i).toString(16));
        return escaped.map((code) => `\\u${code.padStart(4, '0')}`).join('');
      }
      return JSON.stringify(character).slice(1, -1);
    };
    fc.assert(
      fc.property(spelling, name, (literal, watched) => {
        const own = JSON.parse(literal) as string;
        expect(scanned(`{${literal}:0}`, own).members[0]!.present).toBe(true);
        expect(scanned(`{${literal}:0}`, watched).members[0]!.present).toBe(own === watched);
      }),
      { numRuns: 5000 },
    );
    for (const lone of ['\\ud800', '\\ud83dx', '\\ud83d\\u0041', '\\ude00', '\\ud83d\\n']) {
      expect(scanned(`{"${lone}":0}`, '\ufffd').members[0]!.present).toBe(false);
    }
  });

  it('is told from names that are nearly the same', () => {
    for (const name of ['', 'a', 'ab', 'abc', 'abcdef', 'abcdefg', 'abcdefghijk', 'é']) {
      expect(scanned(`{"${name}":"0"}`, name).members[0]!.present).toBe(true);
      for (let at = 0; at < name.length; at++) {
        const other = `${name.slice(0, at)}x${name.slice(at + 1)}`;
        expect(scanned(`{"${other}":"0"}`, name).members[0]!.present).toBe(false);
      }
      expect(scanned(`{"${name}x":"0"}`, name).members[0]!.present).toBe(false);
    }
  });

  it('holds a value that is the same to the byte', () => {
    for (const value of ['1', '"a"', '"abc"', '"abcdefgh"']) {
      const { scan, members } = scanned(`{"a":${value}}`, 'a', 'b');
      const holds = (text: string, member = members[0]!) => {
        const bytes = Buffer.from(text);
        return scan.holds(member, bytes, new DataView(bytes.buffer, bytes.byteOffset, bytes.length));
      };
      expect(holds(value)).toBe(true);
      expect(holds(value, members[1])).toBe(false);
      expect(holds(`${value} `)).toBe(false);
      for (let at = 0; at < value.length; at++)
        expect(holds(`${value.slice(0, at)}~${value.slice(at + 1)}`)).toBe(false);
    }
  });

  it('may be there once only', () => {
    expect(scanned('{"a":1,"b":2,"b":3}', 'a').scan.fault).toBeUndefined();
    expect(scanned('{"a":1,"b":2,"\\u0061":3}', 'a').scan.fault).toBe('duplicate-member');
    expect(scanned('{"a":1,"b":{"a":2}}', 'a').scan.fault).toBeUndefined();
    expect(scanned('[{"a":1,"a":2}]', 'a').scan.fault).toBeUndefined();
  });

  it('is forgotten with the next text', () => {
    const scan = new JsonScan(depth);
    const a = scan.watch('a');
    scan.scan(Buffer.from('{"a":1,"a":2}'), 0, 13);
    scan.scan(Buffer.from('[]'), 0, 2);
    expect([a.present, scan.isObject, scan.fault, scan.memberCount]).toEqual([false, false, undefined, 0]);
  });

  it('has the value that JSON.parse finds, and cut out leaves the others as they were', () => {
    const members = fc.uniqueArray(fc.tuple(fc.string(), fc.jsonValue({ maxDepth: 2 })), {
      selector: ([name]) => name,
      minLength: 1,
      maxLength: 4,
    });
    fc.assert(
      fc.property(members, fc.nat(), fc.infiniteStream(fc.nat(7)), (entries, pick, choices) => {
        const [name, value] = entries[pick % entries.length]!;
        const body = entries.map(([key, inner]) => `${JSON.stringify(key)}:${JSON.stringify(inner)}`).join(',');
        const { members: found, bytes } = scanned(
          rewrite(`{${body}}`, () => choices.next().value!),
          name,
        );
        const { valueAt, valueEnd, cutFrom, cutEnd } = found[0]!;
        expect(JSON.parse(bytes.subarray(valueAt, valueEnd).toString())).toEqual(JSON.parse(JSON.stringify(value)));
        const rest = Buffer.concat([bytes.subarray(0, cutFrom), bytes.subarray(cutEnd)]).toString();
        expect(Object.keys(JSON.parse(rest)).sort()).toEqual(
          entries
            .map(([key]) => key)
            .filter((key) => key !== name)
            .sort(),
        );
      }),
      { numRuns: 3000 },
    );
  });
});
