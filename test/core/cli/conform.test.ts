import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { conform } from '../../../core/cli/conform.ts';
import { collect } from './streams.ts';

/** A file with a strategy. */
function strategyFile(choose: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const file = join(directory, 'acme.js');
  writeFileSync(
    file,
    `export default { name: 'acme', summary: 'Chooses.', pointsman: '^1',
      options: { type: 'object', properties: {} }, apply: (hooks) => hooks.chooseBackend.tap('acme', ${choose}) };`,
  );
  return file;
}

const first = '(_message, pool) => pool.available[0]';
const shares = 'strategy: shares are in proportion to the weights';

describe('conform', () => {
  it('says what a plugin fails at, and why', async () => {
    const output = collect();
    expect(await conform(strategyFile(first), { format: 'text' }, output)).toBe(1);
    expect(output.stdout.text).toMatch(/^acme: Chooses\.\n {2}✓ plugin: its definition is well-formed\n/);
    expect(output.stdout.text).toContain(`  ✗ ${shares}\n      "one", of weight 1 in 8, got 2000 of 2000 messages`);
    expect(output.stdout.text).toMatch(/\n1 case failed, 9 cases passed\n$/);
  });

  it('leaves out what a plugin does not claim', async () => {
    const output = collect();
    expect(await conform(strategyFile(first), { format: 'text', except: [shares] }, output)).toBe(0);
    expect(output.stdout.text).toMatch(/\n9 cases passed\n$/);
  });

  it('tells programs as well, and measures a protocol', async () => {
    const output = collect();
    expect(await conform('test/examples/plugins/mllp.ts', { format: 'json' }, output)).toBe(0);
    const { plugin, cases, speed } = JSON.parse(output.stdout.text);
    expect(plugin).toBe('mllp');
    expect(cases).toContainEqual({ name: 'frame: garbage ends in an answer', passed: true });
    const cost = { nanoseconds: expect.any(Number), allocatedBytes: expect.any(Number) };
    expect(speed).toEqual([{ sample: 'an admission', frame: cost, detectId: cost, insertId: cost }]);
  });

  it.each([
    [{ kye: 'message' }, '"kye" is unknown here; did you mean "key"?'],
    [{ key: 3 }, 'key must be a string, not 3'],
    [{ x: 1 }, '"x" is unknown here; hashing has key'],
    [[], 'hashing must be a mapping, not a list'],
  ])('says what is wrong with options: %j', async (options, fault) => {
    const output = collect();
    expect(await conform('hashing', { format: 'text', options }, output)).toBe(1);
    expect(output.stdout.text).toContain(`the defaults are not valid: ${fault}. Give the kit options (--options)`);
  });

  it('takes options', async () => {
    const output = collect();
    expect(await conform('hashing', { format: 'json', options: { key: 'client-address' } }, output)).toBe(0);
    // It hashes no part of a message now.
    expect(output.stdout.text).not.toContain('one key has one backend');
  });

  it('cannot run without a plugin', async () => {
    await expect(conform('./absent.ts', { format: 'text' }, collect())).rejects.toThrow(
      'cannot load plugin "./absent.ts": no such file',
    );
  });

  it('cannot leave out what is no case', async () => {
    const message = 'there is no case "speed" that applies to hashing; without --except the names of all are printed';
    await expect(conform('hashing', { format: 'text', except: ['speed'] }, collect())).rejects.toThrow(message);
  });
});
