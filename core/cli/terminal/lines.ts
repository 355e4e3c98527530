/** Text for terminals: lines made of styled pieces, cut to a width before they are painted. */

const sgr = {
  bold: ['1', '22'],
  dim: ['2', '22'],
  red: ['31', '39'],
  green: ['32', '39'],
  yellow: ['33', '39'],
  magenta: ['35', '39'],
  cyan: ['36', '39'],
} as const;

export type Style = keyof typeof sgr;

/** A piece of a line: bare text, or text with styles. */
export type Piece = string | readonly [text: string, ...styles: Style[]];
export type Line = readonly Piece[];

const textOf = (piece: Piece): string => (typeof piece === 'string' ? piece : piece[0]);
const restyled = (piece: Piece, text: string): Piece =>
  typeof piece === 'string' ? text : [text, ...(piece.slice(1) as Style[])];

export const widthOf = (line: Line): number => line.reduce((width, piece) => width + textOf(piece).length, 0);

/** The line made exactly `width` columns wide: with spaces behind, or cut with an ellipsis. */
export function fit(line: Line, width: number): Line {
  const missing = width - widthOf(line);
  return missing > 0 ? [...line, ' '.repeat(missing)] : cut(line, width);
}

/** The line, cut with an ellipsis if it is wider than `width` columns. */
export function cut(line: Line, width: number): Line {
  if (widthOf(line) <= width) return line;
  const pieces: Piece[] = [];
  let left = Math.max(0, width - 1);
  for (const piece of line) {
    const text = textOf(piece).slice(0, left);
    left -= text.length;
    if (text !== '') pieces.push(restyled(piece, text));
  }
  return width > 0 ? [...pieces, '…'] : [];
}

/** `left`, and `right` at the end of `width` columns if there is room. */
export function justify(left: Line, right: Line, width: number): Line {
  const gap = width - widthOf(left) - widthOf(right);
  return gap > 0 ? [...left, ' '.repeat(gap), ...right] : cut(left, width);
}

/** The line as it is written to a terminal. */
export function paint(line: Line, colours: boolean): string {
  return line.map((piece) => (typeof piece === 'string' ? piece : colours ? paintPiece(piece) : piece[0])).join('');
}

function paintPiece([text, ...styles]: Exclude<Piece, string>): string {
  const on = styles.map((style) => sgr[style][0]).join(';');
  const off = styles.map((style) => sgr[style][1]).join(';');
  return styles.length === 0 ? text : `\x1b[${on}m${text}\x1b[${off}m`;
}

/** What came from outside, safe to show and one column a character: no escape sequences, no line breaks. */
export const printable = (text: string): string => text.replaceAll(/[^\x20-\x7e…]/g, '·');
