/** Finds where a value of a config stands: from the path that leads to it, to file, line and column. */
import { dirname, resolve } from 'node:path';
import type { Document, LineCounter, Node, Pair } from 'yaml';
import { isAlias, isMap, isPair, isScalar, isSeq } from '../vendor/yaml.ts';
import type { Path } from './path.ts';

/** One config file, parsed. */
export interface Source {
  /** As it was given on the command line. */
  readonly file: string;
  readonly document: Document;
  readonly lines: LineCounter;
}

export interface Place {
  readonly source: Source;
  /** From the file's first character. */
  readonly keyOffset: number;
  readonly valueOffset: number;
}

/** `file:line:column`, as compilers and editors write it. */
export function formatPlace(source: Source, offset: number): string {
  const { line, col } = source.lines.linePos(offset);
  return `${source.file}:${line}:${col}`;
}

/** Finds places in a config that was merged from several files. */
export class Locator {
  readonly #first: Source;
  /** The origins of the merged parts, by their path in the merged config. */
  readonly #origins = new Map<string, { source: Source; path: Path }>();

  /** The files that the config names, as far as `fileAt` was called for them. */
  readonly named = new Set<string>();

  constructor(first: Source) {
    this.#first = first;
  }

  /** Records that what is at `path` of the merged config comes from `origin` in that file. */
  add(path: Path, source: Source, origin: Path): void {
    this.#origins.set(path.join('/'), { source, path: origin });
  }

  /** The place of what `path` leads to, or of the nearest thing around it. */
  find(path: Path): Place {
    for (let length = path.length; length > 0; length--) {
      const origin = this.#origins.get(path.slice(0, length).join('/'));
      if (origin !== undefined) return findIn(origin.source, [...origin.path, ...path.slice(length)]);
    }
    return findIn(this.#first, []);
  }

  /** The file named by the text at `path`; relative names are relative to the file that the text stands in. */
  fileAt(path: Path, name: string): string {
    const file = resolve(dirname(this.find(path).source.file), name);
    this.named.add(file);
    return file;
  }
}

/** The place in one file of what `path` leads to, or of the nearest thing around it. */
export function findIn(source: Source, path: Path): Place {
  const { document } = source;
  let node: Node | null = document.contents;
  let keyOffset = node?.range?.[0] ?? 0;
  let valueOffset = keyOffset;
  for (const segment of path) {
    const pair = member(node, String(segment), document);
    if (pair === undefined) break;
    node = pair.value as Node | null;
    valueOffset = node?.range?.[0] ?? valueOffset;
    keyOffset = isPair(pair) ? (pair.key as Node).range![0] : valueOffset;
    // A member without a value has none to point at.
    if (node === null || (isScalar(node) && node.range![0] === node.range![1])) valueOffset = keyOffset;
  }
  return { source, keyOffset, valueOffset };
}

/** The pair of a mapping or the item of a list, looked for behind aliases and `<<` as well. */
function member(node: Node | null, segment: string, document: Document): Pair | { value: unknown } | undefined {
  if (isAlias(node)) return member(node.resolve(document) ?? null, segment, document);
  if (isSeq(node)) {
    const value = node.items[Number(segment)];
    return value === undefined ? undefined : { value };
  }
  if (!isMap(node)) return undefined;
  const own = node.items.find(({ key }) => keyOf(key) === segment);
  if (own !== undefined) return own;
  for (const { key, value } of node.items) {
    if (keyOf(key) !== '<<') continue;
    const merged = isSeq(value) ? (value.items as Node[]) : [value as Node];
    for (const one of merged) {
      const found = member(one, segment, document);
      if (found !== undefined) return found;
    }
  }
  return undefined;
}

function keyOf(key: unknown): string {
  return String(isScalar(key) ? key.value : key);
}
