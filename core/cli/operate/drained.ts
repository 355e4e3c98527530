/** `pointsman drain --wait`: waits until a backend has drained, so that a script can then stop it. */
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { AdminError, type BackendRow } from '../admin-client.ts';
import { exitCodes } from '../output.ts';
import { listenForStop, type Signals } from '../run.ts';

interface WaitOptions {
  /** pool/name */
  readonly name: string;
  /** How it is now; asked once a second. */
  readonly look: () => Promise<BackendRow>;
  /** Shows what is still waited for; now and then, and at last. */
  readonly tell: (row: BackendRow) => void;
  /** In seconds. Undefined: as long as it takes. */
  readonly timeout?: number | undefined;
  readonly signals: Signals;
}

const lookMs = 1000;
const tellMs = 10_000;

/**
 * Answers the backend when it has drained.
 * @throws AdminError (rejects with) if it does not do so in time, or drains no more, or a signal ends the waiting
 */
export async function untilDrained({ name, look, tell, timeout, signals }: WaitOptions): Promise<BackendRow> {
  const stop = listenForStop(signals);
  const ending = new AbortController();
  const asked = stop.asked.then((signal) => {
    ending.abort();
    return signal as NodeJS.Signals;
  });
  const began = performance.now();
  const deadline = began + (timeout ?? Number.POSITIVE_INFINITY) * 1000;
  try {
    for (let tellAt = began; ; ) {
      const row = await Promise.race([asked, look()]);
      if (typeof row === 'string') {
        throw new AdminError(`waits no more; ${name} goes on draining`, 128 + constants.signals[row]);
      }
      if (row.drained) return row;
      if (row.state !== 'drain') {
        throw new AdminError(`${name} drains no more: somebody has made it ${row.state}`, exitCodes.findings);
      }
      const now = performance.now();
      if (now >= deadline) {
        tell(row);
        throw new AdminError(`${name} has not drained within ${timeout} s; it goes on draining`, exitCodes.findings);
      }
      if (now >= tellAt) {
        tell(row);
        tellAt = now + tellMs;
      }
      await sleep(Math.min(lookMs, deadline - now), undefined, { signal: ending.signal }).catch(() => {});
    }
  } finally {
    stop.forget();
  }
}
