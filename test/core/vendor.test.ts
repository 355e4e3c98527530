import { readdirSync, readFileSync } from 'node:fs';
import { expect, it } from 'vitest';

type Versions = Record<string, string>;
const { dependencies, peerDependencies } = JSON.parse(readFileSync('package.json', 'utf8')) as {
  dependencies: Versions;
  /** All optional: who imports one says what is missing. */
  peerDependencies: Versions;
};
const files = ['core', 'plugins'].flatMap((folder) =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' }).map((file) => `${folder}/${file}`),
);
const isVendored = (file: string) => file.startsWith('core/vendor/');
const sources = files.filter((file) => file.endsWith('.ts'));

/** The packages that a file imports when it runs: types are gone by then. */
function packagesOf(file: string): string[] {
  const imports = readFileSync(file, 'utf8').matchAll(
    /^(?:import|export)(?! type) [^;]*?from '([^'.][^']*)'|\bimport\('([^'.][^']*)'\)/gm,
  );
  const names = [...imports]
    .map(([, fixed, dynamic]) => (fixed ?? dynamic)!)
    .filter((name) => !name.startsWith('node:'));
  return names.map((name) => /^(@[^/]+\/)?[^/]+/.exec(name)![0]).filter((name) => name !== 'pointsman');
}

const vendored = sources.filter((file) => isVendored(file) && !file.endsWith('bundle.ts')).flatMap(packagesOf);

it('what is bundled is imported from core/vendor only, what is not is there when the package is installed', () => {
  expect(vendored).toContain('typebox');
  const others = sources
    .filter((file) => !isVendored(file))
    .flatMap((file) => packagesOf(file).map((name) => [file, name]));
  expect(others).toContainEqual(['core/hooks.ts', 'tapable']);
  expect(
    others.filter(([, name]) => vendored.includes(name!) || !(name! in { ...dependencies, ...peerDependencies })),
  ).toEqual([]);
});
