import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { type TestOptions, test } from '../../../core/cli/test.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

const config = `pools: { calls: { backends: { a: tcp://127.0.0.1:7001, b: tcp://127.0.0.1:7002 } } }
listeners:
  edge: { listen: tcp://127.0.0.1:5060, pool: calls, pipeline: [{ ndjson: }, { round-robin: }] }
`;
const passing = `tests:
  - name: the first goes to a
    listener: edge
    steps: [{ send: { text: "{}\\n" }, expect: { backend: a } }]
`;
const failing = `${passing}  - name: the <second> goes to "b" & no other
    listener: edge
    steps:
      - { send: { text: "{}\\n" } }
      - { send: { text: "{\\"backend\\":\\"a\\"}\\n", from: bob }, expect: { bytes: "{\\"backend\\":\\"b\\"}\\n", closed: true } }
`;

/** Writes a config with its tests, runs them, and answers what is printed, without the directory. */
async function run(tests: string, options: Partial<TestOptions> = {}, name = 'edge') {
  writeFileSync(join(directory, `${name}.yaml`), config);
  writeFileSync(join(directory, `${name}.test.yaml`), tests);
  const output = collect();
  let now = 0;
  const code = await test(
    [join(directory, `${name}.yaml`)],
    { format: 'text', now: () => (now += 4), ...options },
    output,
  );
  expect(output.stderr.text).toBe('');
  return { code, text: output.stdout.text.replaceAll(`${directory}/`, '') };
}

describe('text', () => {
  it('is a line for each test, and the sum', async () => {
    expect(await run(passing)).toEqual({ code: 0, text: '✓ the first goes to a\n\n1 test: 1 passed\n' });
  });

  it('says under a test that fails where, what was expected and what happened', async () => {
    expect(await run(failing)).toEqual({
      code: 1,
      text: `✓ the first goes to a
✗ the <second> goes to "b" & no other
    edge.test.yaml:9:9  step 2, send from bob
    edge.test.yaml:9:73  bytes
      expected 16 bytes, got 16 bytes to a, different from byte 12 on
      expected  {"backend":"b"}\\n
      got       {"backend":"a"}\\n
                            ^
    edge.test.yaml:9:105  closed
      expected  the connection of bob is closed
      got       the connection of bob is open

2 tests: 1 failed, 1 passed
`,
    });
  });

  it('has findings in place of results if the config or a test is not in order', async () => {
    expect(await run(passing.replace('backend', 'backedn').replace('listener: edge', 'listener: egde'))).toEqual({
      code: 1,
      text: `edge.test.yaml:3:15  there is no listener "egde"; did you mean "edge"?
edge.test.yaml:4:49  "backedn" is unknown here; did you mean "backend"?
2 errors; no test was run
`,
    });
  });

  it('says so if there are no tests, which is no failure', async () => {
    expect(await run('')).toEqual({
      code: 0,
      text: 'edge.yaml: no tests; write some under "tests:", here or in a file NAME.test.yaml beside it\n',
    });
  });
});

describe('--filter', () => {
  it('runs the tests whose name has the text in it', async () => {
    expect(await run(failing, { filter: 'FIRST' })).toEqual({
      code: 0,
      text: '✓ the first goes to a\n\n1 test: 1 passed\n',
    });
  });

  it('fails if there are none', async () => {
    expect(await run(failing, { filter: 'third' })).toEqual({
      code: 1,
      text: 'no name of 2 tests has "third" in it\n',
    });
  });
});

describe('json', () => {
  it('has all of it', async () => {
    const { code, text } = await run(failing, { format: 'json' });
    expect(code).toBe(1);
    const base64 = (bytes: string) => Buffer.from(bytes).toString('base64');
    const file = 'edge.test.yaml';
    expect(JSON.parse(text)).toEqual({
      findings: [],
      tests: [
        { name: 'the first goes to a', listener: 'edge', file, line: 2, column: 5, passed: true },
        {
          name: 'the <second> goes to "b" & no other',
          listener: 'edge',
          file,
          line: 5,
          column: 5,
          passed: false,
          failedStep: 2,
          failures: [
            {
              kind: 'bytes',
              file,
              line: 9,
              column: 73,
              expected: '16 bytes',
              got: '16 bytes to a, different from byte 12 on',
              bytes: { expected: base64('{"backend":"b"}\n'), got: base64('{"backend":"a"}\n') },
            },
            {
              kind: 'closed',
              file,
              line: 9,
              column: 105,
              expected: 'the connection of bob is closed',
              got: 'the connection of bob is open',
            },
          ],
          logged: [],
        },
      ],
      passed: 1,
      failed: 1,
    });
  });

  it('has findings, too', async () => {
    const { code, text } = await run(passing.replace('backend', 'backedn'), { format: 'json' });
    expect(code).toBe(1);
    expect(JSON.parse(text)).toEqual({
      findings: [
        {
          file: 'edge.test.yaml',
          line: 4,
          column: 49,
          severity: 'error',
          stage: 'shape',
          rule: 'unknown-member',
          message: '"backedn" is unknown here; did you mean "backend"?',
        },
      ],
      tests: [],
      passed: 0,
      failed: 0,
    });
  });
});

describe('junit', () => {
  it('is a suite for each listener, with the time each test took', async () => {
    expect(await run(failing, { format: 'junit' })).toEqual({
      code: 1,
      text: `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="pointsman" tests="2" failures="1" errors="0" time="0.008">
<testsuite name="edge" tests="2" failures="1" errors="0" skipped="0" time="0.008">
<testcase name="the first goes to a" classname="edge" file="edge.test.yaml" line="2" time="0.004"/>
<testcase name="the &lt;second&gt; goes to &quot;b&quot; &amp; no other" classname="edge" file="edge.test.yaml" line="5" time="0.004">
<failure message="step 2, send from bob: bytes: expected 16 bytes, got 16 bytes to a, different from byte 12 on" type="bytes">edge.test.yaml:9:9  step 2, send from bob
edge.test.yaml:9:73  bytes
  expected 16 bytes, got 16 bytes to a, different from byte 12 on
  expected  {&quot;backend&quot;:&quot;b&quot;}\\n
  got       {&quot;backend&quot;:&quot;a&quot;}\\n
                        ^
edge.test.yaml:9:105  closed
  expected  the connection of bob is closed
  got       the connection of bob is open</failure>
</testcase>
</testsuite>
</testsuites>
`,
    });
  });

  it('has findings as an error, without what XML cannot hold', async () => {
    expect(await run(passing.replace('edge', '"e\\x01"'), { format: 'junit' })).toEqual({
      code: 1,
      text: `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="pointsman" tests="1" failures="0" errors="1" time="0.000">
<testsuite name="config" tests="1" failures="0" errors="1" skipped="0" time="0.000">
<testcase name="the config is valid" classname="config" file="edge.test.yaml" line="3" time="0.000">
<error message="edge.test.yaml:3:15 there is no listener &quot;e\ufffd&quot;; there is edge" type="lint">edge.test.yaml:3:15  there is no listener &quot;e\ufffd&quot;; there is edge</error>
</testcase>
</testsuite>
</testsuites>
`,
    });
  });
});

describe('the tests of the example', () => {
  const examples = readdirSync('test/examples').filter((file) => /^[^.]+\.yaml$/.test(file));

  it.each(examples)('%s pass', async (file) => {
    const output = collect();
    const code = await test([`test/examples/${file}`], { format: 'json' }, output);
    const { tests, failed, findings } = JSON.parse(output.stdout.text);
    expect({ code, failed, findings }, output.stdout.text).toEqual({ code: 0, failed: 0, findings: [] });
    expect(tests.length).toBeGreaterThan(2);
  });
});
