import { describe, expect, it } from 'vitest';
import { differencesOf, Pairing } from '../../../core/rehearsal/compare.ts';
import type { MessageRecord, Outcome } from '../../../core/rehearsal/recorder.ts';

function message(text: string, outcome?: Outcome, sent = text): MessageRecord {
  return {
    from: 'client',
    received: Buffer.from(text),
    answers: [],
    available: undefined,
    token: undefined,
    outcome,
    sent: outcome?.kind === 'forwarded' ? Buffer.from(sent) : undefined,
  };
}

const to = (backend: string): Outcome => ({ kind: 'forwarded', to: { backend }, reason: 'strategy' });
const refused = (reason: string, reply = 'no'): Outcome => ({ kind: 'refused', reason, reply: Buffer.from(reply) });

describe('two messages', () => {
  const differences = (first: MessageRecord | undefined, second: MessageRecord | undefined) =>
    differencesOf({ offset: 0, first, second });

  it('are treated alike, whyever they go to the same backend', () => {
    const named: Outcome = { kind: 'forwarded', to: { backend: 'a' }, reason: 'identifier' };
    expect(differences(message('one', to('a')), message('one', named))).toEqual([]);
    expect(differences(message('one', refused('full')), message('one', refused('full')))).toEqual([]);
  });

  it('differ in where they go, and in what leaves', () => {
    expect(differences(message('one', to('a')), message('one', to('b')))).toEqual(['destination']);
    expect(differences(message('one', to('a')), message('one', to('a'), 'ONE'))).toEqual(['bytes']);
    expect(differences(message('one', to('a'), 'a1'), message('one', to('b'), 'b1'))).toEqual(['destination', 'bytes']);
  });

  it('differ in why they are refused, and in the reply', () => {
    expect(differences(message('one', refused('full')), message('one', refused('down')))).toEqual(['reason']);
    expect(differences(message('one', refused('full')), message('one', refused('full', 'NO')))).toEqual(['reply']);
    const discarded: Outcome = { kind: 'discarded', reason: 'full', reply: undefined };
    expect(differences(message('one', refused('full')), message('one', discarded))).toEqual(['outcome']);
  });

  it('differ in where they end', () => {
    const cut: Outcome = { kind: 'incomplete', neededBytes: 9 };
    expect(differences(message('one', to('a')), message('one more', to('a')))).toEqual(['framing']);
    expect(differences(message('one', to('a')), message('one', cut))).toEqual(['framing']);
    expect(differences(message('one', to('a')), undefined)).toEqual(['framing']);
  });
});

describe('what two configs make of one connection', () => {
  const at = (offset: number, text: string) => ({ offset, record: message(text) });
  const open = { first: false, second: false };
  const shown = (
    pairs: Iterable<{ offset: number; first?: MessageRecord | undefined; second?: MessageRecord | undefined }>,
  ) => [...pairs].map(({ offset, first, second }) => `${offset} ${first?.received ?? '-'} ${second?.received ?? '-'}`);

  it('is put side by side by where messages begin', () => {
    const pairing = new Pairing();
    expect(shown(pairing.add([at(0, 'ab'), at(2, 'cd')], [at(0, 'ab')], open))).toEqual(['0 ab ab']);
    expect(shown(pairing.add([], [at(2, 'cde'), at(5, 'f')], open))).toEqual(['2 cd cde']);
    expect(shown(pairing.add([at(4, 'ef')], [], open))).toEqual(['4 ef -']);
    expect(shown(pairing.add([], [], { first: true, second: true }))).toEqual(['5 - f']);
  });

  it('does not wait for a config that has closed the connection', () => {
    const pairing = new Pairing();
    expect(shown(pairing.add([], [at(0, 'ab')], { first: true, second: false }))).toEqual(['0 - ab']);
  });
});
