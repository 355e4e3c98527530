/** A terminal that is redrawn in place, and given back as it was. */
import { type Line, paint } from './lines.ts';

/** The part of `process.stdout` that is used. */
export interface Out {
  write(text: string): unknown;
  on(event: 'resize' | 'error' | 'drain', listener: (error: NodeJS.ErrnoException) => void): unknown;
  off(event: 'resize' | 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  readonly writableNeedDrain?: boolean;
}

export interface Size {
  readonly columns: number;
  readonly rows: number;
}

export interface Screen {
  draw(): void;
  /** Gives the terminal back. */
  close(): void;
}

// The alternate screen, no cursor, no wrapping; and all of it back.
const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const clearLine = '\x1b[K';
const clearBelow = '\x1b[J';

export const isLive = (out: Out) => out.isTTY === true && process.env.TERM !== 'dumb';

/**
 * Shows something until it is closed, drawn anew when the terminal changes its size.
 * @param render what to show now, in no more than so many lines
 */
export function liveScreen(out: Out, colours: boolean, render: (size: Size) => readonly Line[]): Screen {
  const draw = () => {
    if (out.writableNeedDrain) return; // a terminal that is slow gets fewer pictures
    const rows = out.rows || 24; // a terminal that does not know says 0
    const lines = render({ columns: out.columns || 80, rows }).map((line) => clearLine + paint(line, colours));
    out.write(home + lines.join('\r\n') + (lines.length < rows ? `\r\n${clearBelow}` : ''));
  };
  let isGivenBack = false;
  const giveBack = () => {
    if (!isGivenBack) out.write(leave);
    isGivenBack = true;
  };
  out.write(enter);
  draw();
  out.on('resize', draw);
  process.once('exit', giveBack);
  process.once('uncaughtExceptionMonitor', giveBack); // before the error is printed, or it would vanish with the screen
  return {
    draw,
    close() {
      out.off('resize', draw);
      process.off('exit', giveBack);
      process.off('uncaughtExceptionMonitor', giveBack);
      giveBack();
    },
  };
}
