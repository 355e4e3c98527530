/**
 * Makes a config that may be shown, with its secrets masked. References such as `${env:KEY}` only say where a secret comes from,
 * and stay.
 */
import type { PluginDefinition } from '../plugin.ts';
import { composeSchema } from './schema.ts';

const mask = '***';

/** Names of members that are masked even if a third-party schema does not mark them as secret. */
const soundsSecret = /secret|token|password|passphrase|credential/i;

type Schema = Readonly<Record<string, unknown>>;

/** @param written the config before anything was filled in */
export function maskConfig(written: unknown, plugins: readonly PluginDefinition[]): unknown {
  const { tests: _tests, testEnv: _testEnv, ...rest } = written as Record<string, unknown>;
  return masked(rest, [composeSchema(plugins) as Schema], '');
}

/** @param schemas all that may apply to the value */
function masked(value: unknown, schemas: readonly Schema[], name: string): unknown {
  const branches = schemas.flatMap((schema) => [schema, ...((schema.anyOf as Schema[] | undefined) ?? [])]);
  if (typeof value === 'string') {
    const isSecret = branches.some(({ writeOnly }) => writeOnly === true) || soundsSecret.test(name);
    return isSecret && !/^\$\{(env|file):[^}]+\}$/.test(value) ? mask : value;
  }
  if (Array.isArray(value)) {
    const items = branches.flatMap(({ items }): Schema[] => (items === undefined ? [] : [items as Schema]));
    return value.map((item) => masked(item, items, name));
  }
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([member, content]) => [member, masked(content, branches.flatMap(of(member)), member)]),
  );
}

/** The schemas for a member of an object that has this schema. */
const of = (member: string) => (schema: Schema) => {
  const named = (schema.properties as Record<string, Schema> | undefined)?.[member];
  if (named !== undefined) return [named];
  const patterns = Object.entries((schema.patternProperties ?? {}) as Record<string, Schema>);
  return patterns.filter(([pattern]) => new RegExp(pattern).test(member)).map(([, content]) => content);
};
