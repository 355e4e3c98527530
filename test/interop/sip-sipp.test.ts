/** SIP over TCP and UDP with SIPp (Debian: sip-tester), callers and servers, through `sip`. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { balance, describeWith, run, temporaryFolder, untilBound, untilListening } from '../support/peers.ts';
import { freePort } from '../support/programs.ts';

const host = '127.0.0.1';
const serverNames = ['uas-1', 'uas-2', 'uas-3'];
const timeoutMs = 60_000;

/** What a SIPp has counted when it ends: the columns of its statistics that hold a total. */
type Report = Readonly<Record<string, number>> & { readonly exitCode: number; readonly output: string };

/** What SIPp did not expect fails the call, a stray BYE included, which it otherwise answers. */
const options =
  '-nostdin -default_behaviors abortunexp -recv_timeout 5000 -timeout 20 ' +
  '-trace_stat -stf report.csv -trace_err -error_file errors.log';

/** Starts SIPp with a scenario of this folder. */
async function sipp(scenario: string, furtherOptions: string) {
  const folder = temporaryFolder();
  const port = await freePort();
  const file = fileURLToPath(new URL(`sipp/${scenario}.xml`, import.meta.url));
  const words = `-i ${host} -p ${port} ${options} ${furtherOptions}`.split(' ');
  const running = run('sipp', ['-sf', file, ...words], { folder, deadlineSeconds: 25 });
  const report = async (): Promise<Report> => {
    const exitCode = await running.exited;
    if (!existsSync(join(folder, 'report.csv'))) throw new Error(`sipp did not run:\n${running.output()}`);
    const rows = readFileSync(join(folder, 'report.csv'), 'latin1').trimEnd().split('\n');
    const [names, values] = [rows[0]!, rows.at(-1)!].map((row) => row.split(';'));
    const totals = names!.flatMap((name, column) =>
      name.endsWith('(C)') ? [[name.slice(0, -'(C)'.length), Number(values![column])] as const] : [],
    );
    return { ...Object.fromEntries(totals), exitCode, output: running.output() } as Report;
  };
  return { port, running, report };
}

/** What SIPp servers are told of the transport that they are reached over. */
const sippTransports = { tcp: 't1', udp: 'u1' };

/** Lets SIPp play the caller's scenario so many times, against three SIPp servers behind a balancer. */
async function play({ caller, callee, times, transport = 't1', backends = 'tcp' }: Play) {
  const servers = await Promise.all(serverNames.map(() => sipp(callee, `-t ${sippTransports[backends]} -bind_local`)));
  const isThere = backends === 'udp' ? untilBound : untilListening;
  await Promise.all(servers.map(({ port, running }) => isThere(port, running)));
  const balancer = await balance(`
    keys: [{ id: k1, secret: '\${env:KEY}' }]
    pools:
      calls:
        backends: { ${serverNames.map((name, i) => `${name}: ${backends}://${host}:${servers[i]!.port}`).join(', ')} }
    listeners:
      edge:
        listen: ${transport === 'u1' ? 'udp' : 'tcp'}://${host}:${await freePort()}
        pool: calls
        pipeline:
          - sip: {}
          - round-robin: {}
  `);
  const client = await sipp(
    caller,
    `${host}:${balancer.port} -t ${transport} -max_socket 100 -m ${times} -r 300 -l 60 -timeout_error`,
  );
  const clientReport = await client.report();
  const complaints = [...balancer.complaints]; // when the servers end there will be more
  for (const { running } of servers) running.signal('SIGUSR1'); // ends when its calls have
  const serverReports = await Promise.all(servers.map(({ report }) => report()));
  return { client: clientReport, servers: serverReports, complaints, stats: balancer.stats() };
}

interface Play {
  readonly caller: string;
  readonly callee: string;
  readonly times: number;
  /** `t1`: all over one connection; `tn`: a connection for each call; `u1`: all from one UDP socket. */
  readonly transport?: 't1' | 'tn' | 'u1';
  readonly backends?: keyof typeof sippTransports;
}

/** Everybody succeeded, and each server had its third of the calls, with all that belongs to them. */
function expectSuccess({ client, servers, complaints, stats }: Awaited<ReturnType<typeof play>>, times: number): void {
  expect(client, client.output).toMatchObject({ exitCode: 0, SuccessfulCall: times, FailedCall: 0 });
  for (const server of servers) {
    const flawless = { exitCode: 0, FailedCall: 0, OutOfCallMsgs: 0, DeadCallMsgs: 0, Warnings: 0 };
    expect(server, server.output).toMatchObject({ ...flawless, IncomingCall: times / 3, SuccessfulCall: times / 3 });
  }
  expect(balances(stats)).toBe(true);
  expect(stats.fromClients).toMatchObject({ refused: 0, discarded: 0, held: 0 });
  expect(stats.fromBackends).toMatchObject({ refused: 0, discarded: 0, held: 0 });
  expect(complaints).toEqual([]);
}

describeWith('sipp', 'sip-tester', 'SIPp', () => {
  it.each([
    ['one connection', 't1', 300, 1],
    ['a connection each', 'tn', 60, 60],
  ] as const)(
    'completes calls over %s (%s, %i calls), all requests of a call at the server of its INVITE',
    async (_connections, transport, times, accepted) => {
      const played = await play({ caller: 'caller', callee: 'callee', times, transport });
      expectSuccess(played, times);
      // Per call: INVITE, ACK, INFO, INVITE, ACK, BYE; 180 and four 200.
      expect(played.stats.fromClients.received).toBe(6 * times);
      expect(played.stats.fromBackends.received).toBe(5 * times);
      expect(played.stats.routes).toMatchObject({ strategy: times, affinity: 0, identifier: 10 * times });
      expect(played.stats.connections.accepted).toBe(accepted);
    },
    timeoutMs,
  );

  it.each([
    ['UDP', 'u1', 'udp'],
    ['UDP, with servers on TCP', 'u1', 'tcp'],
    ['TCP, with servers on UDP', 't1', 'udp'],
  ] as const)(
    'completes calls over %s, all requests of a call at the server of its INVITE',
    async (_name, transport, backends) => {
      const played = await play({ caller: 'caller', callee: 'callee', times: 90, transport, backends });
      expectSuccess(played, 90);
      expect(played.stats.routes).toMatchObject({ strategy: 90, affinity: 0, identifier: 900 });
    },
    timeoutMs,
  );

  it(
    'cancels calls that ring: CANCEL and ACK reach the server of the INVITE, on its branch',
    async () => {
      const played = await play({ caller: 'caller-cancels', callee: 'callee-cancelled', times: 60 });
      expectSuccess(played, 60);
      expect(played.stats.routes).toMatchObject({ strategy: 60, affinity: 120, identifier: 180 });
    },
    timeoutMs,
  );

  it(
    'spreads OPTIONS over the servers',
    async () => {
      const played = await play({ caller: 'asker', callee: 'answerer', times: 60 });
      expectSuccess(played, 60);
      expect(played.stats.routes).toMatchObject({ strategy: 60, affinity: 0, identifier: 60 });
    },
    timeoutMs,
  );

  it(
    'puts itself on the Path of registrations, so that the registrar reaches the phones',
    async () => {
      const played = await play({ caller: 'phone', callee: 'registrar', times: 60, transport: 'tn' });
      expectSuccess(played, 60);
      // Per phone: REGISTER and 200; OPTIONS along the Path and 200.
      expect(played.stats.routes).toMatchObject({ strategy: 60, affinity: 0, identifier: 180 });
      expect(played.stats.connections.accepted).toBe(60);
    },
    timeoutMs,
  );
});
