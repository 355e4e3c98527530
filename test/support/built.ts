/** What `npm run build` makes, for tests of that. */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The full path of a built file.
 * @param path below `.build`
 * @throws Error if it has not been built
 */
export function built(path: string): string {
  const file = fileURLToPath(new URL(`../../.build/${path}`, import.meta.url));
  if (!existsSync(file)) throw new Error(`.build/${path} is missing: run \`npm run build\` first`);
  return file;
}

/** The full path of the command line. */
export const builtMain = () => built('core/cli/main.js');
