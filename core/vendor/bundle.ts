/**
 * The last step of the build: puts each library of this folder into one file. They come as hundreds of modules, and to
 * find and read those takes several times longer than to run them. Their licences go with them. In the sources, and in
 * tests, these files are what they look like. Likewise the dashboard, which browsers get from the `admin` plugin. And it makes the
 * command executable.
 */
import { chmodSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build, type Metafile } from 'esbuild';

const folder = fileURLToPath(new URL('.', import.meta.url));

const { metafile } = await build({
  absWorkingDir: folder,
  entryPoints: readdirSync(folder).filter((file) => file.endsWith('.js') && file !== 'bundle.js'),
  outdir: folder,
  allowOverwrite: true,
  bundle: true,
  format: 'esm',
  platform: 'node',
  target: 'node20',
  minifyWhitespace: true, // what is read stays in memory
  metafile: true,
  // Some are CommonJS modules that require what comes with Node.js.
  banner: { js: "import { createRequire } from 'node:module';\nconst require = createRequire(import.meta.url);" },
});

writeFileSync(join(folder, 'LICENSES.txt'), licencesOf(metafile));

// npm does so when it installs or links the package, but not when it has linked it before.
chmodSync(join(folder, '../cli/main.js'), 0o755);

const dashboard = 'plugins/observers/admin/dashboard';
const sources = fileURLToPath(new URL(`../../../${dashboard}/`, import.meta.url));
const built = fileURLToPath(new URL(`../../${dashboard}/`, import.meta.url));
mkdirSync(built, { recursive: true });
const { metafile: dashboardFiles } = await build({
  absWorkingDir: folder,
  entryPoints: { dashboard: join(sources, 'main.tsx'), style: join(sources, 'dashboard.css') },
  outdir: built,
  bundle: true,
  format: 'esm',
  platform: 'browser',
  target: 'es2022',
  tsconfig: join(sources, 'tsconfig.json'),
  minify: true,
  metafile: true,
});
for (const file of ['index.html', 'icon.svg']) copyFileSync(join(sources, file), join(built, file));
writeFileSync(join(built, 'LICENSES.txt'), licencesOf(dashboardFiles));

/** The licences of all packages that went into it. */
function licencesOf({ inputs }: Metafile): string {
  const packages = new Set<string>();
  for (const file of Object.keys(inputs)) {
    const [home] = /^.*node_modules\/(@[^/]+\/)?[^/]+/.exec(file) ?? [];
    if (home !== undefined) packages.add(join(folder, home));
  }
  return [...packages].sort().map(licenceOf).join('\n\n');
}

/** @throws Error if it has none, since then nobody may pass it on */
function licenceOf(home: string): string {
  const { name, version } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'));
  const file = readdirSync(home).find((name) => /^licen[cs]e/i.test(name));
  if (file === undefined) throw new Error(`${name} has no licence file`);
  return `${name} ${version}\n\n${readFileSync(join(home, file), 'utf8').trim()}\n`;
}
