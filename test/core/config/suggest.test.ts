import { expect, it } from 'vitest';
import { among, suggest } from '../../../core/config/suggest.ts';

const candidates = ['messageBytes', 'headerBytes', 'idleSeconds', 'sip', 'round-robin'];

it.each([
  ['messageByte', 'messageBytes'],
  ['massageBytes', 'messageBytes'],
  ['message-bytes', 'messageBytes'],
  ['MESSAGE_BYTES', 'messageBytes'],
  ['idel seconds', 'idleSeconds'],
  ['headrBytse', 'headerBytes'],
  ['spi', 'sip'],
  ['roundrobin', 'round-robin'],
])('%s was meant to be %s', (text, meant) => {
  expect(suggest(text, candidates)).toBe(`; did you mean "${meant}"?`);
});

it.each(['x', 'tls', 'bytes', 'advertise', 'sip', ''])('"%s" is like none, or is one', (text) => {
  expect(suggest(text, candidates)).toBe('');
});

it('among the names that are known one is suggested, or some are listed', () => {
  const named = (count: number) => Array.from({ length: count }, (_, index) => `uas-${index + 1}`);
  expect(among('calls', named(3))).toBe('; there are uas-1, uas-2 and uas-3');
  expect(among('calls', named(1))).toBe('; there is uas-1');
  expect(among('calls', [])).toBe('');
  expect(among('uas', named(200))).toBe('; did you mean "uas-1"?');
  expect(among('calls', named(200))).toMatch(/^; there are uas-1, .*, uas-20, …$/);
});
