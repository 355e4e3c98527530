/** The Diameter plugin of the examples with freeDiameter (Debian): a client of ours, and a server behind us. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type net from 'node:net';
import { join, resolve } from 'node:path';
import { expect, it, vi } from 'vitest';
import { makeCertificate } from '../support/certificates.ts';
import {
  type Avp,
  capabilitiesExchange,
  creditControl,
  destinationHost,
  diameterOf,
  originHost,
  readDiameter,
  resultCode,
  sessionId,
} from '../support/diameter.ts';
import { balance, describeWith, dial, type Running, run, temporaryFolder } from '../support/peers.ts';
import { freePort } from '../support/programs.ts';

const originRealm = 296;
const destinationRealm = 283;
const applicationUnsupported = 3007;

/** A daemon without applications: it answers what it is asked that it supports none. */
async function freeDiameter(host: string, more: string): Promise<{ port: number; daemon: Running }> {
  const folder = temporaryFolder();
  const port = await freePort();
  const { certificate, key } = await makeCertificate(host);
  writeFileSync(join(folder, 'certificate.pem'), certificate);
  writeFileSync(join(folder, 'key.pem'), key);
  writeFileSync(join(folder, 'peers'), 'ALLOW_IPSEC *.example.net\n');
  const config = `
Identity = "${host}";
Realm = "example.net";
Port = ${port};
SecPort = 0;
No_SCTP;
ListenOn = "127.0.0.1";
TLS_Cred = "certificate.pem", "key.pem";
TLS_CA = "certificate.pem";
LoadExtension = "acl_wl.fdx" : "peers";
${more}
`;
  writeFileSync(join(folder, 'daemon.conf'), config);
  return { port, daemon: run('freeDiameterd', ['-c', 'daemon.conf'], { folder, deadlineSeconds: 60 }) };
}

const configWith = (server: number) => `
plugins: [${resolve('test/examples/plugins/diameter.ts')}]
pools: { charging: { backends: { ocs-1: tcp://127.0.0.1:${server} } } }
listeners:
  dra:
    listen: tcp://127.0.0.1:0
    pool: charging
    pipeline: [{ diameter: { host: dra.example.net, realm: example.net } }, { round-robin: }]
`;

/** Sends one message, and answers what comes back. */
async function ask(client: net.Socket, message: Buffer) {
  client.write(message);
  const [bytes] = await once(client, 'data');
  return readDiameter(bytes as Buffer)[0]!;
}

const session: readonly Avp[] = [
  [sessionId, 'pgw.example.net;1;1'],
  [originHost, 'pgw.example.net'],
  [originRealm, 'example.net'],
  [destinationRealm, 'example.net'],
];

describeWith('freeDiameterd', 'freediameterd freediameter-extensions', 'freeDiameter', () => {
  it('as a server lets us connect, and answers requests, which then name it', async () => {
    const { port: server } = await freeDiameter('ocs.example.net', '');
    const { port, stats } = await balance(configWith(server));
    await vi.waitFor(() => expect(stats().backends['ocs-1']!.linkStates.open).toBe(1), {
      timeout: 20_000,
      interval: 50,
    });
    const client = await dial(port);
    await ask(client, diameterOf(0x80, capabilitiesExchange, 1, [originHost, 'pgw.example.net']));
    const first = await ask(client, diameterOf(0xc0, creditControl, 7, ...session));
    expect(first).toMatchObject({ flags: 0x20, id: 7, endToEnd: 1007 });
    expect(first.avps).toMatchObject({ [sessionId]: 'pgw.example.net;1;1', [resultCode]: applicationUnsupported });
    expect(first.avps[originHost]).toBe('ocs-1.dra.example.net');
    const again = diameterOf(0xc0, creditControl, 8, ...session, [destinationHost, 'ocs-1.dra.example.net']);
    expect(await ask(client, again)).toMatchObject({ id: 8, avps: { [originHost]: 'ocs-1.dra.example.net' } });
    expect(stats().routes).toMatchObject({ strategy: 1, identifier: 1, correlation: 2 });
  });

  it('as a client is let in, and has its watchdogs answered', async () => {
    const { port, stats } = await balance(configWith(await freePort()));
    const peer = `ConnectPeer = "dra.example.net" { ConnectTo = "127.0.0.1"; Port = ${port}; No_TLS; };`;
    const { daemon } = await freeDiameter('pgw.example.net', `TwTimer = 6;\n${peer}`);
    await vi.waitFor(() => expect(daemon.output()).toContain("-> 'STATE_OPEN'\t'dra.example.net'"), {
      timeout: 20_000,
    });
    const answered = () => stats().fromClients.discardedFor['of-connection'];
    await vi.waitFor(() => expect(answered()).toBeGreaterThanOrEqual(2), { timeout: 30_000, interval: 100 });
    expect(daemon.output()).not.toContain('SUSPECT');
    expect(stats().connections.open).toBe(1);
  }, 60_000);
});
