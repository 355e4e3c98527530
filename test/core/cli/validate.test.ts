import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { plugins } from '../../../core/cli/plugins.ts';
import { schema } from '../../../core/cli/schema.ts';
import { validate } from '../../../core/cli/validate.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

function file(name: string, text: string): string {
  writeFileSync(join(directory, name), text);
  return join(directory, name);
}

const good = `pools: { calls: { backends: { a: tcp://127.0.0.1:7001, b: tcp://127.0.0.1:7002 } } }
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ ndjson: }, { round-robin: }] }
`;
const warned = file('warned.yaml', `${good}keys: [{ id: k1, secret: 0123456789abcdef }]\n`);
const broken = file('broken.yaml', good.replace('ndjson', 'ndsjon').replace('calls,', 'cals,'));

describe('validate', () => {
  it('sums up a config that is in order', async () => {
    const path = file('good.yaml', good);
    const output = collect();
    expect(await validate([path], { format: 'text' }, output)).toBe(0);
    expect(output.stdout.text).toBe(`${path}: ok — 1 listener, 1 pool, 2 backends\n`);
    expect(output.stderr.text).toBe('');
  });

  it('prints one line for each mistake', async () => {
    const output = collect();
    expect(await validate([broken], { format: 'text' }, output)).toBe(1);
    expect(output.stdout.text).toBe(
      `${broken}:3:47  there is no pool "cals"; did you mean "calls"?\n` +
        `${broken}:3:66  there is no plugin "ndsjon"; did you mean "ndjson"?\n` +
        '2 errors\n',
    );
  });

  it('prints JSON', async () => {
    const output = collect();
    expect(await validate([broken], { format: 'json' }, output)).toBe(1);
    expect(JSON.parse(output.stdout.text).findings[1]).toEqual({
      file: broken,
      line: 3,
      column: 66,
      severity: 'error',
      stage: 'plugins',
      message: 'there is no plugin "ndsjon"; did you mean "ndjson"?',
    });
  });

  it('lets warnings pass unless they are denied', async () => {
    const output = collect();
    expect(await validate([warned], { format: 'text' }, output)).toBe(0);
    expect(await validate([warned], { format: 'text', denyWarnings: true }, collect())).toBe(1);
    expect(output.stdout.text).toBe(
      `${warned}:4:26  warning: the secret stands in the config; take it from outside with "\${env:NAME}" or "\${file:PATH}"\n` +
        `${warned}: ok — 1 listener, 1 pool, 2 backends, 1 warning\n`,
    );
  });

  it('uses colours on a terminal only, and not against the wish of its user', async () => {
    const print = async (isTTY: boolean, noColor: string) => {
      vi.stubEnv('NO_COLOR', noColor);
      const output = collect({ isTTY });
      await validate([warned], { format: 'text' }, output);
      return output.stdout.text;
    };
    expect(await print(true, '')).toContain(`\u001b[1m${warned}:4:26\u001b[22m  \u001b[33mwarning:\u001b[39m `);
    expect(await print(true, '1')).not.toContain('\u001b');
    expect(await print(false, '')).not.toContain('\u001b');
    vi.unstubAllEnvs();
  });
});

describe('schema', () => {
  it('prints the schema of all configs, or that of one with its plugins', async () => {
    const [any, one] = [collect(), collect()];
    expect(await schema([], any)).toBe(0);
    expect(await schema([file('good.yaml', good)], one)).toBe(0);
    expect(JSON.parse(any.stdout.text).properties).toHaveProperty('listeners');
    expect(one.stdout.text).not.toBe(any.stdout.text);
  });
});

describe('plugins', () => {
  it('tells of each what it is, what it taps and what its options are', async () => {
    const output = collect();
    expect(await plugins([], { format: 'text' }, output)).toBe(0);
    expect(output.stdout.text).toContain('least-loaded (strategy; taps chooseBackend)\n');
    expect(output.stdout.text).toContain('    metric  What counts as load: ');
  });

  it('tells programs as well', async () => {
    const output = collect();
    await plugins([], { format: 'json' }, output);
    const kinds = JSON.parse(output.stdout.text).map(({ name, kind }: Record<string, string>) => [name, kind]);
    expect(Object.fromEntries(kinds)).toEqual({
      ndjson: 'protocol',
      'length-prefixed': 'protocol',
      sip: 'protocol',
      'round-robin': 'strategy',
      'least-loaded': 'strategy',
      hashing: 'strategy',
    });
  });
});
