import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { createPlugin } from '../../../core/cli/create.ts';
import { pluginKinds } from '../../../core/cli/output.ts';
import check from '../../../core/cli/templates/check.ts';
import observer from '../../../core/cli/templates/observer.ts';
import protocol from '../../../core/cli/templates/protocol.ts';
import strategy from '../../../core/cli/templates/strategy.ts';
import { loadConfig } from '../../../core/config/load.ts';
import { conformance } from '../../../core/conformance/suite.ts';
import { checked } from '../../support/checks.ts';
import { collect } from './streams.ts';

function emptyFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

describe('create plugin', () => {
  it.each(pluginKinds)('makes a package with a %s and a config that is in order', async (kind) => {
    const directory = join(emptyFolder(), 'acme');
    const output = collect();
    expect(createPlugin('acme', { kind, directory }, output)).toBe(0);
    expect(output.stdout.text).toContain(`the ${kind} plugin "acme"`);
    const text = (file: string) => readFileSync(join(directory, file), 'utf8');

    const { settings, findings } = await loadConfig([join(directory, 'example.yaml')]);
    expect(findings).toEqual([]);
    const uses = [settings!.listeners[0]!.pipeline, settings!.pools[0]!.checks ?? [], settings!.observers ?? []];
    expect(uses.flat().map(({ plugin }) => plugin.name)).toContain('acme');
    expect(text('index.test.ts')).toContain("from './index.ts'");
    for (const file of ['index.ts', 'index.test.ts', 'README.md'])
      expect(text(file)).not.toMatch(/my-|NAME|KIND|CONFIG/);
    expect(JSON.parse(text('package.json'))).toMatchObject({
      name: 'pointsman-plugin-acme',
      keywords: expect.arrayContaining(['pointsman-plugin']),
      peerDependencies: { pointsman: expect.stringMatching(/^\^1\./) },
    });
  });

  it('overwrites nothing', () => {
    const directory = emptyFolder();
    writeFileSync(join(directory, 'README.md'), 'mine');
    expect(() => createPlugin('acme', { kind: 'protocol', directory }, collect())).toThrow(
      `${join(directory, 'README.md')} is there already; nothing was written`,
    );
    expect(existsSync(join(directory, 'index.ts'))).toBe(false);
  });

  it.each([
    ['Acme', '"Acme" is no name of lower-case words joined by "-"'],
    ['../acme', '"../acme" is no name of lower-case words joined by "-"'],
    ['hashing', 'there is a plugin "hashing" already, which comes with pointsman'],
  ])('makes no plugin of the name %s', (name, message) => {
    expect(() => createPlugin(name, { kind: 'strategy' }, collect())).toThrow(message);
    expect(existsSync(`pointsman-plugin-${name}`)).toBe(false);
  });
});

describe('the plugin that is created', () => {
  for (const plugin of [protocol, strategy, check, observer]) conformance({ plugin, test: it });
});

it('is a check that wants an answer with the right beginning', () => {
  const { runner, backends, advance } = checked([[check, { fall: 1 }]]);
  runner.start();
  advance(100);
  expect(backends.map(({ link }) => link.take().toString())).toEqual(['PING\r\n', 'PING\r\n']);
  backends[0]!.link.send('PO');
  backends[0]!.link.send('NG\r\n');
  backends[1]!.link.send('-ERR\r\n');
  expect(advance(0)).toEqual(['b fails: my-check: another answer, but "-ERR"']);
});
