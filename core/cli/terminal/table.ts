/** Tables for terminals: the columns that matter least make room for the others where it is narrow. */
import { cut, type Line, type Piece, type Style } from './lines.ts';

export interface Column<Row> {
  readonly title: string;
  readonly of: (row: Row) => string;
  readonly style?: (row: Row) => Style | undefined;
  /** Numbers stand on the right. */
  readonly isNumber?: boolean;
  /** The columns of the highest number make room first; undefined: this one stays. */
  readonly spare?: number;
  /** The last column may be cut, down to so many characters. */
  readonly leastWidth?: number;
}

const gap = 2;

/** A line of titles, then one for each row; none is wider than `width`. */
export function table<Row>(all: readonly Column<Row>[], rows: readonly Row[], width: number): Line[] {
  const cells = new Map(all.map((column) => [column, rows.map(column.of)]));
  const widths = new Map(
    all.map((column) => [column, Math.max(column.title.length, ...cells.get(column)!.map(({ length }) => length))]),
  );
  let columns = all;
  const least = (column: Column<Row>) => Math.min(column.leastWidth ?? Number.POSITIVE_INFINITY, widths.get(column)!);
  const wide = () => columns.reduce((sum, column) => sum + least(column) + gap, -gap);
  while (wide() > width) {
    const most = Math.max(...columns.map(({ spare = 0 }) => spare));
    if (most === 0) break;
    columns = columns.filter(({ spare }) => spare !== most);
  }
  const lineOf = (pieceOf: (column: Column<Row>) => Piece): Line =>
    columns.flatMap((column, at) => {
      const piece = pieceOf(column);
      return at === 0 ? [piece] : [' '.repeat(gap), piece];
    });
  const padded = (column: Column<Row>, text: string) => {
    if (column === columns.at(-1) && !column.isNumber) return text;
    return column.isNumber ? text.padStart(widths.get(column)!) : text.padEnd(widths.get(column)!);
  };
  const head = lineOf((column): Piece => [padded(column, column.title), 'dim']);
  const body = rows.map((row, index) =>
    lineOf((column): Piece => {
      const text = padded(column, cells.get(column)![index]!);
      const style = column.style?.(row);
      return style === undefined ? text : [text, style];
    }),
  );
  return [head, ...body].map((line) => cut(line, width));
}
