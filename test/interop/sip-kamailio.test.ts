/**
 * SIP with Kamailio (Debian) as the servers, over TCP and TLS; SIPp plays the callers, and whom each Kamailio passes calls on to.
 * What Kamailio sends to clients comes over connections that it opens to the listener, as the routes it was given say.
 */
import { describe, expect, it, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { describeWith } from '../support/peers.ts';
import {
  calling,
  calls,
  callsAtOnce,
  expectFlawless,
  expectPhonesToCall,
  expectSuccess,
  finish,
  kamailioServers,
  play,
  sipp,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

describeWith('kamailio', 'sip-tester kamailio kamailio-tls-modules', 'Kamailio', () => {
  describe.each(['tcp', 'tls'] as const)('over %s', (transport) => {
    const over = { from: transport, to: transport, servers: kamailioServers } as const;

    it.each([
      ['completes calls, all requests of a call at the server of its INVITE', 'caller', 'callee', 0],
      [
        'completes calls with reliable provisional answers and UPDATE, which the callee ends',
        'caller-early',
        'callee-early',
        0,
      ],
      ['cancels calls that ring', 'caller-cancels', 'callee-cancelled', 2],
      ['passes on that a call is busy, declined or to go elsewhere', 'caller-refused', 'callee-refusing', 1],
      [
        'brings the INVITE with credentials to the server that has asked for them',
        'caller-challenged',
        'callee-challenging',
        2,
      ],
    ])(
      '%s',
      async (_what, caller, callee, related) => {
        const played = await play({ ...over, caller, callee, times: calls });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: related * calls });
      },
      timeoutMs,
    );

    it.each([
      ['one', calls],
      ['each', callsAtOnce],
    ] as const)(
      'lets phones call registered phones: through the balancer to their registrar, and back along the Path (connections: %s, %i calls)',
      async (connections, times) => {
        const servers = await kamailioServers('answerer', transport);
        const edge = await startEdge({
          servers: servers.ports,
          from: transport,
          to: transport,
          strategy: { hashing: { key: 'to-user' } },
        });
        await expectPhonesToCall({ edge, servers, times, from: transport, connections });
      },
      timeoutMs,
    );

    it(
      'answers callers of phones whose connection is gone: 430',
      async () => {
        const servers = await kamailioServers('answerer', transport);
        const edge = await startEdge({
          servers: servers.ports,
          from: transport,
          to: transport,
          strategy: { hashing: { key: 'to-user' } },
        });
        const times = callsAtOnce;
        const options = calling(edge.clientPort, times, transport, 'each');
        const phones = await sipp('phone-leaves', options);
        expectFlawless(await phones.report(), { SuccessfulCall: times });
        await vi.waitFor(() => expect(edge.stats().connections.open).toBe(0), { timeout: 10_000 });
        const callers = await sipp('caller-unreached', options);
        const { client, servers: reports, stats } = await finish(callers, servers, edge);
        expectFlawless(client, { SuccessfulCall: times });
        for (const report of reports) expectFlawless(report, { IncomingCall: 0 });
        expect(balances(stats)).toBe(true);
        expect(stats.fromClients.refusedFor).toEqual({ 'client-gone': times });
      },
      timeoutMs,
    );
  });
});
