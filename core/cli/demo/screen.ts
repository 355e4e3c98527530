/** Where the demo shows itself: a terminal, redrawn, or a stream, line by line. */
import { host } from './backend.ts';
import type { Journal } from './journal.ts';
import { paint } from './text.ts';
import { aboutLane, logLine, render, type Scene } from './view.ts';

/** The part of `process.stdout` that the demo uses. */
export interface Out {
  write(text: string): unknown;
  on(event: 'resize' | 'error', listener: (error: NodeJS.ErrnoException) => void): unknown;
  off(event: 'resize', listener: () => void): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  readonly writableNeedDrain?: boolean;
}

export interface Screen {
  /** Gives the terminal back. */
  close(): void;
}

const redrawMs = 125;

// The alternate screen, no cursor, no wrapping; and all of it back.
const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';
const home = '\x1b[H';
const clearLine = '\x1b[K';

/** @param scene what to show, now */
export function liveScreen(out: Out, colours: boolean, scene: () => Scene): Screen {
  const draw = () => {
    if (out.writableNeedDrain) return; // a terminal that is slow gets fewer pictures
    const { columns = 80, rows = 24 } = out;
    const lines = render(scene(), { columns, rows }).map((line) => clearLine + paint(line, colours));
    out.write(home + lines.join('\r\n'));
  };
  let isGivenBack = false;
  const giveBack = () => {
    if (!isGivenBack) out.write(leave);
    isGivenBack = true;
  };
  out.write(enter);
  draw();
  const timer = setInterval(draw, redrawMs);
  out.on('resize', draw);
  process.once('exit', giveBack);
  process.once('uncaughtExceptionMonitor', giveBack); // before the error is printed, or it would vanish with the screen
  return {
    close() {
      clearInterval(timer);
      out.off('resize', draw);
      process.off('exit', giveBack);
      process.off('uncaughtExceptionMonitor', giveBack);
      giveBack();
    },
  };
}

export function logScreen(out: Out, journal: Journal, { lanes, configPath }: Scene): Screen {
  for (const lane of lanes) {
    out.write(`${lane.protocol.name}: ${host}:${lane.port}, ${aboutLane(lane)}\n`);
    out.write(`  try: ${lane.protocol.tryIt(lane.port)}\n`);
  }
  out.write(`config: ${configPath}\n\n`);
  journal.onEntry = (lane, entry) => void out.write(`${logLine(lane, entry)}\n`);
  return {
    close() {
      journal.onEntry = () => {};
    },
  };
}
