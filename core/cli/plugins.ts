/** `pointsman plugins`: lists the plugins that a config can use. */
import { builtinPlugins } from '../config/builtins.ts';
import { hooksOf } from '../config/inspect.ts';
import { loadConfig } from '../config/load.ts';
import { allOptions } from '../config/schema.ts';
import type { HookName } from '../hooks.ts';
import type { PluginDefinition } from '../plugin.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { textReport } from './report/text.ts';

export interface PluginsOptions {
  readonly format: 'text' | 'json';
}

/** @param paths a config whose third-party plugins are to be listed too */
export async function plugins(
  paths: readonly string[],
  { format }: PluginsOptions,
  { stdout, stderr }: Output,
): Promise<number> {
  const loaded = paths.length === 0 ? { plugins: builtinPlugins, findings: [] } : await loadConfig(paths);
  const faults = loaded.findings.filter(({ stage }) => stage === 'syntax' || stage === 'plugins');
  stderr.write(textReport(faults, wantsColours(stderr)));
  const rows = loaded.plugins.map((plugin: PluginDefinition) => ({ plugin, hooks: hooksOf(plugin) }));
  if (format === 'json') {
    const list = rows.map(({ plugin, hooks }) => {
      const { name, summary } = plugin;
      const options = allOptions(plugin);
      return { name, kind: kindOf(plugin, hooks), summary, hooks, options };
    });
    stdout.write(`${JSON.stringify(list, undefined, 2)}\n`);
  } else {
    stdout.write(rows.map(({ plugin, hooks }) => asText(plugin, hooks)).join('\n'));
  }
  return faults.length === 0 ? exitCodes.clean : exitCodes.findings;
}

function kindOf({ check }: PluginDefinition, hooks: readonly HookName[] | undefined): string {
  if (check !== undefined) return 'check';
  if (hooks?.includes('frame')) return 'protocol';
  return hooks?.includes('chooseBackend') ? 'strategy' : 'other';
}

function asText(plugin: PluginDefinition, hooks: readonly HookName[] | undefined): string {
  const { name, summary, check } = plugin;
  const members = Object.entries(
    allOptions(plugin).properties as Record<string, { default?: unknown; description?: string }>,
  );
  const width = Math.max(0, ...members.map(([option]) => option.length));
  const lines = members.map(([option, schema]) => {
    const value = schema.default === undefined ? '' : ` Default: ${JSON.stringify(schema.default)}.`;
    return `    ${option.padEnd(width)}  ${schema.description ?? ''}${value}\n`;
  });
  const taps = hooks === undefined ? 'needs options' : `taps ${hooks.join(', ')}`;
  return `${name} (${kindOf(plugin, hooks)}; ${check === undefined ? taps : "in a pool's checks"})\n  ${summary}\n${lines.join('')}`;
}
