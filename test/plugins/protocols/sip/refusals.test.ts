import { beforeEach, describe, expect, it } from 'vitest';
import type { Rig } from '../../../support/embedded.ts';
import {
  arrival,
  arrivals,
  calleeRoutes,
  callerRoutes,
  parse,
  parseOne,
  request,
  respond,
  sipRig,
  value,
  values,
} from './ua.ts';

let rig: Rig;
beforeEach(async () => {
  rig = await sipRig();
});

/** What a client gets for a message that no backend sees, while its connection stays open. */
function answerTo(text: string) {
  const client = rig.client();
  client.send(text);
  expect(arrivals(rig)).toEqual([]);
  expect(client.ended).toBe(false);
  const answer = client.text();
  client.send(request('MESSAGE'));
  expect(arrivals(rig)).toHaveLength(1);
  return answer;
}

/** The Route lines of a call at `backend`. */
function established(callId = 'call-1') {
  const alice = rig.client();
  alice.send(request('INVITE', { callId }));
  const { name, message } = arrival(rig);
  rig.backend(name).link.send(respond(message, '200 OK', 'bob1'));
  return { name, invite: message, routes: callerRoutes(parseOne(alice.text())) };
}

describe('a reply of our own', () => {
  it('copies all Vias, From, To, Call-ID and CSeq, and adds a To-tag that stays the same', () => {
    const sent = [
      'INVITE sip:bob@example.net SIP/2.0',
      'CSeq: 0007   INVITE',
      'v: SIP/2.0/TCP 192.0.2.10;rport',
      '  ;branch=z9hG4bK1, SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK2',
      'Record-Route: <sip:p.example.net;lr>',
      'Via: SIP/2.0/UDP 192.0.2.12;branch=z9hG4bK3',
      'Max-Forwards: 0',
      'f: "Alice;tag=no" <sip:alice@example.org>;tag=a1',
      't: <sip:bob@example.net;tag=no>',
      'i: call-1',
      'l: 3',
      '',
      'abc',
    ].join('\r\n');
    const answer = answerTo(sent);
    expect(answer.replace(/tag=[0-9a-f]{16}/, 'tag=OURS')).toBe(
      [
        'SIP/2.0 483 Too Many Hops',
        'Via: SIP/2.0/TCP 192.0.2.10;rport=40000 ;branch=z9hG4bK1;received=198.51.100.1, SIP/2.0/UDP 192.0.2.11;branch=z9hG4bK2',
        'Via: SIP/2.0/UDP 192.0.2.12;branch=z9hG4bK3',
        'From: "Alice;tag=no" <sip:alice@example.org>;tag=a1',
        'To: <sip:bob@example.net;tag=no>;tag=OURS',
        'Call-ID: call-1',
        'CSeq: 0007   INVITE',
        'Content-Length: 0',
        '',
        '',
      ].join('\r\n'),
    );
    expect(answerTo(sent)).toBe(answer.replace('40000', '40001'));
  });

  it('leaves a To-tag alone that is there', () => {
    expect(value(parseOne(answerTo(request('BYE', { toTag: 'bob1', maxForwards: 0 }))), 'To')).toMatch(/;tag=bob1$/);
  });

  it('does not count as in flight, though it finds its call by Call-ID', async () => {
    rig = await sipRig({ limits: { messagesPerSecond: 1, burstMessages: 2, reservedPercent: 0 } });
    const client = rig.client();
    client.send(request('INVITE', { branch: 'z9hG4bK1' }));
    const { name, message } = arrival(rig);
    rig.backend(name).link.send(respond(message, '401 Unauthorized', 'bob1'));
    client.text();
    client.send(request('ACK', { branch: 'z9hG4bK1', toTag: 'bob1' }));
    client.send(request('INVITE', { branch: 'z9hG4bK2', cseq: 2 }));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 503 Service Unavailable');
    expect(rig.stats().backends[name]!.inFlight).toBe(0);
  });

  it('has its ACK absorbed, and no other', () => {
    const client = rig.client();
    client.send(request('INVITE', { maxForwards: 0, branch: 'z9hG4bKhops' }));
    const toTag = /tag=(\w+)/.exec(value(parseOne(client.text()), 'To'))![1]!;
    client.send(request('ACK', { toTag, branch: 'z9hG4bKhops' }));
    expect(arrivals(rig)).toEqual([]);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'own-ack': 1 });
    client.send(request('ACK', { toTag: toTag.replace(/./, 'x'), branch: 'z9hG4bKhops' }));
    expect(arrivals(rig)).toHaveLength(1);
  });

  it('is never sent to an ACK or a response', () => {
    expect(answerTo(request('ACK', { maxForwards: 0 }))).toBe('');
    expect(answerTo(request('ACK').replace('CSeq', 'X-CSeq'))).toBe('');
    expect(answerTo(request('x').replace(/^.*\r\n/, 'SIP/2.0 200 OK\r\n'))).toBe('');
    expect(answerTo(request('x').replace(/^.*\r\n/, 'SIP/2.0 99 OK\r\n'))).toBe('');
    expect(rig.stats().fromClients).toMatchObject({ refused: 0, discarded: 4 });
  });

  it('is not sent where its Via could not be copied', () => {
    expect(answerTo(request('INVITE', { via: 'SIP/2.0/TCP ;branch=z9hG4bK1' }))).toBe('');
    expect(answerTo(request('INVITE').replace(/Via: .*\r\n/, ''))).toBe('');
  });
});

describe('a message that is malformed', () => {
  it.each([
    ['Bad Request Line', 'a space in the Request-URI', (text: string) => text.replace('bob@', 'bob @')],
    ['Bad Request Line', 'a Request-URI in angle brackets', (text: string) => text.replace(/(sip:bob@\S+) /, '<$1> ')],
    ['Bad Request Line', 'NUL in the Request-URI', (text: string) => text.replace('bob@', 'bob\0@')],
    ['Bad Request Line', 'a Request-URI without a scheme', (text: string) => text.replace('sip:bob', 'bob')],
    ['Bad Request Line', 'blanks behind the request line', (text: string) => text.replace('SIP/2.0\r', 'SIP/2.0  \r')],
    ['Bad From', 'two From', (text: string) => text.replace('To:', 'f: <sip:mallory@example.org>\r\nTo:')],
    ['Bad To', 'two To (CVE-2018-14767)', (text: string) => text.replace('To:', 't: <sip:mallory@example.org>\r\nTo:')],
    ['Bad CSeq', 'another method in CSeq', (text: string) => text.replace(/CSeq: .*\r/, 'CSeq: 1 OPTIONS\r')],
    ['Bad CSeq', 'a huge CSeq', (text: string) => text.replace('CSeq: 1', 'CSeq: 36893488147419103232')],
    ['Bad CSeq', 'a CSeq of 2^31', (text: string) => text.replace('CSeq: 1', 'CSeq: 2147483648')],
    ['Bad Max-Forwards', 'Max-Forwards over 255', (text: string) => text.replace('Forwards: 70', 'Forwards: 256')],
    ['Bad Max-Forwards', 'Max-Forwards in words', (text: string) => text.replace('Forwards: 70', 'Forwards: many')],
    ['Bad Max-Forwards', 'two Max-Forwards', (text: string) => text.replace('To:', 'Max-Forwards: 1\r\nTo:')],
    ['Bad Max-Forwards', 'NUL in Max-Forwards', (text: string) => text.replace('Forwards: 70', 'Forwards: 7\0')],
    ['Bad Route', 'NUL in a Route', (text: string) => text.replace('To:', 'Route: "\0" <sip:a;lr>\r\nTo:')],
    ['Bad Route', 'a Route without its bracket', (text: string) => text.replace('To:', 'Route: <sip:a;lr\r\nTo:')],
  ])('gets 400 %s: %s', (phrase, _what, spoil) => {
    const answer = answerTo(spoil(request('INVITE')));
    expect(answer).toMatch(new RegExp(`^SIP/2.0 400 ${phrase}\r\n`));
    expect(rig.stats().fromClients.refused).toBe(1);
  });

  it.each([
    ['an empty To-tag (CVE-2018-14767)', (text: string) => text.replace(/(To: .*)\r/, '$1;tag=\r')],
    ['two To-tags', (text: string) => text.replace(/(To: .*)\r/, '$1;tag=a;tag=b\r')],
    ['an open quote', (text: string) => text.replace('To: ', 'To: "Bob ')],
    ['an unquoted comma', (text: string) => text.replace('From: ', 'From: Doe, Jane ')],
    ['no URI', (text: string) => text.replace(/From: .*\r/, 'From: ;tag=a\r')],
    ['no Call-ID', (text: string) => text.replace(/Call-ID: .*\r\n/, '')],
    ['an empty Call-ID', (text: string) => text.replace(/Call-ID: .*\r/, 'Call-ID: \r')],
    ['a space in Call-ID', (text: string) => text.replace(/Call-ID: .*\r/, 'Call-ID: a b\r')],
    ['NUL in Via', (text: string) => text.replace('branch=', 'branch=\0')],
    ['NUL in a display name', (text: string) => text.replace('From: ', 'From: "\0" ')],
    ['NUL in To', (text: string) => text.replace('To: <sip:bob', 'To: <sip:b\0b')],
    ['NUL in CSeq', (text: string) => text.replace('CSeq: 1', 'CSeq: 1\0')],
    ['NUL in Call-ID', (text: string) => text.replace(/Call-ID: .*\r/, 'Call-ID: a\0b\r')],
    ['a negative CSeq', (text: string) => text.replace('CSeq: 1', 'CSeq: -1')],
    // Kamailio closes the link, which all clients share, for each of these.
    ['a second Via in its line that is none', (text: string) => text.replace(/(Via: .*)\r/, '$1, <x>\r')],
    ['a later Via that is none', (text: string) => text.replace('Max-Forwards', 'Via: x\r\nMax-Forwards')],
    ['a later Via that breaks off', (text: string) => text.replace('Max-', 'v: SIP/2.0/UDP a,\r\nMax-')],
    [
      'a blank in a URI without brackets',
      (text: string) => text.replace('<sip:bob@example.net>', 'sip:bob@ex ample.net'),
    ],
    ['a backslash in one with them', (text: string) => text.replace('<sip:bob@', '<sip:b\\b@')],
    ['a backslash in one without', (text: string) => text.replace('<sip:bob@example.net>', 'sip:bob@ex\\ample.net')],
  ])('gets no reply, as what that would copy cannot be read: %s', (_what, spoil) => {
    expect(answerTo(spoil(request('INVITE')))).toBe('');
    expect(answerTo(spoil(request('OPTIONS', { uri: 'sip:192.0.2.1:5060' })))).toBe('');
    expect(rig.stats().fromClients).toMatchObject({ refused: 0, discarded: 2 });
  });

  it.each([
    ['a CSeq of 2^31 - 1 with leading zeros', (text: string) => text.replace('CSeq: 1', 'CSeq: 0002147483647')],
    ['a Call-ID of 4 KiB', (text: string) => text.replace('call-1', 'c'.repeat(4096))],
    ['a Call-ID of 256 bytes', (text: string) => text.replace('call-1', 'c'.repeat(256))],
    ['a Request-URI of 4 KiB', (text: string) => text.replace('sip:bob', `sip:${'b'.repeat(4096)}`)],
    ['a NUL in a quoted pair', (text: string) => text.replace('From: ', 'From: "NUL: \\\0" ')],
    ['an open quote in a field that is none of ours', (text: string) => text.replace('To:', 'Warning: "\r\nTo:')],
    ['a user with semicolons', (text: string) => text.replace('sip:bob@', 'sip:bob;x=y?z@')],
    ['a tel URI', (text: string) => text.replace('sip:bob@example.net SIP', 'tel:+4930123456 SIP')],
  ])('is not: %s', (_what, change) => {
    rig.client().send(change(request('INVITE')));
    expect(arrivals(rig)).toHaveLength(1);
  });
});

describe('a request that cannot be served', () => {
  it.each([
    [483, 'out of hops', request('INVITE', { maxForwards: 0 })],
    [416, 'an unknown scheme', request('INVITE', { uri: 'soap.beep://192.0.2.103:3002' })],
    [505, 'another version', request('INVITE').replace('SIP/2.0', 'SIP/7.0')],
    [513, 'too many Vias', request('INVITE', { extra: [`Via: ${Array(70).fill('SIP/2.0/TCP a').join(', ')}`] })],
    [513, 'too many routes', request('INVITE', { extra: Array(65).fill('Record-Route: <sip:a;lr>') })],
  ])('gets %i: %s', (status, _what, text) => {
    expect(answerTo(text)).toMatch(new RegExp(`^SIP/2.0 ${status} `));
  });

  it('gets 420 with what it asks of proxies', () => {
    const extra = ['Proxy-Require: foo, bar', 'Proxy-Require: baz'];
    const answer = parseOne(answerTo(request('INVITE', { extra })));
    expect(answer.startLine).toBe('SIP/2.0 420 Bad Extension');
    expect(values(answer, 'Unsupported')).toEqual(['foo', 'bar', 'baz']);
  });

  it('gets 503 with Retry-After when all backends are down, and is served when one is back', () => {
    for (const backend of rig.backends) backend.down();
    const client = rig.client();
    client.send(request('INVITE'));
    rig.advance(100);
    const answer = parseOne(client.text());
    expect(answer.startLine).toBe('SIP/2.0 503 Service Unavailable');
    expect(value(answer, 'Retry-After')).toBe('5');
    for (const backend of rig.backends) backend.up();
    rig.advance(60_000);
    client.send(request('INVITE'));
    expect(arrivals(rig)).toHaveLength(1);
  });

  it.each([
    ['messages a second', { limits: { messagesPerSecond: 1 } }, 'rate-limited'],
    ['messages a second from one address', { limits: { messagesPerSecondPerAddress: 1 } }, 'rate-limited'],
    ['messages a second of the pool', { pool: { limits: { messagesPerSecond: 1 } } }, 'rate-limited'],
    ['messages a second of each backend', { pool: { backendLimits: { messagesPerSecond: 1 } } }, 'overloaded'],
    ['calls in flight of the pool', { pool: { limits: { inFlight: 1 } } }, 'overloaded'],
    ['calls in flight of each backend', { pool: { backendLimits: { inFlight: 1 } } }, 'overloaded'],
  ])(
    'gets 503 with Retry-After when there are too many %s, and is served in its session',
    async (_what, options, why) => {
      rig = await sipRig({ backends: ['uas-1'], ...options });
      const client = rig.client();
      client.send(request('INVITE', { callId: 'one' }));
      const { name, message } = arrival(rig);
      client.send(request('INVITE', { callId: 'two' }));
      const answer = parseOne(client.text());
      expect([answer.startLine, value(answer, 'Retry-After')]).toEqual(['SIP/2.0 503 Service Unavailable', '5']);
      expect(rig.stats().fromClients.refusedFor).toEqual({ [why]: 1 });
      rig.backend(name).link.send(respond(message, '200 OK', 'bob1'));
      const extra = callerRoutes(parseOne(client.text()));
      rig.advance(1000);
      client.send(request('BYE', { callId: 'one', toTag: 'bob1', extra }));
      expect(arrivals(rig).map(({ text }) => text.slice(0, 3))).toEqual(['BYE']);
    },
  );

  it('gets 500 when the one backend it is bound to is down', () => {
    const { name, routes } = established();
    rig.backend(name).down();
    expect(answerTo(request('BYE', { toTag: 'bob1', extra: routes }))).toMatch(/^SIP\/2\.0 500 /);
    expect(rig.stats().fromClients.refusedFor).toEqual({ 'backend-down': 1 });
  });

  it('goes to a backend chosen anew when its own is no longer configured', async () => {
    const { routes } = established();
    rig = await sipRig({ backends: ['x', 'y'] });
    rig.client().send(request('BYE', { toTag: 'bob1', extra: routes }));
    expect(values(arrival(rig).message, 'Route')).toEqual([]);
    expect(rig.stats().routes.rechosen).toBe(1);
  });

  it('gets 403 for a forged token, with every bit of it', () => {
    const { routes } = established();
    const [first, ...others] = routes;
    const tokenStart = first!.indexOf('pm=') + 3;
    const tokenEnd = first!.indexOf('>');
    let forgeries = 0;
    for (let at = tokenStart; at < tokenEnd; at++) {
      const byte = first![at] === 'a' ? 'b' : 'a';
      const forged = first!.slice(0, at) + byte + first!.slice(at + 1);
      expect(answerTo(request('BYE', { toTag: 'bob1', extra: [forged, ...others] }))).toMatch(/^SIP\/2\.0 403 /);
      forgeries++;
    }
    expect(forgeries).toBeGreaterThan(20);
    expect(answerTo(request('ACK', { toTag: 'bob1', extra: [`${first!.slice(0, tokenEnd - 1)}>`] }))).toBe('');
  });

  it('gets 404 when it comes from a backend and names nobody', () => {
    const { link } = rig.backend('a');
    link.send(request('INVITE'));
    expect(parseOne(link.text()).startLine).toBe('SIP/2.0 404 Not Found');
  });
});

describe('a response', () => {
  it.each([
    ['without our Via', (text: string) => text.replace(/Via: .*pm=.*\r\n/, ''), 'not-our-via'],
    ['with our Via alone', (text: string) => text.replace(/Via: .*received=.*\r\n/, ''), 'not-our-via'],
    ['with a forged token', (text: string) => text.replace(/pm=\w\w\w\w/, 'pm=ceaa'), 'forged-identifier'],
    ['with a status of four digits', (text: string) => text.replace('200', '2000'), 'malformed'],
    ['without CSeq', (text: string) => text.replace('CSeq', 'X'), 'malformed'],
  ])('%s is discarded and the link stays', (_what, spoil, reason) => {
    const client = rig.client();
    client.send(request('INVITE'));
    const { name, message } = arrival(rig);
    const { link } = rig.backend(name);
    const answer = respond(message, '200 OK', 'bob1');
    link.send(spoil(answer));
    expect(rig.stats().fromBackends.discardedFor).toEqual({ [reason]: 1 });
    expect(client.text()).toBe('');
    expect(link.text()).toBe('');
    link.send(answer);
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
  });

  it('to a client that has gone is discarded', () => {
    const client = rig.client();
    client.send(request('INVITE'));
    const { name, message } = arrival(rig);
    client.reset();
    rig.client();
    rig.backend(name).link.send(respond(message, '200 OK', 'bob1'));
    expect(rig.stats().fromBackends.discardedFor).toEqual({ 'client-gone': 1 });
  });

  it.each([
    ['down', { whenDown: 'rechoose' }, 'backend-down'],
    ['gone from the config', {}, 'unknown-backend'],
  ] as const)('to a backend that is %s is discarded: no other has asked', async (how, identifiers, reason) => {
    rig = await sipRig({ identifiers });
    const client = rig.client();
    client.send(request('INVITE'));
    const { name, message } = arrival(rig);
    rig.backend(name).link.send(request('INFO', { fromTag: 'bob1', extra: calleeRoutes(message) }));
    const asked = parseOne(client.text());
    if (how === 'down') rig.backend(name).down();
    else {
      const [pool] = rig.settings.pools;
      const backends = pool!.backends.filter((each) => each.name !== name);
      await rig.runtime.until(rig.balancer.reload({ ...rig.settings, pools: [{ ...pool!, backends }] }));
    }
    client.send(respond(asked, '200 OK'));
    expect(arrivals(rig)).toEqual([]);
    expect(rig.stats().fromClients.discardedFor).toEqual({ [reason]: 1 });
  });

  it('leaves when our Via shares its line with the next', () => {
    const client = rig.client();
    client.send(request('INVITE'));
    const { name, message } = arrival(rig);
    const vias = values(message, 'Via').join(' ,\r\n  ');
    const answer = respond(
      { ...message, headers: message.headers.filter(([field]) => field !== 'Via') },
      '200 OK',
      'b',
    );
    rig.backend(name).link.send(answer.replace('\r\n', `\r\nv: ${vias}\r\n`));
    expect(client.text()).toContain('\r\nv: SIP/2.0/TCP 192.0.2.10:5060;branch=');
  });
});

describe('OPTIONS', () => {
  it('to ourselves is answered, also without hops', () => {
    const answer = answerTo(request('OPTIONS', { uri: 'sip:192.0.2.1:5060', maxForwards: 0 }));
    expect(parseOne(answer).startLine).toBe('SIP/2.0 200 OK');
    expect(value(parseOne(answer), 'To')).toMatch(/;tag=[0-9a-f]{16}$/);
    expect(answerTo(request('OPTIONS', { uri: 'sip:192.0.2.1;transport=tcp' }))).toMatch(/^SIP\/2\.0 200 OK/);
  });

  it('to others without hops is answered by us, who are the last that it reaches (section 16.3)', () => {
    expect(answerTo(request('OPTIONS', { maxForwards: 0 }))).toMatch(/^SIP\/2\.0 200 OK/);
  });

  it('from a backend to ourselves is answered too', () => {
    const { link } = rig.backend('a');
    link.send(request('OPTIONS', { uri: 'sip:192.0.2.1:5060' }));
    expect(parseOne(link.text()).startLine).toBe('SIP/2.0 200 OK');
  });

  it.each(['sip:bob@192.0.2.1:5060', 'sip:192.0.2.1:5070', 'sips:192.0.2.1', 'sip:example.net'])(
    'to %s goes on',
    (uri) => {
      rig.client().send(request('OPTIONS', { uri }));
      expect(arrivals(rig)).toHaveLength(1);
    },
  );
});

describe('keepalives', () => {
  it('of CR LF CR LF are answered by CR LF', () => {
    const client = rig.client();
    client.send('\r\n\r\n');
    expect(client.text()).toBe('\r\n');
    for (const byte of '\r\n\r\n') client.send(byte);
    expect(client.text()).toBe('\r\n');
    client.send(`\r\n\r\n${request('MESSAGE')}\r\n\r\n`);
    expect(client.text()).toBe('\r\n\r\n');
    expect(parse(arrivals(rig)[0]!.text)).toHaveLength(1);
    expect(rig.stats().fromClients.received).toBe(1);
  });

  it('of a lone CR LF are passed over, however long they stand', () => {
    const client = rig.client();
    client.send(`${request('MESSAGE')}\r\n`);
    client.send(`${request('MESSAGE')}\r`);
    client.send('\n');
    rig.advance(60_000);
    client.send(request('MESSAGE'));
    expect(client.text()).toBe('');
    expect(client.ended).toBe(false);
    expect(rig.stats().fromClients.forwarded).toBe(3);
  });
});

describe('the log', () => {
  it('says what is wrong with a message, as its sender is told', () => {
    const told = answerTo(request('OPTIONS').replace(/^Max-Forwards: .*$/m, 'Max-Forwards: many'));
    expect(told).toMatch(/^SIP\/2\.0 400 Bad Max-Forwards\r\n/);
    expect(rig.logged).toContainEqual(
      expect.objectContaining({ text: 'message refused', reason: 'malformed', detail: '400 Bad Max-Forwards' }),
    );
  });

  it.each([
    ['400 Bad CSeq', (text: string) => text.replace('CSeq', 'X')],
    ['400 Bad Status Line', (text: string) => text.replace('200', '2000')],
    ['400 Bad Via', (text: string) => text.replace(/^Via: .*received=/m, 'Via: received=')],
  ])('says what is wrong with a response that nobody is told of: %s', (detail, spoil) => {
    const client = rig.client();
    client.send(request('INVITE'));
    const { name, message } = arrival(rig);
    rig.backend(name).link.send(spoil(respond(message, '200 OK', 'bob1')));
    expect(rig.stats().fromBackends.discardedFor).toEqual({ malformed: 1 });
    expect(rig.logged).toContainEqual(
      expect.objectContaining({ text: 'message discarded', reason: 'malformed', detail, from: 'backend', peer: name }),
    );
  });
});
