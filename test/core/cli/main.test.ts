import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { describe, expect, it, onTestFinished } from 'vitest';
import { packageVersion } from '../../../core/cli/version.ts';
import { builtMain } from '../../support/built.ts';

/** The command line as a process of its own, away from the sources. */
function pointsman(
  args: string[],
  files: Record<string, string> = {},
  { input = '', hooks = [] }: { input?: string; hooks?: readonly string[] } = {},
) {
  const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  const imports = [import.meta.resolve('tsx'), ...hooks].flatMap((url) => ['--import', url]);
  const command = [...imports, `${process.cwd()}/core/cli/main.ts`, ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: directory, encoding: 'utf8', input });
  return { status, stdout, stderr };
}

it('is a program as built, for npx in a clone', () => {
  const { stdout } = spawnSync(builtMain(), ['version'], { encoding: 'utf8' });
  expect(stdout).toBe(`${packageVersion()}\n`);
});

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

const edge = {
  'edge.yaml': `pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }
listeners: { edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ ndjson: }, { round-robin: }] } }
`,
};

it('runs the tests of a config', () => {
  const tests = (backend: string) =>
    `tests: [{ name: it goes to a, listener: edge, steps: [{ send: { text: "{}\\n" }, expect: { bytes: "{${backend}}\\n" } }] }]\n`;
  const good = pointsman(['test', 'edge.yaml', '--filter', 'to a'], {
    ...edge,
    'edge.test.yaml': tests('\\"backend\\":\\"a\\"'),
  });
  expect(good).toEqual({ status: 0, stdout: '✓ it goes to a\n\n1 test: 1 passed\n', stderr: '' });
  const bad = pointsman(['test', 'edge.yaml', '--format', 'junit'], { ...edge, 'edge.test.yaml': tests('') });
  expect(bad).toMatchObject({ status: 1, stderr: '' });
  expect(bad.stdout).toContain('<testsuites name="pointsman" tests="1" failures="1" errors="0"');
});

it('explains a message that comes from standard input', () => {
  const { status, stdout, stderr } = pointsman(['explain', 'edge.yaml', '--message', '-'], edge, { input: '{}\n' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  expect(stdout).toContain('~ {{+"backend":"a"+}}\\n\n');
});

describe('takes a config from standard input', () => {
  const input = `plugins: [./plugins/acme.js]
${edge['edge.yaml']}keys: [{ id: k1, secret: "\${file:key}" }]
`;
  const acme = `export default { name: 'acme', summary: 'x', pointsman: '^1', options: { type: 'object' }, observe() {} };`;
  const files = { 'plugins/acme.js': acme, key: 'k'.repeat(32) };

  it('whose paths count from the working directory', () => {
    expect(pointsman(['validate', '-'], files, { input })).toEqual({
      status: 0,
      stdout: '<stdin>: ok — 1 listener, 1 pool, 1 backend\n',
      stderr: '',
    });
  });

  it('and says where it is wrong', () => {
    const wrong = input.replace('pool: calls', 'pool: cals');
    expect(pointsman(['validate', '-'], {}, { input: wrong })).toEqual({
      status: 1,
      stdout: `<stdin>:1:11  cannot load plugin "./plugins/acme.js": no such file
<stdin>:3:58  there is no pool "cals"; did you mean "calls"?
<stdin>:4:26  cannot read key: no such file
3 errors
`,
      stderr: '',
    });
  });

  it('together with files, and for its tests', () => {
    const tests =
      'tests: [{ name: it goes to a, listener: edge, steps: [{ send: { text: "{}\\n" }, expect: { backend: a } }] }]';
    expect(pointsman(['test', 'edge.yaml', '-'], edge, { input: tests })).toMatchObject({
      status: 0,
      stdout: '✓ it goes to a\n\n1 test: 1 passed\n',
    });
  });

  it('but not to run, as it is read again', () => {
    expect(pointsman(['run', '-'], {}, { input })).toEqual({
      status: 2,
      stdout: '',
      stderr: 'pointsman: what runs reads its config again when it is reloaded: give it a file\n',
    });
  });
});

it.each([
  [['validate', 'absent.yaml'], 'pointsman: cannot read absent.yaml: no such file\n'],
  [
    ['explain', 'edge.yaml', '--message', 'm', '--sample', 's'],
    "error: option '--sample <name>' cannot be used with option '--message <file>'\n",
  ],
  [
    ['explain', 'edge.yaml', '--pcap', 'm', '--message', 'm'],
    "error: option '--pcap <file>' cannot be used with option '--message <file>'\n",
  ],
  [
    ['explain', 'edge.yaml', '--pcap', 'm', '--port', '70000'],
    "error: option '--port <[address:]port>' argument '70000' is invalid. It must be a port, from 1 to 65535, maybe with the address before it.\n",
  ],
  [
    ['explain', 'edge.yaml', '--pcap', 'm', '--port', 'host:5'],
    "error: option '--port <[address:]port>' argument 'host:5' is invalid. \"host\" is no IP address.\n",
  ],
  [['explain', 'edge.yaml', '--from'], "error: option '--from <peer>' argument missing\n"],
  [
    ['test', 'edge.yaml', '--seed', 'x'],
    "error: option '--seed <number>' argument 'x' is invalid. It must be a positive integer.\n",
  ],
  [
    ['run', 'edge.yaml', '--stop-seconds', '3601'],
    "error: option '--stop-seconds <count>' argument '3601' is invalid. It must be an integer from 0 to 3600.\n",
  ],
  [['run', 'absent.yaml', '--stop-seconds', '0'], 'pointsman: cannot read absent.yaml: no such file\n'],
  [
    ['conform', 'hashin'],
    'pointsman: cannot load plugin "hashin": no package of that name is installed; did you mean "hashing"?\n',
  ],
  [['validat', 'edge.yaml'], "error: unknown command 'validat'\n(Did you mean validate?)\n"],
])('exits with 2 when it could not run: %s', (args, text) => {
  expect(pointsman(args)).toEqual({ status: 2, stdout: '', stderr: text });
});

it('says so when a plugin waits for what never comes', () => {
  const files = { 'edge.yaml': 'plugins: [./acme.js]\n', 'acme.js': 'await new Promise(() => {});\n' };
  expect(pointsman(['validate', 'edge.yaml'], files)).toEqual({
    status: 2,
    stdout: '',
    stderr: 'pointsman: it waits for what never comes, most likely in a plugin, outside of its functions\n',
  });
});

describe('loads no library that it does not need', () => {
  const module = (source: string) => `data:text/javascript,${encodeURIComponent(source)}`;
  /** Writes what is imported by name to stderr. */
  const tellImports = module(`
    import { register } from 'node:module';
    register(${JSON.stringify(
      module(`
        import { writeSync } from 'node:fs';
        export function resolve(specifier, context, next) {
          const byName = /^[a-z]/.test(specifier) && !/^(node|file|data):|^pointsman$/.test(specifier);
          if (byName && /[/](core|plugins)[/]/.test(context.parentURL)) writeSync(2, 'import ' + specifier + '\\n');
          return next(specifier, context);
        }`),
    )});`);
  const config = (listen: string) => `pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }
listeners:
  edge: { listen: "${listen}", pool: calls, pipeline: [{ ndjson: }, { round-robin: }] }
`;
  const checking = ['ajv', 'commander', 'tapable', 'typebox', 'yaml'];

  it.each([
    [['version'], 0, ['commander']],
    [['validate', 'edge.yaml'], 0, checking],
    [['run', 'edge.yaml'], 2, [...checking, 'pino']], // it cannot listen there
    [['validate', 'third-party.yaml'], 0, [...checking, 'semver']], // in JavaScript
  ])('for %s', (args, expected, libraries) => {
    const plugin = (name: string) =>
      `export default { name: '${name}', summary: 'x', pointsman: '^1', options: { type: 'object' }, observe() {} };`;
    const { status, stderr } = pointsman(
      args,
      {
        'edge.yaml': config('unix:/nowhere/at/all'),
        'third-party.yaml': `plugins: [./acme.js, pointsman-plugin-other]\n${config('unix:/nowhere/at/all')}`,
        'acme.js': plugin('acme'),
        'node_modules/pointsman-plugin-other/package.json':
          '{ "type": "module", "exports": { "types": "./other.d.ts", "import": "./other.js" } }',
        'node_modules/pointsman-plugin-other/other.js': plugin('other'),
      },
      { hooks: [tellImports] },
    );
    const imported = [...stderr.matchAll(/^import (.+)$/gm)].map(([, name]) => name);
    expect({ status, imported: [...new Set(imported)].sort() }).toEqual({
      status: expected,
      imported: [...libraries].sort(),
    });
  });
});
