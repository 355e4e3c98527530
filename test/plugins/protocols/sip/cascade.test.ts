/** Several of us: replicas side by side, one behind the other, and a call that passes the same one twice. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { VirtualBackend } from '../../../../core/rehearsal/rig.ts';
import type { Wire } from '../../../support/embedded.ts';
import { Network } from './network.ts';
import { calleeRoutes, callerRoutes, keys, parseOne, request, respond, type SipMessage, value, values } from './ua.ts';

const one = 'tcp://192.0.2.1:5060';
const two = 'tcp://192.0.2.2:5060';
const three = 'tcp://192.0.2.3:5060';
const servers = { a: 'tcp://10.0.0.1:5060', b: 'tcp://10.0.0.2:5060', c: 'tcp://10.0.0.3:5060' };

let network: Network;
beforeEach(() => {
  network = new Network();
});

/** The only server that has something to read, and what it is. */
function arrived(backends: readonly VirtualBackend[]): { backend: VirtualBackend; message: SipMessage; link: Wire } {
  const found = backends.flatMap((backend) =>
    backend.links.flatMap((link) => {
      const text = link.text();
      return text === '' ? [] : [{ backend, link, message: parseOne(text) }];
    }),
  );
  expect(found).toHaveLength(1);
  return found[0]!;
}

describe('two replicas', () => {
  let backends: VirtualBackend[];
  beforeEach(async () => {
    backends = Object.values(servers).map((address) => network.backend(address));
    await network.edge({ listeners: { [one]: {} }, backends: servers });
    await network.edge({ listeners: { [two]: {} }, backends: Object.fromEntries(Object.entries(servers).reverse()) });
  });

  it('go on with the dialogs of one another, in both directions', () => {
    const names = new Set<string>();
    for (let n = 0; n < 30; n++) {
      const [here, there] = n % 2 === 0 ? [one, two] : [two, one];
      const dialog = { callId: `call-${n}` };
      const before = network.client(here);
      before.send(request('INVITE', dialog));
      const { backend, link, message: invite } = arrived(backends);
      names.add(backend.name);
      link.send(respond(invite, '200 OK', 'bob1'));
      const extra = callerRoutes(parseOne(before.text()));
      before.reset();

      // The other replica has never heard of the call, and no Call-ID helps it.
      const after = network.client(there);
      for (const [i, method] of ['ACK', 'INFO', 'UPDATE', 'BYE'].entries()) {
        after.send(request(method, { callId: `call-${n}-${method}`, toTag: 'bob1', cseq: 2 + i, extra }));
        const got = arrived(backends);
        expect(got.backend.name).toBe(backend.name);
        expect(values(got.message, 'Route')).toEqual([]);
        if (method !== 'ACK') {
          got.link.send(respond(got.message, '200 OK'));
          expect(parseOne(after.text()).startLine).toBe('SIP/2.0 200 OK');
        }
      }
    }
    expect(names.size).toBe(3);
    expect(network.isInOrder).toBe(true);
  });

  it('choose alike for new calls, and write alike but for themselves', () => {
    for (let n = 0; n < 20; n++) {
      const text = request('INVITE', { callId: `call-${n}`, branch: `z9hG4bK${n}` });
      const [first, second] = [one, two].map((edge) => {
        network.client(edge).send(text);
        return arrived(backends);
      });
      expect(second!.backend.name).toBe(first!.backend.name);
      const neutral = (message: SipMessage) =>
        JSON.stringify(message)
          .replace(/192\.0\.2\.[12]:/g, 'us:')
          .replace(/pm=[a-z2-7]+/g, 'pm=x');
      expect(neutral(second!.message)).toBe(neutral(first!.message));
    }
  });

  it('cancel the calls of one another, also while only one has a new key', async () => {
    const k2 = { id: 'k2', secret: Buffer.alloc(32, 8) };
    await network.edge({ listeners: { [three]: {} }, backends: servers, keys: [k2, ...keys] });
    const branchOf = (message: SipMessage) => /branch=([^;]+)/.exec(values(message, 'Via')[0]!)![1];
    for (let n = 0; n < 20; n++) {
      const call = { callId: `call-${n}`, branch: `z9hG4bK${n}` };
      network.client(one).send(request('INVITE', call));
      const invite = arrived(backends);
      network.client(three).send(request('CANCEL', call));
      const cancel = arrived(backends);
      expect(cancel.backend.name).toBe(invite.backend.name);
      expect(branchOf(cancel.message)).toBe(branchOf(invite.message));
    }
  });

  it('do not know the clients of one another, and say so', () => {
    const alice = network.client(one);
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { message } = arrived(backends);
    const server = network.client(two, '10.0.0.1');
    server.send(request('INVITE', { callId: 'back', extra: [`Route: ${value(message, 'Path')}`] }));
    expect(parseOne(server.text()).startLine).toBe('SIP/2.0 430 Flow Failed');
    expect(alice.text()).toBe('');
  });
});

/** What the outer ones call those behind them: as nobody else is called, or as these call their servers, in the same pool. */
const namings = [
  ['names of its own', ['inner']],
  ['the names of the inner one', ['a', 'b']],
] as const;

describe.each(namings)('one behind the other, with the same keys and %s', (_what, names) => {
  let backends: VirtualBackend[];
  beforeEach(async () => {
    backends = [servers.a, servers.b].map((address) => network.backend(address));
    network.bridge(two);
    network.bridge(three);
    for (const inner of [two, three]) {
      await network.edge({ listeners: { [inner]: {} }, backends: { a: servers.a, b: servers.b } });
    }
    const inners = [two, three].slice(0, names.length);
    await network.edge({
      listeners: { [one]: {} },
      backends: Object.fromEntries(names.map((name, i) => [name, inners[i]!])),
    });
  });

  it('a call runs through both, each taking out its own, from whichever end', () => {
    const alice = network.client(one);
    alice.send(request('INVITE', { branch: 'z9hG4bKinvite' }));
    const { message: invite, link, backend } = arrived(backends);
    expect(values(invite, 'Via').map((via) => via.split(';')[0])).toEqual([
      expect.stringMatching(/^SIP\/2\.0\/TCP 192\.0\.2\.[23]:5060$/),
      'SIP/2.0/TCP 192.0.2.1:5060',
      'SIP/2.0/TCP 192.0.2.10:5060',
    ]);
    expect(values(invite, 'Record-Route')).toHaveLength(4);
    expect(value(invite, 'Max-Forwards')).toBe('68');
    link.send(respond(invite, '180 Ringing', 'bob1') + respond(invite, '200 OK', 'bob1'));
    const answers = alice
      .text()
      .split(/(?=SIP\/2\.0 200)/)
      .map(parseOne);
    expect(answers.map(({ startLine }) => startLine)).toEqual(['SIP/2.0 180 Ringing', 'SIP/2.0 200 OK']);
    expect(values(answers[1]!, 'Via')).toHaveLength(1);

    for (const method of ['ACK', 'INVITE', 'BYE']) {
      alice.send(request(method, { toTag: 'bob1', cseq: 2, extra: callerRoutes(answers[1]!) }));
      const got = arrived(backends);
      expect(got.backend.name).toBe(backend.name);
      expect(values(got.message, 'Route')).toEqual([]);
      if (method === 'ACK') continue;
      got.link.send(respond(got.message, '200 OK'));
      expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 200 OK');
    }
    link.send(request('INFO', { fromTag: 'bob1', toTag: 'alice1', extra: calleeRoutes(invite) }));
    const info = parseOne(alice.text());
    expect(values(info, 'Route')).toEqual([]);
    alice.send(respond(info, '200 OK'));
    expect(arrived(backends).message.startLine).toBe('SIP/2.0 200 OK');
    expect(network.isInOrder).toBe(true);
  });

  it('a ringing call is cancelled through both', () => {
    const alice = network.client(one);
    alice.send(request('INVITE', { branch: 'z9hG4bKringing' }));
    const { backend, message: invite } = arrived(backends);
    network.client(one).send(request('CANCEL', { branch: 'z9hG4bKringing' }));
    const got = arrived(backends);
    expect(got.backend.name).toBe(backend.name);
    const branchOf = (message: SipMessage) => /branch=([^;]+)/.exec(values(message, 'Via')[0]!)![1];
    expect(branchOf(got.message)).toBe(branchOf(invite));
  });

  it('a registration collects both in its Path, and the call back goes along it', () => {
    const alice = network.client(one);
    alice.send(request('REGISTER', { uri: 'sip:example.net' }));
    const { message, link } = arrived(backends);
    const path = values(message, 'Path');
    expect(path.map((value) => /sip:([^:]+)/.exec(value)![1])).toEqual([
      expect.stringMatching(/^192\.0\.2\.[23]$/),
      '192.0.2.1',
    ]);
    link.send(request('INVITE', { callId: 'back', fromTag: 'bob2', extra: path.map((value) => `Route: ${value}`) }));
    const invite = parseOne(alice.text());
    expect(values(invite, 'Route')).toEqual([]);
    alice.send(respond(invite, '200 OK', 'alice2'));
    expect(arrived(backends).message.startLine).toBe('SIP/2.0 200 OK');
    expect(network.isInOrder).toBe(true);
  });

  it('a refusal of the inner one is acknowledged without reaching a server', () => {
    const alice = network.client(one);
    alice.send(request('INVITE', { maxForwards: 1, branch: 'z9hG4bKhops' }));
    const answer = parseOne(alice.text());
    expect(answer.startLine).toBe('SIP/2.0 483 Too Many Hops');
    const toTag = /tag=(\w+)/.exec(value(answer, 'To'))![1]!;
    alice.send(request('ACK', { toTag, branch: 'z9hG4bKhops' }));
    expect(backends.map((backend) => backend.text())).toEqual(['', '']);
  });
});

describe('one that records no routes, before one that does, with the same keys', () => {
  it('leaves alone what the other has recorded, if their pools have different names', async () => {
    const backends = [servers.a, servers.b].map((address) => network.backend(address));
    network.bridge(two);
    await network.edge({ listeners: { [two]: {} }, backends: { a: servers.a, b: servers.b } });
    await network.edge({ listeners: { [one]: { identity: 'path' } }, pool: 'inner', backends: { a: two } });
    const alice = network.client(one);
    for (const [n, callId] of ['x', 'y', 'z'].entries()) {
      alice.send(request('INVITE', { callId }));
      const { message, link, backend } = arrived(backends);
      expect(values(message, 'Record-Route')).toHaveLength(2);
      link.send(respond(message, '200 OK', 'bob1'));
      const extra = callerRoutes(parseOne(alice.text()));
      alice.send(request('BYE', { callId: `unheard-of-${n}`, toTag: 'bob1', cseq: 2, extra }));
      const bye = arrived(backends);
      expect(bye.backend.name).toBe(backend.name);
      expect(values(bye.message, 'Route')).toEqual([]);
      bye.link.send(respond(bye.message, '200 OK'));
      expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 200 OK');
    }
    expect(network.isInOrder).toBe(true);
  });
});

describe('a spiral', () => {
  it('whose second pass is refused is acknowledged to the server between', async () => {
    const backend = network.backend(servers.a);
    await network.edge({ listeners: { [one]: {} }, backends: { a: servers.a } });
    const alice = network.client(one);
    alice.send(request('INVITE', { branch: 'z9hG4bKspiral' }));
    const { link, message } = arrived([backend]);

    const proxy = network.client(one, '10.0.0.1');
    const onward = { via: 'SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKproxy' };
    proxy.send(request('INVITE', { ...onward, maxForwards: 0 }));
    const refused = parseOne(proxy.text());
    expect(refused.startLine).toBe('SIP/2.0 483 Too Many Hops');
    const [, toTag] = /tag=(\w+)/.exec(value(refused, 'To'))!;
    proxy.send(request('ACK', { ...onward, toTag: toTag! }));
    expect(backend.text()).toBe('');

    link.send(respond(message, '483 Too Many Hops', toTag));
    expect(parseOne(alice.text()).startLine).toBe('SIP/2.0 483 Too Many Hops');
    alice.send(request('ACK', { branch: 'z9hG4bKspiral', toTag: toTag! }));
    expect(arrived([backend]).message.startLine).toMatch(/^ACK /);
  });

  it('passes us twice, and its dialog too, from either end', async () => {
    const backends = [servers.a, servers.b].map((address) => network.backend(address));
    await network.edge({ listeners: { [one]: {} }, backends: { a: servers.a, b: servers.b } });
    const alice = network.client(one);
    alice.send(request('INVITE', { branch: 'z9hG4bKspiral' }));
    const first = arrived(backends);

    // The server sends it on to somebody else, through us again, over a connection of its own.
    const proxy = network.client(one, '10.0.0.1');
    const onward = (message: SipMessage, uri: string) => {
      const headers = message.headers.map(([name, text]) => `${name}: ${text}`);
      const via = 'Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bKproxy';
      const [method] = message.startLine.split(' ');
      return [`${method} ${uri} SIP/2.0`, via, ...headers, '', message.body].join('\r\n');
    };
    proxy.send(onward(first.message, 'sip:bob@elsewhere.example.net').replace(/Call-ID: .*/, 'Call-ID: spiral'));
    const second = arrived(backends);
    expect(values(second.message, 'Record-Route')).toHaveLength(4);
    const branches = values(second.message, 'Via').map((via) => /branch=([^;]+)/.exec(via)![1]);
    expect(new Set(branches).size).toBe(4);

    second.link.send(respond(second.message, '200 OK', 'bob1'));
    const back = parseOne(proxy.text());
    const headers = back.headers.filter((_, i) => i !== back.headers.findIndex(([name]) => name === 'Via'));
    first.link.send(
      [back.startLine, ...headers.map((line) => line.join(': ')), '', ''].join('\r\n').replace('spiral', 'call-1'),
    );
    const answer = parseOne(alice.text());
    expect(values(answer, 'Via')).toHaveLength(1);

    // Each pass takes out one pair, and leads to where the INVITE went in it.
    alice.send(request('BYE', { toTag: 'bob1', cseq: 2, callId: 'unheard-of', extra: callerRoutes(answer) }));
    const bye = arrived(backends);
    expect(bye.backend.name).toBe(first.backend.name);
    expect(values(bye.message, 'Route')).toHaveLength(2);
    proxy.send(onward(bye.message, 'sip:bob@elsewhere.example.net'));
    const last = arrived(backends);
    expect(last.backend.name).toBe(second.backend.name);
    expect(values(last.message, 'Route')).toEqual([]);
  });
});
