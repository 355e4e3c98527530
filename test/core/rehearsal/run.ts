/** Plays the tests of a config that is given as text. */
import { testTextReport } from '../../../core/cli/report/test-text.ts';
import { play, type TestResult } from '../../../core/rehearsal/play.ts';
import { check } from '../config/check.ts';

export interface Example {
  /** Of the test, as YAML. */
  readonly steps: string;
  /** Members of the listener besides, and of the pool, and of the config. */
  readonly listener?: string;
  readonly pool?: string;
  readonly backends?: string;
  readonly more?: string;
  readonly pipeline?: string;
  /** Files beside the config, by name. */
  readonly files?: Record<string, string>;
  readonly seed?: number;
}

/** Three backends behind lines of text, one after the other; the steps begin in line 12, column 9. */
function configOf({
  steps,
  listener = '',
  pool = '',
  backends = 'a: tcp://127.0.0.1:1, b: tcp://127.0.0.1:2, c: tcp://127.0.0.1:3',
  more = '',
  pipeline = '[{ lines: }, { turns: }]',
}: Example): string {
  return `pools:
  calls: { ${pool} backends: { ${backends} } }
listeners:
  edge: { ${listener} listen: tcp://127.0.0.1:5060, pool: calls, pipeline: ${pipeline} }
${more}




tests:
- { name: it, listener: edge, steps: [
${steps.trim().replaceAll(/^ */gm, '      ')} ] }
`;
}

/** @throws Error if the config has findings */
export async function playExample(example: Example): Promise<{ result: TestResult; report: string }> {
  const { settings, tests, lines, directory } = await check(
    { ...example.files, 'edge.yaml': configOf(example) },
    { paths: ['edge.yaml'] },
  );
  if (settings === undefined) throw new Error(lines.join('\n'));
  const result = await play(tests[0]!, settings, { seed: example.seed ?? 1 });
  return { result, report: testTextReport([result], false).replaceAll(`${directory}/`, '') };
}

/** What is wrong with a test that should not be played. */
export async function findingsOf(example: Example): Promise<readonly string[]> {
  return (await check({ ...example.files, 'edge.yaml': configOf(example) }, { paths: ['edge.yaml'] })).lines;
}
