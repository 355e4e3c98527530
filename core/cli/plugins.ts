/** `pointsman plugins`: lists the plugins that a config can use. */
import { builtinPlugins } from '../config/builtins.ts';
import { isAboutPlugins } from '../config/finding.ts';
import { hooksOf } from '../config/inspect.ts';
import { loadConfig, type PluginOrigin } from '../config/load.ts';
import { isFile, packageJsonOf } from '../config/plugins.ts';
import { allOptions } from '../config/schema.ts';
import type { HookName } from '../hooks.ts';
import type { PluginDefinition } from '../plugin.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { textReport } from './report/text.ts';
import { packageVersion } from './version.ts';

export interface PluginsOptions {
  readonly format: 'text' | 'json';
}

/** @param paths a config whose third-party plugins are to be listed too */
export async function plugins(
  paths: readonly string[],
  { format }: PluginsOptions,
  { stdout, stderr }: Output,
): Promise<number> {
  const loaded = paths.length === 0 ? { plugins: builtinPlugins, findings: [], origins: [] } : await loadConfig(paths);
  const faults = loaded.findings.filter(isAboutPlugins);
  stderr.write(textReport(faults, wantsColours(stderr)));
  const [builtIn, others] = [loaded.plugins.length - loaded.origins.length, loaded.origins];
  const rows = loaded.plugins.map((plugin: PluginDefinition, index) => {
    return { plugin, hooks: hooksOf(plugin), origin: originOf(others[index - builtIn]) };
  });
  if (format === 'json') {
    const list = rows.map(({ plugin, hooks, origin }) => {
      const { name, summary } = plugin;
      const options = allOptions(plugin);
      return { name, kind: kindOf(plugin, hooks), summary, ...origin, hooks, options };
    });
    stdout.write(`${JSON.stringify(list, undefined, 2)}\n`);
  } else {
    stdout.write(rows.map(({ plugin, hooks, origin }) => asText(plugin, hooks, origin)).join('\n'));
  }
  return faults.length === 0 ? exitCodes.clean : exitCodes.findings;
}

interface Origin {
  readonly origin: 'built-in' | 'package' | 'file';
  /** The package's name, or the file's path as the config writes it. */
  readonly from: string;
  /** That of the package; undefined where there is none. */
  readonly version: string | undefined;
}

/** @param origin undefined: it came with pointsman */
function originOf(origin: PluginOrigin | undefined): Origin {
  if (origin === undefined) return { origin: 'built-in', from: 'pointsman', version: packageVersion() };
  const { specifier, configFile } = origin;
  if (isFile(specifier)) return { origin: 'file', from: specifier, version: undefined };
  return { origin: 'package', from: specifier, version: packageJsonOf(specifier, configFile)?.version };
}

function kindOf({ check, observe }: PluginDefinition, hooks: readonly HookName[] | undefined): string {
  if (check !== undefined) return 'check';
  if (observe !== undefined) return 'observer';
  if (hooks?.includes('frame')) return 'protocol';
  return hooks?.includes('chooseBackend') ? 'strategy' : 'other';
}

function asText(
  plugin: PluginDefinition,
  hooks: readonly HookName[] | undefined,
  { origin, from, version }: Origin,
): string {
  const { name, summary, check, observe } = plugin;
  const members = Object.entries(
    allOptions(plugin).properties as Record<string, { default?: unknown; description?: string }>,
  );
  const width = Math.max(0, ...members.map(([option]) => option.length));
  const lines = members.map(([option, schema]) => {
    const value = schema.default === undefined ? '' : ` Default: ${JSON.stringify(schema.default)}.`;
    return `    ${option.padEnd(width)}  ${schema.description ?? ''}${value}\n`;
  });
  const taps = hooks === undefined ? 'needs options' : hooks.length === 0 ? 'taps nothing' : `taps ${hooks.join(', ')}`;
  const place = check !== undefined ? "in a pool's checks" : observe === undefined ? taps : `in observers; ${taps}`;
  const source = origin === 'built-in' ? '' : `; ${origin} ${from}${version === undefined ? '' : `@${version}`}`;
  return `${name} (${kindOf(plugin, hooks)}; ${place}${source})\n  ${summary}\n${lines.join('')}`;
}
