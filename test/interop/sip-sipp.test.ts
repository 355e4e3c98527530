/** SIP over TCP, TLS and UDP with SIPp (Debian: sip-tester), callers and servers, through `sip`. */
import { describe, expect, it, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { describeWith } from '../support/peers.ts';
import {
  calling,
  calls,
  callsAtOnce,
  divide,
  expectFlawless,
  expectSuccess,
  finish,
  ping,
  play,
  routeStrictly,
  type SipTransport,
  sipp,
  sippServers,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

describeWith('sipp', 'sip-tester', 'SIPp', () => {
  describe.each(['tcp', 'tls'] as const)('over %s', (transport) => {
    const over = { from: transport, to: transport } as const;

    it.each([
      ['one', calls, 1],
      ['each', callsAtOnce, callsAtOnce],
    ] as const)(
      'completes calls (connections: %s, %i calls), all requests of a call at the server of its INVITE',
      async (connections, times, accepted) => {
        const played = await play({ ...over, caller: 'caller', callee: 'callee', times, connections });
        expectSuccess(played, times);
        // Per call: INVITE, ACK, INFO, INVITE, ACK, BYE; 180 and four 200.
        expect(played.stats.fromClients.received).toBe(6 * times);
        expect(played.stats.fromBackends.received).toBe(5 * times);
        expect(played.stats.routes).toMatchObject({ strategy: times, affinity: 0, identifier: 10 * times });
        expect(played.stats.connections.accepted).toBe(accepted);
      },
      timeoutMs,
    );

    it(
      'completes calls with reliable provisional answers and UPDATE, which the callee ends',
      async () => {
        const played = await play({ ...over, caller: 'caller-early', callee: 'callee-early', times: calls });
        expectSuccess(played, calls);
        // Per call: INVITE, PRACK, UPDATE, PRACK, ACK, 200; 183, 180, four 200, BYE.
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0, identifier: 12 * calls });
      },
      timeoutMs,
    );

    it(
      'cancels calls that ring: CANCEL and ACK reach the server of the INVITE, on its branch',
      async () => {
        const played = await play({ ...over, caller: 'caller-cancels', callee: 'callee-cancelled', times: calls });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 2 * calls, identifier: 3 * calls });
      },
      timeoutMs,
    );

    it(
      'cancels calls from another connection than that of the INVITE',
      async () => {
        const played = await play({
          ...over,
          caller: 'caller-cancels',
          callee: 'callee-cancelled',
          times: callsAtOnce,
          connections: 'each',
          by: (port) => divide(port, port, (text) => text.startsWith('CANCEL ')),
        });
        expectSuccess(played, callsAtOnce);
        expect(played.stats.connections.accepted).toBe(2 * callsAtOnce);
      },
      timeoutMs,
    );

    it(
      'passes on that a call is busy, declined or to go elsewhere, and the ACK on the branch of its INVITE',
      async () => {
        const played = await play({ ...over, caller: 'caller-refused', callee: 'callee-refusing', times: calls });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: calls, identifier: 2 * calls });
      },
      timeoutMs,
    );

    it(
      'brings the INVITE with credentials to the server that has asked for them',
      async () => {
        const played = await play({ ...over, caller: 'caller-challenged', callee: 'callee-challenging', times: calls });
        expectSuccess(played, calls);
        // ACK to 401 and the second INVITE; ACK, BYE, 401 and two 200.
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 2 * calls, identifier: 5 * calls });
      },
      timeoutMs,
    );

    it(
      'passes on OPTIONS and MESSAGE outside of dialogs',
      async () => {
        const played = await play({ ...over, caller: 'asker', callee: 'answerer', times: calls });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: calls, identifier: 2 * calls });
      },
      timeoutMs,
    );

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

    it.each([
      ['one', calls],
      ['each', callsAtOnce],
    ] as const)(
      'puts itself on the Path of registrations, so that servers call, watch and text phones (connections: %s, %i phones)',
      async (connections, times) => {
        const played = await play({ ...over, caller: 'phone', callee: 'registrar', times, connections });
        expectSuccess(played, times);
        // INVITE, 180, 200, ACK, BYE, 200; SUBSCRIBE, 200, NOTIFY, 200; MESSAGE, 200; and the answer to REGISTER.
        expect(played.stats.routes).toMatchObject({ strategy: times, affinity: 0, identifier: 13 * times });
      },
      timeoutMs,
    );

    it(
      'answers servers that call phones whose connection is gone: 430',
      async () => {
        const servers = await sippServers('registrar-late', transport);
        const edge = await startEdge({ servers: servers.ports, ...over });
        const times = callsAtOnce;
        const options = `${calling(edge.clientPort, times, transport, 'each')} -cid_str %u-phone`;
        const phones = await sipp('phone-leaves', options);
        expectFlawless(await phones.report(), { SuccessfulCall: times });
        await vi.waitFor(() => expect(edge.stats().connections.open).toBe(0), { timeout: 10_000 });
        const signals = await sipp('signal', options);
        const { client, servers: reports, stats } = await finish(signals, servers, edge);
        expectFlawless(client, { SuccessfulCall: times });
        for (const report of reports) expectFlawless(report, { SuccessfulCall: report.IncomingCall });
        expect(balances(stats)).toBe(true);
        expect(stats.fromBackends).toMatchObject({
          refusedFor: { 'client-gone': times },
          discardedFor: { 'own-ack': times },
        });
      },
      timeoutMs,
    );

    it(
      'routes calls behind a strict router',
      async () => {
        const played = await play({ ...over, caller: 'caller', callee: 'callee', times: calls, by: routeStrictly });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0, identifier: 10 * calls });
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

    it(
      'answers what it cannot pass on, and OPTIONS to itself, and absorbs the ACKs to its own answers',
      async () => {
        const played = await play({ ...over, caller: 'prober', callee: 'answerer', times: calls });
        expectFlawless(played.client, { SuccessfulCall: calls });
        for (const server of played.servers) expectFlawless(server, { IncomingCall: 0 });
        expect(balances(played.stats)).toBe(true);
        expect(played.stats.fromClients).toMatchObject({
          received: 9 * calls,
          refusedFor: { 'too-many-hops': calls, 'bad-extension': calls, 'unsupported-scheme': calls },
          discardedFor: { answered: 3 * calls, 'own-ack': 2 * calls, 'unsupported-scheme': calls },
        });
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
