import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, it, onTestFinished } from 'vitest';

/** The command line as a process of its own, away from the sources. */
function pointsman(args: string[], files: Record<string, string> = {}) {
  const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  const command = ['--import', import.meta.resolve('tsx'), `${process.cwd()}/core/cli/main.ts`, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: directory, encoding: 'utf8' });
  return { status, stdout, stderr };
}

it('takes plugins from files and packages, and gives them its own core', () => {
  const core = pathToFileURL('core/outcome.ts').href;
  const plugin = (name: string) => `import { Refusal as ours } from '${core}';
import { definePlugin, Refusal, Type } from 'pointsman';
export default definePlugin({ name: '${name}', summary: 'x', pointsman: '^1', options: Type.Object({}),
  apply(hooks) {
    if (Refusal !== ours) throw new Error('it got another core');
    hooks.chooseBackend.tap('${name}', (message, pool) => pool.available[0]);
  } });`;
  const { status, stdout, stderr } = pointsman(['validate', 'edge.yaml'], {
    'edge.yaml': `plugins: [./acme.ts, pointsman-plugin-other]
pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ ndjson: }, { acme: }, { other: }] }
`,
    'acme.ts': plugin('acme'),
    'node_modules/pointsman-plugin-other/package.json': '{ "type": "module", "exports": { "import": "./other.js" } }',
    'node_modules/pointsman-plugin-other/other.js': plugin('other'),
  });
  expect({ status, stdout, stderr }).toEqual({
    status: 0,
    stdout: 'edge.yaml: ok — 1 listener, 1 pool, 1 backend\n',
    stderr: '',
  });
});

it.each([
  [['validate', 'absent.yaml'], 'pointsman: cannot read absent.yaml: no such file\n'],
  [['validat', 'edge.yaml'], "error: unknown command 'validat'\n(Did you mean validate?)\n"],
])('exits with 2 when it could not run: %s', (args, text) => {
  expect(pointsman(args)).toEqual({ status: 2, stdout: '', stderr: text });
});
