/** Loads configs from texts, with toy plugins, and returns the findings as `validate` prints them. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { definePlugin, Type } from 'pointsman';
import { onTestFinished } from 'vitest';
import { type Loaded, loadConfig } from '../../../core/config/load.ts';
import { lines, turns } from '../../support/lines.ts';

/** What a function answers that is async though nobody waits for it. */
const late = () => Promise.reject(new Error('later')) as never;

/** A protocol whose identifiers are numbers, and whose messages expose a key. */
const numbers = definePlugin({
  name: 'numbers',
  summary: 'Frames of four bytes.',
  pointsman: '^1',
  options: Type.Object({
    size: Type.Integer({ minimum: 1, maximum: 8, default: 4 }),
    endian: Type.Union([Type.Literal('big'), Type.Literal('little')], { default: 'big' }),
    field: Type.Optional(Type.Object({ offset: Type.Integer({ minimum: 0 }) })),
    stamp: Type.Optional(Type.Array(Type.Enum(['request', 'response']), { uniqueItems: true, minItems: 1 })),
    marker: Type.Optional(Type.String({ pattern: '^[0-9a-f]+$', maxLength: 4 })),
  }),
  apply(hooks, options, scope) {
    if (options.field !== undefined && options.field.offset >= options.size) {
      throw new Error(`field.offset: ${options.field.offset} is beyond the frame`);
    }
    if (options.marker === 'cafe') scope.advise('marker: cafe is for tests');
    if (scope.listener.transport === 'udp') scope.advise('one frame in a datagram is a waste');
    if (options.marker === 'c0de') return late();
    if (options.marker === 'bad0') throw new Error(`the marker ${options.marker} is taken`);
    scope.protocol({
      identifiers: 'number',
      advertises: options.marker === 'cab1',
      keys: { account: () => undefined },
    });
    hooks.frame.tap('numbers', () => options.size);
    return undefined;
  },
});

/** Frames without declaring a protocol. */
const rival = definePlugin({
  name: 'rival',
  summary: 'Frames as well.',
  pointsman: '^1',
  options: Type.Object({}),
  apply: (hooks) => hooks.frame.tap('rival', () => 'more'),
});

const keyed = definePlugin({
  name: 'keyed',
  summary: 'Chooses by a key.',
  pointsman: '^1',
  options: Type.Object({ key: Type.String({ default: 'message' }) }),
  apply(hooks, { key }, scope) {
    scope.messageKey(key);
    hooks.chooseBackend.tap('keyed', (_message, pool) => pool.available[0]);
  },
});

const decided = definePlugin({
  name: 'decided',
  summary: 'Always chooses the first one.',
  pointsman: '^1',
  alwaysChooses: true,
  options: Type.Object({}),
  apply: (hooks) => hooks.chooseBackend.tap('decided', (_message, pool) => pool.available[0]),
});

const watcher = definePlugin({
  name: 'watcher',
  summary: 'Watches.',
  pointsman: '^1',
  options: Type.Object({
    every: Type.Integer({ minimum: 1, default: 1 }),
    listen: Type.String({ default: 'tcp://127.0.0.1:9000' }),
  }),
  apply(_hooks, { every }, scope) {
    if (every === 7) scope.advise('every: 7 is a week');
  },
  observe(_balancer, { every }) {
    if (every > 9) throw new Error(`every: ${every} is too seldom`);
    return every === 9 ? late() : undefined;
  },
});

const asker = definePlugin({
  name: 'asker',
  summary: 'Asks.',
  pointsman: '^1',
  options: Type.Object({ question: Type.Optional(Type.String()) }),
  check({ question }) {
    if (question === '') throw new Error('question: nothing is asked');
    if (question === 'later') return late();
    if (question === 'never') return {} as never;
    if (question === undefined) return { onOpen: (attempt) => attempt.pass() };
    return { onOpen: (attempt) => attempt.send(Buffer.from(question)), onBytes: (attempt) => attempt.pass() };
  },
});

export const toys = [lines, numbers, rival, turns, keyed, decided, watcher, asker];

export interface Checked extends Loaded {
  /** `file:line:column  message`, with `warning:` or the stage of the error in front of the message. */
  readonly lines: readonly string[];
  readonly directory: string;
}

/** @param files their contents by name, or the content of the one file edge.yaml */
export async function check(
  files: string | Record<string, string>,
  options: { env?: Record<string, string>; paths?: string[] } = {},
): Promise<Checked> {
  const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const contents = typeof files === 'string' ? { 'edge.yaml': files } : files;
  for (const [name, content] of Object.entries(contents)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  const paths = options.paths ?? Object.keys(contents).filter((name) => /^[^/]+\.(yaml|json)$/.test(name));
  const loaded = await loadConfig(
    paths.map((path) => join(directory, path)),
    { builtins: toys, env: options.env ?? {} },
  );
  const relative = (text: string) => text.replaceAll(`${directory}/`, '');
  return {
    ...loaded,
    directory,
    lines: loaded.findings.map(({ file, line, column, severity, stage, message }) => {
      const kind = severity === 'warning' ? 'warning' : stage;
      return `${relative(file)}:${line}:${column}  ${kind}: ${relative(message)}`;
    }),
  };
}
