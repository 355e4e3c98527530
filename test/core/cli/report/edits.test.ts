import { expect, it } from 'vitest';
import { editedLines } from '../../../../core/cli/report/edits.ts';

/** The edits as a plugin makes them, and the message as it then leaves. */
function show(received: string, ...splices: [offset: number, remove: number, insert: string][]): string[] {
  const before = Buffer.from(received, 'latin1');
  const edits = splices.map(([offset, remove, insert]) => ({
    offset,
    removed: before.subarray(offset, offset + remove),
    inserted: Buffer.from(insert, 'latin1'),
  }));
  let after = before;
  // From the back, so that offsets stay what they are; what was inserted at one place last stands last.
  for (const { offset, removed, inserted } of edits.toReversed().toSorted((a, b) => b.offset - a.offset)) {
    after = Buffer.concat([after.subarray(0, offset), inserted, after.subarray(offset + removed.length)]);
  }
  return editedLines(before, after, edits);
}

it('shows what stays as it is', () => {
  expect(show('a\nb\n')).toEqual(['  a\\n', '  b\\n']);
});

it('marks lines that are new, gone and changed', () => {
  expect(show('a\nb\nc\n', [0, 0, 'new\n'], [2, 2, ''], [5, 0, '!'])).toEqual([
    '+ new\\n',
    '  a\\n',
    '- b\\n',
    '~ c{+!+}\\n',
  ]);
});

it('marks what is replaced and inserted within a line', () => {
  expect(show('{"id":1}\n', [6, 1, '1000'], [1, 0, '"b":2,'])).toEqual(['~ {{+"b":2,+}"id":[-1-]{+1000+}}\\n']);
});

it('takes edits at one place together', () => {
  expect(show('ab', [1, 0, 'x'], [1, 0, 'y'])).toEqual(['~ a{+xy+}b']);
});

it('leaves out long stretches that stay', () => {
  const lines = Array.from({ length: 12 }, (_, i) => `${i}\n`).join('');
  expect(show(lines, [0, 0, 'new\n'])).toEqual([
    '+ new\\n',
    '  0\\n',
    '  1\\n',
    '  2\\n',
    '  … 6 lines that stay',
    '  9\\n',
    '  10\\n',
    '  11\\n',
  ]);
});

it('underlines bytes before and after where they are no text', () => {
  expect(show('\x00\x00\x07\x00P', [1, 2, '\x01\x09\x09'])).toEqual([
    'in',
    '00000000  00 00 07 00 50                                    |....P|',
    '             ^^ ^^',
    'out',
    '00000000  00 01 09 09 00 50                                 |.....P|',
    '             ^^ ^^ ^^',
  ]);
});

it('shows both where the edits do not account for what left', () => {
  expect(editedLines(Buffer.from('a'), Buffer.from('b'), [])).toEqual([
    'in',
    '00000000  61                                                |a|',
    'out',
    '00000000  62                                                |b|',
  ]);
});
