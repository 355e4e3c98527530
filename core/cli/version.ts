/** `pointsman version`. */
import { createRequire } from 'node:module';

/** The version of this package. */
export function packageVersion(): string {
  // By the package's own name, since the file is in another place relative to this one once it is built.
  return (createRequire(import.meta.url)('pointsman/package.json') as { version: string }).version;
}
