import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../../../core/config/load.ts';
import { withTestFiles } from '../../../core/config/tests.ts';
import { lines, turns } from '../../support/lines.ts';
import { type Example, findingsOf } from '../rehearsal/run.ts';

interface Wrong extends Example {
  readonly when: string;
  readonly finds: string | readonly string[];
}

const send = (message: string) => `{ send: { ${message} } }`;
const expecting = (expectation: string) => `{ send: { text: hi, from: alice }, expect: { ${expectation} } }`;

describe('finds what is wrong with a test:', () => {
  it.each<Wrong>([
    {
      when: 'a step is empty',
      steps: '{}',
      finds: '12:7  lint: this step does nothing; it needs one of send, reply, advance, down, up and drain',
    },
    {
      when: 'a step does two things',
      steps: '{ advance: 1s, down: [a] }',
      finds: '12:22  lint: this step does advance already; begin another step',
    },
    {
      when: 'a step is misspelt',
      steps: '{ sned: { text: hi } }',
      finds: '12:9  shape: "sned" is unknown here; did you mean "send"?',
    },
    {
      when: 'an expectation is misspelt',
      steps: expecting('backedn: a'),
      finds: '12:52  shape: "backedn" is unknown here; did you mean "backend"?',
    },
    {
      when: 'a statistic is misspelt',
      steps: expecting('stats: { fromClients: { recieved: 1 } }'),
      finds: '12:76  shape: "recieved" is unknown here; did you mean "received"?',
    },
    {
      when: 'a message has no bytes',
      steps: send('from: alice'),
      finds: '12:9  lint: send has no bytes; write one of text, hex, base64 and file',
    },
    {
      when: 'a message has bytes twice',
      steps: send('hex: "00", text: hi'),
      finds: '12:17  lint: the bytes stand in "text" already',
    },
    { when: 'hex has another letter', steps: send('hex: 0g'), finds: '12:22  lint: "g" is no hexadecimal digit' },
    {
      when: 'hex has half a byte',
      steps: expecting('hex: "001"'),
      finds: '12:57  lint: 3 hexadecimal digits are no whole bytes',
    },
    {
      when: 'base64 has a character too many',
      steps: send('base64: aGk=a'),
      finds: '12:25  lint: "aGk=a" is not base64',
    },
    { when: 'base64 is cut', steps: send('base64: aGkhb'), finds: '12:25  lint: "aGkhb" is not base64' },
    { when: 'base64 is none', steps: send('base64: "a*"'), finds: '12:25  lint: "a*" is not base64' },
    {
      when: 'a file is not there',
      steps: send('file: none.bin'),
      finds: '12:23  lint: cannot read none.bin: no such file',
    },
    {
      when: 'a pattern is none',
      steps: send('text: "{{(}}"'),
      finds: '12:23  lint: "{{(}}" is neither offset:length nor a regular expression: unterminated group',
    },
    { when: 'a time is too long', steps: '{ advance: 25h }', finds: '12:18  lint: 25h is more than 24h' },
    {
      when: 'a time has no unit',
      steps: '{ advance: "5" }',
      finds: '12:18  shape: advance must have the form ^[0-9]{1,9}(ms|s|m|h)$, not "5"',
    },
    {
      when: 'no backend has that name',
      steps: `{ down: [a, d] }, { reply: { text: x, from: aa } }, ${expecting('backend: A, notBackend: [a, x], identifier: d')},
        ${expecting('stats: { backends: { d: { up: true } } }')}`,
      finds: [
        '12:19  lint: the pool "calls" has no backend "d"; did you mean "a"?',
        '12:51  lint: the pool "calls" has no backend "aa"; did you mean "a"?',
        '12:113  lint: the pool "calls" has no backend "A"; did you mean "a"?',
        '12:132  lint: the pool "calls" has no backend "x"; did you mean "a"?',
        '12:148  lint: the pool "calls" has no backend "d"; did you mean "a"?',
        '13:73  lint: the pool "calls" has no backend "d"; did you mean "a"?',
      ],
    },
    {
      when: 'no client has that name',
      steps: `${expecting('client: alcie')}, ${expecting('closed: bob')}`,
      finds: [
        '12:60  lint: no client "alcie" has sent anything yet; did you mean "alice"?',
        '12:124  lint: no client "bob" has sent anything yet; there is alice',
      ],
    },
    {
      when: 'an earlier step is none',
      steps: `{ as: one, advance: 1s }, ${expecting('sameBackendAs: 2')}, ${expecting('sameBackendAs: oen')}`,
      finds: [
        '12:93  lint: step 2 is not an earlier one; this is step 2',
        '12:160  lint: no earlier step or client is named "oen"; did you mean "one"?',
      ],
    },
    {
      when: 'steps that others speak of are misspelt',
      steps: `{ sned: { text: hi }, as: one }, { advance: 1s, expect: { client: client, sameBackendAs: one } }`,
      finds: '12:9  shape: "sned" is unknown here; did you mean "send"?',
    },
    {
      when: 'two steps have one name',
      steps: '{ as: one, advance: 1s }, { as: one, advance: 1s }',
      finds: '12:39  lint: an earlier step is named "one" already',
    },
  ])('$when', async (example) => {
    expect(await findingsOf(example)).toEqual([example.finds].flat().map((line) => `edge.yaml:${line}`));
  });

  it('shows values as they were written, not what came from outside', async () => {
    const steps = '{ send: { hex: "${file:secret}" } }';
    const [finding] = await findingsOf({ steps, files: { secret: 'abc' } });
    expect(finding).toBe('edge.yaml:12:22  lint: 3 hexadecimal digits are no whole bytes');
    const other = '{ send: { base64: "${file:secret}" } }';
    expect(await findingsOf({ steps: other, files: { secret: 'a*' } })).toEqual([
      'edge.yaml:12:25  lint: "${file:secret}" is not base64',
    ]);
  });
});

describe('test files', () => {
  const folder = (...names: string[]) => {
    const path = mkdtempSync(join(tmpdir(), 'pointsman-'));
    onTestFinished(() => rmSync(path, { recursive: true }));
    for (const name of names) writeFileSync(join(path, name), '');
    return (name: string) => join(path, name);
  };

  it('are found beside their configs, and the other way round', () => {
    const at = folder('edge.yaml', 'edge.test.yaml', 'core.json', 'core.test.yml', 'edge.other.yaml', 'alone.yaml');
    expect(withTestFiles([at('edge.yaml')])).toEqual([at('edge.yaml'), at('edge.test.yaml')]);
    expect(withTestFiles([at('edge.test.yaml')])).toEqual([at('edge.yaml'), at('edge.test.yaml')]);
    expect(withTestFiles([at('edge.test.yaml'), at('edge.yaml')])).toEqual([at('edge.yaml'), at('edge.test.yaml')]);
    expect(withTestFiles([at('core.json'), at('alone.yaml')])).toEqual([
      at('core.json'),
      at('core.test.yml'),
      at('alone.yaml'),
    ]);
    expect(withTestFiles([at('')])).toEqual([at('')]);
  });

  it('may refer to what is not there, where nobody is going to run them', async () => {
    const at = folder();
    const pools = 'pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }';
    const listeners =
      'listeners: { edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ lines: }, { turns: }] } }';
    const tests = 'tests: [{ name: it, listener: edge, steps: [{ send: { file: none.bin } }] }]';
    writeFileSync(at('edge.yaml'), [pools, listeners, tests, ''].join('\n'));
    const load = (options: object) => loadConfig([at('edge.yaml')], { builtins: [lines, turns], env: {}, ...options });
    expect((await load({})).findings.map(({ message }) => message)).toEqual(['cannot read none.bin: no such file']);
    expect(await load({ tests: 'skip' })).toMatchObject({ findings: [], tests: [] });
  });

  it('say what the environment is while they run, and at no other time', async () => {
    const at = folder('edge.yaml', 'edge.test.yaml');
    writeFileSync(
      at('edge.yaml'),
      `keys: [{ id: k1, secret: "\${env:KEY}" }]
pools: { calls: { backends: { a: tcp://127.0.0.1:7001 } } }
listeners: { edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ lines: }, { turns: }] } }
`,
    );
    writeFileSync(at('edge.test.yaml'), 'testEnv: { KEY: a secret for tests }\n');
    const paths = [at('edge.yaml'), at('edge.test.yaml')];
    const load = async (env: Record<string, string>, isTest: boolean) => {
      const options = { builtins: [lines, turns], env, ...(isTest && { tests: 'run' as const }) };
      const { settings, findings } = await loadConfig(paths, options);
      return settings === undefined ? findings[0]!.message : Buffer.from(settings.keys[0]!.secret).toString();
    };
    expect(await load({}, true)).toBe('a secret for tests');
    expect(await load({ KEY: 'the secret of production' }, true)).toBe('a secret for tests');
    expect(await load({ KEY: 'the secret of production' }, false)).toBe('the secret of production');
    expect(await load({}, false)).toBe('the environment variable KEY is not set');
  });
});
