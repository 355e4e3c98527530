/** Which address of ours each peer is told, and where it stands. */
import { describe, expect, it } from 'vitest';
import sip from '../../../../plugins/protocols/sip/index.ts';
import hashing from '../../../../plugins/strategies/hashing.ts';
import type { Wire } from '../../../support/embedded.ts';
import { optionsOf } from '../../../support/embedded.ts';
import { guest } from '../../../support/lines.ts';
import { Network } from './network.ts';
import {
  arrival,
  calleeRoutes,
  callerRoutes,
  parseOne,
  type RequestOptions,
  request,
  respond,
  sipRig,
  value,
  values,
} from './ua.ts';

const withSip = (options: object, rest: Parameters<typeof sipRig>[0] = {}) =>
  sipRig({ pipeline: [[sip, options], [hashing]], ...rest });

describe('identity', () => {
  it.each([
    ['both', 2, 1],
    ['record-route', 2, 0],
    ['path', 0, 1],
  ])('%s: a call has %i Record-Route, a registration %i Path', async (identity, routes, paths) => {
    const rig = await withSip({ identity });
    const client = rig.client();
    client.send(request('INVITE'));
    expect(values(arrival(rig).message, 'Record-Route')).toHaveLength(routes);
    client.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { message } = arrival(rig);
    expect(values(message, 'Path')).toHaveLength(paths);
    expect(values(message, 'Record-Route')).toEqual([]);
  });

  it('both: a request outside a dialog along a route of ours that it was configured with is recorded', async () => {
    const rig = await sipRig();
    rig.client().send(request('MESSAGE', { extra: ['Route: <sip:192.0.2.1:5060;lr>'] }));
    const { message } = arrival(rig);
    expect(values(message, 'Record-Route')).toHaveLength(2);
    expect(values(message, 'Route')).toEqual([]);
  });

  it('path: in a dialog the Call-ID still leads to the backend', async () => {
    const rig = await withSip({ identity: 'path' });
    const client = rig.client();
    client.send(request('INVITE'));
    const { name } = arrival(rig);
    rig.advance(100_000);
    client.send(request('BYE', { toTag: 'bob1', cseq: 2 }));
    expect(arrival(rig).name).toBe(name);
  });
});

describe('registrations', () => {
  const backendsOf = async (registerKey: string, register: (n: number) => string) => {
    const rig = await withSip({ registerKey }, { backends: [...'abcdefgh'] });
    return [1, 2, 3, 4, 5, 6, 7, 8].map((n) => {
      rig.client().send(register(n));
      return arrival(rig).name;
    });
  };
  const ofUser = (user: string, callId: string) =>
    request('REGISTER', { callId }).replace(
      '<sip:bob@example.net>',
      `"${callId}" <sip:${user}@example.net;x=${callId}>`,
    );

  it('of one address-of-record go to one backend if that is their key, whatever else differs', async () => {
    expect(new Set(await backendsOf('address-of-record', (n) => ofUser('bob', `call-${n}`))).size).toBe(1);
    expect(new Set(await backendsOf('address-of-record', (n) => ofUser(`bob${n}`, 'call'))).size).toBeGreaterThan(1);
  });

  it('of one Call-ID go to one backend otherwise', async () => {
    expect(new Set(await backendsOf('call-id', (n) => ofUser('bob', `call-${n}`))).size).toBeGreaterThan(1);
    expect(new Set(await backendsOf('call-id', (n) => ofUser(`bob${n}`, 'call'))).size).toBe(1);
  });

  it('of one address-of-record stay where they are while others of it were answered a moment ago', async () => {
    const rig = await withSip({ registerKey: 'address-of-record' });
    const client = rig.client();
    client.send(ofUser('bob', 'one'));
    const { name, message } = arrival(rig);
    rig.advance(30_000);
    rig.backend(name).link.send(respond(message, '200 OK'));
    rig.advance(30_000);
    client.send(ofUser('bob', 'two'));
    expect(arrival(rig).name).toBe(name);
    expect(rig.stats().routes).toMatchObject({ strategy: 1, affinity: 1 });
  });

  it('refuses to be configured with an address that is none', () => {
    const complaint = /must match pattern/;
    for (const address of ['10.0.0.5:5060', 'ws://10.0.0.5:5060', 'tcp://10.0.0.5', 'tcp://a b:1']) {
      expect(() => optionsOf(sip, { advertiseToBackends: address })).toThrow(complaint);
    }
    optionsOf(sip, { advertiseToBackends: 'tcp://[2001:db8::1]:5060' });
  });
});

const webSocket = 'ws://192.0.2.1:8080';
const tcp = 'tcp://192.0.2.1:5060';
const server = 'tcp://10.0.0.1:5060';

/** WebSocket clients, and TCP backends that reach us at a TCP listener, which has a plugin more that keeps something for clients. */
async function mixed() {
  const counting = guest((hooks, scope) => {
    const count = scope.perClient(() => ({ messages: 0 }));
    hooks.forward.tap('guest', ({ client }) => void (client && count(client).messages++));
  });
  const network = new Network();
  const backend = network.backend(server);
  await network.edge({
    listeners: { [webSocket]: { advertiseToBackends: 'tcp://sip.internal:5070' }, [tcp]: {} },
    before: { [tcp]: counting },
    backends: { a: server },
  });
  return { network, backend };
}

describe('where backends reach us at another address than clients', () => {
  it('each side is told its own, and the routes lead back from both', async () => {
    const { network, backend } = await mixed();
    const alice = network.client(webSocket);
    alice.send(request('INVITE', { via: 'SIP/2.0/WS d7f2.invalid;branch=z9hG4bK1' }));
    const invite = parseOne(backend.text());
    expect(values(invite, 'Via')[0]).toMatch(/^SIP\/2\.0\/TCP sip\.internal:5070;branch=/);
    expect(values(invite, 'Record-Route')).toEqual([
      expect.stringMatching(/^<sip:sip\.internal:5070;transport=tcp;lr;pm=/),
      expect.stringMatching(/^<sip:192\.0\.2\.1:8080;transport=ws;lr;pm=/),
    ]);
    backend.links[0]!.send(respond(invite, '200 OK', 'bob1'));
    const answer = parseOne(alice.text());
    alice.send(request('ACK', { toTag: 'bob1', extra: callerRoutes(answer) }));
    expect(values(parseOne(backend.text()), 'Route')).toEqual([]);

    backend.links[0]!.send(request('BYE', { fromTag: 'bob1', toTag: 'alice1', extra: calleeRoutes(invite) }));
    const bye = parseOne(alice.text());
    expect(values(bye, 'Route')).toEqual([]);
    expect(values(bye, 'Via')[0]).toMatch(/^SIP\/2\.0\/WS 192\.0\.2\.1:8080;branch=/);
    alice.send(respond(bye, '200 OK'));
    expect(parseOne(backend.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(network.isInOrder).toBe(true);
  });

  it('a registered client is called over a connection that the backend opens to the other listener', async () => {
    const { network, backend } = await mixed();
    const alice = network.client(webSocket);
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const path = value(parseOne(backend.text()), 'Path');
    expect(path).toMatch(/^<sip:sip\.internal:5070;transport=tcp;lr;pm=[a-z2-7]+;ob>$/);

    const opened = network.client(tcp, '10.0.0.1');
    opened.send(request('INVITE', { callId: 'call-back', fromTag: 'bob2', extra: [`Route: ${path}`] }));
    const invite = parseOne(alice.text());
    expect(values(invite, 'Via')[0]).toMatch(/^SIP\/2\.0\/WS 192\.0\.2\.1:8080;branch=/);
    expect(values(invite, 'Record-Route')).toEqual([
      expect.stringMatching(/^<sip:192\.0\.2\.1:8080;transport=ws;lr;pm=/),
      expect.stringMatching(/^<sip:192\.0\.2\.1:5060;transport=tcp;lr;pm=/),
    ]);
    alice.send(respond(invite, '200 OK', 'alice2'));
    const answer = parseOne(opened.text());
    expect(answer.startLine).toBe('SIP/2.0 200 OK');

    const inDialog = (method: string, from: Wire, options: RequestOptions, to: Wire) => {
      from.send(request(method, { callId: 'call-back', cseq: 2, ...options }));
      const got = parseOne(to.text());
      expect(got.startLine).toMatch(`${method} `);
      expect(values(got, 'Route')).toEqual([]);
      return got;
    };
    inDialog('ACK', opened, { toTag: 'alice2', extra: callerRoutes(answer) }, alice);
    const info = inDialog('INFO', alice, { toTag: 'bob2', extra: calleeRoutes(invite) }, opened);
    opened.send(respond(info, '200 OK'));
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 200 OK');
    const bye = inDialog('BYE', opened, { toTag: 'alice2', extra: callerRoutes(answer) }, alice);
    alice.send(respond(bye, '200 OK'));
    expect(parseOne(opened.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(backend.text()).toBe('');
    expect(network.isInOrder).toBe(true);
  });

  it('OPTIONS to either address is for us', async () => {
    const rig = await withSip({ advertiseToBackends: 'udp://sip.internal:5070' });
    for (const uri of ['sip:sip.internal:5070', 'sip:192.0.2.1']) {
      const client = rig.client();
      client.send(request('OPTIONS', { uri }));
      expect(parseOne(client.text()).startLine).toBe('SIP/2.0 200 OK');
    }
  });

  it.each([
    ['tcp', 'udp', 'SIP/2.0/UDP sip.internal:5070;rport;', 'transport=udp'],
    ['udp', 'tcp', 'SIP/2.0/TCP sip.internal:5070;', 'transport=tcp'],
  ] as const)('%s clients with %s backends: Via and Record-Route say so', async (transport, other, via, parameter) => {
    const rig = await withSip(
      { advertiseToBackends: `${other}://sip.internal:5070` },
      { transport, backendTransport: other, advertise: 'edge.example.net:5060', backends: ['a'] },
    );
    const alice = rig.client();
    alice.send(request('INVITE'));
    const invite = parseOne(rig.backend('a').text());
    expect(values(invite, 'Via')[0]!.startsWith(via)).toBe(true);
    const [first, second] = values(invite, 'Record-Route');
    expect(first).toContain(`<sip:sip.internal:5070;${parameter};lr;`);
    expect(second).toContain(`<sip:edge.example.net:5060;transport=${transport};lr;`);
    rig.backend('a').link.send(respond(invite, '200 OK', 'bob1'));
    const answer = parseOne(alice.text());
    alice.send(request('BYE', { toTag: 'bob1', cseq: 2, extra: callerRoutes(answer) }));
    expect(values(parseOne(rig.backend('a').text()), 'Route')).toEqual([]);
    rig.backend('a').link.send(request('BYE', { fromTag: 'bob1', extra: calleeRoutes(invite) }));
    const bye = parseOne(alice.text());
    expect(values(bye, 'Via')[0]).toMatch(`SIP/2.0/${transport.toUpperCase()} edge.example.net:5060;`);
    expect(values(bye, 'Route')).toEqual([]);
  });
});
