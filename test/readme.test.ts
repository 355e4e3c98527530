/** The README says what is so: its configs are valid, its plugin is the one that is tested, its files are there. */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../core/config/load.ts';

const readme = readFileSync('README.md', 'utf8');
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block!);

describe('the README', () => {
  it.each(blocks('yaml').map((block) => [/^ {6}- ([a-z-]+):/m.exec(block)?.[1], block]))(
    'has a valid config for %s',
    async (_protocol, block) => {
      const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
      try {
        const file = join(folder, 'readme.yaml');
        writeFileSync(file, block!);
        const { findings } = await loadConfig([file], { env: { POINTSMAN_KEY: 'k'.repeat(32) } });
        expect(findings).toEqual([]);
      } finally {
        rmSync(folder, { recursive: true });
      }
    },
  );

  it('shows the plugin that is tested', () => {
    expect(blocks('ts')[0]).toBe(readFileSync('test/examples/plugins/mllp.ts', 'utf8'));
  });

  it('links to what is there', () => {
    const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => path!);
    expect(links.length).toBeGreaterThan(5);
    expect(links.filter((path) => !existsSync(path))).toEqual([]);
  });
});
