/** `pointsman demo`: embedded backends, a balancer with a listener for each protocol, and a client, on loopback ports. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { DemoClient } from './demo/client.ts';
import { logScreen, viewScreen } from './demo/screen.ts';
import { answerSeconds, Stage } from './demo/stage.ts';
import { isAllWell, summary } from './demo/summary.ts';
import { exitCodes, wantsColours } from './output.ts';
import { listenForStop, type Signals } from './run.ts';
import { isLive, type Out } from './terminal/screen.ts';

export interface DemoOptions {
  /** Ends after the client has sent that many messages. */
  readonly messages?: number;
  /** Ends after that long. */
  readonly seconds?: number;
  /** Takes any free ports instead of the usual ones. */
  readonly anyPorts?: boolean;
}

/** How far apart the client's messages are: so that people can follow, or, where only the sum counts, less. */
const unhurriedMs = 300;
const hurriedMs = 2;

/**
 * @returns 0 if all sessions stayed at their backends and every message is accounted for, else 1
 * @throws Error (rejects with) if it cannot run
 */
export async function demo(
  options: DemoOptions,
  out: Out = process.stdout,
  signals: Signals = process,
): Promise<number> {
  const ending = new AbortController();
  const stop = listenForStop(signals);
  stop.asked.then(() => ending.abort());
  let writeError: NodeJS.ErrnoException | undefined;
  out.on('error', (error) => {
    writeError = error;
    ending.abort();
  });
  const timer = options.seconds === undefined ? undefined : setTimeout(() => ending.abort(), options.seconds * 1000);

  const stage = new Stage();
  try {
    const { lanes, clients, journal, configPath } = await stage.build(options.anyPorts ?? false);
    const began = performance.now();
    const scene = () => ({ lanes, configPath, elapsedSeconds: (performance.now() - began) / 1000 });
    const live = isLive(out);
    const screen = live ? viewScreen(out, wantsColours(out), scene) : logScreen(out, journal, scene());
    try {
      const paceMs = live || options.messages === undefined ? unhurriedMs : hurriedMs;
      await converse(clients, options.messages ?? Number.POSITIVE_INFINITY, paceMs, ending.signal);
    } finally {
      screen.close();
    }
    const stats = await stage.stop();
    if (writeError !== undefined) {
      if (writeError.code === 'EPIPE') return exitCodes.clean; // whoever read along has seen enough (`| head`)
      throw writeError;
    }
    out.write(`\n${summary(lanes, stats)}`);
    for (const fault of stage.faults) out.write(`error: ${fault}\n`);
    return stage.faults.length === 0 && isAllWell(lanes, stats) ? exitCodes.clean : exitCodes.findings;
  } finally {
    stop.forget();
    clearTimeout(timer);
    await stage.clear();
  }
}

/** Lets the clients take turns, and waits until what they sent last is answered. */
async function converse(
  clients: readonly DemoClient[],
  messages: number,
  paceMs: number,
  ending: AbortSignal,
): Promise<void> {
  let deadlineMs = performance.now() + answerSeconds * 1000;
  const wait = (ms: number) => sleep(ms, undefined, { signal: ending }).catch(() => {});
  const checkDeadline = () => {
    if (performance.now() > deadlineMs) throw new Error(`no answer has come for ${answerSeconds} seconds`);
  };
  for (let sent = 0, turn = 0; sent < messages && !ending.aborted; turn++) {
    if (clients[turn % clients.length]!.send()) {
      sent++;
      deadlineMs = performance.now() + answerSeconds * 1000;
    }
    checkDeadline();
    await wait(paceMs);
  }
  while (!clients.every(({ isSettled }) => isSettled)) {
    checkDeadline();
    await sleep(hurriedMs);
  }
}
