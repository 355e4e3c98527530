/** Results of tests for people. */
import type { Failure } from '../../rehearsal/expect.ts';
import type { TestResult } from '../../rehearsal/play.ts';
import type { Place, Step } from '../../rehearsal/script.ts';
import { counted } from '../output.ts';
import { differenceLines, preview } from './bytes.ts';
import { indented, type Style, styleWith } from './style.ts';

/** One line for each test, and under one that has failed, where and why. */
export function testTextReport(results: readonly TestResult[], colours: boolean): string {
  const style = styleWith(colours);
  const blocks = results.map((result) => {
    const { script, failures } = result;
    if (failures.length === 0) return `${style('green', '✓')} ${script.name}\n`;
    const lines = [`${style('red', '✗')} ${style('bold', script.name)}`, ...indented(4, failureLines(result, style))];
    return `${lines.join('\n')}\n`;
  });
  const failed = results.filter(({ failures }) => failures.length > 0).length;
  const passed = results.length - failed;
  const sum = [failed > 0 ? style('red', `${failed} failed`) : [], passed > 0 ? `${passed} passed` : []].flat();
  return `${blocks.join('')}\n${counted(results.length, 'test')}: ${sum.join(', ')}\n`;
}

/** What is wrong with a test, without its name. */
export function failureLines({ script, failures, failedStep, logged }: TestResult, style: Style): string[] {
  const lines: string[] = [];
  if (failedStep !== undefined) {
    const step = script.steps[failedStep]!;
    lines.push(`${style('bold', formatPlace(step.place))}  step ${failedStep + 1}, ${titleOf(step)}`);
  }
  for (const failure of failures) lines.push(...oneFailure(failure, style));
  for (const text of logged) lines.push(`logged: ${text}`);
  return lines;
}

function oneFailure({ kind, place, expected, got, bytes, seen = [] }: Failure, style: Style): string[] {
  if (expected === undefined) return indented(2, [style('red', got)]);
  const detail: string[] = [];
  if (bytes === undefined) detail.push(`expected  ${style('green', expected)}`, `got       ${style('red', got)}`);
  else detail.push(`expected ${expected}, got ${got}`, ...differenceLines(bytes.expected, bytes.got, kind === 'hex'));
  for (const { to, bytes } of seen) detail.push(`to ${to}:`, ...indented(2, preview(bytes)));
  return [`${style('bold', formatPlace(place))}  ${kind}`, ...indented(2, detail)];
}

/** `send from alice`, `reply (answered)`, `advance` */
export function titleOf({ as, action }: Step): string {
  const who = action.kind === 'send' || action.kind === 'reply' ? action.from : undefined;
  const title = who === undefined ? action.kind : `${action.kind} from ${who}`;
  return as === undefined ? title : `${title} (${as})`;
}

export function formatPlace({ file, line, column }: Place): string {
  return `${file}:${line}:${column}`;
}
