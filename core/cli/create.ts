/** `pointsman create plugin`: makes a new package with a working plugin, its tests, and a config that uses it. */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { builtinPlugins } from '../config/builtins.ts';
import { PointsmanError } from '../errors.ts';
import { exitCodes, type Output, type PluginKind } from './output.ts';

export interface CreateOptions {
  readonly kind: PluginKind;
  /** Undefined: `pointsman-plugin-NAME`. */
  readonly directory?: string;
}

/** Where the plugin stands in the example: its pipeline, what comes with the pool, and what stands at the end. */
const examples: Readonly<Record<PluginKind, (name: string) => Example>> = {
  protocol: (name) => ({ pipeline: [name, 'round-robin'] }),
  strategy: (name) => ({ pipeline: ['ndjson', name] }),
  observer: (name) => ({ pipeline: ['ndjson', 'round-robin'], observers: `\nobservers:\n  - ${name}: {}\n` }),
  check: (name) => ({ pipeline: ['ndjson', 'round-robin'], checks: `    checks:\n      - ${name}: {}\n` }),
};

interface Example {
  readonly pipeline: readonly string[];
  readonly checks?: string;
  readonly observers?: string;
}

/** The part of our own package.json that packages of plugins go by. */
interface Manifest {
  readonly version: string;
  readonly engines: { readonly node: string };
  readonly dependencies: Readonly<Record<'tsx', string>>;
  readonly devDependencies: Readonly<Record<'typescript' | '@types/node', string>>;
}

/**
 * @param name of the plugin, as configs will name it
 * @throws PointsmanError if it is no name for a plugin, or if a file is there already: nothing has been written then
 */
export function createPlugin(name: string, options: CreateOptions, { stdout }: Output): number {
  const { kind, directory = `pointsman-plugin-${name}` } = options;
  if (!/^[a-z0-9]+(-[a-z0-9]+)*$/.test(name)) {
    throw new PointsmanError('POINTSMAN_CONFIG', `"${name}" is no name of lower-case words joined by "-"`);
  }
  if (builtinPlugins.some((plugin) => plugin.name === name)) {
    throw new PointsmanError('POINTSMAN_CONFIG', `there is a plugin "${name}" already, which comes with pointsman`);
  }
  const files = filesOf(name, kind);
  const present = Object.keys(files).find((file) => existsSync(join(directory, file)));
  if (present !== undefined) {
    throw new PointsmanError('POINTSMAN_CONFIG', `${join(directory, present)} is there already; nothing was written`);
  }
  for (const [file, text] of Object.entries(files)) {
    const path = join(directory, file);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text);
  }
  stdout.write(
    `${directory}: the ${kind} plugin "${name}" (index.ts), its tests, and a config that uses it (example.yaml)\n` +
      `next:\n  cd ${directory}\n  npm install\n  npm test\n  npm run conform\n  npm run validate\n`,
  );
  return exitCodes.clean;
}

/** The texts of the package's files by their paths. */
function filesOf(name: string, kind: PluginKind): Readonly<Record<string, string>> {
  // By the package's own name, since this file is in another place relative to it once it is built.
  const manifestFile = createRequire(import.meta.url).resolve('pointsman/package.json');
  const manifest = JSON.parse(readFileSync(manifestFile, 'utf8')) as Manifest;
  const template = (file: string) => readFileSync(join(dirname(manifestFile), 'core/cli/templates', file), 'utf8');
  return {
    'index.ts': template(`${kind}.ts`).replaceAll(`my-${kind}`, name),
    'index.test.ts': template(`${kind}.test.ts`).replace(`./${kind}.ts`, './index.ts'),
    'example.yaml': exampleConfig(name, kind, './index.ts'),
    'package.json': `${JSON.stringify(packageJson(name, kind, manifest), undefined, 2)}\n`,
    'tsconfig.json': template('tsconfig.json'),
    'README.md': template('README.md')
      .replace('CONFIG', exampleConfig(name, kind, `pointsman-plugin-${name}`))
      .replaceAll('NAME', name)
      .replace('KIND', kind),
    '.github/workflows/test.yml': template('workflow.yml'),
    '.gitignore': '.build\nnode_modules\n',
  };
}

function packageJson(name: string, kind: PluginKind, { version, engines, dependencies, devDependencies }: Manifest) {
  return {
    name: `pointsman-plugin-${name}`,
    version: '0.1.0',
    description: `A ${kind} plugin for pointsman, the message-level load balancer.`,
    keywords: ['pointsman', 'pointsman-plugin'],
    license: 'UNLICENSED',
    type: 'module',
    engines,
    exports: { types: './.build/index.d.ts', default: './.build/index.js' },
    files: ['.build', '!.build/*.test.*'],
    scripts: {
      build: 'tsc',
      prepack: 'npm run build',
      test: 'node --import tsx --test index.test.ts',
      conform: 'pointsman conform ./index.ts',
      validate: 'pointsman validate example.yaml',
    },
    peerDependencies: { pointsman: `^${version}` },
    devDependencies: {
      '@types/node': devDependencies['@types/node'],
      pointsman: `^${version}`,
      tsx: dependencies.tsx,
      typescript: devDependencies.typescript,
    },
  };
}

function exampleConfig(name: string, kind: PluginKind, specifier: string): string {
  const { pipeline, checks = '', observers = '' } = examples[kind](name);
  return `plugins: [${specifier}]

pools:
  workers:
    backends:
      worker-1: tcp://127.0.0.1:7001
      worker-2: tcp://127.0.0.1:7002
${checks}
listeners:
  edge:
    listen: tcp://127.0.0.1:7000
    pool: workers
    pipeline:
${pipeline.map((plugin) => `      - ${plugin}: {}\n`).join('')}${observers}`;
}
