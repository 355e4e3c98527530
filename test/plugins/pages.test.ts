import { readdirSync, readFileSync } from 'node:fs';
import { definePlugin, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { pageOf } from '../../core/conformance/page.ts';
import { builtinPlugins } from '../../plugins/index.ts';

describe('the pages of the plugins', () => {
  it.each(builtinPlugins.map((plugin) => [plugin.name, plugin] as const))(
    'are up to date: %s',
    async (name, plugin) => {
      const page = await pageOf(plugin, 'npm run pages');
      expect(readFileSync(`plugins/pages/${name}.md`, 'utf8'), 'npm run pages makes it anew').toBe(page);
    },
  );

  it('are there for plugins that are there', () => {
    const names = builtinPlugins.map(({ name }) => `${name}.md`);
    expect(readdirSync('plugins/pages').sort()).toEqual(names.sort());
  });

  it('show what becomes of a sample, whatever that is', async () => {
    const plugin = definePlugin({
      name: 'pairs',
      summary: 'Two bytes.',
      pointsman: '^1',
      options: Type.Object({
        mark: Type.String({ pattern: '^a|b$', default: 'a', description: 'A mark.' }),
        word: Type.Optional(Type.String({ minLength: 16, description: 'A word.' })),
      }),
      samples: [
        { name: 'text', bytes: Buffer.from('ab') },
        { name: 'binary', bytes: Buffer.from([1, 2]) },
      ],
      apply(hooks, { mark }) {
        hooks.frame.tap('pairs', () => 2);
        hooks.insertId.tap('pairs', (message) => {
          if (message.bytes[message.start] === 1) message.splice(1, 1, Buffer.from(mark));
          return undefined;
        });
      },
    });
    const page = await pageOf(plugin, 'a test');
    expect(page).toContain('| `mark` | string like `^a\\|b$` | `"a"` | A mark. |\n');
    expect(page).toContain('| `word` | string of 16 characters or more |  | A word. |\n');
    expect(page).toContain('```text\nab\n```\n\nNothing changes on its way to the backend.\n');
    expect(page).toContain('```text\n0102\n```\n\nto the backend:\n\n```text\n0161\n```\n');
  });
});
