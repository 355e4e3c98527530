/** Writes the pages of the plugins. Run it with `npm run pages` when a plugin's options, samples or edits change. */
import { writeFileSync } from 'node:fs';
import { pageOf } from '../conformance/page.ts';
import { builtinPlugins } from './builtins.ts';

for (const plugin of builtinPlugins) {
  writeFileSync(
    new URL(`../../plugins/pages/${plugin.name}.md`, import.meta.url),
    await pageOf(plugin, 'npm run pages'),
  );
}
