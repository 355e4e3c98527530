/** The examples are those of the specification (HAProxy's proxy-protocol.txt). */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { type ProxyHeader, readProxyHeader, writeProxyHeader } from '../../../core/runtime/proxy-protocol.ts';

const read = (text: string) => readProxyHeader(Buffer.from(text, 'latin1'));

const ends = { remoteAddress: '192.168.0.1', remotePort: 56_324, localAddress: '192.168.0.11', localPort: 443 };
const signature = '0d0a0d0a000d0a515549540a';

describe('readProxyHeader', () => {
  it('takes a line of version 1, and nothing behind it', () => {
    expect(read('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\nGET / HTTP/1.1\r\n')).toEqual({ length: 47, ends });
  });

  it('takes IPv6 addresses in their canonical form', () => {
    const longest = 'ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff';
    expect(read(`PROXY TCP6 ${longest} 2001:DB8:0:0::1 65535 65535\r\n`)).toMatchObject({
      ends: { remoteAddress: longest, localAddress: '2001:db8::1' },
    });
  });

  it('takes an IPv4 address in IPv6 form for what it is', () => {
    expect(read('PROXY TCP6 ::ffff:192.0.2.1 ::1 1 2\r\n')).toMatchObject({ ends: { remoteAddress: '192.0.2.1' } });
  });

  it.each(['PROXY UNKNOWN\r\n', 'PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n'])('knows nobody from %j', (text) => {
    expect(read(text)).toEqual({ length: text.length, ends: undefined });
  });

  it('takes version 2, and passes over what it has no use for', () => {
    const addresses = 'c0a80001c0a8000bdc0401bb';
    const bytes = Buffer.from(`${signature}21110013${addresses}04000400000000ffee`, 'hex');
    expect(readProxyHeader(bytes)).toEqual({ length: 35, ends });
  });

  it('takes the word of a proxy that speaks for itself, or for what is no internet address', () => {
    expect(readProxyHeader(Buffer.from(`${signature}20000000`, 'hex'))).toEqual({ length: 16, ends: undefined });
    expect(readProxyHeader(Buffer.from(`${signature}21000000`, 'hex'))).toEqual({ length: 16, ends: undefined });
    const unix = Buffer.concat([Buffer.from(`${signature}213100d8`, 'hex'), Buffer.alloc(216)]);
    expect(readProxyHeader(unix)).toEqual({ length: 232, ends: undefined });
  });

  it.each([
    ['nothing of the kind', 'GET / HTTP/1.1\r\n'],
    ['a line without end', `PROXY TCP4 ${'1'.repeat(100)}`],
    ['a line that is too long', `PROXY UNKNOWN ${'x'.repeat(100)}\r\n`],
    ['another family', 'PROXY TCP5 192.168.0.1 192.168.0.11 56324 443\r\n'],
    ['an address of another family', 'PROXY TCP4 ::1 192.168.0.11 56324 443\r\n'],
    ['no address', 'PROXY TCP4 1.2.3 192.168.0.11 56324 443\r\n'],
    ['a port beyond all ports', 'PROXY TCP4 192.168.0.1 192.168.0.11 65536 443\r\n'],
    ['a port with a leading zero', 'PROXY TCP4 192.168.0.1 192.168.0.11 056 443\r\n'],
    ['another version of the binary form', `${Buffer.from(`${signature}31110000`, 'hex').toString('latin1')}`],
    ['another command', `${Buffer.from(`${signature}22110000`, 'hex').toString('latin1')}`],
    ['fewer bytes than its addresses take', `${Buffer.from(`${signature}21110004c0a80001`, 'hex').toString('latin1')}`],
  ])('refuses %s', (_name, text) => {
    expect(() => read(text)).toThrow(SyntaxError);
  });
});

describe('writeProxyHeader', () => {
  it('writes what the specification shows', () => {
    expect(writeProxyHeader('v1', ends).toString()).toBe('PROXY TCP4 192.168.0.1 192.168.0.11 56324 443\r\n');
    expect(writeProxyHeader('v2', ends).toString('hex')).toBe(`${signature}2111000cc0a80001c0a8000bdc0401bb`);
  });

  it.each(['v1', 'v2'] as const)('writes in %s that we speak for ourselves', (version) => {
    const unix = { remoteAddress: '', remotePort: 0, localAddress: '', localPort: 0 };
    for (const nobody of [undefined, unix]) {
      expect(readProxyHeader(writeProxyHeader(version, nobody))).toMatchObject({ ends: undefined });
    }
  });

  it('writes both addresses in IPv6 form if one of them has no other', () => {
    expect(writeProxyHeader('v1', { ...ends, localAddress: 'fe80::1%eth0' }).toString()).toBe(
      'PROXY TCP6 ::ffff:c0a8:1 fe80::1 56324 443\r\n',
    );
  });
});

describe('any header', () => {
  const port = fc.integer({ min: 0, max: 65_535 });
  const pairOf = (address: fc.Arbitrary<string>) =>
    fc.record({ remoteAddress: address, remotePort: port, localAddress: address, localPort: port });
  const header = fc.record({
    version: fc.constantFrom('v1', 'v2'),
    ends: fc.oneof(pairOf(fc.ipV4()), pairOf(fc.ipV6().filter((address) => !address.includes('.')))),
  });

  it('is read as it was written, whatever follows, and not before all of it has come', () => {
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 20 }), ({ version, ends }, behind) => {
        const written = writeProxyHeader(version as 'v1', ends);
        const bytes = Buffer.concat([written, behind]);
        const { ends: found, length } = readProxyHeader(bytes) as ProxyHeader;
        expect(length).toBe(written.length);
        expect([found?.remotePort, found?.localPort]).toEqual([ends.remotePort, ends.localPort]);
        expect(writeProxyHeader(version as 'v1', found)).toEqual(written);
        for (let cut = 0; cut < written.length; cut++) expect(readProxyHeader(bytes.subarray(0, cut))).toBe('more');
      }),
    );
  });

  it('is read, waited for or refused, whatever the bytes', () => {
    const beginning = fc.constantFrom('', 'PROXY ', 'PROXY TCP4 ', Buffer.from(signature, 'hex').toString('latin1'));
    fc.assert(
      fc.property(beginning, fc.uint8Array({ maxLength: 300 }), (start, rest) => {
        const bytes = Buffer.concat([Buffer.from(start, 'latin1'), rest]);
        try {
          const header = readProxyHeader(bytes);
          if (header !== 'more') expect(header.length).toBeLessThanOrEqual(bytes.length);
        } catch (error) {
          expect(error).toBeInstanceOf(SyntaxError);
        }
      }),
      { numRuns: 2000 },
    );
  });
});
