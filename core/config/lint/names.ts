/** Checks that the names of pools, backends and listeners can be used, and that references to them find something. */
import type { Draft } from '../build.ts';
import { membersOf, type Path, valueAt } from '../path.ts';
import { listed, suggest } from '../suggest.ts';

/** Statistics are kept by name, in objects that inherit members with some names. */
export function lintNames({ config, findings }: Draft): void {
  const pools = membersOf(config.pools);
  const ofBackends = (pool: string): Path[] =>
    membersOf(valueAt(config, ['pools', pool, 'backends'])).map((name) => ['pools', pool, 'backends', name]);
  const paths: Path[] = [
    ...pools.map((name) => ['pools', name]),
    ...pools.flatMap(ofBackends),
    ...membersOf(config.listeners).map((name) => ['listeners', name]),
  ];
  for (const path of paths) {
    const name = String(path.at(-1));
    if (!(name in Object.prototype) || !findings.isSound(path)) continue;
    const message = `"${name}" is no name: every object of JavaScript has a member of that name`;
    findings.add(path, { rule: 'bad-name', stage: 'lint', message, atKey: true });
  }
}

/** Also checks listeners and tests that are otherwise not in order. */
export function lintReferences({ config, written, findings }: Draft): void {
  const pools = membersOf(config.pools);
  const listeners = membersOf(config.listeners);
  for (const name of listeners) check('pool', pools, ['listeners', name, 'pool']);
  for (const index of membersOf(config.tests)) check('listener', listeners, ['tests', index, 'listener']);
  const used = listeners.map((name) => valueAt(config, ['listeners', name, 'pool']) as string);
  for (const pool of pools) {
    // A misspelt one is remarked on already.
    if (used.includes(pool) || used.some((name) => !pools.includes(name))) continue;
    findings.warn('unused-pool', ['pools', pool], `no listener feeds the pool "${pool}"`);
  }

  function check(kind: string, known: readonly string[], path: Path): void {
    const name = valueAt(config, path);
    if (typeof name !== 'string' || known.includes(name)) return;
    const shown = String(valueAt(written, path));
    const others = suggest(shown, known) || (known.length > 0 ? `; there is ${listed(known, 'and')}` : '');
    findings.add(path, { rule: 'unknown-name', stage: 'lint', message: `there is no ${kind} "${shown}"${others}` });
  }
}
