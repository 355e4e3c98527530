import { describe, expect, it } from 'vitest';
import { conformance, conformanceCases } from '../../core/conformance/suite.ts';
import { builtinPlugins } from '../../plugins/index.ts';
import { flaws, soundPlugins } from './broken.ts';

type Plugin = Parameters<typeof conformanceCases>[0]['plugin'];

/** Which of these cases (undefined: of all that apply) the plugin fails. */
async function failures(plugin: Plugin, among?: readonly string[]): Promise<string[]> {
  const failed: string[] = [];
  for (const { name, run } of conformanceCases({ plugin, patienceSeconds: 1 })) {
    if (among?.includes(name) === false) continue;
    await run().catch((error) => {
      // Anything else would be a defect of the kit.
      expect(error).toMatchObject({ code: 'ERR_ASSERTION' });
      failed.push(name);
    });
  }
  return failed;
}

describe('the conformance kit', () => {
  it.each(soundPlugins)('lets a sound plugin pass', async (plugin) => {
    expect(await failures(plugin)).toEqual([]);
  });

  it.each(flaws)('catches a plugin that $what', async ({ plugin, caught }) => {
    expect(await failures(plugin, caught)).toEqual(caught);
  });

  it('has no case that catches nothing', () => {
    const all = new Set([...builtinPlugins, ...soundPlugins].flatMap((plugin) => namesFor(plugin)));
    expect([...all].filter((name) => !flaws.some(({ caught }) => caught.includes(name)))).toEqual([]);
  });

  it('takes the cases from what the plugin is, and the hooks that are tapped', () => {
    const kinds = soundPlugins.map((plugin) => namesFor(plugin).map((name) => name.split(':')[0]));
    const [protocol, strategy, check, observer] = kinds;
    expect([...new Set(protocol)]).toEqual(['plugin', 'frame', 'identifier', 'refuse']);
    expect([...new Set(strategy)]).toEqual(['plugin', 'strategy']);
    expect([...new Set(check)]).toEqual(['plugin', 'check']);
    expect([...new Set(observer)]).toEqual(['plugin', 'observer']);
  });

  it('leaves out the cases that a plugin does not claim, and knows their names', () => {
    const plugin = soundPlugins[1]!;
    const except = ['strategy: shares are in proportion to the weights'];
    const names: string[] = [];
    conformance({ plugin, except, test: (name) => names.push(name) });
    expect(names).toEqual(namesFor(plugin).filter((name) => name !== except[0]));
    expect(() => conformanceCases({ plugin, except: ['strategy: is good'] })).toThrow(
      'there is no case "strategy: is good" that applies to flawed',
    );
  });

  it('says in one sentence what is wrong, and with which bytes', async () => {
    const flaw = flaws.find(({ what }) => what.startsWith('takes the beginning'))!;
    const cut = conformanceCases({ plugin: flaw.plugin }).find(({ name }) => name.includes('cut in two'))!;
    await expect(cut.run()).rejects.toThrow('"a text", cut after 1 bytes: "h" was refused for broken-frame');
  });
});

function namesFor(plugin: Plugin): string[] {
  return conformanceCases({ plugin }).map(({ name }) => name);
}
