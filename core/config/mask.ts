/** A config that may be shown: secrets that stand in it are masked. References such as `${env:KEY}` say where they are, and may stay. */
import type { PluginDefinition } from '../plugin.ts';
import { composeSchema } from './schema.ts';

const mask = '***';

/** Third-party schemas may forget to say what is secret. */
const soundsSecret = /secret|token|password|passphrase|credential/i;

type Schema = Readonly<Record<string, unknown>>;

/** @param written the config before anything was filled in */
export function maskConfig(written: unknown, plugins: readonly PluginDefinition[]): unknown {
  const { tests: _tests, testEnv: _testEnv, ...rest } = written as Record<string, unknown>;
  return masked(rest, [composeSchema(plugins) as Schema], '');
}

/** @param schemas those that may apply to the value */
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
