/** `pointsman drain`, `ready` and `maint`: change what a backend is let do, until the config says otherwise. */
import { type AdminOptions, type BackendRow, findBackend, withAdmin } from './admin-client.ts';
import type { Output } from './output.ts';

type State = 'ready' | 'drain' | 'maint';

/** @param named a backend's name, or `pool/name` */
export function operate(named: string, state: State, options: AdminOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const { backends } = await client.ask<{ backends: BackendRow[] }>('GET', '/v1/backends');
    const { pool, name } = findBackend(backends, named);
    const path = `/v1/backends/${encodeURIComponent(pool)}/${encodeURIComponent(name)}`;
    const row = await client.ask<BackendRow>('PATCH', path, { state });
    output.stdout.write(options.json ? `${JSON.stringify(row)}\n` : `${pool}/${name}: ${aboutOf(row)}\n`);
    const others = backends.filter((other) => other.pool === pool && other.name !== name);
    const isLast = !others.some(({ status, weight }) => status === 'up' && weight > 0);
    if (state !== 'ready' && isLast) output.stderr.write(`pointsman: no backend of ${pool} takes new work now\n`);
  });
}

function aboutOf({ state, status, sessions, inFlight }: BackendRow): string {
  const left = `${inFlight} in flight, ${sessions} links open`;
  if (state === 'drain') return `drains; ${left}`;
  if (state === 'maint') return `is out; ${left}`;
  return status === 'up' ? 'is ready' : `is ready for work, but ${status}`;
}
