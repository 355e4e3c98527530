/**
 * SIP with peers that nobody here wrote, in both directions: SIPp (Debian: sip-tester) plays callers and servers, Kamailio stands
 * as the server in front of a SIPp of its own; what it sends to clients comes over connections that it opens to the listener, as the
 * routes it was given say. A balancer is between the two. `play` starts them, and `expectSuccess` is what
 * must hold when they are done.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import tls from 'node:tls';
import { fileURLToPath } from 'node:url';
import { inspect } from 'node:util';
import { expect, vi } from 'vitest';
import { balances, type ListenerStats } from '../../core/accounting.ts';
import { request } from '../plugins/protocols/sip/ua.ts';
import { type Certificate, makeCertificate } from './certificates.ts';
import {
  balance,
  dial,
  listen,
  type Running,
  type RunningBalancer,
  run,
  temporaryFolder,
  untilBound,
  untilListening,
} from './peers.ts';
import { freePort } from './programs.ts';

const host = '127.0.0.1';
const serverNames = ['uas-1', 'uas-2', 'uas-3'];
/** Ample, as a machine that has other work takes ten times as long. */
const deadlineSeconds = 150;
/** For a test that plays a scenario. */
export const timeoutMs = 180_000;
/** Until SIPp gives up: all it does, and to wait for one message. */
const sippSeconds = 120;

/** How many calls a scenario has in all, and at once. */
export const calls = 2000;
export const callsAtOnce = 250;
/** So many must indeed have been under way together, though the first may be over before the last of those begins. */
const leastAtOnce = 200;

export type SipTransport = 'tcp' | 'tls' | 'udp';

/** What a SIPp has counted when it ends: the columns of its statistics that hold a total. */
export type Report = Readonly<Record<string, number>> & {
  readonly exitCode: number;
  readonly output: string;
  /** The most calls it has had at once. */
  readonly peak: number;
};

export interface Sipp {
  readonly port: number;
  readonly running: Running;
  /** When it has ended. */
  readonly report: () => Promise<Report>;
}

/** What SIPp did not expect fails the call, a stray BYE included, which it otherwise answers. */
const options =
  `-nostdin -watchdog_interval 0 -default_behaviors abortunexp -recv_timeout ${sippSeconds * 1000} -timeout ${sippSeconds} ` +
  '-trace_stat -stf report.csv -trace_err -error_file errors.log -buff_size 1048576'; // of datagrams, for all calls at once

/** Starts SIPp with a scenario of test/interop/sipp. */
export async function sipp(scenario: string, furtherOptions: string): Promise<Sipp> {
  const folder = temporaryFolder();
  const port = await freePort();
  const file = fileURLToPath(new URL(`../interop/sipp/${scenario}.xml`, import.meta.url));
  const words = `-i ${host} -p ${port} ${options} ${furtherOptions}`.split(' ');
  const running = run('sipp', ['-sf', file, ...words], { folder, deadlineSeconds });
  const report = async (): Promise<Report> => {
    const exitCode = await running.exited;
    if (!existsSync(join(folder, 'report.csv'))) throw new Error(`sipp did not run:\n${running.output()}`);
    const [names, ...rows] = readFileSync(join(folder, 'report.csv'), 'latin1')
      .trimEnd()
      .split('\n')
      .map((row) => row.split(';'));
    const totals = names!.flatMap((name, column) =>
      name.endsWith('(C)') ? [[name.slice(0, -'(C)'.length), Number(rows.at(-1)![column])] as const] : [],
    );
    const peak = Number(/Peak was (\d+) calls/.exec(running.output())?.[1]);
    const errors = existsSync(join(folder, 'errors.log')) ? readFileSync(join(folder, 'errors.log'), 'latin1') : '';
    const output = `${running.output().slice(-3000)}\n${errors.slice(0, 3000)}`;
    return { ...Object.fromEntries(totals), exitCode, output, peak } as Report;
  };
  return { port, running, report };
}

/** The files of a certificate, which is its own authority. */
interface CertificateFiles extends Certificate {
  readonly certificateFile: string;
  readonly keyFile: string;
}

/** Whom the certificate is for. */
export const certificateHost = 'localhost';
let certificate: Promise<Certificate> | undefined;

export async function certificateFiles(): Promise<CertificateFiles> {
  const made = await (certificate ??= makeCertificate(certificateHost));
  const folder = temporaryFolder();
  const files = { certificateFile: join(folder, 'certificate.pem'), keyFile: join(folder, 'key.pem') };
  writeFileSync(files.certificateFile, made.certificate);
  writeFileSync(files.keyFile, made.key);
  return { ...made, ...files };
}

/** Joins two connections; each ends with the other. */
function joinSockets(one: net.Socket, other: net.Socket): void {
  endTogether(one, other);
  one.pipe(other);
  other.pipe(one);
}

/** When one connection ends, all do. */
function endTogether(...sockets: net.Socket[]): void {
  for (const socket of sockets) {
    socket.on('error', () => {});
    socket.on('close', () => {
      for (const other of sockets) other.destroy();
    });
  }
}

/**
 * Makes two connections of each: `takesOther` says which bytes go to the second port instead of the first. Where every call has a
 * connection of its own, as it must have here, SIPp writes a message only when the one before has been answered, or is an ACK.
 */
export function divide(port: number, otherPort: number, takesOther: (text: string) => boolean): Promise<number> {
  return listen(
    net.createServer((caller) => {
      const one = net.connect({ host, port });
      const other = net.connect({ host, port: otherPort });
      endTogether(caller, one, other);
      caller.on('data', (bytes) => (takesOther(bytes.toString('latin1')) ? other : one).write(bytes));
      one.pipe(caller);
      other.pipe(caller);
    }),
  );
}

const emptyLine = '\r\n\r\n';

/** Calls back for each message, and for each CRLF between messages. */
function onMessage(socket: net.Socket, onText: (message: string) => void, onLineEnd = () => {}): void {
  let text = '';
  socket.on('data', (bytes) => {
    text += bytes.toString('latin1');
    for (;;) {
      for (; text.startsWith('\r\n'); text = text.slice(2)) onLineEnd();
      const header = text.slice(0, text.indexOf(emptyLine) + emptyLine.length);
      const end = header.length + Number(/^Content-Length: *(\d+)/m.exec(header)?.[1] ?? 0);
      if (!header.endsWith(emptyLine) || text.length < end) return;
      onText(text.slice(0, end));
      text = text.slice(end);
    }
  });
}

/** Passes connections on to `port`, and counts them. */
export async function counting(port: number): Promise<{ readonly port: number; readonly connections: () => number }> {
  let connections = 0;
  const own = await listen(
    net.createServer((caller) => {
      connections++;
      joinSockets(caller, net.connect({ port, host }));
    }),
  );
  return { port: own, connections: () => connections };
}

/** A client that asks whether somebody is there, and waits for the answer. */
export async function asker(port: number): Promise<(callId: string) => Promise<string>> {
  const socket = await dial(port);
  const waiting: ((answer: string) => void)[] = [];
  onMessage(socket, (message) => waiting.shift()!(message.split('\r\n')[0]!));
  return (callId) => {
    socket.write(request('OPTIONS', { callId }));
    return new Promise((resolve) => waiting.push(resolve));
  };
}

/** Of CRLF keepalives (RFC 5626 section 3.5.1). */
export interface Keepalives {
  pings: number;
  pongs: number;
}

/**
 * Adds a ping behind every message that comes from whoever connects, or from `port`, as `from` says, and takes the pongs out, which
 * SIPp takes for a part of the next message.
 */
export function ping(port: number, from: 'caller' | 'server', counts: Keepalives): Promise<number> {
  return listen(
    net.createServer((caller) => {
      const server = net.connect({ host, port });
      endTogether(caller, server);
      const [pinging, pinged] = from === 'caller' ? [caller, server] : [server, caller];
      onMessage(pinging, (message) => {
        pinged.write(`${message}${emptyLine}`, 'latin1');
        counts.pings++;
      });
      const onPong = () => void counts.pongs++;
      onMessage(pinged, (message) => void pinging.write(message, 'latin1'), onPong);
    }),
  );
}

/**
 * Makes of callers ones behind a strict router (RFC 2543): it puts the next hop into the Request-URI, and the target last into Route
 * (RFC 3261 section 16.4).
 */
export function routeStrictly(port: number): Promise<number> {
  return listen(
    net.createServer((caller) => {
      const edge = net.connect({ host, port });
      endTogether(caller, edge);
      onMessage(caller, (message) => {
        const uri = message.split(' ')[1]!;
        const [line, list] = /^Route: (.*)\r\n/m.exec(message) ?? [];
        const [next, ...routes] = list === undefined ? [] : [...list.split(/, */), `<${uri}>`];
        if (next === undefined) edge.write(message, 'latin1');
        else {
          const moved = message.replace(line!, `Route: ${routes.join(', ')}\r\n`);
          edge.write(moved.replace(uri, next.slice(1, -1)), 'latin1');
        }
      });
      edge.pipe(caller);
    }),
  );
}

/** Debian's SIPp has no TLS. For one that connects, this adds it on the way to `port`; answers the port to connect to. */
async function encrypting(port: number, { certificate: ca }: Certificate): Promise<number> {
  const context = tls.createSecureContext({ ca });
  return listen(
    net.createServer((plain) =>
      joinSockets(plain, tls.connect({ host, port, secureContext: context, servername: certificateHost })),
    ),
  );
}

/** The same for one that listens on `port`. */
async function decrypting(port: number, { certificate: cert, key }: Certificate): Promise<number> {
  return listen(tls.createServer({ cert, key }, (secure) => joinSockets(secure, net.connect({ port, host }))));
}

/** Three servers: where the balancer finds them, and how to end them once their calls are done. */
export interface Servers {
  readonly ports: readonly number[];
  readonly end: () => Promise<Report[]>;
  /** What they have written to their output so far. */
  readonly output: () => string;
}

/** Three SIPp that play `callee`. */
export async function sippServers(callee: string, transport: SipTransport): Promise<Servers> {
  const mode = transport === 'udp' ? 'u1' : 't1';
  const servers = await Promise.all(serverNames.map(() => sipp(callee, `-t ${mode} -bind_local`)));
  const isThere = transport === 'udp' ? untilBound : untilListening;
  await Promise.all(servers.map(({ port, running }) => isThere(port, running)));
  const plain = servers.map(({ port }) => port);
  const files = transport === 'tls' ? await certificateFiles() : undefined;
  const ports = files === undefined ? plain : await Promise.all(plain.map((port) => decrypting(port, files)));
  const end = () => {
    for (const { running } of servers) running.signal('SIGUSR1'); // ends when its calls have
    return Promise.all(servers.map(({ report }) => report()));
  };
  return { ports, end, output: () => servers.map(({ running }) => running.output()).join('\n') };
}

/**
 * Three Kamailio, stateful proxies and registrars, each in front of a SIPp of its own that plays `callee`.
 * @param spiral the port that requests go to before they come back and go to SIPp
 */
export async function kamailioServers(callee: string, transport: SipTransport, spiral?: number): Promise<Servers> {
  const behind = await sippServers(callee, 'tcp');
  const via = spiral === undefined ? [] : [`SPIRAL="sip:${host}:${spiral};transport=tcp"`];
  const servers = await Promise.all(
    behind.ports.map((port) => kamailio(transport, [`SERVER="sip:${host}:${port};transport=tcp"`, ...via])),
  );
  return {
    ports: servers.map(({ port }) => port),
    end: behind.end,
    output: () => servers.map(({ running }) => running.output()).join('\n'),
  };
}

/** Starts a Kamailio with such definitions for its config. */
export async function kamailio(
  transport: SipTransport,
  definitions: readonly string[],
): Promise<{ port: number; running: Running }> {
  const folder = temporaryFolder();
  const port = await freePort();
  const config = fileURLToPath(new URL('../interop/kamailio/server.cfg', import.meta.url));
  const all = [...definitions];
  if (transport === 'tls') {
    const files = await certificateFiles();
    all.push('WITH_TLS', `CERTIFICATE="${files.certificateFile}"`, `KEY="${files.keyFile}"`);
  }
  const listening = ['-l', `${transport}:${host}:${port}`];
  const words = ['-f', config, ...listening, '-DD', '-E', '-Y', folder, '-w', folder, '-m', '64'];
  const running = run('kamailio', [...words, ...all.flatMap((one) => ['-A', one])], { folder, deadlineSeconds });
  await untilListening(port, running);
  return { port, running };
}

/** A balancer in front of three servers, on a port of its own. */
export interface Edge extends RunningBalancer {
  /** Where plain clients connect: adds TLS where the listener speaks it. */
  readonly clientPort: number;
}

/** How the pipeline chooses, as in a config. */
type Strategy = Readonly<Record<string, object>>;

export interface EdgeOptions {
  readonly servers: readonly number[];
  readonly to: SipTransport;
  readonly from: SipTransport | 'ws' | 'wss';
  readonly strategy?: Strategy;
  /** A listener of their own for what servers send over connections that they open. */
  readonly trunk?: SipTransport;
  /** Names the key of its tokens, and is its secret. */
  readonly key?: string;
  /** Undefined: a free one. */
  readonly port?: number;
  readonly names?: readonly string[];
  /** Of the servers, as in a config. */
  readonly checks?: readonly object[];
}

/** Starts a balancer for `sip`. */
export async function startEdge(options: EdgeOptions): Promise<Edge> {
  const { servers, to, from, strategy = { 'round-robin': {} }, trunk, key = 'k1', names = serverNames } = options;
  const files = await certificateFiles();
  const trunkAddress = trunk && `${trunk}://${host}:${await freePort()}`;
  const listener = (address: string) => ({
    listen: address,
    pool: 'calls',
    ...(/^(tls|wss):/.test(address) && { tls: { certificate: files.certificateFile, key: files.keyFile } }),
    pipeline: [{ sip: { ...(trunkAddress && { advertiseToBackends: trunkAddress }) } }, strategy],
  });
  const pool = {
    backends: Object.fromEntries(servers.map((port, i) => [names[i]!, `${to}://${host}:${port}`])),
    ...(to === 'tls' && { tls: { ca: files.certificateFile, serverName: certificateHost } }),
    ...(options.checks && { checks: options.checks }),
  };
  const balancer = await balance(
    JSON.stringify({
      keys: [{ id: key, secret: `\${env:KEY} ${key}` }],
      pools: { calls: pool },
      listeners: {
        edge: listener(`${from}://${host}:${options.port ?? (await freePort())}`),
        ...(trunkAddress && { trunk: listener(trunkAddress) }),
      },
    }),
  );
  const clientPort = from === 'tls' ? await encrypting(balancer.port, files) : balancer.port;
  return { ...balancer, clientPort };
}

export interface Play {
  readonly caller: string;
  readonly callee: string;
  readonly times: number;
  /** How callers reach the balancer, and it the servers. */
  readonly from?: SipTransport;
  readonly to?: SipTransport;
  /** Of the callers: `one` for all calls, or one for `each`. */
  readonly connections?: 'one' | 'each';
  /** Who the servers are. */
  readonly servers?: (callee: string, transport: SipTransport) => Promise<Servers>;
  readonly strategy?: Strategy;
  /** Of the balancer; undefined: a free one. */
  readonly port?: number;
  /** Where callers connect instead, to get to the given port in the end. */
  readonly by?: (port: number) => Promise<number>;
  /** More for the SIPp that calls. */
  readonly options?: string;
}

/** Options of a SIPp that begins `times` calls, many at once. */
export function calling(port: number, times: number, from: SipTransport, connections: 'one' | 'each' = 'one'): string {
  const mode = `${from === 'udp' ? 'u' : 't'}${connections === 'one' ? '1' : 'n'}`;
  return `${host}:${port} -t ${mode} -max_socket 4000 -m ${times} -r 5000 -l ${callsAtOnce} -timeout_error`;
}

/** What has become of a play. */
export interface Played {
  readonly client: Report;
  readonly servers: readonly Report[];
  readonly complaints: readonly string[];
  readonly stats: ListenerStats;
}

/** Lets SIPp play the caller's scenario so many times, against three servers behind a balancer. */
export async function play(wanted: Play): Promise<Played> {
  const { caller, callee, times, from = 'tcp', to = 'tcp', connections, strategy, port, by, options } = wanted;
  const servers = await (wanted.servers ?? sippServers)(callee, to);
  const edge = await startEdge({
    servers: servers.ports,
    to,
    from,
    ...(strategy && { strategy }),
    ...(port && { port }),
  });
  const firstPort = by === undefined ? edge.clientPort : await by(edge.clientPort);
  const further = options === undefined ? '' : ` ${options}`;
  const words = `${calling(firstPort, times, from, connections)} -key edge ${edge.port}${further}`;
  return finish(await sipp(caller, words), servers, edge);
}

/** Waits until the callers and then the servers have ended. */
export async function finish(client: Sipp, servers: Servers, edge: RunningBalancer): Promise<Played> {
  const clientReport = await client.report();
  const complaints = [...edge.complaints]; // when the servers end there will be more
  return { client: clientReport, servers: await servers.end(), complaints, stats: edge.stats() };
}

/** What callers or servers report when all went well. */
export function expectFlawless(report: Report, counts: object): void {
  const flawless = { exitCode: 0, FailedCall: 0, OutOfCallMsgs: 0, DeadCallMsgs: 0, Warnings: 0 };
  expect(report, report.output).toMatchObject({ ...flawless, ...counts });
}

/** Whatever has come has also left, to where it belongs. */
export function expectAllForwarded(stats: ListenerStats): void {
  expect(balances(stats)).toBe(true);
  expect(stats.fromClients).toMatchObject({ refused: 0, discarded: 0, held: 0 });
  expect(stats.fromBackends).toMatchObject({ refused: 0, discarded: 0, held: 0 });
}

/** Everybody succeeded, so many at once, and each server had its third of the calls, with all that belongs to them. */
export function expectSuccess(played: Played, times: number, atOnce = times < callsAtOnce ? 0 : leastAtOnce): void {
  const { client, servers, complaints, stats } = played;
  expectFlawless(client, { SuccessfulCall: times });
  expect(client.peak, client.output).toBeGreaterThanOrEqual(atOnce);
  const thirds = [Math.floor(times / 3), Math.ceil(times / 3)];
  for (const server of servers) {
    expectFlawless(server, { SuccessfulCall: server.IncomingCall });
    expect(thirds, server.output).toContain(server.IncomingCall);
  }
  expectAllForwarded(stats);
  expect(complaints).toEqual([]);
}

interface PhonesLeft extends Pick<Phones, 'edge' | 'servers' | 'times' | 'from'> {
  /** Has somebody call them. */
  readonly caller: string;
}

/** Phones register, each over a connection of its own, and hang up; then `caller` is played. */
export async function playAfterPhonesLeft({ edge, servers, times, from, caller }: PhonesLeft): Promise<Played> {
  const options = `${calling(edge.clientPort, times, from, 'each')} -cid_str %u-phone`;
  const phones = await sipp('phone-leaves', options);
  expectFlawless(await phones.report(), { SuccessfulCall: times });
  await vi.waitFor(() => expect(edge.stats().connections.open).toBe(0), { timeout: 10_000 });
  const played = await finish(await sipp(caller, options), servers, edge);
  expectFlawless(played.client, { SuccessfulCall: times });
  expect(balances(played.stats)).toBe(true);
  return played;
}

/** Does something; if that fails, the error also has what the balancer has counted and complained of, and the servers have written. */
async function withCounts<Result>(
  edge: RunningBalancer,
  servers: Servers,
  work: () => Promise<Result>,
): Promise<Result> {
  try {
    return await work();
  } catch (cause) {
    const counts = inspect({ stats: edge.allStats(), complaints: edge.complaints.slice(0, 20) }, { depth: 9 });
    throw new Error(`${(cause as Error).message}\n${counts}\n${servers.output().slice(0, 5000)}`, { cause });
  }
}

export interface Phones {
  /** Hashes the user in To, so that a registration and the calls to it come to one server. */
  readonly edge: Edge;
  /** Registrars. */
  readonly servers: Servers;
  readonly times: number;
  readonly from: SipTransport;
  readonly connections: 'one' | 'each';
}

/** Phones register, and others call them: to their registrar, and from there along the Path, which leads back. */
export function expectPhonesToCall({ edge, servers, times, from, connections }: Phones): Promise<void> {
  return withCounts(edge, servers, async () => {
    const options = `${calling(edge.clientPort, times, from, connections)} -cid_str %u-phone`;
    const phones = await sipp('phone-called', `${options} -l ${times}`);
    await vi.waitFor(() => expect(edge.stats().fromBackends.forwarded).toBe(times), { timeout: sippSeconds * 1000 });
    const callers = await sipp('caller-of-phone', options);
    const phoneReport = await phones.report();
    const { client, servers: reports, complaints, stats } = await finish(callers, servers, edge);
    expectFlawless(phoneReport, { SuccessfulCall: times });
    expectFlawless(client, { SuccessfulCall: times });
    for (const report of reports) expectFlawless(report, { IncomingCall: 0 });
    expectAllForwarded(stats);
    expect(complaints).toEqual([]);
  });
}
