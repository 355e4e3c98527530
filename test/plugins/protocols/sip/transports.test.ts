/** SIP on transports that delimit messages: WebSockets (RFC 7118) and UDP (RFC 3261 section 18). */
import { describe, expect, it } from 'vitest';
import { arrival, callerRoutes, parseOne, request, respond, sipRig, value, values } from './ua.ts';

const withoutLength = (text: string) => text.replace(/Content-Length: \d+\r\n/, '');
const body = 'v=0\r\n';

describe('a request on a WebSocket', () => {
  it('needs no Content-Length, and gets one', async () => {
    const rig = await sipRig({ transport: 'ws', advertise: 'edge.example.net:80' });
    const client = rig.client();
    client.send(withoutLength(request('INVITE', { via: 'SIP/2.0/WS d7f2.invalid;branch=z9hG4bK1', body })));
    const { message } = arrival(rig);
    expect(value(message, 'Content-Length')).toBe(String(body.length));
    expect(message.body).toBe(body);
    expect(values(message, 'Via')).toEqual([
      expect.stringMatching(/^SIP\/2\.0\/TCP edge\.example\.net:80;branch=z9hG4bK[0-9a-f]{16};pm=/),
      'SIP/2.0/WS d7f2.invalid;branch=z9hG4bK1;received=198.51.100.1',
    ]);
    expect(values(message, 'Record-Route')).toEqual([
      expect.stringMatching(/^<sip:edge\.example\.net:80;transport=ws;lr;pm=/),
      expect.stringMatching(/^<sip:edge\.example\.net:80;transport=ws;lr;pm=/),
    ]);
  });

  it('is followed by its dialog, each response in a message of its own', async () => {
    const rig = await sipRig({ transport: 'ws' });
    const client = rig.client();
    client.send(request('INVITE', { callId: 'one' }));
    const { name, message } = arrival(rig);
    const link = rig.backend(name).link;
    link.send(respond(message, '180 Ringing', 't1') + respond(message, '200 OK', 't1'));
    const [ringing, answer] = client.writes.map((bytes) => parseOne(bytes.toString('latin1')));
    expect([ringing!.startLine, answer!.startLine]).toEqual(['SIP/2.0 180 Ringing', 'SIP/2.0 200 OK']);
    const ack = { callId: 'one', toTag: 't1', uri: 'sip:bob@10.0.0.1', extra: callerRoutes(answer!) };
    client.send(request('ACK', ack));
    expect(arrival(rig).name).toBe(name);
    client.send(request('BYE', { ...ack, cseq: 2 }));
    const bye = arrival(rig);
    expect(bye.name).toBe(name);
    expect(values(bye.message, 'Route')).toEqual([]);
    rig.stats();
  });

  it('that is no SIP costs nobody the connection', async () => {
    const rig = await sipRig({ transport: 'ws' });
    const client = rig.client();
    client.send('GET / HTTP/1.1\r\n\r\n');
    client.send('INVITE sip:bob@example.net SIP/2.0\r\nVia: x');
    client.send('');
    client.send(request('OPTIONS'));
    expect(arrival(rig).message.startLine).toBe('OPTIONS sip:bob@example.net SIP/2.0');
    expect(rig.stats().fromClients).toMatchObject({ received: 3, forwarded: 1 });
  });

  it('reaches its client in a WebSocket message, with a Via that says so, if a backend sends it', async () => {
    const rig = await sipRig({ transport: 'ws', advertise: 'edge.example.net:80' });
    const client = rig.client();
    client.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { name, message } = arrival(rig);
    const [path] = values(message, 'Path');
    rig
      .backend(name)
      .link.send(request('INVITE', { extra: [`Route: ${path}`], via: 'SIP/2.0/TCP 10.0.0.1;branch=z9hG4bK9' }));
    const invite = parseOne(client.text());
    expect(values(invite, 'Via')[0]).toMatch(/^SIP\/2\.0\/WS edge\.example\.net:80;branch=z9hG4bK/);
    client.send(respond(invite, '200 OK', 't2'));
    expect(parseOne(rig.backend(name).text()).startLine).toBe('SIP/2.0 200 OK');
  });

  it('between two CR LF is answered by one, which says that the connection is alive (RFC 5626 section 3.5.1)', async () => {
    const rig = await sipRig({ transport: 'ws' });
    const client = rig.client();
    client.send('\r\n\r\n');
    expect(client.writes.map(String)).toEqual(['\r\n']);
  });
});

describe('a request in a datagram', () => {
  const overUdp = () =>
    sipRig({ transport: 'udp', backendTransport: 'udp', backends: ['a'], advertise: 'edge.example.net:5060' });

  it('reaches a backend in one, whose response may come to where it came from', async () => {
    const rig = await overUdp();
    const client = rig.client();
    client.send(request('INVITE', { via: 'SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1', body }));
    const [datagram] = rig.backend('a').link.writes;
    const invite = parseOne(datagram!.toString('latin1'));
    expect(values(invite, 'Via')).toEqual([
      expect.stringMatching(/^SIP\/2\.0\/UDP edge\.example\.net:5060;rport;branch=z9hG4bK[0-9a-f]{16};pm=/),
      'SIP/2.0/UDP 192.0.2.10:5060;rport=40000;branch=z9hG4bK1;received=198.51.100.1',
    ]);
    expect(values(invite, 'Record-Route')[0]).toContain(';transport=udp;lr;');
    rig.backend('a').link.send(respond(invite, '200 OK', 't'));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
    rig.stats();
  });

  it('is sent again as it was the first time, to the same place', async () => {
    const rig = await sipRig({ transport: 'udp', backendTransport: 'udp' });
    const client = rig.client();
    const invite = request('INVITE', { via: 'SIP/2.0/UDP 192.0.2.10:5060;rport;branch=z9hG4bK1' });
    const sent = [0, 1, 2].map(() => {
      client.send(invite);
      const { name, message } = arrival(rig);
      return JSON.stringify({ name, message });
    });
    expect(new Set(sent).size).toBe(1);
  });

  it.each([
    ['192.0.2.10:5062', 5062],
    ['192.0.2.10', 5060],
    ['[2001:db8::1]', 5060],
    ['192.0.2.10 : 5062', 5062],
    ['192.0.2.10:5062;rport', 40_000],
    ['192.0.2.10:5062;rport=1', 40_000],
    ['192.0.2.10:5062;maddr=203.0.113.9', 5062],
    ['192.0.2.10:0', 40_000],
    ['192.0.2.10:65536', 40_000],
  ])('sent by %s is answered at its port %i', async (sentBy, port) => {
    const rig = await overUdp();
    const client = rig.client('198.51.100.1', 40_000);
    client.send(request('MESSAGE', { via: `SIP/2.0/UDP ${sentBy};branch=z9hG4bK1` }));
    rig.backend('a').link.send(respond(parseOne(rig.backend('a').text()), '200 OK', 't'));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(client.peer.socket.answerPort).toBe(port);
  });

  it('is answered in one, however long the answer is: the backend knows what the way to the client bears', async () => {
    const rig = await overUdp();
    const client = rig.client();
    client.send(request('MESSAGE'));
    const message = parseOne(rig.backend('a').text());
    for (const bytes of [1300, 1472, 9000]) {
      const long = respond(message, '200 OK', 't').replace('Content-Length: 0', `Content-Length: ${bytes}`);
      rig.backend('a').link.send(long + 'x'.repeat(bytes));
    }
    expect(client.writes.map((datagram) => parseOne(datagram.toString('latin1')).body.length)).toEqual([
      1300, 1472, 9000,
    ]);
  });

  it('that is refused is answered at its port too', async () => {
    const rig = await overUdp();
    const client = rig.client();
    client.send(request('MESSAGE', { maxForwards: 0, via: 'SIP/2.0/UDP 192.0.2.10:5062;branch=z9hG4bK1' }));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 483 Too Many Hops');
    expect(client.peer.socket.answerPort).toBe(5062);
  });

  it('loses what stands behind its body (section 18.3)', async () => {
    const rig = await overUdp();
    rig.client().send(`${request('INVITE', { body })}surplus`);
    const [datagram] = rig.backend('a').link.writes;
    expect(parseOne(datagram!.toString('latin1')).body).toBe(body);
    expect(rig.stats().fromClients).toMatchObject({ received: 1, forwarded: 1 });
  });

  it('whose body is shorter than it says is refused, and a response like that dropped', async () => {
    const rig = await overUdp();
    const client = rig.client();
    const short = (text: string) => text.replace(/Content-Length: \d+/, 'Content-Length: 99');
    client.send(short(request('INVITE', { body })));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 400 Body Shorter Than Content-Length');
    client.send(request('INVITE', { callId: 'two' }));
    const invite = parseOne(rig.backend('a').text());
    rig.backend('a').link.send(short(respond(invite, '200 OK', 't')));
    expect(client.text()).toBe('');
    expect(rig.stats().fromBackends.discardedFor).toEqual({ malformed: 1 });
  });

  it('may leave over TCP', async () => {
    const rig = await sipRig({ transport: 'udp', backends: ['a'], advertise: 'edge.example.net:5060' });
    const client = rig.client();
    client.send(withoutLength(request('MESSAGE', { via: 'SIP/2.0/UDP 198.51.100.1:40000;branch=z9hG4bK1', body })));
    const message = parseOne(rig.backend('a').text());
    expect(values(message, 'Via')[0]).toMatch(/^SIP\/2\.0\/TCP edge/);
    rig.backend('a').link.send(respond(message, '202 Accepted', 't'));
    expect(client.writes.length).toBe(1);
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 202 Accepted');
  });
});

describe('a STUN Binding request in a datagram', () => {
  const overUdp = () => sipRig({ transport: 'udp', backends: ['a'], advertise: 'edge.example.net:5060' });
  const transaction = '2112a442b7e7a701bc34d686fa87dfae';

  // The addresses, as they are masked, are those of RFC 5769 sections 2.2 and 2.3.
  it.each([
    ['192.0.2.1', `0101000c${transaction}002000080001a147e112a643`],
    ['2001:db8:1234:5678:11:2233:4455:6677', `01010018${transaction}002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9`],
    ['2001:db8::7', `01010018${transaction}002000140002a1470113a9fab7e7a701bc34d686fa87dfa9`],
    ['::', `01010018${transaction}002000140002a147${transaction}`],
    ['::192.0.2.1', `01010018${transaction}002000140002a147${transaction.slice(0, 24)}3a87ddaf`],
  ])(
    'is answered by where it came from, so that its sender knows the flow is alive (RFC 5626): %s',
    async (ip, answer) => {
      const rig = await overUdp();
      const client = rig.client(ip, 32_853);
      client.send(Buffer.from(`00010000${transaction}`, 'hex'));
      client.send(Buffer.from(`00010008${transaction}8028000400000000`, 'hex'));
      expect(client.writes.map((datagram) => datagram.toString('hex'))).toEqual([answer, answer]);
      client.send(request('MESSAGE'));
      expect(arrival(rig).message.startLine).toMatch(/^MESSAGE /);
      expect(rig.stats().fromClients).toMatchObject({ received: 1, forwarded: 1 });
    },
  );

  it.each([
    ['of another type', `01010000${transaction}`],
    ['of another length', `00010004${transaction}`],
    ['without the cookie', `00010000${transaction.replace('2112', '1221')}`],
    ['cut short', `00010000${transaction.slice(2)}`],
  ])('that is none gets no answer: %s', async (_what, bytes) => {
    const rig = await overUdp();
    const client = rig.client();
    client.send(Buffer.from(bytes, 'hex'));
    expect(client.writes).toEqual([]);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'broken-frame': 1 });
  });
});
