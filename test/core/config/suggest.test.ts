import { expect, it } from 'vitest';
import { suggest } from '../../../core/config/suggest.ts';

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
