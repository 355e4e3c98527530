import { describe, expect, it } from 'vitest';
import { differenceLines, hexdump, isText, preview, textLines } from '../../../../core/cli/report/bytes.ts';

const bytes = (hex: string) => Buffer.from(hex.replaceAll(' ', ''), 'hex');

describe('text', () => {
  it('is escaped, a line for each of its lines', () => {
    expect(textLines(Buffer.from('a\tb\\\r\n\nc'))).toEqual(['a\\tb\\\\\\r\\n', '\\n', 'c']);
    expect(textLines(Buffer.alloc(0))).toEqual([]);
  });

  it('shows what is more than ASCII as it is, if it is UTF-8', () => {
    expect(textLines(Buffer.from('é…🚃'))).toEqual(['é…🚃']);
    expect(textLines(bytes('c3 28 41'))).toEqual(['\\xc3(A']);
  });

  it.each([
    ['INVITE sip:bob SIP/2.0\r\n', true],
    ['\x0bMSH|1\rMSA\r\x1c\r', true],
    ['{"a":1}\0', true],
    ['é', true],
    ['', true],
    ['\0\0\0\x0aPING', false],
    ['\x01\x02\x03\x04abc', false],
  ])('%j is text: %s', (text, expected) => {
    expect(isText(Buffer.from(text))).toBe(expected);
  });

  it('is none if it is not UTF-8', () => {
    expect(isText(bytes('ff fe fd 41'))).toBe(false);
  });
});

it('a hexdump has 16 bytes a row, and ASCII beside them', () => {
  expect(hexdump(Buffer.from('0123456789abcdef\x00~'))).toEqual([
    '00000000  30 31 32 33 34 35 36 37  38 39 61 62 63 64 65 66  |0123456789abcdef|',
    '00000010  00 7e                                             |.~|',
  ]);
});

describe('a preview', () => {
  it('leaves out what is too long or too much', () => {
    expect(preview(Buffer.from('a'.repeat(200)))).toEqual([`${'a'.repeat(159)}…`]);
    expect(preview(Buffer.from('a\n'.repeat(30)))).toEqual([...Array(19).fill('a\\n'), '… (60 bytes)']);
    expect(preview(bytes('00 01'))).toEqual(['00000000  00 01                                             |..|']);
  });
});

describe('a difference', () => {
  const difference = (expected: string, got: string, asHex = false) =>
    differenceLines(Buffer.from(expected), Buffer.from(got), asHex);

  it('is marked in the line that has it', () => {
    expect(difference('one\ntwo\nthree\n', 'one\ntWo\nthree\n')).toEqual([
      'expected  two\\n',
      'got       tWo\\n',
      '           ^',
    ]);
  });

  it('may be an end', () => {
    expect(difference('one\n', 'one\ntwo\n')).toEqual(['expected  (the end)', 'got       two\\n', '          ^']);
    expect(difference('a\r', '')).toEqual(['expected  a\\r', 'got       (the end)', '          ^']);
  });

  it('stands in the middle of a long line', () => {
    const [head, tail] = ['h'.repeat(100), 't'.repeat(100)];
    expect(difference(`${head}X${tail}`, `${head}Y${tail}`)).toEqual([
      `expected  …${'h'.repeat(49)}X${'t'.repeat(58)}…`,
      `got       …${'h'.repeat(49)}Y${'t'.repeat(58)}…`,
      `${' '.repeat(60)}^`,
    ]);
  });

  it('is shown in a hexdump if either is no text, or that is asked for', () => {
    expect(difference('0123456789abcdef01234567\x00y', '0123456789abcdef01234567\x01y')).toEqual([
      'expected  00000010  30 31 32 33 34 35 36 37  00 79                    |01234567.y|',
      'got       00000010  30 31 32 33 34 35 36 37  01 79                    |01234567.y|',
      '                                             ^^',
    ]);
    expect(difference('a', 'b', true)).toEqual([
      'expected  00000000  61                                                |a|',
      'got       00000000  62                                                |b|',
      '                    ^^',
    ]);
  });
});
