/** SIP over WebSockets (RFC 7118) with SIP.js, as in a browser but for the media, to Kamailio and SIPp on TCP. */
import type { ConnectionOptions } from 'node:tls';
import { Inviter, Registerer, RegistererState, type Session, SessionState, UserAgent } from 'sip.js';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { type ClientOptions, WebSocket } from 'ws';
import { balances } from '../../core/accounting.ts';
import { describeWith } from '../support/peers.ts';
import {
  certificateFiles,
  certificateHost,
  expectFlawless,
  kamailioServers,
  startEdge,
  timeoutMs,
} from '../support/sipp.ts';

const pairs = 200;
/** Of each pair, one after the other. SIP.js takes so long to parse that more would be a matter of minutes. */
const callsOfPair = 2;

/** Media is not ours: offers and answers that say so little that any peer takes them. */
const description = {
  close() {},
  getDescription: async () => ({ body: 'v=0\r\ns=-\r\nt=0 0\r\n', contentType: 'application/sdp' }),
  hasDescription: (contentType: string) => contentType === 'application/sdp',
  setDescription: async () => {},
  sendDtmf: () => false,
};

/** What SIP.js finds in a browser, but for trusting the certificate of the tests. */
async function browserSocket() {
  const { certificate: ca } = await certificateFiles();
  const options: ClientOptions & ConnectionOptions = { ca, servername: certificateHost };
  return class extends WebSocket {
    constructor(url: string, subprotocol: string) {
      super(url, subprotocol, options);
    }
  };
}

/** A registered user. */
async function phone(user: string, server: string) {
  const calls: Session[] = [];
  const agent = new UserAgent({
    uri: UserAgent.makeURI(`sip:${user}@example.net`)!,
    transportOptions: { server, connectionTimeout: 60 },
    sessionDescriptionHandlerFactory: () => description,
    logBuiltinEnabled: false,
    delegate: {
      onInvite(invitation) {
        calls.push(invitation);
        void invitation.progress().then(() => invitation.accept());
      },
    },
  });
  onTestFinished(() => agent.stop());
  await agent.start();
  const registerer = new Registerer(agent);
  await registerer.register();
  await vi.waitFor(() => expect(registerer.state).toBe(RegistererState.Registered), { timeout: 60_000 });
  return { agent, calls };
}

const until = (session: Session, state: SessionState) =>
  vi.waitFor(() => expect(session.state).toBe(state), { timeout: 60_000 });

/** Calls a user, and is connected. */
async function call(agent: UserAgent, user: string): Promise<Session> {
  const session = new Inviter(agent, UserAgent.makeURI(`sip:${user}@example.net`)!);
  await session.invite();
  await until(session, SessionState.Established);
  return session;
}

describeWith('kamailio', 'sip-tester kamailio kamailio-tls-modules', 'SIP.js', () => {
  describe.each(['ws', 'wss'] as const)('over %s', (transport) => {
    it(
      `registers ${2 * pairs} phones, lets them call each other ${callsOfPair} times, and either of them end the call`,
      async () => {
        vi.stubGlobal('WebSocket', await browserSocket());
        onTestFinished(() => void vi.unstubAllGlobals());
        const servers = await kamailioServers('callee', 'tcp');
        const edge = await startEdge({
          servers: servers.ports,
          from: transport,
          to: 'tcp',
          trunk: 'tcp',
          strategy: { hashing: { key: 'to-user' } },
        });
        const server = `${transport}://127.0.0.1:${edge.port}`;
        const numbers = Array.from({ length: pairs }, (_, number) => number);
        const callers = await Promise.all(numbers.map((number) => phone(`caller${number}`, server)));
        const callees = await Promise.all(numbers.map((number) => phone(`callee${number}`, server)));

        for (let round = 1; round <= callsOfPair; round++) {
          const calls = await Promise.all(callers.map(({ agent }, number) => call(agent, `callee${number}`)));
          const called = callees.map((callee) => {
            expect(callee.calls).toHaveLength(round);
            return callee.calls.at(-1)!;
          });
          await Promise.all(called.map((session) => until(session, SessionState.Established)));

          await Promise.all(calls.map((session, number) => (number % 2 === 0 ? session : called[number]!).bye()));
          await Promise.all([...calls, ...called].map((session) => until(session, SessionState.Terminated)));
        }

        for (const report of await servers.end()) expectFlawless(report, { IncomingCall: 0 });
        for (const stats of Object.values(edge.allStats())) {
          expect(balances(stats)).toBe(true);
          expect(stats.fromClients).toMatchObject({ refused: 0, discarded: 0, held: 0 });
          expect(stats.fromBackends).toMatchObject({ refused: 0, discarded: 0, held: 0 });
        }
        expect(edge.complaints).toEqual([]);
      },
      timeoutMs,
    );
  });
});
