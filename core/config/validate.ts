/** Checks a config against the schema that its plugins make up, and fills in the defaults. */
import type { Options } from 'ajv';
import type { PluginDefinition } from '../plugin.ts';
import { Ajv } from '../vendor/ajv.ts';
import { describeErrors, type Mistake } from './describe.ts';
import { valueAt } from './path.ts';
import { prune } from './prune.ts';
import { allOptions, type Config, composeSchema, optionsSchema } from './schema.ts';

/** What a plugin brings is checked to be a schema when it is loaded, what comes with pointsman by the tests: not each time. */
const options: Options = {
  strict: true,
  allErrors: true,
  verbose: true,
  useDefaults: true,
  allowUnionTypes: true,
  logger: false,
  meta: false,
  validateSchema: false,
  code: { optimize: false }, // what is called once is not worth optimizing
};

/** Why a plugin's options schema cannot be used; undefined if it can. */
export function schemaFault(plugin: PluginDefinition): string | undefined {
  try {
    new Ajv({ ...options, meta: true, validateSchema: true }).compile({
      type: 'object',
      properties: { options: optionsSchema(plugin) },
    });
    return undefined;
  } catch (error) {
    return (error as Error).message;
  }
}

/** The options of a plugin with defaults filled in, without checking them. */
export function withDefaults(plugin: PluginDefinition, given: unknown): unknown {
  const copy = structuredClone(given);
  new Ajv(options).compile(allOptions(plugin))(copy);
  return copy;
}

/** The options of a plugin with defaults filled in, and what is wrong with them: one sentence for each mistake. */
export function optionFaults(plugin: PluginDefinition, given: unknown): { options: unknown; faults: string[] } {
  const { name } = plugin;
  const schema = { type: 'object', properties: { [name]: { additionalProperties: false, ...allOptions(plugin) } } };
  const copy = { [name]: structuredClone(given) };
  const check = new Ajv(options).compile(schema);
  const faults = check(copy) ? [] : describeErrors(check.errors!, { [name]: given }).map(({ message }) => message);
  return { options: copy[name], faults };
}

/**
 * @param value the config; its defaults are filled in
 * @param written the same config as it was written: what may be shown of it
 * @param open pipelines may name plugins that are not among these
 */
export function validate(
  value: unknown,
  written: unknown,
  plugins: readonly PluginDefinition[],
  { open }: { open: boolean },
): { config: Config; mistakes: Mistake[] } {
  giveOptions(value);
  const check = new Ajv(options).compile<Config>(prune(composeSchema(plugins, { open }), value));
  const mistakes = check(value) ? [] : describeErrors(check.errors!, written, plugins);
  return { config: value as Config, mistakes };
}

/** A plugin whose name stands alone, without options, has the default ones. */
function giveOptions(value: unknown): void {
  const members = (of: unknown): unknown[] => (typeof of === 'object' && of !== null ? Object.values(of) : []);
  const pipelines = members(valueAt(value, ['listeners'])).map((listener) => valueAt(listener, ['pipeline']));
  const checks = members(valueAt(value, ['pools'])).map((pool) => valueAt(pool, ['checks']));
  for (const list of [...pipelines, ...checks, valueAt(value, ['observers'])]) {
    for (const entry of members(list)) {
      for (const [name, options] of Object.entries(entry ?? {})) {
        if (options === null) (entry as Record<string, unknown>)[name] = {};
      }
    }
  }
}
