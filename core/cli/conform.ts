/** `pointsman conform`: tests a plugin with the conformance kit, and measures its speed. */
import { statSync } from 'node:fs';
import { relative, resolve } from 'node:path';
import { builtinPlugins } from '../config/builtins.ts';
import { loadPlugin } from '../config/plugins.ts';
import { suggest } from '../config/suggest.ts';
import { type Cost, measureSpeed, type SampleSpeed } from '../conformance/speed.ts';
import { type ConformanceCase, type ConformanceOptions, conformanceCases } from '../conformance/suite.ts';
import { PointsmanError } from '../errors.ts';
import type { PluginDefinition } from '../plugin.ts';
import { counted, exitCodes, type Output, wantsColours } from './output.ts';

export interface ConformOptions {
  readonly format: 'text' | 'json';
  /** The plugin's options where a sample has none, as JSON. */
  readonly options?: unknown;
  readonly except?: readonly string[];
}

interface Verdict {
  readonly name: string;
  readonly passed: boolean;
  /** What is wrong. */
  readonly message?: string;
}

/**
 * @param specifier a file, a package, or the name of a plugin that comes with pointsman
 * @throws PointsmanError (rejects with) if it cannot be loaded
 */
export async function conform(specifier: string, options: ConformOptions, { stdout }: Output): Promise<number> {
  const plugin = await find(specifier);
  const cases = casesFor({ plugin, options: options.options, except: options.except ?? [] });
  const isText = options.format === 'text';
  if (isText) stdout.write(`${plugin.name}: ${plugin.summary}\n`);
  const style = (code: number, text: string) => (wantsColours(stdout) ? `\u001b[${code}m${text}\u001b[39m` : text);
  const verdicts: Verdict[] = [];
  for (const { name, run } of cases) {
    const verdict = await judge(name, run);
    verdicts.push(verdict);
    if (!isText) continue;
    const mark = verdict.passed ? style(32, '✓') : style(31, '✗');
    stdout.write(`  ${mark} ${name}\n${verdict.message === undefined ? '' : `      ${verdict.message}\n`}`);
  }
  const failed = verdicts.filter(({ passed }) => !passed).length;
  // Of a plugin that does not work, its speed is nothing to know.
  const speed = failed === 0 ? await measureSpeed(plugin, options.options) : [];
  if (isText) {
    stdout.write(speedTable(speed));
    const passed = `${counted(verdicts.length - failed, 'case')} passed`;
    stdout.write(failed === 0 ? `${passed}\n` : `${counted(failed, 'case')} failed, ${passed}\n`);
  } else {
    stdout.write(`${JSON.stringify({ plugin: plugin.name, cases: verdicts, speed }, undefined, 2)}\n`);
  }
  return failed === 0 ? exitCodes.clean : exitCodes.findings;
}

function casesFor(given: ConformanceOptions): ConformanceCase[] {
  try {
    return conformanceCases(given);
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    const message = `${error.message}; without --except the names of all are printed`;
    throw new PointsmanError('POINTSMAN_CONFIG', message, { cause: error });
  }
}

async function find(specifier: string): Promise<PluginDefinition> {
  const builtin = builtinPlugins.find(({ name }) => name === specifier);
  if (builtin !== undefined) return builtin as unknown as PluginDefinition;
  const here = resolve('any');
  const isFile = statSync(specifier, { throwIfNoEntry: false })?.isFile();
  try {
    return await loadPlugin(isFile ? `./${relative('.', specifier)}` : specifier, here);
  } catch (error) {
    const meant = suggest(
      specifier,
      builtinPlugins.map(({ name }) => name),
    );
    throw new PointsmanError('POINTSMAN_CONFIG', (error as Error).message + meant, { cause: error });
  }
}

async function judge(name: string, run: () => Promise<void>): Promise<Verdict> {
  try {
    await run();
    return { name, passed: true };
  } catch (error) {
    return { name, passed: false, message: error instanceof Error ? error.message : String(error) };
  }
}

/** One line for each sample: nanoseconds and allocated bytes of each hook. */
function speedTable(speeds: readonly SampleSpeed[]): string {
  if (speeds.length === 0) return '';
  const cell = (cost: Cost | undefined) =>
    (cost === undefined ? '-' : `${cost.nanoseconds.toFixed(0)} ns, ${cost.allocatedBytes.toFixed(0)} B`).padStart(18);
  const width = Math.max(...speeds.map(({ sample }) => sample.length));
  const head = `  ${'per message'.padEnd(width)}${['frame', 'detectId', 'insertId'].map((hook) => hook.padStart(18)).join('')}\n`;
  const lines = speeds.map(
    ({ sample, frame, detectId, insertId }) =>
      `  ${sample.padEnd(width)}${[frame, detectId, insertId].map(cell).join('')}\n`,
  );
  return head + lines.join('');
}
