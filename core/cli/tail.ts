/** `pointsman tail`: shows where messages go, and why, as it happens. */
import type { ListenerStats } from '../accounting.ts';
import { among } from '../config/suggest.ts';
import { coreReasons } from '../outcome.ts';
import { AdminError, type AdminOptions, type BackendRow, findBackends, withAdmin } from './admin-client.ts';
import { type Output, wantsColours } from './output.ts';
import { type Style, styleWith } from './report/style.ts';
import { printable } from './terminal/lines.ts';

export interface TailOptions extends AdminOptions {
  readonly backend?: string;
  readonly reason?: string;
  /** How the client's address begins. */
  readonly client?: string;
  readonly listener?: string;
  /** Ends after so many lines. */
  readonly limit?: number;
}

export function tail(options: TailOptions, output: Output): Promise<number> {
  return withAdmin(options, output, async (client) => {
    const query = new URLSearchParams();
    for (const filter of ['backend', 'reason', 'client', 'listener'] as const) {
      const value = options[filter];
      if (value !== undefined) query.set(filter, value);
    }
    // A typo would show nothing for ever.
    if (options.backend !== undefined) {
      const { backends } = await client.ask<{ backends: BackendRow[] }>('GET', '/v1/backends');
      query.set('backend', findBackends(backends, options.backend)[0].name);
    }
    if (options.listener !== undefined || options.reason !== undefined) {
      const { listeners } = await client.ask<{ listeners: ListenerRow[] }>('GET', '/v1/listeners');
      checkListener(options.listener, listeners);
      remarkReason(options.reason, listeners, output);
    }
    const { stdout } = output;
    const style = styleWith(wantsColours(stdout));
    let lines = 0;
    for await (const { type, data } of client.events(`/v1/events?${query}`)) {
      stdout.write(
        options.json ? `${JSON.stringify({ type, ...(data as object) })}\n` : `${lineOf(type, data as Event, style)}\n`,
      );
      if (++lines === options.limit || stdout.errored) return;
    }
  });
}

/** A listener, as far as it is looked at here. */
interface ListenerRow {
  readonly name: string;
  /** Null: it has counted nothing yet. */
  readonly stats: ListenerStats | null;
}

/** @throws AdminError if there is none of that name */
function checkListener(named: string | undefined, listeners: readonly ListenerRow[]): void {
  const names = listeners.map(({ name }) => name);
  if (named === undefined || names.includes(named)) return;
  throw new AdminError(`there is no listener "${named}"${among(named, names)}`);
}

/** Plugins give reasons of their own, of which nobody knows before they do: it may be no typo. */
function remarkReason(reason: string | undefined, listeners: readonly ListenerRow[], { stderr }: Output): void {
  const given = listeners.flatMap(({ stats }) => {
    if (stats === null) return [];
    const { fromClients, fromBackends, routes } = stats;
    const dropped = [fromClients, fromBackends].flatMap((side) => [side.refusedFor, side.discardedFor]);
    return [routes, ...dropped].flatMap(Object.keys);
  });
  const known = [...new Set([...given, ...coreReasons])];
  if (reason === undefined || known.includes(reason)) return;
  stderr.write(`pointsman: no message has had the reason "${reason}" yet${among(reason, known)}\n`);
}

/** What events have, of whatever type. */
type Event = Readonly<Record<string, string | number | undefined>>;

function lineOf(type: string, event: Event, style: Style): string {
  const text = (member: string) => printable(String(event[member] ?? '') || '-');
  const time = style('dim', text('at').slice(11, 23));
  if (type === 'left-out') return `${time}  ${style('dim', `… ${event.count} more decisions were not told`)}`;
  if (type === 'missed') return style('yellow', `… ${event.count} events were missed: this end is too slow`);
  if (type === 'state') {
    const change = `${text('pool')}/${text('backend')}: ${text('was')} → ${text('status')}`;
    return `${time}  ${style('bold', change)}  state ${text('state')}, weight ${text('weight')}  ${style('dim', text('why'))}`;
  }
  const [from, to] = event.from === 'backend' ? [text('backend'), text('client')] : [text('client'), text('backend')];
  const outcome =
    event.outcome === 'forwarded'
      ? style('cyan', text('reason'))
      : style('red', `${text('outcome')}: ${text('reason')}`);
  return `${time}  ${text('listener')}  ${from} → ${to}  ${outcome}  ${style('dim', `${event.bytes} bytes`)}`;
}
