/**
 * Loads a config from files: returns settings, or findings that say what is wrong. It goes through all stages (finding.ts), each as
 * far as the ones before allow, so that one run shows all mistakes. Nothing is opened.
 */
import { resolve } from 'node:path';
import type { PluginDefinition } from '../plugin.ts';
import type { Script } from '../rehearsal/script.ts';
import type { Settings } from '../settings.ts';
import { buildSettings } from './build.ts';
import { isPluginEntry } from './describe.ts';
import { type Finding, Findings, type Stage } from './finding.ts';
import { lint } from './lint.ts';
import type { Locator } from './locate.ts';
import { mergeSources, readSources } from './parse.ts';
import type { Path } from './path.ts';
import { substitute } from './substitute.ts';
import { buildTests } from './tests.ts';
import { schemaFault, validate } from './validate.ts';

export interface Loaded {
  /** Undefined if there are errors among the findings. */
  readonly settings?: Settings;
  /** The tests that are in order; none if they were skipped. */
  readonly tests: readonly Script[];
  /** In the order of their places. */
  readonly findings: readonly Finding[];
  /** The place of what a path leads to, or of the nearest thing around it. */
  place(path: Path): Pick<Finding, 'file' | 'line' | 'column'>;
  /** The plugins that the config may use, built-in ones first. */
  readonly plugins: readonly PluginDefinition[];
  /** The config as it was written, with nothing filled in; empty if it could not be read. */
  readonly written: unknown;
  /** The origins of the third-party plugins. */
  readonly origins: readonly PluginOrigin[];
  /** Everything it was read from: the files and directories given, and all files that it names, as absolute paths. */
  readonly files: readonly string[];
}

/** The arguments with which `loadPlugin` loads a plugin, here or in another process. */
export interface PluginOrigin {
  readonly specifier: string;
  readonly configFile: string;
}

export interface LoadOptions {
  /** The plugins that need no `plugins` entry. Undefined: those of plugins/. */
  readonly builtins?: readonly PluginDefinition[];
  /** What `${env:NAME}` reads. Undefined: the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /**
   * What to do with its tests. `run`: they will be played, so `testEnv` precedes the environment. `skip`: nothing, so what they
   * refer to, such as files, need not be there. Undefined: they are checked.
   */
  readonly tests?: 'run' | 'skip';
}

/**
 * @param paths files, or directories of files, which together are one config
 * @throws PointsmanError (rejects with) if a file cannot be read
 */
export async function loadConfig(paths: readonly string[], options: LoadOptions = {}): Promise<Loaded> {
  const sources = readSources(paths);
  const builtins = options.builtins ?? (await import('./builtins.ts')).builtinPlugins;
  const { value: written, locator, problems } = mergeSources(sources);
  const findings = new Findings(locator);
  const files = sources.map(({ file }) => file);
  const readFrom = () => [...new Set([...[...paths, ...files].map((file) => resolve(file)), ...locator.named])];
  for (const { source, offset, message } of problems)
    findings.addAt(source, offset, { rule: 'syntax', stage: 'syntax', message });
  const place = (path: Path) => {
    const { source, keyOffset } = locator.find(path);
    const { line, col: column } = source.lines.linePos(keyOffset);
    return { file: source.file, line, column };
  };
  if (problems.length > 0) {
    return {
      tests: [],
      findings: findings.inOrder(files),
      place,
      plugins: builtins,
      written: {},
      origins: [],
      files: readFrom(),
    };
  }

  const env = { ...(options.env ?? process.env), ...(options.tests === 'run' ? testEnvOf(written) : {}) };
  const { value, secrets, problems: missing } = substitute(written, locator, env);
  for (const { path, message } of missing) {
    const stage = path[0] === 'plugins' ? 'plugins' : 'syntax';
    findings.add(path, { rule: 'unresolved-reference', stage, message });
  }
  const unfilled = new Set(missing.map(({ path }) => path.join('/')));

  const plugins = new Map(builtins.map((plugin) => [plugin.name, plugin]));
  const origins = await loadThirdParty((value as { plugins?: unknown }).plugins, plugins, locator, findings);
  const allLoaded = findings.isSound(['plugins']);

  // A pipeline that names a plugin which could not be loaded is not at fault.
  const { config, mistakes } = validate(value, written, [...plugins.values()], { open: !allLoaded });
  for (const { path, rule, message, atKey } of mistakes) {
    if (unfilled.has(path.join('/'))) continue; // nobody knows yet what will stand there
    findings.add(path, { rule, stage: stageOf(path, atKey), message, atKey });
  }

  const draft = { config, written, plugins, locator, findings, secrets };
  const built = buildSettings(draft);
  lint(draft, built);
  const tests = options.tests === 'skip' ? [] : buildTests(draft);
  return {
    tests,
    ...(findings.errors === 0 && {
      settings: {
        keys: built.keys,
        pools: [...built.pools.values()],
        listeners: [...built.listeners.values()],
        observers: built.observers,
        workers: built.workers,
        stopSeconds: built.stopSeconds,
      },
    }),
    findings: findings.inOrder(files),
    place,
    plugins: [...plugins.values()],
    written,
    origins,
    files: readFrom(),
  };
}

/** The variables that tests set, before the config has been validated. */
function testEnvOf({ testEnv }: { testEnv?: unknown }): NodeJS.ProcessEnv {
  const members = Object.entries(testEnv ?? {});
  return Object.fromEntries(members.filter((member): member is [string, string] => typeof member[1] === 'string'));
}

function stageOf(path: Path, atKey: boolean): Stage {
  const depth = path.findIndex((_, end) => isPluginEntry(path.slice(0, end)));
  if (depth < 0) return 'shape';
  return path.length === depth + 1 && atKey ? 'plugins' : 'options';
}

/** Adds the plugins of the config's `plugins` list to `plugins`; returns their origins. */
async function loadThirdParty(
  list: unknown,
  plugins: Map<string, PluginDefinition>,
  locator: Locator,
  findings: Findings,
): Promise<PluginOrigin[]> {
  const origins: PluginOrigin[] = [];
  if (!Array.isArray(list)) return origins;
  const { isFile, loadPlugin } = await import('./plugins.ts');
  for (const [index, specifier] of list.entries()) {
    const path = ['plugins', index];
    if (typeof specifier !== 'string' || !findings.isSound(path)) continue;
    try {
      const configFile = locator.find(path).source.file;
      if (isFile(specifier)) locator.fileAt(path, specifier);
      const plugin = await loadPlugin(specifier, configFile);
      const fault = schemaFault(plugin);
      if (fault !== undefined) throw new Error(`the options schema of plugin "${plugin.name}" is not valid: ${fault}`);
      if (plugins.has(plugin.name)) throw new Error(`there is a plugin "${plugin.name}" already`);
      plugins.set(plugin.name, plugin);
      origins.push({ specifier, configFile });
    } catch (error) {
      findings.add(path, { rule: 'plugin-not-loaded', stage: 'plugins', message: (error as Error).message });
    }
  }
  return origins;
}
