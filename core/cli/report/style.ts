/** How text for people is laid out: colours, weights and indentation. */

const sgr = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39], cyan: [36, 39] } as const;

export type Style = (style: keyof typeof sgr, text: string) => string;

/** Node's styleText would look at the standard output of the process, whatever this is written to. */
export function styleWith(colours: boolean): Style {
  if (!colours) return (_, text) => text;
  return (style, text) => `\u001b[${sgr[style][0]}m${text}\u001b[${sgr[style][1]}m`;
}

export const indented = (columns: number, lines: readonly string[]) => lines.map((line) => ' '.repeat(columns) + line);
