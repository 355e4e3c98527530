import { beforeEach, describe, expect, it } from 'vitest';
import sip from '../../../../plugins/protocols/sip/index.ts';
import hashing from '../../../../plugins/strategies/hashing.ts';
import roundRobin from '../../../../plugins/strategies/round-robin.ts';
import type { Rig } from '../../../support/embedded.ts';
import {
  arrival,
  arrivals,
  calleeRoutes,
  callerRoutes,
  format,
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

/** Sets a call up to its 200; answers the peers and the messages both sides keep. */
function establish(options: { callId?: string } = {}) {
  const alice = rig.client();
  alice.send(request('INVITE', { branch: 'z9hG4bKinvite', ...options }));
  const { name, message: invite } = arrival(rig);
  const backend = rig.backend(name);
  backend.link.send(respond(invite, '200 OK', 'bob1'));
  const answer = parseOne(alice.text());
  return { alice, backend, invite, answer };
}

describe('a client that half-closes', () => {
  it('still gets the final responses it waits for, then the connection is closed', () => {
    const alice = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bKinvite' }));
    const { name, message: invite } = arrival(rig);
    alice.end();
    rig.backend(name).link.send(respond(invite, '180 Ringing', 'bob1'));
    expect(alice.closed).toBe(false);
    rig.backend(name).link.send(respond(invite, '200 OK', 'bob1'));
    expect(parse(alice.text()).map(({ startLine }) => startLine)).toEqual(['SIP/2.0 180 Ringing', 'SIP/2.0 200 OK']);
    expect(alice.closed).toBe(true);
  });

  it('is closed at once if it waits for none', () => {
    const { alice } = establish();
    alice.end();
    expect(alice.closed).toBe(true);
  });

  it('is closed at once if it waits for no answer, also where clients call one another', () => {
    const alice = rig.client();
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { name, message: register } = arrival(rig);
    rig.backend(name).link.send(respond(register, '200 OK'));
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 200 OK');

    const opened = rig.client();
    opened.send(request('INVITE', { callId: 'call-back', extra: [`Route: ${value(register, 'Path')}`] }));
    opened.end();
    expect(opened.closed).toBe(false); // it waits for the phone's answer
    alice.send(respond(parseOne(alice.text()), '200 OK', 'alice2'));
    expect(parseOne(opened.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(opened.closed).toBe(true);
    alice.end();
    expect(alice.closed).toBe(true);
  });
});

describe('a balancer that stops', () => {
  it('waits for the final responses that clients wait for', async () => {
    const alice = rig.client();
    const idle = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bKinvite' }));
    const { name, message: invite } = arrival(rig);
    const stopped = rig.balancer.stop({ deadlineSeconds: 10 });
    await rig.settle();
    expect([alice.ended, idle.ended]).toEqual([false, true]);
    rig.backend(name).link.send(respond(invite, '180 Ringing', 'bob1'));
    rig.advance(5000);
    await rig.settle();
    rig.backend(name).link.send(respond(invite, '200 OK', 'bob1'));
    expect(parse(alice.text()).map(({ startLine }) => startLine)).toEqual(['SIP/2.0 180 Ringing', 'SIP/2.0 200 OK']);
    rig.advance(20);
    await rig.settle();
    expect(alice.ended).toBe(true);
    alice.end();
    idle.end();
    rig.advance(20);
    await rig.runtime.until(stopped);
  });
});

describe('a call from a client', () => {
  it('runs from INVITE to BYE at one backend, its answers at their client', () => {
    const alice = rig.client();
    const other = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bKinvite' }));
    const { name, message: invite } = arrival(rig);
    const backend = rig.backend(name);

    backend.link.send(respond(invite, '100 Trying'));
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 100 Trying');
    backend.link.send(respond(invite, '180 Ringing', 'bob1'));
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 180 Ringing');
    backend.link.send(respond(invite, '200 OK', 'bob1'));
    const answer = parseOne(alice.text());
    expect(values(answer, 'Via')).toEqual(['SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bKinvite;received=198.51.100.1']);

    const extra = callerRoutes(answer);
    for (const method of ['ACK', 'BYE']) {
      alice.send(request(method, { toTag: 'bob1', cseq: 2, extra }));
      const got = arrival(rig);
      expect(got.name).toBe(name);
      expect(values(got.message, 'Route')).toEqual([]);
      expect(values(got.message, 'Record-Route')).toEqual([]);
      if (method === 'BYE') {
        backend.link.send(respond(got.message, '200 OK'));
        expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 200 OK');
      }
    }
    expect(other.text()).toBe('');
    expect(rig.stats().routes).toMatchObject({ strategy: 1, identifier: 6 });
  });

  it('is ended by the backend over its own link', () => {
    const { alice, backend, invite } = establish();
    backend.link.send(request('BYE', { fromTag: 'bob1', toTag: 'alice1', extra: calleeRoutes(invite) }));
    const bye = parseOne(alice.text());
    expect(bye.startLine).toBe('BYE sip:bob@example.net SIP/2.0');
    expect(values(bye, 'Route')).toEqual([]);
    expect(values(bye, 'Via')).toHaveLength(2);
    alice.send(respond(bye, '200 OK'));
    expect(values(arrival(rig).message, 'Via')).toHaveLength(1);
  });

  it('is ended by the backend over a connection that it opened to the listener', () => {
    const { alice, invite } = establish();
    const fromBackend = rig.client('10.0.0.1');
    fromBackend.send(request('BYE', { fromTag: 'bob1', toTag: 'alice1', extra: calleeRoutes(invite) }));
    const bye = parseOne(alice.text());
    alice.send(respond(bye, '200 OK'));
    expect(parseOne(fromBackend.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(arrivals(rig)).toEqual([]);
  });

  it('keeps its backend over another connection of the client', () => {
    const { backend, answer } = establish();
    rig.client().send(request('BYE', { toTag: 'bob1', callId: 'unheard-of', extra: callerRoutes(answer) }));
    expect(arrival(rig).name).toBe(backend.name);
  });

  it('keeps its backend when routes come folded, several in a line, in compact form and in other letter case', () => {
    const { backend, answer } = establish();
    const routes = values(answer, 'Record-Route').reverse();
    const other = '<sip:next.example.net;lr>';
    const extra = [`ROUTE :  ${routes[0]!.toUpperCase()},`, `\t${routes[1]} , ${other}`];
    rig.client().send(request('BYE', { toTag: 'bob1', callId: 'unheard-of', extra }));
    const got = arrival(rig);
    expect(got.name).toBe(backend.name);
    expect(got.message.headers.filter(([name]) => name.trim() === 'ROUTE')).toEqual([['ROUTE ', other]]);
  });

  it.each([
    ['a line of its own', (routes: string[]) => ['Route: <sip:192.0.2.1:5060;lr>', ...routes]],
    [
      'the line of the others',
      (routes: string[]) => [`Route: <sip:192.0.2.1;lr>, ${routes.join(', ').replaceAll('Route: ', '')}`],
    ],
    ['two lines', (routes: string[]) => ['Route: <sip:192.0.2.1;lr>', 'Route: <sip:192.0.2.1:5060;lr>', ...routes]],
  ])("passes its client's outbound proxy, us, also on %s", (_where, along) => {
    const { alice, backend, answer } = establish();
    const routes = callerRoutes(answer);
    alice.send(request('BYE', { toTag: 'bob1', cseq: 2, callId: 'unheard-of', extra: along(routes) }));
    const { name, message } = arrival(rig);
    expect(name).toBe(backend.name);
    expect(values(message, 'Route')).toEqual([]);
    expect(rig.stats().routes).toMatchObject({ strategy: 1, identifier: 2 });

    alice.send(
      request('INFO', { toTag: 'bob1', cseq: 3, extra: along([...routes, 'Route: <sip:next.example.net;lr>']) }),
    );
    expect(values(arrival(rig).message, 'Route')).toEqual(['<sip:next.example.net;lr>']);
  });

  it('leaves the routes of a proxy behind us alone', () => {
    const { answer } = establish();
    const extra = [...callerRoutes(answer), 'Route: <sip:p1.example.net;lr>', 'Route: <sip:p2.example.net;lr>'];
    rig.client().send(request('BYE', { toTag: 'bob1', extra }));
    expect(values(arrival(rig).message, 'Route')).toEqual(['<sip:p1.example.net;lr>', '<sip:p2.example.net;lr>']);
  });

  it('takes out one pair of routes, so that a call which passes us twice is routed twice', () => {
    const { answer } = establish();
    const pair = callerRoutes(answer);
    rig.client().send(request('BYE', { toTag: 'bob1', extra: [...pair, ...pair] }));
    expect(values(arrival(rig).message, 'Route').map((route) => `Route: ${route}`)).toEqual(pair);
  });

  it('is re-invited with fresh record-routes', () => {
    const { alice, answer } = establish();
    alice.send(request('INVITE', { toTag: 'bob1', cseq: 2, extra: callerRoutes(answer) }));
    expect(values(arrival(rig).message, 'Record-Route')).toHaveLength(2);
  });

  it('keeps its route, by Call-ID, with a client that forgot the route', () => {
    const { alice, backend } = establish();
    alice.send(request('BYE', { toTag: 'bob1', cseq: 2 }));
    expect(arrival(rig).name).toBe(backend.name);
  });
});

describe('a request', () => {
  it('gets our Via, Record-Route and a Max-Forwards one lower, and else leaves as it came', () => {
    const alice = rig.client();
    const sent = request('INVITE', { branch: 'z9hG4bKx', extra: ['X-Odd: ;;,,"', 'Subject:'], body: 'v=0\r\n' });
    alice.send(sent);
    const { message } = arrival(rig);
    const ours = message.headers.splice(0, 3);
    expect(ours.map(([name]) => name)).toEqual(['Via', 'Record-Route', 'Record-Route']);
    expect(ours[0]![1]).toMatch(/^SIP\/2\.0\/TCP 192\.0\.2\.1:5060;branch=z9hG4bK[0-9a-f]{16};pm=[a-z2-7]+$/);
    expect(ours[1]![1]).toMatch(/^<sip:192\.0\.2\.1:5060;transport=tcp;lr;pm=[a-z2-7]+>$/);
    const expected = sent
      .replace('branch=z9hG4bKx', 'branch=z9hG4bKx;received=198.51.100.1')
      .replace('Max-Forwards: 70', 'Max-Forwards: 69');
    expect(format(message).replace('Subject: ', 'Subject:')).toBe(expected);
  });

  it('leaves twice alike when it is sent twice', () => {
    const alice = rig.client();
    const sent = request('INVITE', { branch: 'z9hG4bKx' });
    alice.send(sent);
    const first = arrivals(rig);
    alice.send(sent);
    expect(arrivals(rig)).toEqual(first);
  });

  it('gets Max-Forwards if it has none', () => {
    rig.client().send(request('MESSAGE').replace('Max-Forwards: 70\r\n', ''));
    expect(value(arrival(rig).message, 'Max-Forwards')).toBe('70');
  });

  it('leaves with one canonical Content-Length, and unfolded', () => {
    rig
      .client()
      .send(
        request('MESSAGE', { extra: ['Subject: one', '  two', '\t ', ' Content-Length: 99'], body: 'hi' }).replace(
          'Content-Length: 2\r\n',
          'l :\r\n 0002 \r\n',
        ),
      );
    const { message } = arrival(rig);
    expect(value(message, 'Subject')).toBe('one two  Content-Length: 99');
    expect(value(message, 'Content-Length')).toBe('2');
    expect(message.body).toBe('hi');
  });

  it.each([
    ['SIP/2.0/TCP 198.51.100.1;branch=z9hG4bK1', ''],
    [
      'SIP/2.0/TCP 198.51.100.1;rport;branch=z9hG4bK1',
      'SIP/2.0/TCP 198.51.100.1;rport=40000;branch=z9hG4bK1;received=198.51.100.1',
    ],
    ['SIP/2.0/TCP me.example;branch=z9hG4bK1', 'SIP/2.0/TCP me.example;branch=z9hG4bK1;received=198.51.100.1'],
    [
      'SIP/2.0/TCP me.example;received=1.2.3.4;branch=z9hG4bK1;rport',
      'SIP/2.0/TCP me.example;received=198.51.100.1;branch=z9hG4bK1;rport=40000',
    ],
    [
      'SIP/2.0/TCP me.example;rport;received=1.2.3.4;branch=z9hG4bK1',
      'SIP/2.0/TCP me.example;rport=40000;received=198.51.100.1;branch=z9hG4bK1',
    ],
  ])('has its sender written into its Via: %s', (via, expected) => {
    rig.client().send(request('MESSAGE', { via }));
    expect(values(arrival(rig).message, 'Via')[1]).toBe(expected || via);
  });

  it('from an IPv6 client that knows its address gets no received', () => {
    rig.client('2001:db8::7').send(request('MESSAGE', { via: 'SIP/2.0/TCP [2001:db8::7]:5060;branch=z9hG4bK1' }));
    expect(values(arrival(rig).message, 'Via')[1]).toBe('SIP/2.0/TCP [2001:db8::7]:5060;branch=z9hG4bK1');
  });

  it('of a version before RFC 3261 has one branch with its CANCEL, and another than its neighbours', () => {
    const alice = rig.client();
    const via = 'SIP/2.0/TCP 192.0.2.10';
    const branchOf = (method: string, cseq: number) => {
      alice.send(request(method, { via, cseq }));
      return /branch=([^;]+)/.exec(values(arrival(rig).message, 'Via')[0]!)![1];
    };
    const branch = branchOf('INVITE', 1);
    expect(branchOf('CANCEL', 1)).toBe(branch);
    expect(branchOf('INVITE', 2)).not.toBe(branch);
  });

  it.each([
    ['of a version before RFC 3261', '1'],
    ['the cookie alone', 'z9hG4bK'],
  ])('finds its call, and no other, where all calls have the same branch: %s', async (_which, branch) => {
    rig = await sipRig({ pipeline: [[sip], [roundRobin]], backends: ['a', 'b'] });
    const alice = rig.client();
    const nameFor = (method: string, callId: string, options = {}) => {
      alice.send(request(method, { branch, callId, ...options }));
      return arrival(rig).name;
    };
    const first = nameFor('INVITE', 'first');
    const second = nameFor('INVITE', 'second');
    expect(second).not.toBe(first);
    expect(nameFor('CANCEL', 'first')).toBe(first);
    expect(nameFor('CANCEL', 'second')).toBe(second);
    expect(nameFor('ACK', 'first', { toTag: 'bob1' })).toBe(first);
  });
});

describe('a transaction', () => {
  it('is cancelled at the backend of its INVITE, with its branch, also over another connection', () => {
    const alice = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bKringing' }));
    const { name, message: invite } = arrival(rig);
    rig.advance(170_000);
    const again = rig.client();
    again.send(request('CANCEL', { branch: 'z9hG4bKringing' }));
    const cancel = arrival(rig);
    expect(cancel.name).toBe(name);
    const branchOf = (via: string) => /branch=([^;]+)/.exec(via)![1];
    expect(branchOf(values(cancel.message, 'Via')[0]!)).toBe(branchOf(values(invite, 'Via')[0]!));
    expect(values(cancel.message, 'Record-Route')).toEqual([]);
    rig.backend(name).link.send(respond(cancel.message, '200 OK') + respond(invite, '487 Request Terminated', 'bob1'));
    expect(parseOne(again.text()).startLine).toBe('SIP/2.0 200 OK');
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 487 Request Terminated');
    alice.send(request('ACK', { branch: 'z9hG4bKringing', toTag: 'bob1' }));
    expect(arrival(rig).name).toBe(name);
  });

  it('stays where it went when a strategy would now choose another backend', async () => {
    rig = await sipRig({ pipeline: [[sip], [roundRobin]] });
    const alice = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bK1' }));
    const { name, message: invite } = arrival(rig);
    rig.backend(name).link.send(respond(invite, '401 Unauthorized', 'bob1'));
    alice.send(request('ACK', { branch: 'z9hG4bK1', toTag: 'bob1' }));
    expect(arrival(rig).name).toBe(name);
    alice.send(request('INVITE', { branch: 'z9hG4bK2', cseq: 2 }));
    expect(arrival(rig).name).toBe(name);
    rig.advance(100_000);
    alice.send(request('CANCEL', { branch: 'z9hG4bK2', cseq: 2 }));
    expect(arrival(rig).name).toBe(name);
  });

  it('leads its ACK to its call, also where all ACKs of a proxy have one branch, as those of Kamailio have', async () => {
    rig = await sipRig({ pipeline: [[sip, { identity: 'path' }], [roundRobin]], backends: ['a', 'b'] });
    const proxy = rig.client();
    const calls = ['first', 'second', 'third', 'fourth'];
    const names = calls.map((callId) => {
      proxy.send(request('INVITE', { callId }));
      return arrival(rig).name;
    });
    expect(new Set(names).size).toBe(2);
    for (const [i, callId] of calls.entries()) {
      proxy.send(request('ACK', { callId, branch: 'z9hG4bKcydzigwkX', toTag: 'bob1' }));
      expect(arrival(rig).name).toBe(names[i]);
    }
  });

  it('keeps its call where it is while it rings, whatever else of the call has been answered', async () => {
    rig = await sipRig({ pipeline: [[sip], [roundRobin]] });
    const alice = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bKinvite' }));
    const { name } = arrival(rig);
    alice.send(request('PRACK', { branch: 'z9hG4bKprack', toTag: 'bob1', cseq: 2 }));
    const prack = arrival(rig);
    expect(prack.name).toBe(name);
    rig.backend(name).link.send(respond(prack.message, '200 OK', 'bob1'));
    rig.advance(100_000);
    alice.send(request('UPDATE', { branch: 'z9hG4bKupdate', toTag: 'bob1', cseq: 3 }));
    expect(arrival(rig).name).toBe(name);
  });

  it('counts as in flight until its final answer', () => {
    const alice = rig.client();
    alice.send(request('INVITE', { branch: 'z9hG4bK1' }));
    const { name, message: invite } = arrival(rig);
    rig.backend(name).link.send(respond(invite, '180 Ringing', 'bob1'));
    expect(rig.stats().backends[name]!.inFlight).toBe(1);
    rig.backend(name).link.send(respond(invite, '200 OK', 'bob1'));
    expect(rig.stats().backends[name]!.inFlight).toBe(0);
  });

  it('does not count as in flight if it is an ACK, also one that finds its call by Call-ID', () => {
    const alice = rig.client();
    alice.send(request('INVITE', { callId: 'call-1' }));
    const { name, message } = arrival(rig);
    rig.backend(name).link.send(respond(message, '200 OK', 'bob1'));
    alice.send(request('ACK', { callId: 'call-1' }));
    expect(arrival(rig).name).toBe(name);
    expect(rig.stats().backends[name]!.inFlight).toBe(0);
  });
});

describe('a backend that calls another one', () => {
  it('gets its answers', async () => {
    const { backend, answer } = establish();
    const other = rig.backends.find(({ name }) => name !== backend.name)!;
    other.link.send(request('BYE', { toTag: 'bob1', extra: callerRoutes(answer) }));
    const { name, message: bye } = arrival(rig);
    expect(name).toBe(backend.name);
    backend.link.send(respond(bye, '200 OK'));
    expect(arrival(rig)).toMatchObject({ name: other.name, message: { startLine: 'SIP/2.0 200 OK' } });
    expect(rig.stats().fromBackends).toMatchObject({ refused: 0, discarded: 0 });
  });
});

describe('a registration', () => {
  it('carries a Path to the client, over which the backend calls it', () => {
    const alice = rig.client();
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { name, message: register } = arrival(rig);
    expect(values(register, 'Record-Route')).toEqual([]);
    const path = value(register, 'Path');
    expect(path).toMatch(/^<sip:192\.0\.2\.1:5060;transport=tcp;lr;pm=[a-z2-7]+;ob>$/);

    const backend = rig.backend(name);
    backend.link.send(request('INVITE', { callId: 'call-back', fromTag: 'bob2', extra: [`Route: ${path}`] }));
    const invite = parseOne(alice.text());
    expect(values(invite, 'Route')).toEqual([]);
    alice.send(respond(invite, '200 OK', 'alice2'));
    const answer = arrival(rig);
    expect(answer.name).toBe(name);

    // Both ends keep talking over the routes of this dialog.
    backend.link.send(request('ACK', { callId: 'call-back', toTag: 'alice2', extra: callerRoutes(answer.message) }));
    expect(parseOne(alice.text()).startLine).toMatch(/^ACK /);
    rig.client().send(request('BYE', { callId: 'call-back-', toTag: 'bob2', extra: calleeRoutes(invite) }));
    expect(arrival(rig).name).toBe(name);
  });

  it('leads to 430 once the client has gone', () => {
    const alice = rig.client();
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { name, message: register } = arrival(rig);
    alice.reset();
    const { link } = rig.backend(name);
    link.send(request('INVITE', { callId: 'call-back', extra: [`Route: ${value(register, 'Path')}`] }));
    expect(parseOne(link.text()).startLine).toBe('SIP/2.0 430 Flow Failed');
    expect(rig.stats().fromBackends.refusedFor).toEqual({ 'client-gone': 1 });
  });
});

describe('replicas', () => {
  it('with one key route and write alike, and know the routes of one another', async () => {
    const { backend, answer } = establish();
    const twin = await sipRig({ advertise: 'edge.example.net:5070' });
    twin.client().send(request('BYE', { toTag: 'bob1', callId: 'unheard-of', extra: callerRoutes(answer) }));
    const got = arrival(twin);
    expect(got.name).toBe(backend.name);
    expect(values(got.message, 'Route')).toEqual([]);
  });

  it('one behind the other take out each its own route of a Path', async () => {
    const alice = rig.client();
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { name, message: register } = arrival(rig);
    const behind = '<sip:edge.example.net:5070;lr;pm=bogus>';
    rig.backend(name).link.send(request('INVITE', { extra: [`Route: ${value(register, 'Path')}, ${behind}`] }));
    expect(values(parseOne(alice.text()), 'Route')).toEqual([behind]);
    const twin = await sipRig({ advertise: 'edge.example.net:5070' });
    const bob = twin.client();
    bob.send(request('REGISTER', { uri: 'sip:example.net' }));
    const path = value(arrival(twin).message, 'Path');
    rig.backend(name).link.send(request('INVITE', { extra: [`Route: ${value(register, 'Path')}, ${path}`] }));
    expect(values(parseOne(alice.text()), 'Route')).toEqual([path]);
  });
});

describe('plain identifiers', () => {
  it('carry a call too, with the bare name of its backend', async () => {
    rig = await sipRig({ keys: [] });
    const { backend, answer } = establish();
    expect(callerRoutes(answer)[0]).toBe(`Route: <sip:192.0.2.1:5060;transport=tcp;lr;pm=${backend.name}>`);
    rig.client().send(request('BYE', { toTag: 'bob1', callId: 'unheard-of', extra: callerRoutes(answer) }));
    expect(arrival(rig).name).toBe(backend.name);
  });

  it('do not make the routes of others ours', async () => {
    rig = await sipRig({ keys: [] });
    rig.client().send(request('BYE', { toTag: 'bob1', extra: ['Route: <sip:elsewhere.example;lr;pm=gone>'] }));
    expect(values(arrival(rig).message, 'Route')).toHaveLength(1);
  });
});

describe('hashing', () => {
  it.each(['to-user', 'from-user', 'request-uri', 'call-id'])('takes %s as its key', async (key) => {
    rig = await sipRig({ pipeline: [[sip], [hashing, { key }]], backends: [...'abcdefghij'] });
    const names = new Set<string>();
    /** Sends a message in which all that could be a key says `others`, but for `key`. */
    const backendOf = (own: string, others: string) => {
      const say = (field: string) => (field === key ? own : others);
      const text = request('MESSAGE', { uri: `sip:${say('request-uri')}@x`, callId: say('call-id') })
        .replace('To: <sip:bob@', `To: "${others}" <sip:${say('to-user')}:${others}@`)
        .replace('From: <sip:alice@', `From: <sip:${say('from-user')}@`);
      rig.client().send(text);
      const { name } = arrival(rig);
      rig.advance(40_000);
      return name;
    };
    for (let n = 0; n < 20; n++) {
      const name = backendOf(`own-${n}`, 'x');
      expect(backendOf(`own-${n}`, 'y')).toBe(name);
      names.add(name);
    }
    expect(names.size).toBeGreaterThan(3);
  });
});

describe('dedicated links', () => {
  it('carry a call as shared ones do', async () => {
    rig = await sipRig({ links: 'dedicated' });
    const { alice, backend, invite } = establish();
    backend.link.send(request('BYE', { fromTag: 'bob1', toTag: 'alice1', extra: calleeRoutes(invite) }));
    expect(values(parseOne(alice.text()), 'Route')).toEqual([]);
  });
});

describe('sips', () => {
  it.each([
    ['the Request-URI demands it', { uri: 'sips:bob@example.net' }, 'sips'],
    ['the next route does', { extra: ['Route: <sip:192.0.2.1:5060;lr>, <sips:next.example.net;lr>'] }, 'sips'],
    ['only a later route does', { extra: ['Route: <sip:next.example.net;lr>', 'Route: <sips:x;lr>'] }, 'sip'],
    ['nothing does', {}, 'sip'],
  ])('is recorded where %s (section 16.6)', async (_when, options, scheme) => {
    rig = await sipRig({ transport: 'tls' });
    rig.client().send(request('INVITE', options));
    const schemes = values(arrival(rig).message, 'Record-Route').map((route) => /^<(\w+):/.exec(route)![1]);
    expect(schemes).toEqual([scheme, scheme]);
  });

  it('is recorded as sip where the listener has no TLS', () => {
    rig.client().send(request('INVITE', { uri: 'sips:bob@example.net' }));
    expect(values(arrival(rig).message, 'Record-Route')[0]).toMatch(/^<sip:/);
  });
});

describe('outlier detection', () => {
  it.each([
    [['503 Service Unavailable', '180 Ringing', '500 Server Internal Error'], true],
    [['503 Service Unavailable', '486 Busy Here', '504 Server Time-out'], false],
    [['501 Not Implemented', '505 Version Not Supported', '600 Busy Everywhere'], false],
  ])('takes %j for failures: %j', async (statuses, ejected) => {
    const outliers = {
      consecutiveFailures: 2,
      baseEjectionSeconds: 30,
      maxEjectionSeconds: 300,
      maxEjectedPercent: 50,
    };
    rig = await sipRig({ pool: { outliers } });
    const alice = rig.client();
    alice.send(request('OPTIONS'));
    const { name, message } = arrival(rig);
    for (const status of statuses) rig.backend(name).link.send(respond(message, status, 'bob1'));
    expect(rig.stats().backends[name]!.ejected).toBe(ejected);
  });
});
