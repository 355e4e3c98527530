import { once } from 'node:events';
import { type AddressInfo, createServer as createTcpServer, type Server } from 'node:net';
import { createServer } from 'node:tls';
import { expect, it, onTestFinished, vi } from 'vitest';
import { Checks } from '../../../core/health/checks.ts';
import { Pool } from '../../../core/pool.ts';
import { parseAddress } from '../../../core/runtime/address.ts';
import { nodeRuntime } from '../../../core/runtime/node.ts';
import type { CheckTiming, LinkTlsSettings } from '../../../core/settings.ts';
import tcpConnect from '../../../plugins/checks/tcp-connect.ts';
import tls from '../../../plugins/checks/tls.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { optionsOf } from '../../support/embedded.ts';
import { poolSettings } from '../../support/pool.ts';

async function listening(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1');
  onTestFinished(() => void server.close());
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

/** What the first attempt finds out about a backend on that port. */
async function ask(plugin: typeof tls, port: number, settings?: LinkTlsSettings): Promise<string> {
  const backend = { name: 'a', address: parseAddress(`tls://127.0.0.1:${port}`), weight: 1 };
  const pool = new Pool({ ...poolSettings(), backends: [backend], tls: settings });
  const options = optionsOf(plugin, { jitterPercent: 0, intervalSeconds: 60, timeoutSeconds: 10 });
  const quiet = () => {};
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const checks = new Checks(
    pool,
    [{ plugin, options, timing: options as CheckTiming }],
    { runtime: nodeRuntime(), log },
    quiet,
  );
  checks.start();
  onTestFinished(() => checks.stop());
  const { checks: counts } = pool.backends[0]!;
  await vi.waitFor(() => expect(counts.last).toBeDefined(), { timeout: 10_000 });
  return counts.last!;
}

it('makes a handshake with a backend, as its pool says how', async () => {
  const { certificate, key } = await makeCertificate('backend.test');
  const port = await listening(createServer({ cert: certificate, key }));
  expect(await ask(tls, port, { ca: certificate, serverName: 'backend.test', verify: true })).toMatch(
    /^tls: passed in /,
  );
  expect(await ask(tls, port, { serverName: 'backend.test', verify: true })).toBe('tls: self-signed certificate');
  expect(await ask(tls, port, { ca: certificate, serverName: 'other.test', verify: true })).toContain('does not match');
});

it('fails where nobody speaks TLS, while a connect succeeds', async () => {
  const server = createTcpServer((socket) => socket.on('error', () => {}).end('no TLS here\r\n'));
  const port = await listening(server);
  expect(await ask(tls, port)).toMatch(/^tls: .*(wrong version|packet length|disconnected)/);
  expect(await ask(tcpConnect, port)).toMatch(/^tcp-connect: passed in /);
});
