/** The tutorial does what it says: each step is a plugin that conforms, and the bytes and the output are those shown. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { loadConfig } from '../../core/config/load.ts';
import { loadPlugin } from '../../core/config/plugins.ts';
import { conformanceCases } from '../../core/conformance/suite.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { checked } from '../support/checks.ts';
import { embed } from '../support/embedded.ts';

const readme = readFileSync('plugins/README.md', 'utf8');
const blocks = (language: string) =>
  [...readme.matchAll(new RegExp(`^\`\`\`${language}\n(.*?)^\`\`\``, 'gms'))].map(([, block]) => block!);
const [begun, identifiers, refusals, test, greeting, tally] = blocks('ts');
const [wire, output] = blocks('text');

const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(folder, { recursive: true }));

/** The plugin with some of the steps taken. */
async function pluginOf(name: string, ...steps: (string | undefined)[]) {
  const end = '  },\n});\n';
  expect(begun!.endsWith(end)).toBe(true);
  const file = join(folder, name, 'netstring.ts');
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, begun!.slice(0, -end.length) + steps.map((step) => `\n${step}`).join('') + end);
  return loadPlugin(file, 'any');
}

const all = () => pluginOf('whole', identifiers, refusals);

describe('the tutorial of plugins/README.md', () => {
  it.each([
    ['framing', []],
    ['identifiers', [identifiers]],
    ['refusals', [identifiers, refusals]],
  ])('has a plugin that conforms after the step of %s', async (name, steps) => {
    for (const { run } of conformanceCases({ plugin: await pluginOf(name, ...steps) })) await run();
  });

  it('shows what conform prints', async () => {
    const names = conformanceCases({ plugin: await all() }).map(({ name }) => `  ✓ ${name}\n`);
    expect(output).toBe(names.join(''));
  });

  it('shows the bytes that travel', async () => {
    const rig = await embed({ pipeline: [[await all()], [roundRobin as never]], backends: ['text-1', 'text-2'] });
    const client = rig.client();
    const lines = [...wire!.matchAll(/^(.*?) {2,}(.*)$/gm)];
    expect(lines.length).toBe(4);
    for (const [, way, bytes] of lines) {
      if (way === 'client → balancer') client.send(bytes!);
      else expect(rig.backend('text-1').text()).toBe(bytes);
    }
  });

  it('has a config that is in order', async () => {
    await all();
    const file = join(folder, 'whole', 'edge.yaml');
    writeFileSync(file, blocks('yaml')[0]!);
    expect((await loadConfig([file])).findings).toEqual([]);
  });

  it('shows the test that created plugins have', () => {
    const template = readFileSync('core/cli/templates/protocol.test.ts', 'utf8');
    expect(test).toBe(
      template
        .replace('plugin from', 'netstring from')
        .replace('./protocol.ts', './netstring.ts')
        .replace('{ plugin,', '{ plugin: netstring,'),
    );
  });

  it('has a check that conforms, and checks', async () => {
    const file = join(folder, 'greeting.ts');
    writeFileSync(file, greeting!);
    const plugin = await loadPlugin(file, 'any');
    for (const { run } of conformanceCases({ plugin })) await run();
    const { runner, backends, advance } = checked([[plugin, { fall: 1 }]]);
    runner.start();
    advance(100);
    backends[0]!.link.send('220 mail.example.net\r\n');
    backends[1]!.link.send('554 no\r\n');
    expect(advance(0)).toEqual(['b fails: greeting: another greeting, but "554 no"']);
  });

  it('shows the observer that is created', () => {
    const template = readFileSync('core/cli/templates/observer.ts', 'utf8').replaceAll('my-observer', 'tally');
    expect(`${template.split('\n', 1)[0]}\n${tally}`).toBe(template);
  });

  it('links to what is there', () => {
    const links = [...readme.matchAll(/\]\((?!http)([^)#]+)\)/g)].map(([, path]) => join('plugins', path!));
    expect(links.length).toBeGreaterThan(4);
    expect(links.filter((path) => !existsSync(path))).toEqual([]);
  });
});
