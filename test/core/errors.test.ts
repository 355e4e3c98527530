/** Error codes are a promise: the table in the source, the one in the docs and what is thrown are the same. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { errorCodes, PluginError, PointsmanError } from '../../core/errors.ts';

const table = Object.entries(errorCodes).map(([code, { fault, summary }]) => ({ code, fault, summary }));

it('are documented in one table, in the same words', () => {
  const docs = readFileSync('plugins/README.md', 'utf8');
  const rows = [...docs.matchAll(/^\| `(POINTSMAN_\w+)` \| (\w+) \| (.+?) \|$/gm)];
  expect(rows.map(([, code, fault, summary]) => ({ code, fault, summary }))).toEqual(table);
});

it('are thrown, each of them, and no others', () => {
  const sources = ['core', 'plugins'].flatMap((folder) =>
    readdirSync(folder, { recursive: true, encoding: 'utf8' })
      .filter((file) => file.endsWith('.ts'))
      .map((file) => readFileSync(join(folder, file), 'utf8')),
  );
  // `super` is how PluginError says its own code.
  const thrown = sources.flatMap((source) =>
    [...source.matchAll(/\b(?:new PointsmanError\(|super\((?='POINTSMAN))\s*'(\w+)'/g)].map(([, code]) => code!),
  );
  expect([...new Set(thrown)].sort()).toEqual(table.map(({ code }) => code).sort());
});

it('tell whose fault it is', () => {
  for (const { code, fault } of table) {
    expect(new PointsmanError(code as keyof typeof errorCodes, 'x')).toMatchObject({ code, fault, message: 'x' });
  }
  expect(PluginError.threw('mllp', 'frame', new Error('x'))).toMatchObject({
    code: 'POINTSMAN_PLUGIN',
    fault: 'plugin',
    message: '[mllp] frame: x',
  });
});

it('do not tell where the code of built-in plugins stands', () => {
  const cause = new SyntaxError('no host');
  cause.stack = `SyntaxError: no host\n    at new Own (${new URL('../../plugins/protocols/sip/self.ts', import.meta.url)}:40:19)`;
  expect(PluginError.threw('sip', 'apply', cause).message).toBe('[sip] apply: no host');
});

it("tell where a plugin's code stands that the engine complains of", () => {
  const [, line] = /errors\.test\.ts:(\d+)/.exec(new Error('here').stack!)!;
  const cause = new TypeError('x is not a function');
  expect(PluginError.threw('mllp', 'frame', cause).message).toMatch(
    new RegExp(`^\\[mllp\\] frame: x is not a function \\(test/core/errors\\.test\\.ts:${Number(line) + 1}:\\d+\\)$`),
  );
  const parsed = new SyntaxError("Unexpected token '='");
  parsed.stack = `file://${process.cwd()}/my%20plugin.js:7\n  let x = = 0;\n          ^\n\n${parsed.stack}`;
  expect(PluginError.threw('mllp', 'frame', parsed).message).toBe(
    "[mllp] frame: Unexpected token '=' (my plugin.js:7)",
  );
  parsed.stack = `${process.cwd()}/100%.js:7\n\n${parsed.stack}`;
  expect(PluginError.threw('mllp', 'frame', parsed).message).toBe("[mllp] frame: Unexpected token '=' (100%.js:7)");
  parsed.stack = `${parsed}\n    at compile (node:internal/modules/esm/utils:346:16)`;
  expect(PluginError.threw('mllp', 'frame', parsed).message).toBe("[mllp] frame: Unexpected token '='");
  const spoofed = new TypeError(`no\n    at /client/says.js:1:1\n${'/'.repeat(100_000)}`);
  expect(PluginError.threw('mllp', 'frame', spoofed).message).toMatch(/\/ \(test\/core\/errors\.test\.ts:\d+:\d+\)$/);
});
