import { describe, expect, it } from 'vitest';
import { networks } from '../../../core/limits/networks.ts';

describe('networks', () => {
  it.each([
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', '::ffff:10.1.2.3', true],
    ['192.0.2.7', '192.0.2.7', true],
    ['192.0.2.7', '192.0.2.8', false],
    ['2001:db8::/32', '2001:db8::1', true],
    ['2001:db8::/32', '192.0.2.7', false],
    ['0.0.0.0/0', '203.0.113.1', true],
    ['::/0', '2001:db8::1', true],
  ])('%s and %s: %s', (network, address, isIn) => {
    expect(networks(['198.51.100.0/24', network])(address)).toBe(isIn);
  });

  it('of which there are none hold nothing', () => {
    expect(networks([])('192.0.2.7')).toBe(false);
  });

  it.each(['10.0.0.0/33', '10.0.0/8', 'example.net', '10.0.0.1/', '::1/129', '10.0.0.1/8/8', ''])(
    'refuses %j, and says what it would take',
    (text) => {
      expect(() => networks([text])).toThrow(`"${text}" is neither an IP address nor a network such as 10.0.0.0/8`);
    },
  );
});
