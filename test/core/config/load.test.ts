import { writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { loadConfig } from '../../../core/config/load.ts';
import { defaultLimits } from '../../../core/settings.ts';
import { lines, turns } from '../../support/lines.ts';
import { check, toys } from './check.ts';

const pools = 'pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }\n';
const listeners = `listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ lines: }, { turns: }] }
`;

describe('a config in order', () => {
  it('becomes settings with every default filled in', async () => {
    const { settings, findings } = await check(`
pools:
  calls:
    backends:
      uas-1: tcp://127.0.0.1:7001
      uas-2: { address: "tls://[::1]:7002", weight: 2, number: 2 }
listeners:
  edge:
    listen: unix:/run/edge.sock
    pool: calls
    pipeline: [{ lines: { shared: false } }, { turns: null }]
    limits: { messageBytes: 1000 }
`);
    expect(findings).toEqual([]);
    expect(settings).toEqual({
      workers: 1,
      stopSeconds: 10,
      keys: [],
      observers: [],
      pools: [
        {
          name: 'calls',
          backends: [
            { name: 'uas-1', address: { transport: 'tcp', host: '127.0.0.1', port: 7001, path: '' }, weight: 1 },
            { name: 'uas-2', address: { transport: 'tls', host: '::1', port: 7002, path: '' }, weight: 2, number: 2 },
          ],
          linksPerBackend: 1,
          queueBytes: 4_194_304,
          connectSeconds: 5,
          keepaliveSeconds: 30,
          checks: [],
          minimumUp: 1,
          panicPercent: 0,
          drainedSeconds: 60,
        },
      ],
      listeners: [
        {
          name: 'edge',
          listen: { transport: 'unix', host: '', port: 0, path: '/run/edge.sock' },
          pool: 'calls',
          identifiers: {},
          limits: { ...defaultLimits, messageBytes: 1000 },
          pipeline: [
            { plugin: lines, options: { shared: false, relays: false } },
            { plugin: turns, options: {} },
          ],
        },
      ],
    });
  });

  it('may be JSON, indented with tabs', async () => {
    const { settings, lines } = await check({
      'edge.json': `{
\t"$schema": "../schemas/pointsman.schema.json",
\t"pools": { "calls": { "backends": { "a": "tcp://127.0.0.1:7001" } } },
\t"listeners": {
\t\t"edge": { "listen": "tcp://127.0.0.1:5060", "pool": "calls", "pipeline": [{ "lines": {} }, { "turns": {} }] }
\t}
}`,
    });
    expect(lines).toEqual([]);
    expect(settings!.listeners[0]!.name).toBe('edge');
  });

  it('may use anchors, aliases and merge keys', async () => {
    const { settings, lines } = await check(`
x-backends: &backends { a: tcp://127.0.0.1:7001 }
pools:
  one: &one { backends: *backends, connectSeconds: 1 }
  two: { <<: *one, connectSeconds: 2 }
listeners:
  edge: &edge { listen: tcp://127.0.0.1:5060, pool: one, pipeline: [{ lines: }, { turns: }] }
  other: { <<: *edge, listen: tcp://127.0.0.1:5061, pool: two }
`);
    expect(lines).toEqual([]);
    expect(settings!.pools.map(({ name, connectSeconds }) => [name, connectSeconds])).toEqual([
      ['one', 1],
      ['two', 2],
    ]);
  });

  it('may be spread over several files', async () => {
    const { settings, lines } = await check({ 'a.yaml': pools, 'b.yaml': listeners, 'c.yaml': '# nothing yet\n' });
    expect(lines).toEqual([]);
    expect(settings!.listeners[0]!.pool).toBe('calls');
  });

  it('may be a directory', async () => {
    const files = { 'conf.d/a.yml': pools, 'conf.d/b.json': '{ "keys": [] }', 'conf.d/c.yaml': listeners };
    const { settings, lines } = await check({ ...files, 'conf.d/readme.txt': 'not: [read' }, { paths: ['conf.d'] });
    expect(lines).toEqual([]);
    expect(settings!.pools).toHaveLength(1);
  });
});

describe('a config that is no YAML', () => {
  it.each([
    [
      'a list that is not closed',
      'pools: [1\nx: 2\n',
      ['edge.yaml:2:1  syntax: flow sequence in block collection must be sufficiently indented and end with a ]'],
    ],
    [
      'a tab where indentation is due',
      'pools:\n\tcalls: 1\n',
      ['edge.yaml:2:1  syntax: tabs are not allowed as indentation'],
    ],
    [
      'a member that is there twice',
      'pools: {}\nkeys: []\npools: {}\n',
      ['edge.yaml:3:1  syntax: "pools" is defined twice; the other one is at edge.yaml:1:1'],
    ],
    [
      'an alias without its anchor',
      'pools: *base\n',
      ['edge.yaml:1:8  syntax: there is no anchor "base" before this alias'],
    ],
    ['an alias of what it stands in', 'pools: &a { b: *a }\n', ['edge.yaml:1:16  syntax: "a" would contain itself']],
    [
      'two documents',
      'pools: {}\n---\nkeys: []\n',
      ['edge.yaml:2:1  syntax: a second document begins here, but a config is one'],
    ],
    [
      'a text that needs quotes: what is out of place behind it is not told',
      'tests:\n  - steps: [{ send: { hex: 01 {{0:2}} 03, from: alice } }]\n',
      ['edge.yaml:2:31  syntax: unexpected flow-map-start at node end; does a text here need quotes?'],
    ],
    ['a list', '- pools\n', ['edge.yaml:1:1  syntax: a config is a mapping: "pools:", "listeners:", …']],
    ['an unknown tag', 'pools: !secret x\n', ['edge.yaml:1:8  syntax: unresolved tag: !secret']],
  ])('such as %s', async (_, text, expected) => {
    expect((await check(text)).lines).toEqual(expected);
  });

  it('such as nesting without end', async () => {
    const { lines } = await check(`pools: ${'['.repeat(20_000)}${']'.repeat(20_000)}`);
    expect(lines[0]).toMatch(/^edge\.yaml:1:\d+ {2}syntax: it is nested too deeply$/);
  });

  it('such as a bomb of aliases', async () => {
    const levels = Array.from({ length: 9 }, (_, i) => `x-${i + 1}: &a${i + 1} [${`*a${i},`.repeat(9)}]`);
    const { lines } = await check(['x-0: &a0 [1]', ...levels].join('\n'));
    expect(lines).toEqual(['edge.yaml:1:1  syntax: excessive alias count indicates a resource exhaustion attack']);
  });
});

describe('files that do not go together', () => {
  it('define one pool twice', async () => {
    const { lines } = await check({ 'a.yaml': pools, 'b.yaml': listeners + pools });
    expect(lines).toEqual(['b.yaml:3:10  syntax: pool "calls" is defined twice; the other one is at a.yaml:1:10']);
  });

  it('both have keys, of which only one can be the first', async () => {
    const { lines } = await check({ 'a.yaml': 'keys: []\n', 'b.yaml': 'keys: []\n' });
    expect(lines).toEqual(['b.yaml:1:1  syntax: "keys" is defined twice; the other one is at a.yaml:1:1']);
  });
});

it('finds mistakes in all files, each at its place', async () => {
  const { lines, settings } = await check({
    'a.yaml': `${pools}tests: [{ name: t, listener: edge, steps: [{ down: [a] }] }]\n`,
    'b.yaml': `${listeners}tests:\n  - { name: u, listener: edgy, steps: [{ sent: {} }] }\nplugin: []\n`,
  });
  expect(settings).toBeUndefined();
  expect(lines).toEqual([
    'b.yaml:4:26  lint: there is no listener "edgy"; did you mean "edge"?',
    'b.yaml:4:42  shape: "sent" is unknown here; did you mean "send"?',
    'b.yaml:5:1  shape: "plugin" is unknown here; did you mean "plugins"?',
  ]);
});

it('points at what stands behind an anchor', async () => {
  const { lines } = await check(`
x-limits: &limits { messageBytes: 0 }
${pools}
listeners:
  edge:
    listen: tcp://127.0.0.1:5060
    pool: calls
    pipeline: [{ lines: }, { turns: }]
    limits: { <<: *limits, idleSeconds: never }
`);
  expect(lines).toEqual([
    'edge.yaml:2:35  shape: messageBytes must be at least 1, not 0',
    'edge.yaml:10:41  shape: idleSeconds must be a number, not "never"',
  ]);
});

it('tells a mistake behind an anchor once, however many aliases repeat it', async () => {
  const { lines } = await check(`${pools}x-limits: &limits { messageBytes: 0 }
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ lines: }, { turns: }], limits: *limits }
  core: { listen: tcp://127.0.0.1:5062, pool: calls, pipeline: [{ lines: }, { turns: }], limits: *limits }
`);
  expect(lines).toEqual(['edge.yaml:2:35  shape: messageBytes must be at least 1, not 0']);
});

describe('a missing file', () => {
  it.each([
    ['absent.yaml', 'cannot read absent.yaml: no such file'],
    ['core', 'cannot read core: it holds no .yaml, .yml or .json file'],
  ])('is no finding: %s', async (path, message) => {
    await expect(loadConfig([path], { builtins: toys })).rejects.toThrow(message);
  });
});

it('is told which file of a directory is no text', async () => {
  const { directory } = await check({ 'edge.yaml': pools + listeners, 'conf.d/a.yaml': pools });
  const binary = join(directory, 'conf.d/b.yaml');
  writeFileSync(binary, Buffer.from('pools: \xff\xfe', 'latin1'));
  await expect(loadConfig([dirname(binary)], { builtins: toys })).rejects.toThrow(
    `cannot read ${binary}: it is not UTF-8 text`,
  );
});

describe('third-party plugins', () => {
  const config = (specifier: string) => `${pools}plugins: [${specifier}]
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ lines: }, { acme: { size: 3 } }] }
`;
  const source = (more = '') => `import { definePlugin, Refusal, Type } from 'pointsman';
const name: string = 'acme';
export default { ...definePlugin({
  name,
  summary: 'Chooses the first.',
  pointsman: '^1',
  options: Type.Object({ size: Type.Integer({ maximum: 5, default: 2 }) }),
  apply: (hooks) => hooks.chooseBackend.tap(name, (message, pool) => pool.available[0]),
}), ${more} };
`;

  it('load from a path relative to the config, as TypeScript', async () => {
    const { lines, settings } = await check({ 'edge.yaml': config('./plugins/acme.ts'), 'plugins/acme.ts': source() });
    expect(lines).toEqual([]);
    expect(settings!.listeners[0]!.pipeline[1]).toMatchObject({ plugin: { name: 'acme' }, options: { size: 3 } });
  });

  it('load as JavaScript where no package.json says that it is an ES module, with what they import by path', async () => {
    const { lines, settings } = await check({
      'edge.yaml': config('./acme.js'),
      'acme.js': source('summary: helper').replace(
        "const name: string = 'acme'",
        "import { helper } from './helper.js'; const name = 'acme'",
      ),
      'helper.js': "export const helper = 'helped';",
    });
    expect(lines).toEqual([]);
    expect(settings!.listeners[0]!.pipeline[1]).toMatchObject({ plugin: { summary: 'helped' } });
  });

  it.each([
    ['have no such file', './acme.js', source(), 'cannot load plugin "./acme.js": no such file'],
    ['are folders', './', source(), 'cannot load plugin "./": it is no file'],
    ['are no plugins', './acme.ts', 'export const x = 1;', 'plugin "./acme.ts" has no plugin as its default export'],
    [
      'have no name',
      './acme.ts',
      source("name: 'Acme!'"),
      'plugin "./acme.ts" has no name of lower-case words joined by "-"',
    ],
    [
      'have no options schema',
      './acme.ts',
      source('options: {}'),
      'plugin "./acme.ts" has no options schema: Type.Object({ … })',
    ],
    [
      'have no apply',
      './acme.ts',
      source('apply: 1'),
      'plugin "./acme.ts" has no function "apply", "check" or "observe"',
    ],
    [
      'do not say for which API',
      './acme.ts',
      source("pointsman: 'soon'"),
      `plugin "./acme.ts" does not say which plugin API it is for: pointsman: '^1'`,
    ],
    [
      'are for another API',
      './acme.ts',
      source("pointsman: '^2'"),
      'plugin "./acme.ts" is for plugin API ^2; this is 1.0.0',
    ],
    [
      'have a sample that is text',
      './acme.ts',
      source("samples: [{ name: 'one', bytes: 'hello' }]"),
      'plugin "./acme.ts" has a sample, number 1, without a name, or without bytes in a Buffer',
    ],
    ['bear the name of another', './acme.ts', source("name: 'lines'"), 'there is a plugin "lines" already'],
    [
      'have a schema that is none',
      './acme.ts',
      source("options: { type: 'object', propertees: {} }"),
      'the options schema of plugin "acme" is not valid: strict mode: unknown keyword: "propertees"',
    ],
    [
      'throw more than a line',
      './acme.ts',
      "throw new Error('2 errors:\\n  no license\\n  no key');",
      'cannot load plugin "./acme.ts": 2 errors: no license',
    ],
    ['throw', './acme.ts', "throw new Error('no license');", 'cannot load plugin "./acme.ts": no license'],
  ])('are refused when they %s', async (_, specifier, text, message) => {
    const { lines, settings } = await check({ 'edge.yaml': config(specifier), 'acme.ts': text });
    expect(lines).toEqual([`edge.yaml:2:11  plugins: ${message}`]);
    expect(settings).toBeUndefined();
  });

  it('have their options checked', async () => {
    const text = config('./acme.ts').replace('size: 3', 'size: 6');
    const { lines } = await check({ 'edge.yaml': text, 'acme.ts': source() });
    expect(lines).toEqual(['edge.yaml:4:93  options: size must be at most 5, not 6']);
  });
});

describe('values from outside', () => {
  const config = (secret: string) => `keys: [{ id: k1, secret: "${secret}" }]\n${pools}${listeners}`;

  it('come from the environment', async () => {
    const { settings, lines } = await check(config('${env:KEY}-$${x}'), { env: { KEY: 'a secret of enough bytes' } });
    expect(lines).toEqual([]);
    expect(String(settings!.keys[0]!.secret)).toBe('a secret of enough bytes-${x}');
  });

  it('come from files beside the config, without their last line break', async () => {
    const { settings } = await check({ 'edge.yaml': config('${file:keys/k1}'), 'keys/k1': 'sixteen bytes it has\n' });
    expect(String(settings!.keys[0]!.secret)).toBe('sixteen bytes it has');
  });

  it.each([
    ['${env:KEY}', 'the environment variable KEY is not set'],
    ['${file:keys/none}', 'cannot read keys/none: no such file'],
    ['${KEY}', '"${" must begin ${env:NAME} or ${file:PATH}; write "$${" where a plain one is meant'],
    ['${env:KEY', '"${" must begin ${env:NAME} or ${file:PATH}; write "$${" where a plain one is meant'],
  ])('are missing: %s', async (secret, message) => {
    expect((await check(config(secret))).lines).toEqual([`edge.yaml:1:26  syntax: ${message}`]);
  });

  it('never show up in findings', async () => {
    const text = `keys: [{ id: "\${env:A}", secret: "\${env:B}" }, { id: k2, secret: 1234567890123456789 }]
pools: { calls: { links: "\${env:A}", backends: { a: { address: "\${env:C}", number: 1 } } } }
listeners:
  edge: { listen: "\${env:C}", pool: "\${env:A}", advertise: "\${env:C}", pipeline: [{ numbers: { marker: "\${env:D}" } }, { turns: }] }
  next: { listen: tcp://127.0.0.1:1, pool: calls, pipeline: [{ lines: { shared: "\${env:A}" } }, { turns: }] }
`;
    const env = { A: 'Alpha!', B: 'Bravo', C: 'Charlie', D: 'bad0' };
    const first = await check(text, { env });
    const second = await check(
      `${pools.replace('7001', '7001, number: 1').replace('a: ', 'a: { address: ').replace('} }', '} } }')}listeners:
  edge: { listen: tcp://127.0.0.1:1, pool: calls, pipeline: [{ numbers: { marker: "\${env:D}" } }, { turns: }] }
`,
      { env },
    );
    expect(second.lines).toEqual(['edge.yaml:3:64  apply: [numbers] apply: the marker ${env:D} is taken']);
    expect(first.lines.length).toBeGreaterThan(6);
    for (const secret of [...Object.values(env), '123456789']) expect(first.lines.join()).not.toContain(secret);
  });
});
