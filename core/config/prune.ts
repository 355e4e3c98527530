/** Leaves out of a schema whatever one value cannot violate, because schemas take time to compile. */

type Members = Readonly<Record<string, unknown>>;

/**
 * The part of a JSON Schema that finds the same mistakes in `value`, and fills in the same defaults: of members that the
 * value does not have, and that have no default, no more than the name is left. A schema with references stays whole.
 */
export function prune(schema: object, value: unknown): object {
  return JSON.stringify(schema).includes('"$ref"') ? schema : (pruned(schema, [value]) as object);
}

/** @param values all values, in different places, that the schema applies to */
function pruned(schema: unknown, values: readonly unknown[]): unknown {
  if (!isObject(schema)) return schema;
  if (values.length === 0) return {};
  const { properties, patternProperties, items } = schema;
  const objects = values.filter(isObject);
  const copy: Record<string, unknown> = { ...schema };
  if (isObject(properties)) {
    copy.properties = mapMembers(properties, (member, name) => {
      const present = objects.flatMap((object) => (Object.hasOwn(object, name) ? [object[name]] : []));
      if (isObject(member) && member.default !== undefined) present.push(member.default);
      return pruned(member, present);
    });
  }
  if (isObject(patternProperties)) {
    const all = objects.flatMap(Object.values);
    copy.patternProperties = mapMembers(patternProperties, (member) => pruned(member, all));
  }
  if (isObject(items)) copy.items = pruned(items, values.filter(Array.isArray).flat());
  return copy;
}

function isObject(value: unknown): value is Members {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function mapMembers(members: Members, change: (member: unknown, name: string) => unknown): Members {
  return Object.fromEntries(Object.entries(members).map(([name, member]) => [name, change(member, name)]));
}
