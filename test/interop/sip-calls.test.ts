/** SIP calls over TCP and TLS, with SIPp as the servers and with Kamailio: each scenario is written once, and played with both. */
import { describe, expect, it } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { describeWith } from '../support/peers.ts';
import {
  calls,
  divide,
  expectFlawless,
  expectSuccess,
  kamailioServers,
  type Play,
  play,
  routeStrictly,
  sippServers,
  timeoutMs,
} from '../support/sipp.ts';

interface Scenario extends Pick<Play, 'caller' | 'callee' | 'connections' | 'by'> {
  /** How many INVITEs a call has. */
  readonly invites: number;
  /** How many of its messages go where another one went, and how many where an identifier says. */
  readonly routes: { readonly affinity: number; readonly identifier: number };
  /** How many connections clients open for all calls; undefined: it is not looked at. */
  readonly accepted?: number;
}

const call = {
  caller: 'caller',
  callee: 'callee',
  invites: 2,
  routes: { affinity: 0, identifier: 10 }, // ACK, INFO, INVITE, ACK, BYE; 180 and four 200
} as const;

const cancelledCall = {
  caller: 'caller-cancels',
  callee: 'callee-cancelled',
  invites: 1,
  routes: { affinity: 2, identifier: 3 }, // CANCEL, ACK; 180, 200, 487
} as const;

const scenarios: Readonly<Record<string, Scenario>> = {
  'completes calls, all requests of a call at the server of its INVITE': call,
  'completes calls, each over a connection of its own': { ...call, connections: 'each', accepted: calls },
  'routes calls behind a strict router': { ...call, by: routeStrictly },
  'completes calls with reliable provisional answers and UPDATE, which the callee ends': {
    caller: 'caller-early',
    callee: 'callee-early',
    invites: 1,
    routes: { affinity: 0, identifier: 12 }, // PRACK, UPDATE, PRACK, ACK, 200; 183, 180, four 200, BYE
  },
  'cancels calls that ring: CANCEL and ACK reach the server of the INVITE, on its branch': cancelledCall,
  'cancels calls from another connection than that of the INVITE': {
    ...cancelledCall,
    connections: 'each',
    by: (port) => divide(port, port, (text) => text.startsWith('CANCEL ')),
    accepted: 2 * calls,
  },
  'passes on that a call is busy, declined or to go elsewhere, and the ACK on the branch of its INVITE': {
    caller: 'caller-refused',
    callee: 'callee-refusing',
    invites: 1,
    routes: { affinity: 1, identifier: 2 }, // ACK; 180 and 486, 603 or 302
  },
  'brings the INVITE with credentials to the server that has asked for them': {
    caller: 'caller-challenged',
    callee: 'callee-challenging',
    invites: 2,
    routes: { affinity: 2, identifier: 5 }, // ACK to 401, INVITE; ACK, BYE, 401 and two 200
  },
  'passes on OPTIONS and MESSAGE outside of dialogs': {
    caller: 'asker',
    callee: 'answerer',
    invites: 0,
    routes: { affinity: 1, identifier: 2 }, // MESSAGE, of the same Call-ID; 200 and 202
  },
};

const kinds = [
  { name: 'SIPp', program: 'sipp', packages: 'sip-tester', servers: sippServers, tryings: 0 },
  {
    name: 'Kamailio',
    program: 'kamailio',
    packages: 'sip-tester kamailio kamailio-tls-modules',
    servers: kamailioServers,
    tryings: 1, // for each INVITE; SIPp says 180 at once
  },
];

for (const { name, program, packages, servers, tryings } of kinds) {
  describeWith(program, packages, name, () => {
    describe.each(['tcp', 'tls'] as const)('over %s', (transport) => {
      const common = { from: transport, to: transport, servers, times: calls } as const;

      for (const [title, { invites, routes, accepted, ...scenario }] of Object.entries(scenarios)) {
        it(
          title,
          async () => {
            const played = await play({ ...common, ...scenario });
            expectSuccess(played, calls);
            expect(played.stats.routes).toMatchObject({
              strategy: calls,
              affinity: routes.affinity * calls,
              identifier: (routes.identifier + tryings * invites) * calls,
            });
            if (accepted !== undefined) expect(played.stats.connections.accepted).toBe(accepted);
          },
          timeoutMs,
        );
      }

      it(
        'answers what it cannot pass on, and OPTIONS to itself, and absorbs the ACKs to its own answers',
        async () => {
          const played = await play({ ...common, caller: 'prober', callee: 'answerer' });
          expectFlawless(played.client, { SuccessfulCall: calls });
          for (const server of played.servers) expectFlawless(server, { IncomingCall: 0 });
          expect(balances(played.stats)).toBe(true);
          expect(played.stats.fromBackends.received).toBe(0);
          expect(played.stats.fromClients).toMatchObject({
            received: 9 * calls,
            forwarded: 0,
            refusedFor: { 'too-many-hops': calls, 'bad-extension': calls, 'unsupported-scheme': calls },
            discardedFor: { answered: 3 * calls, 'own-ack': 2 * calls, 'unsupported-scheme': calls },
          });
        },
        timeoutMs,
      );
    });
  });
}
