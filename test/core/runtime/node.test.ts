import { X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { linkSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import tls from 'node:tls';
import { afterAll, afterEach, describe, expect, it } from 'vitest';
import { balances } from '../../../core/accounting.ts';
import type { ClientCertificate } from '../../../core/runtime/runtime.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { guest } from '../../support/lines.ts';
import { balancerAt } from '../../support/sockets.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** A backend that answers every line, `#id` kept, and ends when it is ended. */
function onLine(stream: net.Socket): void {
  let rest = '';
  stream.on('data', (bytes) => {
    const parts = (rest + bytes).split('\n');
    rest = parts.pop()!;
    for (const line of parts) stream.write(`${/#\d+ /.exec(line)?.[0] ?? ''}got ${line}\n`);
  });
  stream.on('end', () => stream.end());
  stream.on('error', () => {});
}

async function backendAt(server: net.Server, where: net.ListenOptions): Promise<net.AddressInfo> {
  server.listen(where);
  await once(server, 'listening');
  closers.push(() => server.close());
  return server.address() as net.AddressInfo;
}

/** Sends one request, half-closes, and answers all that came until the other side closed. */
async function ask(stream: net.Socket, text: string): Promise<string> {
  let received = '';
  stream.on('data', (bytes) => {
    received += bytes;
  });
  stream.end(text);
  await once(stream, 'close');
  return received;
}

describe('messages and answers travel', () => {
  it.each([
    ['IPv4', '127.0.0.1', '127.0.0.1'],
    ['IPv6', '::1', '[::1]'],
  ])('over TCP and %s, and a half-close with answers pending loses none', async (_name, host, written) => {
    const { port } = await backendAt(net.createServer({ allowHalfOpen: true }, onLine), { port: 0, host });
    const { balancer, address } = await balancerAt({
      listen: `tcp://${written}:0`,
      backend: `tcp://${written}:${port}`,
    });
    const answer = await ask(net.connect({ port: address.port, host, allowHalfOpen: true }), 'one\ntwo\n');
    expect(answer).toBe('got @a #1 one\ngot @a #2 two\n');
    expect(balances(balancer.stats().listeners.edge!)).toBe(true);
  });

  it('over TCP to a client that reads late, though far more is due than a socket holds', async () => {
    const { port } = await backendAt(net.createServer({ allowHalfOpen: true }, onLine), { port: 0, host: '127.0.0.1' });
    const { address } = await balancerAt({
      listen: 'tcp://127.0.0.1:0',
      backend: `tcp://127.0.0.1:${port}`,
      links: 'dedicated',
    });
    const client = net.connect({ port: address.port, host: '127.0.0.1', allowHalfOpen: true });
    const texts = Array.from({ length: 300 }, (_, i) => `${i} ${'x'.repeat(60_000)}`);
    client.pause();
    client.write(`${texts.join('\n')}\n`);
    client.end();
    await once(client, 'finish'); // the balancer has read all that, and could not yet hand over as much
    let received = '';
    client.on('data', (bytes) => {
      received += bytes;
    });
    client.resume();
    await once(client, 'close');
    expect(received).toBe(texts.map((text) => `got @a ${text}\n`).join(''));
  });

  it('over unix sockets, whose stale file is no obstacle', async () => {
    const backendPath = join(folder, 'backend.sock');
    const listenPath = join(folder, 'listen.sock');
    await backendAt(net.createServer({ allowHalfOpen: true }, onLine), { path: backendPath });
    // A socket file as a killed process leaves it: bound, and nobody listening.
    const killed = net.createServer();
    killed.listen(`${listenPath}.old`);
    await once(killed, 'listening');
    linkSync(`${listenPath}.old`, listenPath);
    killed.close();
    await once(killed, 'close');
    await balancerAt({ listen: `unix:${listenPath}`, backend: `unix:${backendPath}`, links: 'dedicated' });
    expect(await ask(net.connect({ path: listenPath, allowHalfOpen: true }), 'one\n')).toBe('got @a one\n');
  });

  it('over TLS on both sides, with client certificates', async () => {
    const server = await makeCertificate('backend.test');
    const edge = await makeCertificate('edge.test');
    const user = await makeCertificate('user.test');
    const backend = tls.createServer(
      { cert: server.certificate, key: server.key, ca: user.certificate, requestCert: true, allowHalfOpen: true },
      onLine,
    );
    const { port } = await backendAt(backend, { port: 0, host: '127.0.0.1' });
    const shown: (ClientCertificate | undefined)[] = [];
    const { address } = await balancerAt({
      listen: 'tls://127.0.0.1:0',
      backend: `tls://127.0.0.1:${port}`,
      visitor: guest((hooks) => hooks.onConnect.tap('guest', ({ certificate }) => void shown.push(certificate))),
      listenerTls: { ...edge, ca: user.certificate, clientCertificate: 'required' },
      linkTls: { ca: server.certificate, serverName: 'backend.test', verify: true, ...user },
    });
    const dial = (options: tls.ConnectionOptions) =>
      tls.connect({ port: address.port, host: '127.0.0.1', servername: 'edge.test', ca: edge.certificate, ...options });
    expect(await ask(dial({ cert: user.certificate, key: user.key }), 'one\n')).toBe('got @a #1 one\n');
    const { fingerprint256: fingerprint } = new X509Certificate(user.certificate);
    expect(shown).toEqual([{ commonName: 'user.test', subjectAltName: 'DNS:user.test', fingerprint }]);

    const stranger = dial({});
    stranger.write('one\n');
    const [error] = await once(stranger, 'error');
    expect(String(error)).toMatch(/certificate required|ECONNRESET|alert/i);
  });

  it.each([
    [undefined, 'TLSv1.1', 'TLSv1.2'],
    ['TLSv1.3', 'TLSv1.2', 'TLSv1.3'],
  ] as const)('over TLS of a version that the listener takes, no older one: %s', async (minVersion, old, good) => {
    const edge = await makeCertificate('edge.test');
    // What old versions need; OpenSSL itself would not speak them.
    const ciphers = 'DEFAULT@SECLEVEL=0';
    const anyVersion = tls.createServer(
      { cert: edge.certificate, key: edge.key, minVersion: 'TLSv1', ciphers },
      onLine,
    );
    const { port: backend } = await backendAt(anyVersion, { port: 0, host: '127.0.0.1' });
    const { address } = await balancerAt({
      listen: 'tls://127.0.0.1:0',
      backend: `tls://127.0.0.1:${backend}`,
      listenerTls: { ...edge, clientCertificate: 'none', minVersion },
      linkTls: { verify: false },
    });
    const dial = (port: number, version: tls.SecureVersion) =>
      tls.connect({
        port,
        host: '127.0.0.1',
        rejectUnauthorized: false,
        minVersion: version,
        maxVersion: version,
        ciphers,
      });
    expect(await ask(dial(address.port, good), 'one\n')).toBe('got @a #1 one\n');
    expect(await ask(dial(backend, old), 'two\n')).toBe('got two\n'); // so it can, where it may
    const tooOld = dial(address.port, old);
    const [error] = await once(tooOld, 'error');
    expect(String(error)).toMatch(/protocol version/);
  });

  it('or not: a client that never shakes hands does not keep the balancer from stopping', async () => {
    const edge = await makeCertificate('edge.test');
    const { balancer, address } = await balancerAt({
      listen: 'tls://127.0.0.1:0',
      backend: 'tcp://127.0.0.1:1',
      listenerTls: { ...edge, clientCertificate: 'none' },
    });
    const silent = net.connect({ port: address.port, host: '127.0.0.1' });
    closers.push(() => silent.destroy());
    await once(silent, 'connect');
    await balancer.stop({ deadlineSeconds: 0 });
  });

  it('or not: a client whose handshake ends when the balancer has stopped is turned away', async () => {
    const edge = await makeCertificate('edge.test');
    const { balancer, address, stats } = await balancerAt({
      listen: 'tls://127.0.0.1:0',
      backend: 'tcp://127.0.0.1:1',
      listenerTls: { ...edge, clientCertificate: 'none' },
      limits: { connectionsPerAddress: 1 },
    });
    const dial = async () => {
      const stream = net.connect({ port: address.port, host: '127.0.0.1' });
      await once(stream, 'connect');
      return stream;
    };
    const late = await dial();
    await once((await dial()).resume(), 'close'); // so the first one has been let in
    await balancer.stop({ deadlineSeconds: 0 });
    const client = tls.connect({ socket: late, rejectUnauthorized: false });
    client.on('error', () => {}).resume();
    client.write('hello\n');
    await once(client, 'close');
    expect(stats()).toMatchObject({
      connections: { open: 0, accepted: 2, turnedAway: 2 },
      fromClients: { received: 0 },
    });
  });

  it('not to a backend whose certificate is for another name', async () => {
    const server = await makeCertificate('other.test');
    const backend = tls.createServer({ cert: server.certificate, key: server.key }, onLine);
    backend.on('tlsClientError', () => {});
    const { port } = await backendAt(backend, { port: 0, host: '127.0.0.1' });
    const { balancer, address } = await balancerAt({
      listen: 'tcp://127.0.0.1:0',
      backend: `tls://127.0.0.1:${port}`,
      linkTls: { ca: server.certificate, serverName: 'backend.test', verify: true },
    });
    expect(await ask(net.connect({ port: address.port, host: '127.0.0.1' }), 'one\n')).toBe('error no-backend\n');
    expect(balancer.stats().listeners.edge!.backends.a!.up).toBe(false);
  });
});

it('says which listener cannot open its address, and opens none', async () => {
  const taken = net.createServer();
  const { port } = await backendAt(taken, { port: 0, host: '127.0.0.1' });
  await expect(balancerAt({ listen: `tcp://127.0.0.1:${port}`, backend: 'tcp://127.0.0.1:1' })).rejects.toThrow(
    `listener edge cannot listen on tcp://127.0.0.1:${port}: listen EADDRINUSE`,
  );
});

it.each([
  [`unix:${folder}/missing/sock`, `there is no folder ${folder}/missing`],
  ['fd://99', 'the process has not been given a listening socket as its file descriptor 99'],
])('says why it cannot listen on %s', async (listen, why) => {
  await expect(balancerAt({ listen, backend: 'tcp://127.0.0.1:1' })).rejects.toThrow(
    `listener edge cannot listen on ${listen}: ${why}`,
  );
});

it('does not take a unix socket away from whoever answers there', async () => {
  const path = join(folder, 'alive.sock');
  await backendAt(net.createServer(onLine), { path });
  await expect(balancerAt({ listen: `unix:${path}`, backend: 'tcp://127.0.0.1:1' })).rejects.toThrow('EADDRINUSE');
  const plain = join(folder, 'plain');
  writeFileSync(plain, 'precious');
  await expect(balancerAt({ listen: `unix:${plain}`, backend: 'tcp://127.0.0.1:1' })).rejects.toThrow('EADDRINUSE');
});
