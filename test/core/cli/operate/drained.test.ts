import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import type { BackendRow } from '../../../../core/cli/admin-client.ts';
import { untilDrained } from '../../../../core/cli/operate/drained.ts';

class Signals extends EventEmitter {
  exit(): void {}
}

const draining = { pool: 'calls', name: 'a', state: 'drain', inFlight: 1, drained: false } as BackendRow;

/** Looks at these rows one after the other, and at the last one again and again. */
function wait(rows: readonly BackendRow[], timeout?: number) {
  const signals = new Signals();
  const told: BackendRow[] = [];
  let looks = 0;
  const waiting = untilDrained({
    name: 'calls/a',
    look: async () => rows[looks++] ?? rows.at(-1)!,
    tell: (row) => void told.push(row),
    timeout,
    signals: signals as never,
  });
  return { waiting, told, signals };
}

it('waits until it has drained, and tells what for', async () => {
  const drained = { ...draining, inFlight: 0, drained: true };
  const { waiting, told } = wait([draining, drained]);
  expect(await waiting).toBe(drained);
  expect(told).toEqual([draining]);
});

it('waits no longer than it is told to, and shows what is left', async () => {
  const { waiting, told } = wait([draining], 0.001);
  await expect(waiting).rejects.toMatchObject({
    message: 'calls/a has not drained within 0.001 s; it goes on draining',
    exitCode: 1,
  });
  expect(told.at(-1)).toBe(draining);
});

it('does not wait for what drains no more', async () => {
  const { waiting } = wait([{ ...draining, state: 'ready' }]);
  await expect(waiting).rejects.toMatchObject({
    message: 'calls/a drains no more: somebody has made it ready',
    exitCode: 1,
  });
});

it('ends at a signal as a shell expects it, says that the backend drains all the same, and hears signals no more', async () => {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const) {
    const { waiting, signals } = wait([draining]);
    signals.emit(signal, signal);
    await expect(waiting).rejects.toMatchObject({ message: 'waits no more; calls/a goes on draining', exitCode });
    expect(signals.listenerCount(signal)).toBe(0);
  }
});
