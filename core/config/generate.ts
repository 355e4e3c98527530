/** Writes schemas/pointsman.schema.json. Run it with `npm run schemas` when the schema or a plugin's options change. */
import { writeFileSync } from 'node:fs';
import { builtinPlugins } from './builtins.ts';
import { schemaText } from './schema.ts';

const file = new URL('../../schemas/pointsman.schema.json', import.meta.url);
writeFileSync(file, schemaText(builtinPlugins, { open: true }));
