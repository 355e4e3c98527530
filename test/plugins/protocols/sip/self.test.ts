import { expect, it } from 'vitest';
import { OwnAddress } from '../../../../plugins/protocols/sip/self.ts';
import { Uri } from '../../../../plugins/protocols/sip/uri.ts';

function addresses(own: OwnAddress, text: string): boolean {
  const bytes = Buffer.from(text);
  const uri = new Uri();
  return uri.read(bytes, 0, bytes.length) && own.isIn(bytes, uri);
}

it('a TLS listener writes TLS, and sips where the request demands it', () => {
  const own = new OwnAddress('sip.example.net:5061', 'tls');
  expect(own.vias[1]!.toString()).toBe('Via: SIP/2.0/TLS sip.example.net:5061;branch=z9hG4bK');
  expect(own.sipUri.toString()).toBe('<sip:sip.example.net:5061;transport=tls;lr;pm=');
  expect(own.sipsUri.toString()).toBe('<sips:sip.example.net:5061;transport=tcp;lr;pm=');
});

it.each([
  ['ws', 'ws', 'sip'],
  ['wss', 'ws', 'sips'],
  ['udp', 'udp', 'sip'],
  ['unix', 'tcp', 'sip'],
])('a listener on %s is reached by transport=%s, and securely by %s', (transport, inUri, secureScheme) => {
  const own = new OwnAddress('sip.example.net:5060', transport);
  expect(own.sipUri.toString()).toBe(`<sip:sip.example.net:5060;transport=${inUri};lr;pm=`);
  expect(own.sipsUri.toString()).toBe(`<${secureScheme}:sip.example.net:5060;transport=${inUri};lr;pm=`);
});

it('a Via names the transport that the request leaves on', () => {
  const own = new OwnAddress('sip.example.net:5060', 'tcp');
  expect(own.vias.map(String)).toEqual([
    'Via: SIP/2.0/TCP sip.example.net:5060;branch=z9hG4bK',
    'Via: SIP/2.0/TLS sip.example.net:5060;branch=z9hG4bK',
    'Via: SIP/2.0/UDP sip.example.net:5060;rport;branch=z9hG4bK',
    'Via: SIP/2.0/WS sip.example.net:5060;branch=z9hG4bK',
    'Via: SIP/2.0/WSS sip.example.net:5060;branch=z9hG4bK',
  ]);
});

it('a URI is ours by host, in any letter case, and port, where a missing one is that of the scheme', () => {
  const tls = new OwnAddress('sip.example.net:5061', 'tls');
  expect(addresses(tls, 'sips:SIP.example.NET')).toBe(true);
  expect(addresses(tls, 'sip:sip.example.net;transport=tls')).toBe(true);
  expect(addresses(tls, 'sip:bob@sip.example.net:5061?Subject=x')).toBe(true);
  expect(addresses(tls, 'sip:sip.example.net:5060')).toBe(false);
  expect(addresses(tls, 'sip:example.net:5061')).toBe(false);
  const six = new OwnAddress('[2001:db8::1]:5060', 'tcp');
  expect(addresses(six, 'sip:[2001:DB8::1]')).toBe(true);
  expect(addresses(six, 'sip:[2001:db8::2]')).toBe(false);
  expect(addresses(six, 'sip:[2001:db8::1')).toBe(false);
});

it('an address that peers cannot be told is refused', () => {
  expect(() => new OwnAddress('/run/sip.sock', 'unix')).toThrow(
    'sip needs an `advertise` of the form host:port, not "/run/sip.sock"',
  );
});
