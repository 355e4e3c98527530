/** Turns what ajv says about a config into one plain sentence for each mistake. */
import type { ErrorObject } from 'ajv';
import type { PluginDefinition } from '../plugin.ts';
import { type Path, valueAt } from './path.ts';
import type { Rule } from './rules.ts';
import { type Section, sectionOf } from './schema.ts';
import { listed, suggest } from './suggest.ts';

export interface Mistake {
  readonly path: Path;
  /** The mistake is in the member's name, not in its value. */
  readonly atKey: boolean;
  readonly rule: Rule;
  readonly message: string;
}

/**
 * @param errors as ajv gives them with `allErrors` and `verbose`
 * @param written the config before anything was filled in: the values that may be shown
 * @param plugins all that there are, in whatever section
 */
export function describeErrors(
  errors: readonly ErrorObject[],
  written: unknown,
  plugins: readonly PluginDefinition[] = [],
): Mistake[] {
  const mistakes = distinct(errors).map((error) => describe(error, written, plugins));
  return mistakes.filter(({ rule, path }) => rule !== 'missing-member' || !mistakes.some(isItMisspelt(path)));
}

/** What is missing is present under a similar name. */
const isItMisspelt = (missing: Path) => (mistake: Mistake) =>
  mistake.rule === 'unknown-member' &&
  mistake.path.slice(0, -1).join('/') === missing.slice(0, -1).join('/') &&
  suggest(String(mistake.path.at(-1)), [String(missing.at(-1))]) !== '';

function describe(error: ErrorObject, written: unknown, plugins: readonly PluginDefinition[]): Mistake {
  const { keyword, params, message = '' } = error;
  const path = pathOf(error);
  const name = nameOf(path, written);
  const entered = error.parentSchema?.writeOnly === true ? '' : `, not ${show(valueAt(written, path))}`;
  const wrong = (text: string): Mistake => ({
    path,
    atKey: false,
    rule: 'bad-value',
    message: `${name} ${text}`,
  });

  switch (keyword) {
    case 'additionalProperties':
      return unknownMember(error, path, params.additionalProperty as string, written);
    case 'false schema':
      return misplaced(path, plugins);
    case 'required':
      return {
        path: [...path, params.missingProperty as string],
        atKey: true,
        rule: 'missing-member',
        message: `${name} has no "${params.missingProperty as string}"`,
      };
    case 'type': {
      const value = valueAt(written, path);
      if (isPluginEntry(path) && typeof value === 'string') return wrong(`must be a mapping; write "${value}: {}"`);
      const allowed = [...[params.type].flat().map(typeName), ...((params.literals as unknown[]) ?? []).map(show)];
      const isFilled = typeof value === 'string' && /\$\{(env|file):/.test(value);
      return wrong(`must be ${listed(allowed, 'or')}${entered}${isFilled ? ', which stands for a text' : ''}`);
    }
    case 'enum': {
      const allowed = (params.allowedValues as unknown[]).map(show);
      const value = valueAt(written, path);
      const meant = typeof value === 'string' ? suggest(value, params.allowedValues as string[]) : '';
      return wrong(`must be ${listed(allowed, 'or')}${entered}${meant}`);
    }
    case 'const':
      return wrong(`must be ${show(params.allowedValue)}${entered}`);
    case 'minimum':
      return wrong(`must be at least ${params.limit as number}${entered}`);
    case 'maximum':
      return wrong(`must be at most ${params.limit as number}${entered}`);
    case 'exclusiveMinimum':
      return wrong(`must be more than ${params.limit as number}${entered}`);
    case 'exclusiveMaximum':
      return wrong(`must be less than ${params.limit as number}${entered}`);
    case 'multipleOf':
      return wrong(`must be a multiple of ${params.multipleOf as number}${entered}`);
    case 'pattern':
      return wrong(`must have the form ${params.pattern as string}${entered}`);
    case 'minLength':
      return wrong(`must have ${counted(params.limit as number, 'character')} or more`);
    case 'maxLength':
      return wrong(`must have ${counted(params.limit as number, 'character')} or fewer`);
    case 'minItems':
      return wrong(`must have ${counted(params.limit as number, 'item')} or more`);
    case 'maxItems':
      return wrong(`must have ${counted(params.limit as number, 'item')} or fewer`);
    case 'minProperties':
      if (isPluginEntry(path)) return wrong('must name a plugin');
      return wrong(`must have ${counted(params.limit as number, 'member')} or more`);
    case 'maxProperties':
      if (isPluginEntry(path)) return wrong('must name one plugin; begin an entry of its own, with "- ", for each');
      return wrong(`must have ${counted(params.limit as number, 'member')} or fewer`);
    case 'uniqueItems':
      return wrong(`has the same item twice: items ${(params.j as number) + 1} and ${(params.i as number) + 1}`);
    default:
      return wrong(message.replace(/^must NOT/, 'must not'));
  }
}

function unknownMember({ parentSchema }: ErrorObject, parent: Path, member: string, written: unknown): Mistake {
  const path = [...parent, member];
  const members = Object.entries((parentSchema?.properties ?? {}) as object);
  const known = members.flatMap(([name, schema]) => (schema === false ? [] : name));
  if (isPluginEntry(parent)) {
    const message = `there is no plugin "${member}"${suggest(member, known) || `; there are ${listed(known, 'and')}`}`;
    return { path, atKey: true, rule: 'unknown-plugin', message };
  }
  // A map by names allows all names but these.
  if (known.length === 0 && parentSchema?.patternProperties !== undefined) {
    const message = `"${member}" is no name: 1 to 63 letters, digits, ".", "_" and "-", the first a letter or digit`;
    return { path, atKey: true, rule: 'bad-name', message };
  }
  const allowed = known.length === 0 ? '' : `; ${nameOf(parent, written)} has ${listed(known, 'and')}`;
  return {
    path,
    atKey: true,
    rule: 'unknown-member',
    message: `"${member}" is unknown here${suggest(member, known) || allowed}`,
  };
}

/** The only members for which no value is valid are plugins, in lists that they do not belong in. */
function misplaced(path: Path, plugins: readonly PluginDefinition[]): Mistake {
  const plugin = plugins.find(({ name }) => name === path.at(-1))!;
  const message = `the plugin "${plugin.name}" is not for this list; it belongs ${places[sectionOf(plugin)]}`;
  return { path, atKey: true, rule: 'misplaced-plugin', message };
}

/** An entry of a list of plugins: one plugin's name with its options. */
export function isPluginEntry(path: Path): boolean {
  if (path[0] === 'listeners') return path.length === 4 && path[2] === 'pipeline';
  if (path[0] === 'pools') return path.length === 4 && path[2] === 'checks';
  return path.length === 2 && path[0] === 'observers';
}

const places: Readonly<Record<Section, string>> = {
  pipeline: 'in the pipeline of a listener',
  observers: 'in "observers", beside "listeners"',
  checks: 'in the "checks" of a pool',
};

/**
 * One error for each mistake. If nothing in a union matches, ajv lists the errors of all branches: kept are those of the branch
 * that was meant, or one error that lists what would have been allowed.
 */
function distinct(errors: readonly ErrorObject[]): ErrorObject[] {
  let left = errors.filter(({ keyword, propertyName }) => keyword !== 'if' && propertyName === undefined);
  const unions = left
    .filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf')
    .sort((one, other) => other.schemaPath.length - one.schemaPath.length); // inner ones first
  for (const union of unions) {
    const isOfUnion = (error: ErrorObject) =>
      error.schemaPath.startsWith(`${union.schemaPath}/`) && error.instancePath.startsWith(union.instancePath);
    const branches = new Map<string, ErrorObject[]>();
    for (const error of left.filter(isOfUnion)) {
      const branch = branchOf(error, union);
      branches.set(branch, [...(branches.get(branch) ?? []), error]);
    }
    if (branches.size === 0) continue; // oneOf matched more than one: ajv's own words must do
    left = left.filter((error) => error !== union && !isOfUnion(error));
    left.push(...meant([...branches.values()], union));
  }
  return left;
}

function meant(branches: ErrorObject[][], union: ErrorObject): ErrorObject[] {
  const rulesOut = (error: ErrorObject) =>
    error.instancePath === union.instancePath && ['type', 'const', 'enum'].includes(error.keyword);
  const possible = branches.filter((errors) => !errors.some(rulesOut));
  if (possible.length > 0) return possible.reduce((one, other) => (other.length < one.length ? other : one));

  const literals: unknown[] = [];
  const types = new Set<string>();
  for (const errors of branches) {
    const reasons = errors.filter(rulesOut);
    const allowed = reasons.flatMap(({ params }) => (params.allowedValues as unknown[]) ?? params.allowedValue ?? []);
    literals.push(...allowed);
    // A literal is of one type, but not everything of that type will do.
    if (allowed.length > 0) continue;
    for (const { parentSchema } of reasons) {
      for (const type of [parentSchema?.type as string | string[] | undefined].flat()) if (type) types.add(type);
    }
  }
  if (types.size === 0) return [{ ...union, keyword: 'enum', params: { allowedValues: literals } }];
  return [{ ...union, keyword: 'type', params: { type: [...types], literals } }];
}

function branchOf(error: ErrorObject, union: ErrorObject): string {
  return error.schemaPath.slice(union.schemaPath.length + 1).split('/', 1)[0]!;
}

function pathOf({ instancePath }: ErrorObject): string[] {
  const segments = instancePath.split('/').slice(1);
  return segments.map((segment) => segment.replaceAll('~1', '/').replaceAll('~0', '~'));
}

/** How to name the value at a path: by the member's name, or as an item of a list. */
function nameOf(path: Path, root: unknown): string {
  if (path.length === 0) return 'the config';
  const parent = path.slice(0, -1);
  const last = path.at(-1)!;
  return Array.isArray(valueAt(root, parent)) ? `item ${Number(last) + 1} of ${nameOf(parent, root)}` : String(last);
}

const typeNames: Record<string, string> = {
  array: 'a list',
  boolean: 'true or false',
  integer: 'an integer',
  null: 'empty',
  number: 'a number',
  object: 'a mapping',
  string: 'a string',
};
const typeName = (type: string) => typeNames[type] ?? type;

function show(value: unknown): string {
  if (value === null || value === undefined) return 'empty';
  if (Array.isArray(value)) return 'a list';
  if (typeof value === 'object') return 'a mapping';
  if (typeof value !== 'string') return String(value);
  return JSON.stringify(value.length > 60 ? `${value.slice(0, 59)}…` : value);
}

const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;
