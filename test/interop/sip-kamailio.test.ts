/**
 * SIP with Kamailio (Debian) as the servers, over TCP and TLS; SIPp plays the callers, and whom each Kamailio passes calls on to.
 * What Kamailio sends to clients comes over connections that it opens to the listener, as the routes it was given say.
 */
import { describe, expect, it, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { tortureMessage, tortureNames } from '../plugins/protocols/sip/rfc4475.ts';
import { describeWith, dial } from '../support/peers.ts';
import {
  asker,
  calling,
  calls,
  callsAtOnce,
  counting,
  divide,
  expectFlawless,
  expectPhonesToCall,
  expectSuccess,
  finish,
  kamailio,
  kamailioServers,
  play,
  routeStrictly,
  sipp,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

describeWith('kamailio', 'sip-tester kamailio kamailio-tls-modules', 'Kamailio', () => {
  it(
    'closes no link because of what one client sends (RFC 4475), and answers the others all the while',
    async () => {
      const servers = await Promise.all(
        [1, 2, 3].map(async () => counting((await kamailio('tcp', ['ANSWERING'])).port)),
      );
      const edge = await startEdge({ servers: servers.map(({ port }) => port), from: 'tcp', to: 'tcp' });
      const ask = await asker(edge.port);
      let asked = 0;
      const askAll = async () => {
        for (const _ of servers) expect(await ask(`bystander-${asked++}`)).toBe('SIP/2.0 200 OK');
      };
      await askAll();
      for (const name of tortureNames()) {
        const message = tortureMessage(name);
        const half = message.length >> 1;
        for (const pieces of [[message], [message.subarray(0, half), message.subarray(half)]]) {
          // Once for each server, as these take turns.
          for (const _ of servers) {
            const client = await dial(edge.port);
            for (const piece of pieces) {
              client.write(piece);
              await askAll();
            }
            client.destroy();
          }
        }
      }
      expect(asked).toBeGreaterThan(1000);
      expect(servers.map(({ connections }) => connections())).toEqual([1, 1, 1]);
      expect(balances(edge.stats())).toBe(true);
      expect(edge.stats().fromBackends.discardedFor['broken-frame']).toBeUndefined();
    },
    timeoutMs,
  );

  it.each(['tcp', 'tls'] as const)(
    'answers what is asked over the links that calls go over: %s',
    async (to) => {
      const servers = await Promise.all([1, 2, 3].map(async () => counting((await kamailio(to, ['ANSWERING'])).port)));
      const timing = { intervalSeconds: 10, timeoutSeconds: 9, jitterPercent: 0 };
      const checks = [{ message: { form: 'sip-options', over: 'link', ...timing } }];
      const edge = await startEdge({ servers: servers.map(({ port }) => port), from: 'tcp', to, checks });
      const passed = () => Object.values(edge.stats().backends).map((backend) => backend.checks.passed);
      await vi.waitFor(() => expect(passed()).toEqual([1, 1, 1]), { timeout: 8000 });
      expect(edge.stats()).toMatchObject({ checks: { received: 3, forwarded: 3 }, routes: { check: 6 } });
      expect(servers.map(({ connections }) => connections())).toEqual([1, 1, 1]);
      expect(balances(edge.stats())).toBe(true);
    },
    timeoutMs,
  );

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
      },
      timeoutMs,
    );

    it(
      'routes calls behind a strict router',
      async () => {
        const played = await play({ ...over, caller: 'caller', callee: 'callee', times: calls, by: routeStrictly });
        expectSuccess(played, calls);
        expect(played.stats.routes).toMatchObject({ strategy: calls, affinity: 0 });
      },
      timeoutMs,
    );

    it(
      'passes on OPTIONS and MESSAGE outside of dialogs',
      async () => {
        const played = await play({ ...over, caller: 'asker', callee: 'answerer', times: calls });
        expectSuccess(played, calls);
      },
      timeoutMs,
    );

    it(
      'answers what it cannot pass on, and OPTIONS to itself, so that no server hears of it',
      async () => {
        const played = await play({ ...over, caller: 'prober', callee: 'answerer', times: calls });
        expectFlawless(played.client, { SuccessfulCall: calls });
        for (const server of played.servers) expectFlawless(server, { IncomingCall: 0 });
        expect(balances(played.stats)).toBe(true);
        expect(played.stats.fromClients).toMatchObject({ received: 9 * calls, forwarded: 0 });
        expect(played.stats.fromBackends.received).toBe(0);
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
