/** `pointsman drain`, `ready` and `maint`: change what a backend is let do, until the config says otherwise. */
import { type AdminOptions, type BackendRow, findBackend, withAdmin } from './admin-client.ts';
import type { Output } from './output.ts';

type State = 'ready' | 'drain' | 'maint';

/** @param named a backend's name, or `pool/name` */
export function operate(named: string, state: State, options: AdminOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const { pool, name } = await findBackend(client, named);
    const path = `/v1/backends/${encodeURIComponent(pool)}/${encodeURIComponent(name)}`;
    const row = await client.ask<BackendRow>('PATCH', path, { state });
    output.stdout.write(options.json ? `${JSON.stringify(row)}\n` : `${pool}/${name}: ${aboutOf(row)}\n`);
  });
}

function aboutOf({ state, status, sessions, inFlight }: BackendRow): string {
  const left = `${inFlight} in flight, ${sessions} links open`;
  if (state === 'drain') return `drains; ${left}`;
  if (state === 'maint') return `is out; ${left}`;
  return status === 'up' ? 'is ready' : `is ready for work, but ${status}`;
}
