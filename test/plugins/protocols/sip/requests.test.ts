/** What each kind of request records of us, and which backend gets what belongs to it: by rule, where calls.test.ts tells stories. */
import { describe, expect, it } from 'vitest';
import sip from '../../../../plugins/protocols/sip/index.ts';
import roundRobin from '../../../../plugins/strategies/round-robin.ts';
import type { Rig } from '../../../support/embedded.ts';
import {
  arrival,
  arrivals,
  calleeRoutes,
  callerRoutes,
  parseOne,
  request,
  respond,
  sipRig,
  value,
  values,
} from './ua.ts';

/** A call at a backend, and the routes that each of its ends goes along. */
function established(rig: Rig, callId = 'call-1') {
  const alice = rig.client();
  alice.send(request('INVITE', { callId }));
  const { name, message: invite } = arrival(rig);
  const backend = rig.backend(name);
  backend.link.send(respond(invite, '200 OK', 'bob1'));
  return {
    alice,
    name,
    backend,
    invite,
    ofCaller: callerRoutes(parseOne(alice.text())),
    ofCallee: calleeRoutes(invite),
  };
}

describe('Record-Route stands', () => {
  it.each(['INVITE', 'SUBSCRIBE', 'MESSAGE', 'OPTIONS', 'REFER', 'PUBLISH', 'NOTIFY', 'FOO'])(
    'twice in %s outside of dialogs, loose and with tokens',
    async (method) => {
      const rig = await sipRig();
      rig.client().send(request(method));
      const recorded = values(arrival(rig).message, 'Record-Route');
      expect(recorded).toHaveLength(2);
      for (const route of recorded)
        expect(route).toMatch(/^<sip:192\.0\.2\.1:5060;transport=tcp;lr;pm=[a-z2-7]{20,}>$/);
    },
  );

  it.each(['REGISTER', 'CANCEL', 'ACK'])('in no %s', async (method) => {
    const rig = await sipRig();
    rig.client().send(request(method));
    expect(values(arrival(rig).message, 'Record-Route')).toEqual([]);
  });

  it.each([
    ['INVITE', 2],
    ['UPDATE', 2],
    ['SUBSCRIBE', 2],
    ['NOTIFY', 2],
    ['REFER', 2],
    ['ACK', 0],
    ['BYE', 0],
    ['PRACK', 0],
    ['INFO', 0],
    ['MESSAGE', 0],
    ['FOO', 0],
  ])('within a dialog in %s, from either end: %i times', async (method, times) => {
    const rig = await sipRig();
    const { alice, name, backend, ofCaller, ofCallee } = established(rig);
    alice.send(request(method, { callId: 'unheard-of', toTag: 'bob1', cseq: 2, extra: ofCaller }));
    const got = arrival(rig);
    expect(got.name).toBe(name);
    expect(values(got.message, 'Record-Route')).toHaveLength(times);
    expect(values(got.message, 'Route')).toEqual([]);
    backend.link.send(request(method, { fromTag: 'bob1', toTag: 'alice1', extra: ofCallee }));
    const back = parseOne(alice.text());
    expect(values(back, 'Record-Route')).toHaveLength(times);
    expect(values(back, 'Route')).toEqual([]);
  });

  it('in a request of a dialog whose route was forgotten, and whether there is such a dialog is for the backend to say', async () => {
    const rig = await sipRig();
    const client = rig.client();
    client.send(request('BYE', { toTag: 'nobody' }));
    const { name, message } = arrival(rig);
    expect(values(message, 'Record-Route')).toHaveLength(2);
    rig.backend(name).link.send(respond(message, '481 Call/Transaction Does Not Exist'));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 481 Call/Transaction Does Not Exist');
  });
});

describe('whatever is wrong', () => {
  it('with the backend of a call, the ACK to its 200 is answered by nobody', async () => {
    const rig = await sipRig();
    const { alice, backend, ofCaller } = established(rig);
    backend.down();
    alice.send(request('ACK', { toTag: 'bob1', extra: ofCaller }));
    rig.advance(10_000);
    expect(alice.text()).toBe('');
    expect(arrivals(rig)).toEqual([]);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'backend-down': 1 });
  });

  it.each(['ACK', 'CANCEL'])(
    'with what is required of proxies, %s is passed on (section 16.3, step 5)',
    async (method) => {
      const rig = await sipRig();
      rig.client().send(request(method, { extra: ['Proxy-Require: foo'] }));
      expect(arrivals(rig)).toHaveLength(1);
    },
  );
});

describe('header names that are legal, and that Kamailio closes the link for', () => {
  const odd = (text: string) => text.replace('Max-Forwards', 'C%6Fntact: <sip:x@y>\r\nMax-Forwards');

  it.each([..."!%*`'"])('with %s: a request gets 400, and the next one is served', async (byte) => {
    const rig = await sipRig();
    const client = rig.client();
    client.send(request('MESSAGE', { extra: [`X${byte}: 1`] }));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 400 Header Name That Not All Servers Read');
    client.send(request('MESSAGE', { extra: ['X-_.+~0: %'] }));
    expect(arrivals(rig)).toHaveLength(1);
  });

  it('cost a client its response, and a backend nothing', async () => {
    const rig = await sipRig();
    const { alice, backend, ofCallee } = established(rig);
    backend.link.send(odd(request('INFO', { fromTag: 'bob1', toTag: 'alice1', extra: ofCallee })));
    const info = parseOne(alice.text());
    expect(value(info, 'C%6Fntact')).toBe('<sip:x@y>');
    alice.send(respond(info, '200 OK').replace('\r\n', '\r\nX%: 1\r\n'));
    expect(arrivals(rig)).toEqual([]);
    alice.send(respond(info, '200 OK'));
    expect(arrival(rig).message.startLine).toBe('SIP/2.0 200 OK');
  });

  it('are passed on if the operator says so', async () => {
    const rig = await sipRig({ pipeline: [[sip, { headerNames: 'any' }], [roundRobin]] });
    rig.client().send(odd(request('MESSAGE')));
    expect(value(arrival(rig).message, 'C%6Fntact')).toBe('<sip:x@y>');
  });
});

// `value = token / host / quoted-string` (section 25.1).
describe('a Via with an = in the value of a parameter, for which Kamailio closes the link', () => {
  const via = (parameters: string) => `SIP/2.0/TCP 192.0.2.9:5060;${parameters}`;
  const usual = via('branch=z9hG4bKlater');

  it.each([
    ['its branch', [via('branch=z9hG4bKYWI=')]],
    ['another parameter', [via('x=a=b;branch=z9hG4bKa')]],
    ['one written with blanks', [via('branch = z9hG4bKa ; x = a=')]],
    ['the Via of another proxy', [usual, via('branch=z9hG4bKYWI==')]],
    ['another value of the line', [`${usual}, ${via('branch=z9hG4bKYWI==')}`]],
  ])('costs the request that has it in %s a 400, and no other', async (_, vias) => {
    const rig = await sipRig();
    const client = rig.client();
    const [top, ...others] = vias;
    client.send(request('MESSAGE', { via: top!, extra: others.map((other) => `Via: ${other}`) }));
    expect(parseOne(client.text()).startLine).toBe('SIP/2.0 400 Via That Not All Servers Read');
    expect(arrivals(rig)).toEqual([]);
    client.send(request('MESSAGE', { via: via('x="a=b";branch=z9hG4bKlater') }));
    expect(arrivals(rig)).toHaveLength(1);
  });

  it('is passed on if the operator says so, and so is its response', async () => {
    const rig = await sipRig({ pipeline: [[sip, { headerNames: 'any' }], [roundRobin]] });
    const client = rig.client();
    client.send(request('MESSAGE', { via: via('branch=z9hG4bKYWI==;pm=x=') }));
    const { name, message } = arrival(rig);
    rig.backend(name).link.send(respond(message, '200 OK'));
    expect(value(parseOne(client.text()), 'Via')).toContain('branch=z9hG4bKYWI==;pm=x=');
  });
});

describe('where backends cannot take more', () => {
  it('a call goes to the next in the order of its hash, and all that belongs to it follows, also when the first one is back', async () => {
    const first = await sipRig();
    first.client().send(request('INVITE', { callId: 'deviating' }));
    const { name: preferred } = arrival(first);
    const second = await sipRig({ backends: ['a', 'b', 'c'].filter((name) => name !== preferred) });
    second.client().send(request('INVITE', { callId: 'deviating' }));
    const { name: next } = arrival(second);

    const rig = await sipRig();
    rig.backend(preferred).down();
    const client = rig.client();
    client.send(request('INVITE', { callId: 'deviating', branch: 'z9hG4bKdeviating' }));
    rig.advance(100);
    expect(arrival(rig).name).toBe(next);
    rig.backend(preferred).up();
    rig.advance(60_000);
    expect(rig.stats().backends[preferred]!.up).toBe(true);
    client.send(request('CANCEL', { callId: 'deviating', branch: 'z9hG4bKdeviating' }));
    expect(arrival(rig).name).toBe(next);
    client.send(request('INVITE', { callId: 'deviating', branch: 'z9hG4bKagain', cseq: 2 }));
    expect(arrival(rig).name).toBe(next);
    client.send(request('INVITE', { callId: 'deviating', branch: 'z9hG4bKlater', cseq: 3 }));
    rig.advance(400_000);
    arrival(rig);
    client.send(request('INVITE', { callId: 'deviating', branch: 'z9hG4bKlatest', cseq: 4 }));
    expect(arrival(rig).name).toBe(preferred);
  });

  it('and all drain, calls that there are go on, and new ones get 503 with Retry-After', async () => {
    const rig = await sipRig();
    const { alice, name, ofCaller } = established(rig);
    const pool = rig.balancer.pools[0]!;
    for (const backend of pool.backends) pool.setState(backend, 'drain');
    alice.send(request('INVITE', { callId: 'new' }));
    const answer = parseOne(alice.text());
    expect(answer.startLine).toBe('SIP/2.0 503 Service Unavailable');
    expect(value(answer, 'Retry-After')).toBe('5');
    alice.send(request('BYE', { callId: 'unheard-of', toTag: 'bob1', extra: ofCaller }));
    expect(arrival(rig).name).toBe(name);
  });
});

describe('a backend that has as much in flight as it may have', () => {
  it('gets what a client answers to it', async () => {
    const rig = await sipRig({ backends: ['a'], pool: { backendLimits: { inFlight: 1 } } });
    const alice = rig.client();
    alice.send(request('INVITE'));
    const { message: invite } = arrival(rig);
    const { link } = rig.backend('a');
    link.send(request('UPDATE', { fromTag: 'bob1', extra: calleeRoutes(invite) }));
    alice.send(respond(parseOne(alice.text()), '200 OK'));
    expect(parseOne(link.text()).startLine).toBe('SIP/2.0 200 OK');
    alice.send(request('INVITE', { callId: 'another' }));
    expect(parseOne(alice.text()).startLine).toMatch('503');
  });
});

describe('what belongs together is remembered', () => {
  /** The backends take turns, so that only what is remembered comes to the same one. */
  const inTurns = () => sipRig({ pipeline: [[sip], [roundRobin]], backends: ['a', 'b'] });
  const names = (rig: Rig, ...texts: string[]) => {
    const client = rig.client();
    return texts.map((text) => {
      client.send(text);
      return arrival(rig).name;
    });
  };
  const [invite, cancel, ack] = ['INVITE', 'CANCEL', 'ACK'].map((method) => request(method, { branch: 'z9hG4bKcall' }));

  it.each([
    [299, 'a'],
    [301, 'b'],
  ])('of a call that rings, for 300 seconds: after %i it is at %s', async (seconds, name) => {
    const rig = await inTurns();
    names(rig, invite!);
    rig.advance(seconds * 1000);
    expect(names(rig, cancel!)).toEqual([name]);
  });

  it.each([
    [31, 'a'],
    [33, 'b'],
  ])('of a call that was answered, for 32 seconds more: after %i it is at %s', async (seconds, name) => {
    const rig = await inTurns();
    const client = rig.client();
    client.send(invite!);
    const { message } = arrival(rig);
    rig.advance(200_000);
    rig.backend('a').link.send(respond(message, '486 Busy Here', 'bob1'));
    rig.advance(seconds * 1000);
    expect(names(rig, ack!.replace('>\r\nCall', '>;tag=bob1\r\nCall'))).toEqual([name]);
  });

  it.each([
    [31, 'a'],
    [33, 'b'],
  ])('of other requests, for 32 seconds: after %i they are at %s', async (seconds, name) => {
    const rig = await inTurns();
    names(rig, request('MESSAGE'));
    rig.advance(seconds * 1000);
    expect(names(rig, request('MESSAGE', { cseq: 2 }))).toEqual([name]);
  });
});
