/** `pointsman schema`: prints the JSON Schema of configs, for editors and CI. */
import { builtinPlugins } from '../config/builtins.ts';
import { isAboutPlugins } from '../config/finding.ts';
import { loadConfig } from '../config/load.ts';
import { schemaText } from '../config/schema.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { textReport } from './report/text.ts';

/** @param paths a config whose third-party plugins the schema is to know; without, it lets any plugin pass */
export async function schema(paths: readonly string[], { stdout, stderr }: Output): Promise<number> {
  if (paths.length === 0) {
    stdout.write(schemaText(builtinPlugins, { open: true }));
    return exitCodes.clean;
  }
  const { plugins, findings } = await loadConfig(paths);
  const faults = findings.filter(isAboutPlugins);
  stderr.write(textReport(faults, wantsColours(stderr)));
  stdout.write(schemaText(plugins, { open: false }));
  return faults.length === 0 ? exitCodes.clean : exitCodes.findings;
}
