import { describe, expect, it } from 'vitest';
import { balances } from '../../../core/accounting.ts';
import { remainsOf, totalOf } from '../../../core/workers/totals.ts';
import { direction, statsOf } from '../../support/stats.ts';

const backend = {
  up: true,
  state: 'ready' as const,
  drained: false,
  passing: true,
  ejected: false,
  weight: 1,
  checks: { passed: 0, failed: 0, last: undefined },
  ejections: 0,
  failedConnects: 0,
  unanswered: 0,
  idleSeconds: undefined,
  messages: 0,
  inFlight: 0,
  links: 1,
  linkStates: { connecting: 0, greeting: 0, open: 1, closed: 0 },
  queued: 0,
  latencyMs: 0,
  latencyCounts: {},
};

describe('the total of several workers', () => {
  it('adds counts, also those for reasons that not all of them have met', () => {
    const total = totalOf([
      statsOf({ fromClients: direction({ received: 5, forwarded: 3, refused: 2, refusedFor: { overloaded: 2 } }) }),
      statsOf({
        fromClients: direction({ received: 4, refused: 3, held: 1, refusedFor: { overloaded: 1, 'no-backend': 2 } }),
        queued: 1,
        queuedBytes: 0,
        connections: { open: 1, accepted: 2, turnedAway: 0 },
      }),
    ]).listeners.edge!;
    expect(total.fromClients).toEqual(
      direction({
        received: 9,
        forwarded: 3,
        refused: 5,
        held: 1,
        refusedFor: { overloaded: 3, 'no-backend': 2 },
      }),
    );
    expect(total).toMatchObject({ queued: 1, connections: { open: 1, accepted: 2 } });
    expect(balances(total)).toBe(true);
  });

  it('has a backend up if any worker has, and says how many', () => {
    const { backends } = totalOf([
      statsOf({ backends: { a: backend, b: { ...backend, up: false, links: 0 } } }),
      statsOf({ backends: { a: backend, b: { ...backend, links: 2 } } }),
      statsOf({ backends: { a: backend, b: { ...backend, up: false, links: 0 } } }),
    ]).listeners.edge!;
    expect(backends).toMatchObject({ a: { up: true, upIn: 3, links: 3 }, b: { up: true, upIn: 1, links: 2 } });
  });

  it('weighs latencies by the messages they come from, and leaves out who has measured none', () => {
    const { backends } = totalOf([
      statsOf({ backends: { a: { ...backend, messages: 300, latencyMs: 2 } } }),
      statsOf({ backends: { a: { ...backend, messages: 100, latencyMs: 6 } } }),
      statsOf({ backends: { a: { ...backend, messages: 9, latencyMs: 0 } } }),
    ]).listeners.edge!;
    expect(backends.a).toMatchObject({ messages: 409, latencyMs: 3 });
  });

  it('has a backend idle since any worker gave it a message', () => {
    const { backends } = totalOf([
      statsOf({ backends: { a: { ...backend, idleSeconds: 7 }, b: backend } }),
      statsOf({ backends: { a: { ...backend, idleSeconds: 2.5 }, b: backend } }),
    ]).listeners.edge!;
    expect([backends.a!.idleSeconds, backends.b!.idleSeconds]).toEqual([2.5, undefined]);
  });

  it('has a backend drained when no worker needs it any more', () => {
    const [drained, needed] = [true, false].map((drained) => statsOf({ backends: { a: { ...backend, drained } } }));
    const isDrained = (...parts: (typeof drained)[]) =>
      totalOf(parts.flatMap((one) => one ?? [])).listeners.edge!.backends.a!.drained;
    expect(isDrained(drained, needed)).toBe(false);
    expect(isDrained(drained, drained)).toBe(true);
    expect(isDrained(drained, remainsOf(needed))).toBe(true);
  });

  it('can be added to again', () => {
    const one = statsOf({ backends: { a: { ...backend, messages: 3 } } });
    expect(totalOf([totalOf([one, one]), one])).toEqual(totalOf([one, one, one]));
    expect(totalOf([])).toEqual({ listeners: {} });
  });
});

describe('what remains of a worker that has ended without a word', () => {
  it('discards what it held, abandons what waited for an answer, and has nothing open', () => {
    const remains = remainsOf(
      statsOf({
        fromClients: direction({
          received: 10,
          forwarded: 6,
          discarded: 1,
          held: 3,
          discardedFor: { 'cut-short': 1 },
        }),
        connections: { open: 4, accepted: 7, turnedAway: 0 },
        exchanges: { open: 2, expired: 0, abandoned: 1, refused: 0 },
        affinity: { entries: 8, evicted: 1, inFlight: 3 },
        queued: 3,
        queuedBytes: 0,
        backends: { a: { ...backend, messages: 6, inFlight: 2, latencyMs: 5 } },
      }),
    ).listeners.edge!;
    expect(remains).toMatchObject({
      fromClients: { received: 10, forwarded: 6, discarded: 4, held: 0 },
      connections: { open: 0, accepted: 7 },
      exchanges: { open: 0, abandoned: 3 },
      affinity: { entries: 0, evicted: 1, inFlight: 0 },
      backends: { a: { up: false, messages: 6, inFlight: 0, links: 0, latencyMs: 0 } },
    });
    expect(remains.fromClients.discardedFor).toEqual({ 'cut-short': 1, 'worker-ended': 3 });
    expect(balances(remains)).toBe(true);
  });

  it('weighs nothing in what the others say of a backend', () => {
    const live = statsOf({ backends: { a: { ...backend, messages: 10, latencyMs: 4 } } });
    const dead = remainsOf(statsOf({ backends: { a: { ...backend, messages: 90, latencyMs: 1 } } }));
    const { a } = totalOf([dead, live]).listeners.edge!.backends;
    expect(a).toEqual({ ...backend, upIn: 1, messages: 100, latencyMs: 4 });
  });

  it('says nothing about the health of a backend any more, but how its checks went', () => {
    const checks = { passed: 5, failed: 1, last: 'tls: passed in 2 ms' };
    const live = statsOf({ backends: { a: { ...backend, passing: false, ejected: true, ejections: 1, checks } } });
    const dead = remainsOf(statsOf({ backends: { a: { ...backend, ejections: 2, checks } } }));
    const { a } = totalOf([dead, live]).listeners.edge!.backends;
    expect(a).toMatchObject({ passing: false, ejected: true, ejections: 3, checks: { passed: 10, failed: 2 } });
  });
});
