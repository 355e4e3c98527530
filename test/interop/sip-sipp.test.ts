/**
 * SIP with SIPp (Debian: sip-tester) as callers and servers, where only SIPp will do as a server; what Kamailio can be, too, is in
 * sip-calls.test.ts.
 */
import { describe, expect, it } from 'vitest';
import { describeWith } from '../support/peers.ts';
import {
  calls,
  expectFlawless,
  expectSuccess,
  ping,
  play,
  playAfterPhonesLeft,
  type SipTransport,
  sippServers,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

describeWith('sipp', 'sip-tester', 'SIPp', () => {
  describe.each(['tcp', 'tls'] as const)('over %s', (transport) => {
    const over = { from: transport, to: transport } as const;

    it(
      'keeps subscriptions at their server, and its notifications at their client',
      async () => {
        const played = await play({ ...over, caller: 'watcher', callee: 'notifier', times: calls });
        expectSuccess(played, calls);
        // SUBSCRIBE; its refresh, three NOTIFY, and five 200.
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0, identifier: 9 * calls });
      },
      timeoutMs,
    );

    it.each(['one', 'each'] as const)(
      'puts itself on the Path of registrations, so that servers call, watch and text phones (connections: %s)',
      async (connections) => {
        const played = await play({ ...over, caller: 'phone', callee: 'registrar', times: calls, connections });
        expectSuccess(played, calls);
        // INVITE, 180, 200, ACK, BYE, 200; SUBSCRIBE, 200, NOTIFY, 200; MESSAGE, 200; and the answer to REGISTER.
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0, identifier: 13 * calls });
      },
      timeoutMs,
    );

    it(
      'answers servers that call phones whose connection is gone: 430',
      async () => {
        const servers = await sippServers('registrar-late', transport);
        const edge = await startEdge({ servers: servers.ports, ...over });
        const played = await playAfterPhonesLeft({ edge, servers, from: transport, times: calls, caller: 'signal' });
        for (const report of played.servers) expectFlawless(report, { SuccessfulCall: report.IncomingCall });
        expect(played.stats.fromBackends).toMatchObject({
          refusedFor: { 'client-gone': calls },
          discardedFor: { 'own-ack': calls },
        });
      },
      timeoutMs,
    );

    it(
      'answers the keepalives of callers and servers between their messages',
      async () => {
        const [ofCallers, ofServers] = [
          { pings: 0, pongs: 0 },
          { pings: 0, pongs: 0 },
        ];
        const played = await play({
          from: transport,
          caller: 'caller-early',
          callee: 'callee-early',
          times: calls,
          by: (port) => ping(port, 'caller', ofCallers),
          servers: async (callee, to) => {
            const servers = await sippServers(callee, to);
            const ports = await Promise.all(servers.ports.map((port) => ping(port, 'server', ofServers)));
            return { ...servers, ports };
          },
        });
        expectSuccess(played, calls);
        for (const { pings, pongs } of [ofCallers, ofServers]) {
          expect(pings).toBeGreaterThan(5 * calls);
          expect(pongs).toBeGreaterThan(pings - calls); // the last are lost when callers hang up
        }
      },
      timeoutMs,
    );
  });

  it.each([
    ['UDP', 'udp', 'udp'],
    ['UDP, with servers on TCP', 'udp', 'tcp'],
    ['TCP, with servers on UDP', 'tcp', 'udp'],
    ['TLS, with servers on TCP', 'tls', 'tcp'],
  ] as const satisfies [string, SipTransport, SipTransport][])(
    'completes calls over %s, all requests of a call at the server of its INVITE',
    async (_name, from, to) => {
      const played = await play({ caller: 'caller', callee: 'callee', times: calls, from, to });
      expectSuccess(played, calls);
      expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0, identifier: 10 * calls });
    },
    timeoutMs,
  );
});
