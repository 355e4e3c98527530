/** Loads third-party plugins: packages and files, .js and .ts. */
import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import nodeModule from 'node:module';
import { dirname, extname, join, resolve } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import semver from 'semver';
import { withPlace } from '../errors.ts';
import { apiVersion, type PluginDefinition } from '../plugin.ts';

/** Whether a plugin is loaded from a file, not from a package. */
export const isFile = (specifier: string): boolean => /^[./]/.test(specifier);

/**
 * Loads a plugin.
 * @param specifier a path that begins with `.` or `/`, or a package name
 * @param configFile what paths are relative to, and where packages are looked for
 * @throws Error (rejects with) that says in one sentence why it is none
 */
export async function loadPlugin(specifier: string, configFile: string): Promise<PluginDefinition> {
  await teachImport({ typeScript: isTypeScript(specifier, configFile) });
  const file = resolve(dirname(configFile), specifier);
  const found = isFile(specifier) ? statSync(file, { throwIfNoEntry: false }) : undefined;
  if (isFile(specifier) && !found?.isFile()) {
    const why = found === undefined ? 'no such file' : 'it is no file';
    throw new Error(`cannot load plugin "${specifier}": ${why}`);
  }
  const url = isFile(specifier) ? urlOf(file) : `${packageScheme}${specifier}#${pathToFileURL(resolve(configFile))}`;
  let plugin: unknown;
  try {
    ({ default: plugin } = (await import(String(url))) as { default?: unknown });
  } catch (cause) {
    throw new Error(`cannot load plugin "${specifier}": ${whyNot(specifier, cause)}`, { cause });
  }
  const fault = faultOf(plugin);
  if (fault !== undefined) throw new Error(`plugin "${specifier}" ${fault}`);
  return plugin as PluginDefinition;
}

/** One sentence. */
function whyNot(specifier: string, cause: unknown): string {
  const text = withPlace(cause);
  if (text.startsWith(`Cannot find package '${nameOf(specifier)}'`)) return 'no package of that name is installed';
  // A compiler's first line may only announce the second.
  return text.replace(/:\s*\n\s*/, ': ').split('\n', 1)[0]!;
}

/** What keeps a module's default export from being a plugin; undefined if nothing does. */
export function faultOf(plugin: unknown): string | undefined {
  if (typeof plugin !== 'object' || plugin === null) return 'has no plugin as its default export';
  const { name, summary, pointsman, options, samples, apply, check, observe } = plugin as Partial<
    Record<keyof PluginDefinition, unknown>
  >;
  if (typeof name !== 'string' || !/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
    return 'has no name of lower-case words joined by "-"';
  }
  if (typeof summary !== 'string') return 'has no summary';
  if (typeof options !== 'object' || (options as { type?: unknown } | null)?.type !== 'object') {
    return 'has no options schema: Type.Object({ … })';
  }
  if ([apply, check, observe].every((member) => typeof member !== 'function'))
    return 'has no function "apply", "check" or "observe"';
  if (typeof pointsman !== 'string' || semver.validRange(pointsman) === null) {
    return `does not say which plugin API it is for: pointsman: '^${semver.major(apiVersion)}'`;
  }
  if (!semver.satisfies(apiVersion, pointsman)) return `is for plugin API ${pointsman}; this is ${apiVersion}`;
  if (samples === undefined) return undefined;
  if (!Array.isArray(samples)) return 'has samples that are no list';
  const index = samples.findIndex((sample) => typeof sample?.name !== 'string' || !ArrayBuffer.isView(sample.bytes));
  return index < 0 ? undefined : `has a sample, number ${index + 1}, without a name, or without bytes in a Buffer`;
}

/** What the files of plugins held when they were loaded first. */
const firstHashes = new Map<string, string>();

/** A file that has changed is another module, so that a reload brings its new code. What it imports itself stays as it was. */
function urlOf(file: string): URL {
  const url = pathToFileURL(file);
  const hash = createHash('sha256').update(readFileSync(file)).digest('hex').slice(0, 16);
  const first = firstHashes.get(file) ?? hash;
  firstHashes.set(file, first);
  if (hash !== first) url.search = hash;
  return url;
}

/** Of a package, whatever file in it is asked for: `@scope/name`, `name`. */
const nameOf = (specifier: string) => /^(@[^/]+\/)?[^/]+/.exec(specifier)?.[0] ?? specifier;

/** The part of a package.json that plugins are found by. */
interface PackageJson {
  readonly version?: string;
  readonly main?: unknown;
  readonly exports?: unknown;
}

/** The package.json of an installed package: it is in a folder of its name, where the config stands or above. */
export function packageJsonOf(name: string, configFile: string): PackageJson | undefined {
  for (let folder = dirname(resolve(configFile)); ; folder = dirname(folder)) {
    try {
      return JSON.parse(readFileSync(join(folder, 'node_modules', name, 'package.json'), 'utf8')) as PackageJson;
    } catch {
      if (folder === dirname(folder)) return undefined;
    }
  }
}

/** Whether it may be: on Node.js 20 the compiler takes 10 MiB, which plugins in JavaScript do without. */
function isTypeScript(specifier: string, configFile: string): boolean {
  if (isFile(specifier)) return !/\.m?js$/.test(specifier);
  const found = packageJsonOf(nameOf(specifier), configFile);
  return found === undefined || /(?<!\.d)\.[cm]?tsx?"/.test(JSON.stringify([found.main, found.exports]));
}

const packageScheme = 'pointsman-plugin:';
let knowsTypeScript = false;
let knowsPlugins = false;

/**
 * Teaches `import()`, once, to load TypeScript (tsx), to look for packages where the config stands, and to give plugins
 * this very core when they import 'pointsman': of another copy, `instanceof` would not recognise the refusals.
 */
async function teachImport({ typeScript }: { typeScript: boolean }): Promise<void> {
  if (knowsPlugins && (knowsTypeScript || !typeScript)) return;
  knowsPlugins = true;
  if (typeScript) {
    knowsTypeScript = true;
    const tsx = await import('tsx/esm/api');
    tsx.register({ tsconfig: false });
  }
  const core = new URL(`../index${extname(fileURLToPath(import.meta.url))}`, import.meta.url).href;
  // A module of its own, since older Node.js runs it in another thread, where `next` answers promises. It comes before tsx, so it
  // is there a second time where tsx came later. What passes for CommonJS, for want of a package.json that says otherwise, is
  // an ES module: plugins are, and what they import by path. Of .js files in packages it may well be right.
  const hooks = `
    const adopt = (found, byPath) => {
      const isPlugin = /\\.ts(\\?|$)/.test(found.url) ||
        (byPath && /\\.js(\\?|$)/.test(found.url) && !found.url.includes('/node_modules/'));
      return (found.format ?? 'commonjs') === 'commonjs' && isPlugin ? { ...found, format: 'module' } : found;
    };
    export function resolve(specifier, context, next) {
      if (specifier === 'pointsman') return { url: ${JSON.stringify(core)}, format: 'module', shortCircuit: true };
      // A file that has changed: tsx would make a CommonJS module of it, of a name that no file has.
      if (/^file:.*\\.[jt]s\\?[0-9a-f]{16}$/.test(specifier)) return { url: specifier, format: 'module', shortCircuit: true };
      const [, name, parentURL] = /^${packageScheme}(.*)#(.*)$/.exec(specifier) ?? [];
      const found = name === undefined ? next(specifier, context) : next(name, { ...context, parentURL });
      const byPath = /^(\\.|file:)/.test(specifier) && context.conditions.includes('import');
      return found instanceof Promise ? found.then((found) => adopt(found, byPath)) : adopt(found, byPath);
    }`;
  const url = `data:text/javascript,${encodeURIComponent(hooks)}`;
  const { registerHooks } = nodeModule as { registerHooks?: (hooks: object) => void };
  if (registerHooks === undefined) nodeModule.register(url);
  else registerHooks(await import(url));
}
