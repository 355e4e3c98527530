/**
 * SIP with Kamailio (Debian) as the servers, over TCP and TLS, where only Kamailio will do: it is strict about what it reads, and a
 * registrar. What SIPp can be, too, is in sip-calls.test.ts.
 */
import { describe, expect, it, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { tortureMessage, tortureNames } from '../plugins/protocols/sip/rfc4475.ts';
import { describeWith, dial } from '../support/peers.ts';
import {
  asker,
  calls,
  counting,
  expectFlawless,
  expectPhonesToCall,
  kamailio,
  kamailioServers,
  playAfterPhonesLeft,
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
    const startRegistrars = async () => {
      const servers = await kamailioServers('answerer', transport);
      const strategy = { hashing: { key: 'to-user' } };
      return { servers, edge: await startEdge({ servers: servers.ports, from: transport, to: transport, strategy }) };
    };

    it.each(['one', 'each'] as const)(
      'lets phones call registered phones: through the balancer to their registrar, and back along the Path (connections: %s)',
      async (connections) => {
        await expectPhonesToCall({ ...(await startRegistrars()), times: calls, from: transport, connections });
      },
      timeoutMs,
    );

    it(
      'answers callers of phones whose connection is gone: 430',
      async () => {
        const common = { ...(await startRegistrars()), from: transport, times: calls };
        const played = await playAfterPhonesLeft({ ...common, caller: 'caller-unreached' });
        for (const report of played.servers) expectFlawless(report, { IncomingCall: 0 });
        expect(played.stats.fromClients.refusedFor).toEqual({ 'client-gone': calls });
      },
      timeoutMs,
    );
  });
});
