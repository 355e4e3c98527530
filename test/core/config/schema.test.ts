import { readdirSync, readFileSync } from 'node:fs';
import { Ajv } from 'ajv';
import { describe, expect, it } from 'vitest';
import { builtinPlugins } from '../../../core/config/builtins.ts';
import { loadConfig } from '../../../core/config/load.ts';
import { mergeSources, parseSource } from '../../../core/config/parse.ts';
import { composeSchema, schemaText } from '../../../core/config/schema.ts';

const generated = readFileSync('schemas/pointsman.schema.json', 'utf8');

describe('schemas/pointsman.schema.json', () => {
  it('is what the plugins say; if it is not, run `npm run schemas`', () => {
    expect(generated).toBe(schemaText(builtinPlugins, { open: true }));
  });

  it('is valid JSON Schema draft-07', () => {
    const ajv = new Ajv();
    const schema = JSON.parse(generated);
    expect(ajv.validateSchema(schema), ajv.errorsText()).toBe(true);
  });

  it('describes every member', () => {
    expect([...undescribed(composeSchema(builtinPlugins), '')]).toEqual([]);
  });

  it('lets members that have a default be left out, and plugins be third-party', () => {
    const check = new Ajv({ strictSchema: false }).compile(JSON.parse(generated));
    const { value } = mergeSources([
      parseSource(
        'edge.yaml',
        `
pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }
listeners: { edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ sip: }, { acme: { size: 3 } }] } }
`,
      ),
    ]);
    expect(check({ ...value }), JSON.stringify(check.errors)).toBe(true);
  });
});

/** The members, and the options of plugins, that have no description of their own or of each alternative. */
function* undescribed(schema: unknown, path: string): Generator<string> {
  if (typeof schema !== 'object' || schema === null) return;
  for (const [keyword, value] of Object.entries(schema)) {
    if (keyword === 'default') continue;
    if (keyword === 'properties') {
      for (const [member, its] of Object.entries(value as Record<string, { description?: string } | false>)) {
        if (its === false) continue; // not for this list
        if ((its.description ?? '') === '') yield `${path}/${member}`;
        yield* undescribed(its, `${path}/${member}`);
      }
    } else {
      yield* undescribed(value, path);
    }
  }
}

describe('the example', () => {
  const examples = readdirSync('test/examples').filter((file) => /^[^.]+\.yaml$/.test(file));

  it.each(examples)('%s is in order', async (file) => {
    expect((await loadConfig([`test/examples/${file}`], { env: {} })).findings).toEqual([]);
  });
});
