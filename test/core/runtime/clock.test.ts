/** A clock that jumps: the time of day is for logs and people; everything that waits, counts a rate or measures goes by the runtime's clock. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { nodeRuntime } from '../../../core/runtime/node.ts';
import { embed } from '../../support/embedded.ts';
import { lines, turns } from '../../support/lines.ts';

afterEach(() => void vi.useRealTimers());

const dayMs = 86_400_000;

describe('when the time of day jumps', () => {
  it.each([dayMs, -dayMs])('by %i ms, nothing is closed, let through or given up before its time', async (jumpMs) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.UTC(2026, 0, 1) });
    const rig = await embed({
      pipeline: [[lines], [turns]],
      links: 'shared',
      limits: { idleSeconds: 60, replySeconds: 30, headerSeconds: 10, messagesPerSecond: 2, burstMessages: 2 },
    });
    rig.advance(1000);
    const [waiting, idle, slow] = [rig.client(), rig.client(), rig.client()];
    waiting.send('!group one\n');
    waiting.send('!group two\n');
    slow.send('not whole');
    vi.setSystemTime(Date.now() + jumpMs);
    rig.advance(400);
    waiting.send('three\n');
    rig.advance(2000);
    expect([waiting, idle, slow].map(({ ended, closed }) => ended || closed)).toEqual([false, false, false]);
    // The bucket has not been filled by the jump, nor by none.
    expect(rig.stats().fromClients.refusedFor).toEqual({ 'rate-limited': 1 });
    expect(rig.stats().exchanges).toMatchObject({ open: 2, expired: 0 });
    expect(Object.values(rig.stats().backends).map(({ up }) => up)).toEqual([true, true, true]);
    // And all that is due happens when it is.
    rig.advance(9000);
    expect(slow.ended).toBe(true);
    rig.advance(50_000);
    expect(rig.stats().exchanges).toMatchObject({ open: 0, expired: 2 });
    expect(idle.ended).toBe(true);
  });

  it('the clock of the process does not', () => {
    const runtime = nodeRuntime();
    const before = runtime.now();
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + dayMs });
    expect(runtime.now() - before).toBeLessThan(dayMs / 2);
    vi.setSystemTime(Date.now() - 2 * dayMs);
    expect(runtime.now()).toBeGreaterThanOrEqual(before);
  });
});
