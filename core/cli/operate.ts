/** `pointsman drain`, `ready` and `maint`: change the state of a backend until the config says otherwise. */
import { type AdminClient, type AdminOptions, type BackendRow, findBackend, withAdmin } from './admin-client.ts';
import { counted, type Output } from './output.ts';
import type { Signals } from './run.ts';

type State = 'ready' | 'drain' | 'maint';

export interface OperateOptions extends AdminOptions {
  /** For `drain`: ends when the backend has drained. */
  readonly wait?: boolean;
  /** How long it waits at most, in seconds. */
  readonly timeout?: number;
}

/** @param named a backend's name, or `pool/name` */
export function operate(
  named: string,
  state: State,
  options: OperateOptions,
  output: Output,
  signals: Signals = process,
): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const { stdout, stderr } = output;
    const rows = await backendsOf(client);
    const { pool, name } = findBackend(rows, named);
    const path = `/v1/backends/${encodeURIComponent(pool)}/${encodeURIComponent(name)}`;
    const print = (row: BackendRow) =>
      void stdout.write(options.json ? `${JSON.stringify(row)}\n` : `${pool}/${name}: ${aboutOf(row)}\n`);

    const row = await client.ask<BackendRow>('PATCH', path, { state });
    if (!options.wait) print(row);
    const others = rows.filter((other) => other.pool === pool && other.name !== name);
    const isLast = !others.some(({ status, weight }) => status === 'up' && weight > 0);
    if (state !== 'ready' && isLast) stderr.write(`pointsman: no backend of ${pool} takes new work now\n`);
    if (!options.wait) return;

    const { untilDrained } = await import('./operate/drained.ts');
    const look = async () => findBackend(await backendsOf(client), `${pool}/${name}`);
    const tell = options.json ? () => {} : print;
    print(await untilDrained({ name: `${pool}/${name}`, look, tell, timeout: options.timeout, signals }));
  });
}

const backendsOf = async (client: AdminClient) =>
  (await client.ask<{ backends: BackendRow[] }>('GET', '/v1/backends')).backends;

/** What it does, and what it still has. */
function aboutOf({ state, status, sessions, inFlight, idleSeconds, drained }: BackendRow): string {
  const quiet = idleSeconds === null ? '' : `, last message ${Math.round(idleSeconds)} s ago`;
  const left = `${inFlight} in flight, ${counted(sessions, 'link')} open${quiet}`;
  if (drained) return 'has drained: it may be stopped';
  if (state === 'drain') return `drains; ${left}`;
  if (state === 'maint') return `is out; ${left}`;
  return status === 'up' ? 'is ready' : `is ready for work, but ${status}`;
}
