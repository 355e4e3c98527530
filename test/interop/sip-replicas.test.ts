/** Balancers beside and behind each other, with SIPp as callers and servers, and Kamailio for what comes back. */
import { expect, it } from 'vitest';
import { describeWith } from '../support/peers.ts';
import { freePort } from '../support/programs.ts';
import {
  calling,
  calls,
  callsAtOnce,
  divide,
  expectAllForwarded,
  expectFlawless,
  expectPhonesToCall,
  expectSuccess,
  finish,
  kamailioServers,
  play,
  sipp,
  sippServers,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

describeWith('sipp', 'sip-tester', 'SIPp', () => {
  const own = { key: 'k2', names: ['edge-1', 'edge-2'] };
  const same = { key: 'k1', names: ['uas-1', 'uas-2'] };
  it.each([
    ['caller', 'callee', 'keys and names of their own', own],
    ['caller', 'callee', 'the same keys and names', same],
    ['caller-early', 'callee-early', 'keys and names of their own', own],
    ['caller-cancels', 'callee-cancelled', 'keys and names of their own', own],
  ])(
    'passes calls on to other balancers, which pass them on to servers: %s, %s, with %s',
    async (caller, callee, _what, { key, names }) => {
      const servers = await sippServers(callee, 'tcp');
      const inner = { servers: servers.ports, from: 'tcp', to: 'tcp', key } as const;
      const [one, other] = [await startEdge(inner), await startEdge(inner)];
      const edge = await startEdge({ servers: [one.port, other.port], names, from: 'tcp', to: 'tcp' });
      const callers = await sipp(caller, calling(edge.port, calls, 'tcp'));
      const played = await finish(callers, servers, edge);
      expectFlawless(played.client, { SuccessfulCall: calls });
      for (const report of played.servers) expectFlawless(report, { SuccessfulCall: report.IncomingCall });
      for (const stats of [played.stats, one.stats(), other.stats()]) expectAllForwarded(stats);
      expect(one.stats().routes).toMatchObject({ strategy: calls / 2, rechosen: 0 });
      expect(other.stats().routes).toMatchObject({ strategy: calls / 2, rechosen: 0 });
    },
    timeoutMs,
  );
});

describeWith('kamailio', 'sip-tester kamailio kamailio-tls-modules', 'Kamailio', () => {
  it(
    'reaches the server of a call through another balancer with the same keys',
    async () => {
      const servers = await kamailioServers('callee', 'tcp');
      const options = { servers: servers.ports, from: 'tcp', to: 'tcp' } as const;
      const [first, second] = [await startEdge(options), await startEdge(options)];
      const port = await divide(first.port, second.port, (text) => !text.includes('\r\nCSeq: 1 INVITE\r\n'));
      const callers = await sipp('caller', calling(port, calls, 'tcp', 'each'));
      const played = await finish(callers, servers, first);
      expectSuccess(played, calls);
      expect(played.stats.fromClients.received).toBe(calls);
      expectAllForwarded(second.stats());
      // ACK, INFO, INVITE, ACK, BYE; 100 and three 200.
      expect(second.stats().routes).toMatchObject({ strategy: 0, affinity: 0, rechosen: 0, identifier: 9 * calls });
      expect(second.complaints).toEqual([]);
    },
    timeoutMs,
  );

  it(
    'lets phones behind two balancers register at servers, and those call them',
    async () => {
      const servers = await kamailioServers('answerer', 'tcp');
      const common = { from: 'tcp', to: 'tcp', strategy: { hashing: { key: 'to-user' } } } as const;
      const inner = { ...common, servers: servers.ports, key: 'k2' };
      const [one, other] = [await startEdge(inner), await startEdge(inner)];
      const edge = await startEdge({ ...common, servers: [one.port, other.port], names: ['edge-1', 'edge-2'] });
      await expectPhonesToCall({ edge, servers, times: calls, from: 'tcp', connections: 'each' });
      for (const { stats } of [one, other]) expectAllForwarded(stats());
    },
    timeoutMs,
  );

  it.each([
    ['caller', 'callee', 0],
    ['caller-early', 'callee-early', 0],
    ['caller-cancels', 'callee-cancelled', 4],
  ])(
    'passes calls on that come back from a server, as another request in the same call: %s, %s',
    async (caller, callee, furtherAffinity) => {
      const port = await freePort();
      const servers = (name: string) => kamailioServers(name, 'tcp', port);
      const times = 2 * callsAtOnce; // three times as many transactions: Kamailio is the limit
      const played = await play({ caller, callee, times, servers, port });
      expectSuccess(played, times);
      expect(played.stats.routes).toMatchObject({ strategy: times, affinity: (1 + furtherAffinity) * times });
    },
    timeoutMs,
  );
});
