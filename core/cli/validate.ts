/** `pointsman validate`: says what is wrong with a config. */
import { writeFileSync } from 'node:fs';
import type { Finding } from '../config/finding.ts';
import { loadConfig } from '../config/load.ts';
import { nameOfFile, whyUnreadable } from '../config/parse.ts';
import { PointsmanError } from '../errors.ts';
import type { Settings } from '../settings.ts';
import { counted, exitCodes, type FindingsFormat, type Output, wantsColours } from './output.ts';
import { githubReport } from './report/github.ts';
import { jsonReport } from './report/json.ts';
import { sarifReport } from './report/sarif.ts';
import { countFindings, textReport } from './report/text.ts';

export interface ValidateOptions {
  readonly format: FindingsFormat;
  /** Further reports, each into a file. */
  readonly output?: readonly { readonly format: FindingsFormat; readonly file: string }[];
  readonly denyWarnings?: boolean;
  /** The backends are tried, too. */
  readonly connect?: boolean;
}

/** @throws PointsmanError (rejects with) if the config cannot be read, or a report not written */
export async function validate(paths: readonly string[], options: ValidateOptions, output: Output): Promise<number> {
  const loaded = await loadConfig(paths);
  const { settings } = loaded;
  const findings = [...loaded.findings];
  if (options.connect && settings !== undefined) {
    const { tryBackends } = await import('./validate/connect.ts');
    findings.push(...(await tryBackends(settings, loaded.place)));
  }
  const report = (format: FindingsFormat, colours: boolean): string => {
    if (format === 'json') return jsonReport(findings);
    if (format === 'sarif') return sarifReport(findings);
    return format === 'github' ? githubReport(findings) : textOf(paths, settings, findings, colours);
  };
  output.stdout.write(report(options.format, wantsColours(output.stdout)));
  for (const { format, file } of options.output ?? []) write(file, report(format, false));
  const hasErrors = findings.some(({ severity }) => severity === 'error');
  const passes = !hasErrors && !(options.denyWarnings && findings.length > 0);
  return passes ? exitCodes.clean : exitCodes.findings;
}

function textOf(
  paths: readonly string[],
  settings: Settings | undefined,
  findings: readonly Finding[],
  colours: boolean,
): string {
  const remarks = countFindings(findings);
  const end =
    settings === undefined
      ? remarks
      : `${paths.map(nameOfFile).join(', ')}: ok — ${summary(settings)}${remarks && `, ${remarks}`}`;
  return `${textReport(findings, colours)}${findings.some(({ severity }) => severity === 'error') ? remarks : end}\n`;
}

function write(file: string, text: string): void {
  try {
    writeFileSync(file, text);
  } catch (cause) {
    throw new PointsmanError('POINTSMAN_CONFIG', `cannot write ${file}: ${whyUnreadable(cause)}`, { cause });
  }
}

function summary({ listeners, pools }: Settings): string {
  const backends = pools.reduce((count, pool) => count + pool.backends.length, 0);
  return [counted(listeners.length, 'listener'), counted(pools.length, 'pool'), counted(backends, 'backend')].join(
    ', ',
  );
}
