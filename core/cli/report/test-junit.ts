/** Results of tests as JUnit XML, which CI systems show: a suite for each listener. */
import type { Finding } from '../../config/finding.ts';
import type { TestResult } from '../../rehearsal/play.ts';
import { styleWith } from './style.ts';
import { failureLines, formatPlace, titleOf } from './test-text.ts';
import { textReport } from './text.ts';

/** A test with the time it took. */
export interface TimedResult extends TestResult {
  readonly seconds: number;
}

/** @param findings errors in the config, for which no test has run */
export function testJunitReport(findings: readonly Finding[], results: readonly TimedResult[]): string {
  const suites = findings.length > 0 ? [configSuite(findings)] : [];
  for (const listener of new Set(results.map(({ script }) => script.listener))) {
    const its = results.filter(({ script }) => script.listener === listener);
    suites.push(suite(listener, its));
  }
  const failures = results.filter(isFailed).length;
  const counts = {
    tests: results.length + Math.min(1, findings.length),
    failures,
    errors: Math.min(1, findings.length),
  };
  const all = element('testsuites', { name: 'pointsman', ...counts, time: total(results) }, suites);
  return `<?xml version="1.0" encoding="UTF-8"?>\n${all.join('\n')}\n`;
}

const isFailed = ({ failures }: TestResult) => failures.length > 0;
const total = (results: readonly TimedResult[]) => results.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(3);

function suite(listener: string, results: readonly TimedResult[]): string[] {
  const counts = { tests: results.length, failures: results.filter(isFailed).length, errors: 0, skipped: 0 };
  return element('testsuite', { name: listener, ...counts, time: total(results) }, results.map(testcase));
}

function testcase(result: TimedResult): string[] {
  const { script, failures, failedStep, seconds } = result;
  const { file, line } = script.place;
  const attributes = { name: script.name, classname: script.listener, file, line, time: seconds.toFixed(3) };
  const [first] = failures;
  if (first === undefined) return element('testcase', attributes, []);
  const step = failedStep === undefined ? '' : `step ${failedStep + 1}, ${titleOf(script.steps[failedStep]!)}: `;
  const why = first.expected === undefined ? first.got : `${first.kind}: expected ${first.expected}, got ${first.got}`;
  const text = failureLines(result, styleWith(false)).join('\n');
  return element('testcase', attributes, [element('failure', { message: `${step}${why}`, type: first.kind }, text)]);
}

/** CI shows what is wrong with the config as a test of its own. */
function configSuite(findings: readonly Finding[]): string[] {
  const [first] = findings;
  const attributes = {
    name: 'the config is valid',
    classname: 'config',
    file: first!.file,
    line: first!.line,
    time: '0.000',
  };
  const message = `${formatPlace(first!)} ${first!.message}`;
  const error = element('error', { message, type: first!.stage }, textReport(findings, false).trimEnd());
  const counts = { tests: 1, failures: 0, errors: 1, skipped: 0 };
  return element('testsuite', { name: 'config', ...counts, time: '0.000' }, [element('testcase', attributes, [error])]);
}

/** An element as lines: with text as it is, or with others in it, indented. */
function element(
  name: string,
  attributes: Readonly<Record<string, string | number>>,
  content: string | readonly (readonly string[])[],
): string[] {
  const written = Object.entries(attributes).map(([attribute, value]) => ` ${attribute}="${xml(String(value))}"`);
  const open = `<${name}${written.join('')}`;
  if (content.length === 0) return [`${open}/>`];
  if (typeof content === 'string') return [`${open}>${xml(content)}</${name}>`];
  return [`${open}>`, ...content.flat(), `</${name}>`];
}

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };

/** Text for content and attributes: XML 1.0 has no way to write most control characters. */
function xml(text: string): string {
  return text
    .replaceAll(/[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\u{10000}-\u{10ffff}]/gu, '\ufffd')
    .replaceAll(/[&<>"]/g, (character) => entities[character]!);
}
