/** The dashboard's files, made by `npm run build`: few and small, and read once. */
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const types: Readonly<Record<string, string>> = {
  'index.html': 'text/html; charset=utf-8',
  'dashboard.js': 'text/javascript; charset=utf-8',
  'style.css': 'text/css; charset=utf-8',
  'icon.svg': 'image/svg+xml',
};

/** Nothing but our own files and our own API is allowed, and no script or style in the page itself. */
const policy = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self'",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');

/** Returns a function that answers requests for them by path; undefined: there is no such file. */
export function dashboardFiles(): (path: string) => Response | undefined {
  const folder = builtFolder();
  const files = new Map<string, Buffer>();
  for (const name of Object.keys(types)) {
    const file = new URL(name, folder);
    if (existsSync(file)) files.set(name, readFileSync(file));
  }
  return (path) => {
    const name = path === '/' ? 'index.html' : path.slice(1);
    const content = files.get(name);
    if (content === undefined) return undefined;
    return new Response(new Uint8Array(content), {
      headers: {
        'content-type': types[name]!,
        'content-security-policy': policy,
        'cache-control': 'no-cache',
        'x-content-type-options': 'nosniff',
        'referrer-policy': 'no-referrer',
        'cross-origin-opener-policy': 'same-origin',
        'permissions-policy': 'camera=(), geolocation=(), microphone=()',
      },
    });
  };
}

/** Beside this module, or, when running from sources, where the build puts it. */
function builtFolder(): URL {
  const built = new URL('./dashboard/', import.meta.url);
  return fileURLToPath(import.meta.url).endsWith('.ts')
    ? new URL('../../../.build/plugins/observers/admin/dashboard/', import.meta.url)
    : built;
}
