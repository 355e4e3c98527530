/**
 * The built-in plugins have no other API than plugins of strangers: what they import is public, their own, or declared, and what they
 * use of it is in the declarations that strangers get.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { join, relative, sep } from 'node:path';
import { expect, it } from 'vitest';

const manifest = JSON.parse(readFileSync('package.json', 'utf8')) as Record<string, Record<string, string>>;
const declared = { ...manifest.dependencies, ...manifest.peerDependencies };

/** The module specifiers in a source text, type imports among them. */
function importsOf(source: string): readonly string[] {
  const patterns = [
    /^\s*(?:import|export)\b[^'";]*?\bfrom\s*'([^']+)'/gm,
    /^\s*import\s*'([^']+)'/gm,
    /\b(?:import|require)\(\s*'([^']+)'/g,
  ];
  return patterns.flatMap((pattern) => [...source.matchAll(pattern)].map(([, specifier]) => specifier!));
}

/** @param file the importing file, relative to plugins/ */
function isAllowed(file: string, specifier: string): boolean {
  if (specifier.startsWith('.')) {
    const target = relative('.', join(file, '..', specifier)).split(sep);
    // A library that is bundled (core/vendor): a stranger would declare it.
    if (target[0] === '..' && target[1] === 'core' && target[2] === 'vendor') return true;
    // A plugin's own folder: protocols/sip/ for its parts; those of one file share helpers within protocols/.
    const home = file.split(sep).slice(0, -1).slice(0, 2);
    return home.every((folder, at) => target[at] === folder) && target[0] !== '..';
  }
  if (specifier === 'pointsman' || isBuiltin(specifier)) return true;
  const [name] = /^(@[^/]+\/)?[^/]+/.exec(specifier)!;
  return Object.hasOwn(declared, name);
}

const files = readdirSync('plugins', { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));

it.each(files)('%s imports only the public API, its own folder and declared packages', (file) => {
  const imports = importsOf(readFileSync(join('plugins', file), 'utf8'));
  expect(imports.filter((specifier) => !isAllowed(file, specifier))).toEqual([]);
});

it('plugins use only what is in the declarations of the package', () => {
  const { stdout, error } = spawnSync('npx', ['tsc', '-p', 'test/plugins', '--pretty', 'false'], { encoding: 'utf8' });
  expect(error).toBeUndefined();
  // What is wrong in the declarations of libraries is theirs.
  const faults = stdout.split('\n').filter((line) => line.includes(': error ') && !line.includes('node_modules/'));
  expect(faults).toEqual([]);
}, 60_000);

it('would notice an import of something internal', () => {
  const source = `import { a } from 'pointsman';
import type {
  B,
} from '../../core/pool.ts';
export { c } from '../strategies/turns.ts';
import './json-scan.ts';
import net from 'node:net';
const d = await import('yaml');
`;
  const bad = importsOf(source).filter((specifier) => !isAllowed(join('protocols', 'ndjson.ts'), specifier));
  expect(bad).toEqual(['../../core/pool.ts', '../strategies/turns.ts', 'yaml']);
  expect(importsOf(source)).toHaveLength(6);
});
