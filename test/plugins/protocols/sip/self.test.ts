import { expect, it } from 'vitest';
import type { TokenBook } from '../../../../core/plugin.ts';
import { Uri } from '../../../../plugins/protocols/sip/fields.ts';
import { Self } from '../../../../plugins/protocols/sip/self.ts';

const noTokens = { mode: 'signed', read: () => 'forged' } as unknown as TokenBook;

function addresses(self: Self, text: string): boolean {
  const bytes = Buffer.from(text);
  const uri = new Uri();
  return uri.read(bytes, 0, bytes.length) && self.isAddressedBy(bytes, uri);
}

it('a TLS listener writes TLS, and sips where the request demands it', () => {
  const self = new Self('sip.example.net:5061', 'tls', noTokens);
  expect(self.via.toString()).toBe('Via: SIP/2.0/TLS sip.example.net:5061;branch=z9hG4bK');
  expect(self.sipUri.toString()).toBe('<sip:sip.example.net:5061;transport=tls;lr;pm=');
  expect(self.sipsUri.toString()).toBe('<sips:sip.example.net:5061;transport=tcp;lr;pm=');
});

it('a URI is ours by host, in any letter case, and port, where a missing one is that of the scheme', () => {
  const tls = new Self('sip.example.net:5061', 'tls', noTokens);
  expect(addresses(tls, 'sips:SIP.example.NET')).toBe(true);
  expect(addresses(tls, 'sip:sip.example.net;transport=tls')).toBe(true);
  expect(addresses(tls, 'sip:bob@sip.example.net:5061?Subject=x')).toBe(true);
  expect(addresses(tls, 'sip:sip.example.net:5060')).toBe(false);
  expect(addresses(tls, 'sip:example.net:5061')).toBe(false);
  const six = new Self('[2001:db8::1]:5060', 'tcp', noTokens);
  expect(addresses(six, 'sip:[2001:DB8::1]')).toBe(true);
  expect(addresses(six, 'sip:[2001:db8::2]')).toBe(false);
  expect(addresses(six, 'sip:[2001:db8::1')).toBe(false);
});

it('an address that peers cannot be told is refused', () => {
  expect(() => new Self('/run/sip.sock', 'unix', noTokens)).toThrow(
    'sip needs an `advertise` of the form host:port, not "/run/sip.sock"',
  );
});
