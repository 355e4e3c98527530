/** `pointsman test`: runs the tests of a config on virtual sockets and a virtual clock. */
import { loadConfig } from '../config/load.ts';
import { nameOfFile } from '../config/parse.ts';
import { withTestFiles } from '../config/tests.ts';
import { play } from '../rehearsal/play.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { testJsonReport } from './report/test-json.ts';
import { type TimedResult, testJunitReport } from './report/test-junit.ts';
import { testTextReport } from './report/test-text.ts';
import { countFindings, textReport } from './report/text.ts';

export interface TestOptions {
  readonly format: 'text' | 'json' | 'junit';
  /** Only the tests whose name has this in it, in whatever letter case. */
  readonly filter?: string;
  /** Equal seeds give equal runs. Undefined: 1. */
  readonly seed?: number;
  /** Milliseconds that only grow. Undefined: the system's. */
  readonly now?: () => number;
}

export async function test(paths: readonly string[], options: TestOptions, output: Output): Promise<number> {
  const { format, filter, seed = 1, now = () => performance.now() } = options;
  const { stdout } = output;
  const { settings, tests, findings } = await loadConfig(withTestFiles(paths), { tests: 'run' });
  if (settings === undefined) {
    if (format === 'json') stdout.write(testJsonReport(findings, []));
    else if (format === 'junit') stdout.write(testJunitReport(findings, []));
    else {
      stdout.write(textReport(findings, wantsColours(stdout)));
      stdout.write(`${countFindings(findings)}; no test was run\n`);
    }
    return exitCodes.findings;
  }

  const wanted = filter?.toLowerCase();
  const chosen = wanted === undefined ? tests : tests.filter(({ name }) => name.toLowerCase().includes(wanted));
  const results: TimedResult[] = [];
  for (const script of chosen) {
    const began = now();
    const result = await play(script, settings, { seed });
    results.push({ ...result, seconds: (now() - began) / 1000 });
  }

  // Warnings are for `validate`.
  if (format === 'json') stdout.write(testJsonReport([], results));
  else if (format === 'junit') stdout.write(testJunitReport([], results));
  else if (results.length > 0) stdout.write(testTextReport(results, wantsColours(stdout)));
  else if (tests.length > 0) stdout.write(`no name of ${tests.length} tests has "${filter}" in it\n`);
  else
    stdout.write(
      `${paths.map(nameOfFile).join(', ')}: no tests; write some under "tests:", here or in a file NAME.test.yaml beside it\n`,
    );

  // As with `vector test` and `promtool test rules`, a config that has no tests passes them all; a filter that finds none is a mistake.
  const passes = results.every(({ failures }) => failures.length === 0) && (results.length > 0 || tests.length === 0);
  return passes ? exitCodes.clean : exitCodes.findings;
}
