/** `pointsman validate`: says what is wrong with a config. */
import { loadConfig } from '../config/load.ts';
import type { Settings } from '../settings.ts';
import { counted, exitCodes, type Output, wantsColours } from './output.ts';
import { jsonReport } from './report/json.ts';
import { countFindings, textReport } from './report/text.ts';

export interface ValidateOptions {
  readonly format: 'text' | 'json';
  readonly denyWarnings?: boolean;
}

export async function validate(paths: readonly string[], options: ValidateOptions, output: Output): Promise<number> {
  const { settings, findings } = await loadConfig(paths);
  const { stdout } = output;
  if (options.format === 'json') {
    stdout.write(jsonReport(findings));
  } else {
    stdout.write(textReport(findings, wantsColours(stdout)));
    const remarks = countFindings(findings);
    if (settings === undefined) stdout.write(`${remarks}\n`);
    else stdout.write(`${paths.join(', ')}: ok — ${summary(settings)}${remarks && `, ${remarks}`}\n`);
  }
  const passes = settings !== undefined && !(options.denyWarnings && findings.length > 0);
  return passes ? exitCodes.clean : exitCodes.findings;
}

function summary({ listeners, pools }: Settings): string {
  const backends = pools.reduce((count, pool) => count + pool.backends.length, 0);
  return [counted(listeners.length, 'listener'), counted(pools.length, 'pool'), counted(backends, 'backend')].join(
    ', ',
  );
}
