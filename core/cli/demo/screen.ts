/** Where the demo shows itself: a terminal, redrawn, or a stream, line by line. */
import { liveScreen, type Out, type Screen } from '../terminal/screen.ts';
import { host } from './backend.ts';
import type { Journal } from './journal.ts';
import { aboutLane, logLine, render, type Scene } from './view.ts';

const redrawMs = 125;

/** @param scene what to show, now */
export function viewScreen(out: Out, colours: boolean, scene: () => Scene): Pick<Screen, 'close'> {
  const { draw, close } = liveScreen(out, colours, (size) => render(scene(), size));
  const timer = setInterval(draw, redrawMs);
  return {
    close() {
      clearInterval(timer);
      close();
    },
  };
}

export function logScreen(out: Out, journal: Journal, { lanes, configPath }: Scene): Pick<Screen, 'close'> {
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
