/**
 * Makes what sip-edge.yaml names and nobody should commit, where it is missing: a certificate, its key, and the secret of the
 * identifiers. `npm ci` runs it, and so do the tests.
 */
import { randomBytes } from 'node:crypto';
import { existsSync, writeFileSync } from 'node:fs';
import { makeCertificate } from '../../support/certificates.ts';

const file = (name: string) => new URL(name, import.meta.url);

function write(name: string, content: string): void {
  writeFileSync(file(name), content, { mode: 0o600 });
}

if (!existsSync(file('key.pem'))) {
  const { certificate, key } = await makeCertificate('sip.example.net');
  write('certificate.pem', certificate);
  write('key.pem', key);
}
if (!existsSync(file('secret.txt'))) write('secret.txt', randomBytes(32).toString('hex'));
