/** Defects that others have had and that are not of the framing of one message (framing.test.ts has those), each with its source. */
import { describe, expect, it } from 'vitest';
import { arrival, arrivals, parse, parseOne, request, respond, sipRig, value } from './ua.ts';

it('no memory is taken because a length asks for it (sipgo GHSA-pg59-5vwg-4jxq)', async () => {
  const rig = await sipRig({ backends: ['a'] });
  const promise = request('MESSAGE').replace('Content-Length: 0', 'Content-Length: 1000000');
  const before = process.memoryUsage().arrayBuffers;
  const clients = Array.from({ length: 300 }, () => rig.client());
  for (const client of clients) client.send(promise);
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(30_000_000);
  expect(clients.every(({ ended }) => !ended)).toBe(true);
  rig.client().send(request('MESSAGE'));
  expect(arrival(rig).message.startLine).toMatch(/^MESSAGE /);
});

describe('a Via that no reply can carry (Kamailio CVE-2018-16657, OpenSIPS CVE-2023-27599)', () => {
  it.each([
    ['none', ''],
    ['an empty one', 'Via:\r\n'],
    ['one without a transport', 'Via: SIP/2.0 192.0.2.1\r\n'],
    ['one without a host', 'Via: SIP/2.0/TCP ;branch=z9hG4bK1\r\n'],
    ['one of nothing but its name', 'Via: SIP\r\n'],
    ['one with an empty parameter', 'Via: SIP/2.0/TCP 192.0.2.1;branch=;rport\r\n'],
    ['one with two branches', 'Via: SIP/2.0/TCP 192.0.2.1;branch=a;branch=b\r\n'],
    ['an open quote', 'Via: SIP/2.0/TCP 192.0.2.1;x="\r\n'],
    ['an open bracket', 'Via: SIP/2.0/TCP [2001:db8::1;branch=z9hG4bK1\r\n'],
    ['a port that is none', 'Via: SIP/2.0/TCP 192.0.2.1:x;branch=z9hG4bK1\r\n'],
    ['a comma alone', 'Via: ,\r\n'],
    ['a comma behind it', 'Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1,\r\n'],
  ])('gets none, and harms nothing: %s', async (_what, via) => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    for (const spoil of [
      (text: string) => text,
      (text: string) => text.replace('Max-Forwards: 70', 'Max-Forwards: 0'),
    ]) {
      client.send(spoil(request('INVITE').replace(/Via: .*\r\n/, via)));
      expect(client.text()).toBe('');
    }
    expect(client.ended).toBe(false);
    client.send(request('MESSAGE'));
    expect(arrival(rig).message.startLine).toMatch(/^MESSAGE /);
    expect(rig.logged.filter((entry) => 'err' in entry)).toEqual([]);
  });

  it('comes back in a response: it is discarded, and the link stays', async () => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    client.send(request('INVITE'));
    const { message } = arrival(rig);
    const { link } = rig.backend('a');
    const answer = respond(message, '200 OK', 'b');
    for (const via of [
      'Via: ',
      'Via: SIP/2.0',
      'Via: SIP/2.0/TCP ;pm=x',
      `Via: SIP/2.0/TCP x;pm="${'a'.repeat(5000)}`,
    ]) {
      link.send(answer.replace(/Via: [^\r]*/, via));
      link.send(answer.replace(/Via: [^\r]*;received=[^\r]*/, via));
    }
    expect(client.text()).toBe('');
    link.send(answer);
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(rig.backend('a').wires).toHaveLength(1);
  });
});

describe('bytes behind a body', () => {
  const garbage = 'asdpasd08asdsdk:;;asd\r\n a0sdjhg8a0*...*;;;;\r\n';

  it('on a stream are never taken for the beginning of the next message (PJSIP #2268)', async () => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    client.send(request('MESSAGE', { body: 'v=0\r\n' }) + garbage + request('MESSAGE', { callId: 'swallowed' }));
    expect(parse(rig.backend('a').text()).map(({ body }) => body)).toEqual(['v=0\r\n']);
    expect(client.ended).toBe(true);
    const again = rig.client();
    again.send(request('MESSAGE', { callId: 'swallowed' }));
    expect(value(parseOne(rig.backend('a').text()), 'Call-ID')).toBe('swallowed');
  });

  it('from a backend cost its link, and the next answer comes over a new one', async () => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    client.send(request('MESSAGE', { callId: 'one' }));
    const first = rig.backend('a').link;
    first.send(respond(arrival(rig).message, '200 OK', 'b') + garbage);
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
    rig.advance(1000);
    client.send(request('MESSAGE', { callId: 'two' }));
    rig.advance(1000);
    rig.backend('a').link.send(respond(arrival(rig).message, '202 Accepted', 'b'));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 202 Accepted');
  });

  it.each(['udp', 'ws'] as const)('on %s are left out, and the next message is served', async (transport) => {
    const rig = await sipRig({ transport, backends: ['a'] });
    const client = rig.client();
    client.send(request('MESSAGE', { body: 'v=0\r\n' }) + garbage);
    client.send(request('MESSAGE', { callId: 'next' }));
    expect(parse(rig.backend('a').text()).map(({ body }) => body)).toEqual(['v=0\r\n', '']);
    expect(client.ended).toBe(false);
  });
});

describe('WebSocket messages of no bytes (CVE-2018-7287)', () => {
  it('are passed over, however many there are', async () => {
    const rig = await sipRig({ transport: 'ws', backends: ['a'] });
    const client = rig.client();
    for (let i = 0; i < 1000; i++) client.send('');
    client.send(request('MESSAGE'));
    client.send('');
    expect(arrival(rig).message.startLine).toMatch(/^MESSAGE /);
    expect(client.ended).toBe(false);
    expect(client.text()).toBe('');
    expect(rig.stats().fromClients).toMatchObject({ received: 1, forwarded: 1 });
  });
});

describe('values beyond the room that others gave them', () => {
  it.each([
    ['a Request-URI of 256 bytes', (text: string) => text.replace('sip:bob', `sip:${'b'.repeat(240)}`)],
    [
      'a Request-URI of 8 KiB less what else is in the line',
      (text: string) => text.replace('sip:bob', `sip:${'b'.repeat(8150)}`),
    ],
    ['a branch of 4 KiB', (text: string) => text.replace('z9hG4bK', `z9hG4bK${'b'.repeat(4096)}`)],
    ['tags of 4 KiB', (text: string) => text.replace('alice1', 'a'.repeat(4096))],
    ['69 Vias', (text: string) => text.replace('Max-', `Via: ${Array(69).fill('SIP/2.0/UDP p').join(',')}\r\nMax-`)],
    ['a display name of 16 KiB', (text: string) => text.replace('From: ', `From: "${'n'.repeat(16_384)}" `)],
  ])('are passed on, and answered: %s', async (_what, change) => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    client.send(change(request('INVITE')));
    const [got] = arrivals(rig);
    rig.backend('a').link.send(respond(parseOne(got!.text), '200 OK', 'b'));
    expect(client.text()).toMatch(/^SIP\/2\.0 200 OK\r\n/);
  });
});
