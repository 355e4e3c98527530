/** Bytes for people: text with escapes, or a hexdump; and where two of them differ. */
import { firstDifference } from '../../rehearsal/expect.ts';

/** `\r`, `\n`, `\t`, `\\`, and `\x…` for what is neither ASCII nor part of UTF-8 text: one piece for each byte. */
function escaped(bytes: Buffer): string[] {
  const pieces: string[] = [];
  const isUtf8 = isValidUtf8(bytes);
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at]!;
    const short = shortEscapes.get(byte);
    if (short !== undefined) pieces.push(short);
    else if (byte >= 0x20 && byte < 0x7f) pieces.push(String.fromCharCode(byte));
    else if (isUtf8 && byte >= 0x80) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      pieces.push(bytes.toString('utf8', at, at + length), ...Array.from({ length: length - 1 }, () => ''));
      at += length - 1;
    } else pieces.push(`\\x${byte.toString(16).padStart(2, '0')}`);
  }
  return pieces;
}

const shortEscapes = new Map([
  [0x09, '\\t'],
  [0x0a, '\\n'],
  [0x0d, '\\r'],
  [0x5c, '\\\\'],
]);

function isValidUtf8(bytes: Buffer): boolean {
  return Buffer.from(bytes.toString('utf8')).equals(bytes);
}

/** The share of control characters that text may have; protocols of text use some as delimiters. */
const mostControls = 0.25;

/** Whether it can be read as text. A zero byte stands at the end of text or not at all. */
export function isText(bytes: Buffer): boolean {
  const zero = bytes.indexOf(0);
  if (zero >= 0 && zero < bytes.length - 1) return false;
  const isUtf8 = isValidUtf8(bytes);
  let controls = 0;
  for (const byte of bytes) {
    const isControl = (byte < 0x20 && !shortEscapes.has(byte)) || byte === 0x7f;
    if (isControl || (byte >= 0x80 && !isUtf8)) controls++;
  }
  return controls <= bytes.length * mostControls;
}

/** Escaped text, a line for each of its lines. */
export function textLines(bytes: Buffer): string[] {
  return splitLines(bytes).map((line) => escaped(line).join(''));
}

function splitLines(bytes: Buffer): Buffer[] {
  const lines: Buffer[] = [];
  for (let from = 0; from < bytes.length; ) {
    const newline = bytes.indexOf(0x0a, from);
    const until = newline < 0 ? bytes.length : newline + 1;
    lines.push(bytes.subarray(from, until));
    from = until;
  }
  return lines;
}

const rowBytes = 16;

/** Rows of 16 bytes: the offset, the bytes in hexadecimal, and as ASCII. */
export function hexdump(bytes: Buffer): string[] {
  const rows: string[] = [];
  for (let from = 0; from < bytes.length; from += rowBytes) rows.push(hexRow(bytes, from));
  return rows;
}

function hexRow(bytes: Buffer, from: number): string {
  const row = bytes.subarray(from, from + rowBytes);
  const hex = Array.from({ length: rowBytes }, (_, at) => row[at]?.toString(16).padStart(2, '0') ?? '  ');
  const ascii = [...row].map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '.')).join('');
  const columns = `${hex.slice(0, 8).join(' ')}  ${hex.slice(8).join(' ')}`;
  return `${from.toString(16).padStart(8, '0')}  ${columns}  |${ascii}|`;
}

/** The column in a row of a hexdump where that byte stands. */
export function hexColumn(offset: number): number {
  const at = offset % rowBytes;
  return 10 + 3 * at + (at >= 8 ? 1 : 0);
}

/** Bytes in short: a few lines, and how many are left out. */
export function preview(bytes: Buffer, mostLines = 20): string[] {
  const lines = isText(bytes) ? textLines(bytes).map((line) => clip(line)) : hexdump(bytes);
  if (lines.length <= mostLines) return lines;
  return [...lines.slice(0, mostLines - 1), `… (${bytes.length} bytes)`];
}

const mostColumns = 160;
const clip = (line: string) => (line.length > mostColumns ? `${line.slice(0, mostColumns - 1)}…` : line);

/** What stands before the rows of a difference, equally long. */
interface DifferenceLabels {
  readonly expected: string;
  readonly got: string;
}

const testLabels: DifferenceLabels = { expected: 'expected  ', got: 'got       ' };

/**
 * Two that differ, around their first difference, which is marked.
 * @param asHex as a hexdump, even if they are text
 */
export function differenceLines(expected: Buffer, got: Buffer, asHex: boolean, labels = testLabels): string[] {
  const at = firstDifference(expected, got);
  const areText = !asHex && isText(expected) && isText(got);
  return areText ? textDifference(expected, got, at, labels) : hexDifference(expected, got, at, labels);
}

/** How many columns are shown before and after the difference. */
const columnsBefore = 50;
const columnsAfter = 60;

function textDifference(expected: Buffer, got: Buffer, at: number, labels: DifferenceLabels): string[] {
  // The common part of the line stands in both.
  const lineStart = at === 0 ? 0 : expected.lastIndexOf(0x0a, at - 1) + 1;
  const head = escaped(expected.subarray(lineStart, at)).join('');
  const shownHead = head.length > columnsBefore ? `…${head.slice(1 - columnsBefore)}` : head;
  const show = (label: string, bytes: Buffer) => {
    const newline = bytes.indexOf(0x0a, at);
    const tail = escaped(bytes.subarray(at, newline < 0 ? bytes.length : newline + 1)).join('');
    const shown = tail.length > columnsAfter ? `${tail.slice(0, columnsAfter - 1)}…` : tail || '(the end)';
    return `${label}${shownHead}${shown}`;
  };
  return [
    show(labels.expected, expected),
    show(labels.got, got),
    `${' '.repeat(labels.got.length + shownHead.length)}^`,
  ];
}

function hexDifference(expected: Buffer, got: Buffer, at: number, labels: DifferenceLabels): string[] {
  const from = at - (at % rowBytes);
  return [
    labels.expected + hexRow(expected, from),
    labels.got + hexRow(got, from),
    `${' '.repeat(labels.got.length + hexColumn(at))}^^`,
  ];
}
