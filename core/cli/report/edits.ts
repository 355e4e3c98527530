/** A message with its edits marked, as text or as a hexdump before and after. */
import type { Edit } from '../../rehearsal/recorder.ts';
import { hexColumn, hexdump, isText, textLines } from './bytes.ts';

/** A stretch of bytes that stayed, was removed or was inserted. */
interface Piece {
  readonly kind: 'same' | 'removed' | 'inserted';
  readonly bytes: Buffer;
}

/**
 * Lines that show both what came and what left: `[-removed-]` and `{+inserted+}` in lines that begin with `~`; lines that are new
 * begin with `+`, lines that are gone with `-`. What is no text is shown twice, changed bytes underlined.
 */
export function editedLines(received: Buffer, sent: Buffer, edits: readonly Edit[]): string[] {
  const pieces = piecesOf(received, edits);
  const without = (kind: Piece['kind']) =>
    Buffer.concat(pieces.filter((piece) => piece.kind !== kind).map(({ bytes }) => bytes));
  // Edits that do not account for what left were made behind the recorder's back.
  if (!without('removed').equals(sent)) return ['in', ...hexdump(received), 'out', ...hexdump(sent)];
  if (isText(received) && isText(sent)) return elided(markedLines(pieces));
  if (edits.length === 0) return hexdump(received);
  return ['in', ...elided(markedDump(pieces, 'removed')), 'out', ...elided(markedDump(pieces, 'inserted'))];
}

/** Edits are made in any order; those at one place stand in the order they were made in, insertions before what replaces bytes. */
function piecesOf(received: Buffer, edits: readonly Edit[]): Piece[] {
  const inOrder = edits.toSorted(
    (one, other) => one.offset - other.offset || Math.sign(one.removed.length) - Math.sign(other.removed.length),
  );
  const pieces: Piece[] = [];
  let at = 0;
  const add = (kind: Piece['kind'], bytes: Buffer) => {
    const before = pieces.at(-1);
    if (before?.kind === kind) pieces[pieces.length - 1] = { kind, bytes: Buffer.concat([before.bytes, bytes]) };
    else if (bytes.length > 0) pieces.push({ kind, bytes });
  };
  for (const { offset, removed, inserted } of inOrder) {
    add('same', received.subarray(at, offset));
    add('removed', removed);
    add('inserted', inserted);
    at = offset + removed.length;
  }
  add('same', received.subarray(at));
  return pieces;
}

const marks = { same: ['', ''], removed: ['[-', '-]'], inserted: ['{+', '+}'] } as const;

/** Lines with two characters in front that say whether they are changed. */
function markedLines(pieces: readonly Piece[]): Marked[] {
  const lines: Marked[] = [];
  let line: { readonly kind: Piece['kind']; readonly text: string }[] = [];
  const finish = () => {
    const [first] = line;
    if (first !== undefined) lines.push(line.length === 1 ? wholeLine(first.kind, first.text) : mixedLine(line));
    line = [];
  };
  for (const { kind, bytes } of pieces) {
    for (const text of textLines(bytes)) {
      line.push({ kind, text });
      if (text.endsWith('\\n')) finish();
    }
  }
  finish();
  return lines;
}

const wholeLine = (kind: Piece['kind'], text: string): Marked => ({
  text: `${{ same: ' ', removed: '-', inserted: '+' }[kind]} ${text}`,
  isChanged: kind !== 'same',
});

const mixedLine = (line: readonly { readonly kind: Piece['kind']; readonly text: string }[]): Marked => ({
  text: `~ ${line.map(({ kind, text }) => marks[kind][0] + text + marks[kind][1]).join('')}`,
  isChanged: true,
});

interface Marked {
  readonly text: string;
  readonly isChanged: boolean;
}

/** A hexdump of the message before or after, with `^^` under the bytes of that kind. */
function markedDump(pieces: readonly Piece[], kind: 'removed' | 'inserted'): Marked[] {
  const other = kind === 'removed' ? 'inserted' : 'removed';
  const shown = pieces.filter((piece) => piece.kind !== other);
  const isMarked = shown.flatMap((piece) => Array.from({ length: piece.bytes.length }, () => piece.kind === kind));
  return hexdump(Buffer.concat(shown.map(({ bytes }) => bytes))).flatMap((text, row): Marked[] => {
    const underline: string[] = [];
    for (let at = 16 * row; at < 16 * (row + 1); at++) {
      if (isMarked[at] !== true) continue;
      const column = hexColumn(at);
      for (let fill = underline.length; fill < column; fill++) underline.push(' ');
      underline.push('^', '^');
    }
    const isChanged = underline.length > 0;
    return isChanged
      ? [
          { text, isChanged },
          { text: underline.join(''), isChanged },
        ]
      : [{ text, isChanged }];
  });
}

/** How many unchanged lines are shown before and after others, where more are left out than that. */
const context = 3;

function elided(lines: readonly Marked[]): string[] {
  const shown: string[] = [];
  for (let at = 0; at < lines.length; ) {
    const line = lines[at]!;
    let end = at;
    while (end < lines.length && !lines[end]!.isChanged) end++;
    const same = end - at;
    if (same > 2 * context + 2) {
      for (let i = at; i < at + context; i++) shown.push(lines[i]!.text);
      shown.push(`  … ${same - 2 * context} lines that stay`);
      for (let i = end - context; i < end; i++) shown.push(lines[i]!.text);
      at = end;
    } else {
      shown.push(line.text);
      at++;
    }
  }
  return shown;
}
