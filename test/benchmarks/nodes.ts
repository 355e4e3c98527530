/** Other versions of Node.js to run pointsman on: the npm package `node` brings the program. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/**
 * The program of that version, installed when first asked for, in a folder that stays for the next time.
 * @param version as npm takes it: 24 is the newest 24.x
 */
export function nodeOf(version: string): string {
  if (!/^\d+(\.\d+){0,2}$/.test(version)) throw new Error(`--node: ${version} is no version`);
  const folder = join(tmpdir(), 'pointsman-nodes', version);
  const node = join(folder, 'node_modules', 'node', 'bin', 'node');
  if (!existsSync(node)) {
    console.error(`installing node@${version} into ${folder}`);
    mkdirSync(folder, { recursive: true });
    const quiet = ['--no-audit', '--no-fund', '--loglevel=error'];
    execFileSync('npm', ['install', '--prefix', folder, ...quiet, `node@${version}`], { stdio: 'inherit' });
  }
  return node;
}
