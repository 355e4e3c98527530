import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatAddress, parseAddress } from '../../../core/runtime/address.ts';

describe('parseAddress', () => {
  it.each([
    ['tcp://127.0.0.1:5060', { transport: 'tcp', host: '127.0.0.1', port: 5060, path: '' }],
    ['tls://sip.example.net:5061', { transport: 'tls', host: 'sip.example.net', port: 5061, path: '' }],
    ['tcp://[::1]:0', { transport: 'tcp', host: '::1', port: 0, path: '' }],
    ['tcp://[fe80::1%eth0]:65535', { transport: 'tcp', host: 'fe80::1%eth0', port: 65535, path: '' }],
    ['tcp://[::ffff:192.0.2.1]:80', { transport: 'tcp', host: '::ffff:192.0.2.1', port: 80, path: '' }],
    ['tcp:localhost:80', { transport: 'tcp', host: 'localhost', port: 80, path: '' }],
    ['udp://127.0.0.1:5060', { transport: 'udp', host: '127.0.0.1', port: 5060, path: '' }],
    ['ws://127.0.0.1:8080', { transport: 'ws', host: '127.0.0.1', port: 8080, path: '' }],
    ['wss://[::1]:443/sip/ws', { transport: 'wss', host: '::1', port: 443, path: '/sip/ws' }],
    ['unix:/run/pointsman.sock', { transport: 'unix', host: '', port: 0, path: '/run/pointsman.sock' }],
    ['unix:///run/pointsman.sock', { transport: 'unix', host: '', port: 0, path: '/run/pointsman.sock' }],
    ['unix:edge.sock', { transport: 'unix', host: '', port: 0, path: 'edge.sock' }],
  ])('reads %s', (text, address) => {
    expect(parseAddress(text)).toEqual(address);
  });

  it.each([
    'tcp://127.0.0.1',
    'tcp://:5060',
    'tcp://::1:5060',
    'tcp://[::1]',
    'tcp://host:123456',
    'tcp://host:-1',
    'tcp://host:+1',
    'tcp://host:1e3',
    'tcp://host:80/',
    'tcp://user@host:80',
    'tcp://host name:80',
    'tcp://[host]:80',
    'tcp://',
  ])('refuses %s and says what to write', (text) => {
    expect(() => parseAddress(text)).toThrow(
      new SyntaxError(`"${text}" is no address; write tcp://host:port, an IPv6 host as [::1]`),
    );
  });

  it('says where ports end', () => {
    expect(() => parseAddress('tcp://host:65536')).toThrow('"tcp://host:65536" is no address: ports end at 65535');
  });

  it.each(['127.0.0.1:5060', '5060', '', 'TCP://host:80', 'http://host:80', '//host:80'])(
    'refuses "%s", which has no transport it knows',
    (text) => {
      expect(() => parseAddress(text)).toThrow(
        new SyntaxError(`"${text}" is no address; write tcp://host:port, tls://host:port or unix:/path`),
      );
    },
  );

  it.each(['fd://3', 'fd://edge.socket'])('reads %s, a socket that is there already', (text) => {
    expect(parseAddress(text)).toMatchObject({ transport: 'tcp', fd: text.slice('fd://'.length) });
    expect(formatAddress(parseAddress(text))).toBe(text);
  });

  it('says what a file descriptor looks like', () => {
    expect(() => parseAddress('fd://host:80')).toThrow(
      new SyntaxError('"fd://host:80" is no file descriptor; write fd://3 or fd://name'),
    );
  });

  it('refuses a unix socket without a path', () => {
    expect(() => parseAddress('unix:')).toThrow(new SyntaxError('"unix:" has no path; write unix:/run/name.sock'));
  });

  it('reads what formatAddress writes', () => {
    const port = fc.nat(65_535);
    const host = fc.oneof(fc.ipV4(), fc.ipV6(), fc.domain());
    const addresses = fc.oneof(
      fc.record({ transport: fc.constantFrom('tcp' as const, 'tls' as const), host, port, path: fc.constant('') }),
      fc.record({
        transport: fc.constant('unix' as const),
        host: fc.constant(''),
        port: fc.constant(0),
        path: fc.stringMatching(/^\/?[\w.-]{1,9}(\/[\w. -]{1,9}){0,3}$/),
      }),
    );
    fc.assert(
      fc.property(addresses, (address) => {
        expect(parseAddress(formatAddress(address))).toEqual(address);
      }),
    );
  });
});
