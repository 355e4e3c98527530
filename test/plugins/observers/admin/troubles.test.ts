import { describe, expect, it } from 'vitest';
import { type Losses, troublesOf } from '../../../../plugins/observers/admin/troubles.ts';
import type { BackendRow } from '../../../../plugins/observers/admin/watch.ts';

const noLosses: Losses = {
  refusedPerSecond: {},
  discardedPerSecond: {},
  unansweredPerSecond: 0,
  turnedAwayPerSecond: 0,
};
const listener = (losses: Partial<Losses> = {}) => ({ name: 'edge', pool: 'calls', ...noLosses, ...losses });
const backend = (name: string, facts: Partial<BackendRow> = {}) =>
  ({ pool: 'calls', name, status: 'up', why: '', weight: 1, ...facts }) as BackendRow;
type Given = Parameters<typeof troublesOf>;
const textsOf = (listeners: Given[0], backends: Given[1], certificates: Given[2] = []) =>
  troublesOf(listeners, backends, certificates, Date.UTC(2026, 0, 1)).map(
    ({ severity, text }) => `${severity}: ${text}`,
  );

describe('what is wrong', () => {
  it('is nothing while backends are up, or out as an operator wants it, and messages get where they should', () => {
    const losses = { refusedPerSecond: { overloaded: 0 }, discardedPerSecond: { answered: 0 } };
    expect(textsOf([listener(losses)], [backend('a'), backend('b', { status: 'drain' })])).toEqual([]);
  });

  it('is what is lost, and why, the most frequent reason first', () => {
    const losses = {
      refusedPerSecond: { 'no-backend': 0.5, 'forged-identifier': 2 },
      discardedPerSecond: { 'too-large': 0.1 },
      unansweredPerSecond: 0.3,
      turnedAwayPerSecond: 4,
    };
    expect(textsOf([listener(losses)], [backend('a')])).toEqual([
      'warn: edge refuses 2.5 messages/s: forged-identifier, no-backend',
      'warn: edge discards 0.1 messages/s: too-large',
      'warn: edge has 0.3 requests/s without an answer',
      'warn: edge turns away 4.0 clients/s',
    ]);
  });

  it('is first of all that a listener has nobody to give work to', () => {
    const out = backend('a', { status: 'maint' });
    const idle = backend('b', { weight: 0 });
    const losses = { refusedPerSecond: { 'no-backend': 1 } };
    expect(textsOf([listener(losses)], [out, idle, backend('c', { pool: 'others' })])).toEqual([
      'bad: edge has no backend in calls that takes new work',
      'warn: edge refuses 1.0 messages/s: no-backend',
    ]);
  });

  it('is a certificate that has expired, or will within two weeks', () => {
    const certificates = [
      { listener: 'edge', expiresAtMs: Date.UTC(2026, 0, 1, 12) },
      { listener: 'other', expiresAtMs: Date.UTC(2026, 0, 15, 0, 0, 1) },
      { pool: 'calls', expiresAtMs: Date.UTC(2025, 11, 31, 23) },
      { pool: 'others', expiresAtMs: Date.UTC(2026, 0, 15) },
    ];
    expect(textsOf([listener()], [backend('a')], certificates)).toEqual([
      'bad: the certificate of calls has expired',
      'warn: the certificate of edge expires within 1 d',
      'warn: the certificate of others expires within 14 d',
    ]);
  });

  it('is each backend that is not well, or how many where they are many', () => {
    const down = { status: 'down', why: 'it cannot be reached' } as const;
    const some = ['a', 'b', 'c'].map((name) => backend(name, down));
    const odd = backend('x', { status: 'ejected', why: 'it stands out' });
    expect(textsOf([listener()], [backend('up'), odd, ...some])).toEqual([
      ...['a', 'b', 'c'].map((name) => `bad: calls/${name} is down: it cannot be reached`),
      'warn: calls/x is ejected: it stands out',
    ]);
    expect(textsOf([listener()], [backend('up'), ...some, backend('d', down)])).toEqual([
      'bad: 4 of 5 backends of calls are down: a, b, c, …',
    ]);
  });
});
