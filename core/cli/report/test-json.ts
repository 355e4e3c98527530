/** Results of tests for programs. */
import type { Finding } from '../../config/finding.ts';
import type { Failure } from '../../rehearsal/expect.ts';
import type { TestResult } from '../../rehearsal/play.ts';

/**
 * One JSON object: `{ findings, tests: [{ name, listener, file, line, column, passed, failedStep, failures, logged }], passed, failed }`.
 * A failure is `{ kind, file, line, column, expected, got }`, with `bytes: { expected, got }` and `seen: [{ to, bytes }]` in base64
 * where there are any; without `expected`, `got` says why a step could not be done. Steps are counted from 1.
 */
export function testJsonReport(findings: readonly Finding[], results: readonly TestResult[]): string {
  const tests = results.map(({ script, failures, failedStep, logged }) => ({
    name: script.name,
    listener: script.listener,
    ...script.place,
    passed: failures.length === 0,
    ...(failures.length > 0 && {
      ...(failedStep !== undefined && { failedStep: failedStep + 1 }),
      failures: failures.map(plain),
      logged,
    }),
  }));
  const failed = tests.filter(({ passed }) => !passed).length;
  return `${JSON.stringify({ findings, tests, passed: tests.length - failed, failed }, undefined, 2)}\n`;
}

function plain({ kind, place, expected, got, bytes, seen }: Failure): object {
  const base64 = (bytes: Buffer) => bytes.toString('base64');
  return {
    kind,
    ...place,
    expected,
    got,
    ...(bytes && { bytes: { expected: base64(bytes.expected), got: base64(bytes.got) } }),
    ...(seen && { seen: seen.map(({ to, bytes }) => ({ to, bytes: base64(bytes) })) }),
  };
}
