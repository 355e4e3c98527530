/** `pointsman run --watch` as a process of its own. */
import { mkdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeCertificate } from '../../support/certificates.ts';
import { temporaryFolder } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';
import { askAt, configOf, openBackend, PointsmanProcess } from './process.ts';

const marker = (answer: string) => `import { definePlugin, Type } from 'pointsman';
export default definePlugin({
  name: 'marker', summary: 'Does nothing.', pointsman: '^1', options: Type.Object({}), apply() { void '${answer}'; },
});
`;

describe('run --watch', () => {
  it('reloads when a file of the config changes, however that is written', { timeout: 60_000 }, async () => {
    const [a, b] = [await openBackend('a'), await openBackend('b')];
    const [port, tlsPort] = [await freePort(), await freePort()];
    const listen = `tcp://127.0.0.1:${port}`;
    const secure = `secure: { listen: "tls://127.0.0.1:${tlsPort}", pool: calls, tls: { certificate: c.pem, key: k.pem }, pipeline: [{ ndjson: { correlation: id } }, { round-robin: }] }`;
    const text = (backend: number) =>
      configOf(listen, backend, 'plugins: [ ./marker.mjs ]\nkeys: [{ id: k1, secret: "${file:key.txt}" }]').replace(
        'listeners: { ',
        `listeners: { ${secure}, `,
      );
    const folder = temporaryFolder();
    const inFolder = (name: string) => join(folder, name);
    const certify = async () => {
      const { certificate, key } = await makeCertificate('edge.example');
      writeFileSync(inFolder('k.pem'), key);
      writeFileSync(inFolder('c.pem'), certificate);
    };
    await certify();
    writeFileSync(inFolder('marker.mjs'), marker('one'));
    writeFileSync(inFolder('key.txt'), 'one'.repeat(8));
    const pointsman = new PointsmanProcess({ config: text(a), args: ['--watch'], folder });
    const { file } = pointsman;
    await pointsman.logged('started');
    expect(await askAt(port)).toBe('a');
    const reloaded = async (change: () => unknown, msg = 'reloaded') => {
      const before = pointsman.log.length;
      await change();
      return pointsman.logged(msg, before);
    };

    // Written in place.
    await reloaded(() => writeFileSync(file, text(b)));
    expect(await askAt(port)).toBe('b');

    // Replaced by another file of its name, as editors do.
    await reloaded(() => {
      writeFileSync(`${file}.new`, text(a));
      renameSync(`${file}.new`, file);
    });
    expect(await askAt(port)).toBe('a');

    // Not in order: that is said with its place, and the one before stays.
    const refusal = await reloaded(
      () => writeFileSync(file, text(b).replace('pool: calls, tls', 'pool: cals, tls')),
      'reload refused: the config before stays',
    );
    expect(refusal.reason).toMatch(/config\.yaml:3:\d+ {2}there is no pool "cals"; did you mean "calls"\?/);
    expect(await askAt(port)).toBe('a');

    // Gone, and there again.
    await reloaded(() => rmSync(file), 'reload refused: the config before stays');
    await reloaded(() => writeFileSync(file, text(b)));
    expect(await askAt(port)).toBe('b');

    // What it refers to: a plugin, a certificate, a key.
    await reloaded(() => writeFileSync(inFolder('marker.mjs'), marker('two')));
    await reloaded(certify);
    await reloaded(() => writeFileSync(inFolder('key.txt'), 'two'.repeat(8)));
    expect(pointsman.log.filter(({ msg }) => msg === 'reloaded').length).toBe(6);
    expect(await pointsman.stop()).toBe(0);
  });

  it('reloads when the links to its files change, as those of a ConfigMap do', { timeout: 60_000 }, async () => {
    const [a, b] = [await openBackend('a'), await openBackend('b')];
    const port = await freePort();
    const folder = temporaryFolder();
    const version = (name: string, backend: number) => {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'config.yaml'), configOf(`tcp://127.0.0.1:${port}`, backend));
    };
    version('..one', a);
    symlinkSync('..one', join(folder, '..data'));
    symlinkSync('..data/config.yaml', join(folder, 'config.yaml'));
    const pointsman = new PointsmanProcess({ args: ['--watch'], folder });
    await pointsman.logged('started');
    expect(await askAt(port)).toBe('a');
    version('..two', b);
    symlinkSync('..two', join(folder, '..next'));
    renameSync(join(folder, '..next'), join(folder, '..data'));
    await pointsman.logged('reloaded');
    expect(await askAt(port)).toBe('b');
    expect(await pointsman.stop()).toBe(0);
  });
});
