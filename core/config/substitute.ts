/** Replaces references in strings by values from outside the config: `${env:NAME}` and `${file:PATH}`. `$${` stands for `${`. */
import { readFileSync } from 'node:fs';
import type { Locator } from './locate.ts';
import { whyUnreadable } from './parse.ts';
import type { Path } from './path.ts';

export interface Substituted {
  readonly value: unknown;
  /** What came from outside, and how the config writes it: findings show the latter. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly problems: readonly { readonly path: Path; readonly message: string }[];
}

/**
 * Returns a copy of `value` with the references in its strings replaced. Paths are relative to the file that a string stands in.
 */
export function substitute(value: unknown, locator: Locator, env: NodeJS.ProcessEnv): Substituted {
  const secrets = new Map<string, string>();
  const problems: { path: Path; message: string }[] = [];
  return { value: copy(value, []), secrets, problems };

  function copy(value: unknown, path: Path): unknown {
    if (typeof value === 'string') return value.includes('${') ? fill(value, path) : value;
    if (Array.isArray(value)) return value.map((item, index) => copy(item, [...path, index]));
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, copy(member, [...path, name])]));
  }

  function fill(text: string, path: Path): string {
    return text.replace(/\$\$\{|\$\{([^}]*)\}?/g, (reference, inside: string | undefined) => {
      if (inside === undefined) return '${';
      try {
        const content = lookUp(reference, path);
        secrets.set(content, reference);
        return content;
      } catch (error) {
        problems.push({ path, message: (error as Error).message });
        return reference;
      }
    });
  }

  /** @throws Error that says what is missing */
  function lookUp(reference: string, path: Path): string {
    const [, kind, name = ''] = /^\$\{(env|file):([^}]+)\}$/.exec(reference) ?? [];
    if (kind === 'env') {
      const content = env[name];
      if (content === undefined) throw new Error(`the environment variable ${name} is not set`);
      return content;
    }
    if (kind === 'file') {
      try {
        return readFileSync(locator.fileAt(path, name), 'utf8').replace(/\r?\n$/, ''); // which editors append
      } catch (cause) {
        throw new Error(`cannot read ${name}: ${whyUnreadable(cause)}`, { cause });
      }
    }
    throw new Error('"${" must begin ${env:NAME} or ${file:PATH}; write "$${" where a plain one is meant');
  }
}
