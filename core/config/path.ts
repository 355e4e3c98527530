/** Paths to places in a config, and what stands there in values that nobody has checked yet. */

/** The members that lead from the root of a config to a place in it; items of lists by their index. */
export type Path = readonly (string | number)[];

/** The value at a path; undefined if there is none. */
export function valueAt(root: unknown, path: Path): unknown {
  let value = root;
  for (const segment of path) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, segment)) return undefined;
    value = (value as Record<string, unknown>)[segment];
  }
  return value;
}

/** The names of a section's members; none if it is no section. */
export const membersOf = (section: unknown): string[] =>
  typeof section === 'object' && section !== null ? Object.keys(section) : [];
