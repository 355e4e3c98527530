/** Reads config files, YAML 1.2 or JSON, and merges them into one value, keeping the place of everything in it. */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Node } from 'yaml';
import { PointsmanError } from '../errors.ts';
import { isMap, isScalar, LineCounter, parseDocument, visit } from '../vendor/yaml.ts';
import { findIn, formatPlace, Locator, type Source } from './locate.ts';

export interface Parsed {
  /** All files merged, as plain values; empty if there are problems. */
  readonly value: Record<string, unknown>;
  readonly locator: Locator;
  readonly problems: readonly SyntaxProblem[];
}

interface SyntaxProblem {
  readonly source: Source;
  /** From the file's first character. */
  readonly offset: number;
  readonly message: string;
}

/** Enough for every config a person writes, too few for a bomb of nested aliases. */
const maxAliasCount = 1000;

/** The argument that stands for standard input instead of a file. */
export const standardInput = '-';

/** The name of a file in findings. Standard input counts as a file in the working directory: paths in it are relative to that. */
export const nameOfFile = (path: string): string => (path === standardInput ? '<stdin>' : path);

/**
 * Reads files, and of directories every .yaml, .yml and .json file in the order of their names.
 * @throws PointsmanError if one cannot be read, or there is none
 */
export function readSources(paths: readonly string[]): Source[] {
  const files = paths.flatMap((path) => reading(path, () => filesOf(path)));
  return files.map((file) => {
    const text = reading(file, () => utf8.decode(readFileSync(file === standardInput ? 0 : file)));
    return parseSource(nameOfFile(file), text);
  });
}

const utf8 = new TextDecoder('utf-8', { fatal: true });

function reading<Content>(path: string, read: () => Content): Content {
  try {
    return read();
  } catch (cause) {
    throw new PointsmanError('POINTSMAN_CONFIG', `cannot read ${nameOfFile(path)}: ${whyUnreadable(cause)}`, { cause });
  }
}

function filesOf(path: string): string[] {
  if (path === standardInput || !statSync(path).isDirectory()) return [path];
  const names = readdirSync(path).filter((name) => /\.(ya?ml|json)$/.test(name));
  if (names.length === 0) throw new Error('it holds no .yaml, .yml or .json file');
  return names.sort().map((name) => join(path, name));
}

/** What the system says about a file, in words. */
export function whyUnreadable(cause: unknown): string {
  const { code, message } = cause as NodeJS.ErrnoException;
  if (code === 'ENOENT' || code === 'ENOTDIR') return 'no such file';
  if (code === 'EACCES' || code === 'EPERM') return 'permission denied';
  if (code === 'EISDIR') return 'it is a directory';
  if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') return 'it is not UTF-8 text';
  return message;
}

/** Parses the text of one file. JSON needs no parser of its own: YAML 1.2 contains it. */
export function parseSource(file: string, text: string): Source {
  const lines = new LineCounter();
  const document = parseDocument(text, {
    merge: true,
    stringKeys: true,
    uniqueKeys: false, // checked below, with a message that names the key
    prettyErrors: false,
    lineCounter: lines,
  });
  return { file, document, lines };
}

/** Merges files into one config: pools, listeners and `testEnv` by name, `plugins`, `observers` and `tests` end to end. */
export function mergeSources(sources: readonly Source[]): Parsed {
  const locator = new Locator(sources[0]!);
  const problems = sources.flatMap(syntaxProblems);
  const value: Record<string, unknown> = Object.create(null); // so that no member name is special
  if (problems.length > 0) return { value, locator, problems };

  for (const source of sources) {
    for (const [section, content] of Object.entries(plainOf(source, problems))) {
      if (section === '$schema' || section.startsWith('x-')) continue;
      const before = value[section];
      if (before === undefined) {
        value[section] = content;
        locator.add([section], source, [section]);
      } else if (isMergedList(section, before) && Array.isArray(content)) {
        for (const [index, item] of content.entries()) {
          locator.add([section, before.length], source, [section, index]);
          before.push(item);
        }
      } else if (isMergedMap(section, before) && isMergedMap(section, content)) {
        for (const [name, entry] of Object.entries(content)) {
          if (Object.hasOwn(before, name)) {
            reportTwice([section, name], `${section.replace(/s$/, '')} "${name}"`, source);
          } else {
            before[name] = entry;
            locator.add([section, name], source, [section, name]);
          }
        }
      } else {
        reportTwice([section], `"${section}"`, source);
      }
    }
  }
  return { value: problems.length === 0 ? value : {}, locator, problems };

  function reportTwice(path: readonly string[], what: string, source: Source): void {
    const first = locator.find(path);
    const message = `${what} is defined twice; the other one is at ${formatPlace(first.source, first.keyOffset)}`;
    problems.push({ source, offset: findIn(source, path).keyOffset, message });
  }
}

function plainOf(source: Source, problems: SyntaxProblem[]): object {
  try {
    return (source.document.toJS({ maxAliasCount }) as object | null) ?? {};
  } catch (error) {
    problems.push({ source, offset: 0, message: asClause((error as Error).message) });
    return {};
  }
}

function isMergedList(section: string, value: unknown): value is unknown[] {
  return (section === 'plugins' || section === 'observers' || section === 'tests') && Array.isArray(value);
}

function isMergedMap(section: string, value: unknown): value is Record<string, unknown> {
  const merges = section === 'pools' || section === 'listeners' || section === 'testEnv';
  return merges && typeof value === 'object' && value !== null && !Array.isArray(value);
}

function syntaxProblems(source: Source): SyntaxProblem[] {
  const { document } = source;
  const { errors, warnings } = document;
  const astray = errors.findIndex(({ code }) => code === 'UNEXPECTED_TOKEN');
  // Where one token is out of place, much that follows seems to be so.
  const faults = astray < 0 ? [...errors, ...warnings] : errors.slice(0, astray + 1);
  const problems: SyntaxProblem[] = faults.map(({ code, pos, message }) => ({
    source,
    offset: pos[0],
    message:
      code === 'MULTIPLE_DOCS'
        ? 'a second document begins here, but a config is one'
        : asClause(message) + (code === 'UNEXPECTED_TOKEN' ? '; does a text here need quotes?' : ''),
  }));
  if (problems.length > 0) return problems;

  const { contents } = document;
  if (contents !== null && !isMap(contents) && !(isScalar(contents) && contents.value === null)) {
    problems.push({ source, offset: contents.range![0], message: 'a config is a mapping: "pools:", "listeners:", …' });
  }
  visit(document, {
    Map(_, { items }) {
      const first = new Map<string, Node>();
      for (const { key } of items) {
        const node = key as Node;
        const name = String(key);
        const twin = first.get(name);
        if (twin === undefined) {
          first.set(name, node);
          continue;
        }
        const message = `"${name}" is defined twice; the other one is at ${formatPlace(source, twin.range![0])}`;
        problems.push({ source, offset: node.range![0], message });
      }
    },
    Alias(_, alias, around) {
      const target = alias.resolve(document);
      const offset = alias.range![0];
      if (target === undefined) {
        problems.push({ source, offset, message: `there is no anchor "${alias.source}" before this alias` });
      } else if (around.includes(target)) {
        problems.push({ source, offset, message: `"${alias.source}" would contain itself` });
      }
    },
  });
  return problems;
}

/** The parser's sentences in the style of findings: no capital, no full stop. */
function asClause(message: string): string {
  if (message === 'Maximum call stack size exceeded') return 'it is nested too deeply';
  return message.charAt(0).toLowerCase() + message.slice(1).replace(/\.$/, '');
}
