/** The API over real sockets: TLS, and who is let in by it. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import tls from 'node:tls';
import type { PluginDefinition } from 'pointsman';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { AdminOptions } from '../../../../core/cli/admin-client.ts';
import { backends } from '../../../../core/cli/backends.ts';
import admin from '../../../../plugins/observers/admin/index.ts';
import { collect } from '../../../core/cli/streams.ts';
import { makeCertificate } from '../../../support/certificates.ts';
import { temporaryFolder } from '../../../support/peers.ts';
import { freePort } from '../../../support/programs.ts';
import { observed } from '../observed.ts';

const token = 'a token of the tests';

/** An API for operators with certificates, and how they and others ask it on the command line. */
async function secured(options: object = {}) {
  const folder = temporaryFolder();
  const [server, operator, stranger] = [
    await makeCertificate('localhost'),
    await makeCertificate('operator.test'),
    await makeCertificate('stranger.test'),
  ];
  const file = (name: string, content: string) => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  const port = await freePort();
  const { observers } = await observed(admin as PluginDefinition, {
    listen: `tcp://127.0.0.1:${port}`,
    tls: { ...server, ca: operator.certificate },
    ...options,
  });
  onTestFinished(() => observers.stop());
  const ca = file('server.pem', server.certificate);
  const filesOf = (name: string, { certificate, key }: typeof operator) => ({
    ca,
    certificate: file(`${name}.pem`, certificate),
    key: file(`${name}.key`, key),
  });
  const ask = async (how: Partial<AdminOptions>) => {
    const output = collect();
    const code = await backends({ url: `https://localhost:${port}`, ...how }, output);
    return { code, stdout: output.stdout.text, stderr: output.stderr.text };
  };
  return { port, ask, server, ca, operator: filesOf('operator', operator), stranger: filesOf('stranger', stranger) };
}

describe('an API that wants certificates of its clients', () => {
  it('lets in whose certificate it trusts, and tells others so in the handshake', async () => {
    const { ask, operator, stranger, ca } = await secured();
    expect(await ask(operator)).toMatchObject({ code: 0, stderr: '', stdout: expect.stringContaining('pool/a') });
    const refused = {
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(/ has refused us: .*; it may want another certificate: /),
    };
    expect(await ask({ ca })).toEqual(refused);
    expect(await ask(stranger)).toEqual(refused);
  });

  it('wants the token besides, where there is one', async () => {
    const { ask, operator } = await secured({ token });
    expect((await ask(operator)).stderr).toMatch(/ wants a token: /);
    expect((await ask({ ...operator, token })).code).toBe(0);
  });

  it('is not trusted by whoever does not know who has signed its certificate', async () => {
    const { ask, operator } = await secured();
    expect((await ask({ ...operator, ca: operator.certificate })).stderr).toMatch(
      /^pointsman: cannot trust .*: --ca\n$/,
    );
    expect((await ask({ ...operator, key: '/nowhere.key' })).stderr).toBe(
      'pointsman: cannot read /nowhere.key: no such file\n',
    );
  });

  it('speaks no TLS before 1.2', async () => {
    const { port, server } = await secured();
    const socket = tls.connect({
      port,
      host: '127.0.0.1',
      servername: 'localhost',
      ca: server.certificate,
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    });
    onTestFinished(() => void socket.destroy());
    const error = await new Promise((resolve) => socket.on('error', resolve).on('secureConnect', resolve));
    expect(String(error)).toMatch(/protocol version/);
  });
});
