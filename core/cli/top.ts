/** `pointsman top`: a balancer that runs at a glance, live; once with --once, or where there is no terminal. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type AdminClient, AdminError, type AdminOptions, withAdmin } from './admin-client.ts';
import { type Output, wantsColours, widthOf } from './output.ts';
import { listenForStop, type Signals } from './run.ts';
import { type Keys, listenForQuit } from './terminal/keys.ts';
import { paint } from './terminal/lines.ts';
import { isLive, liveScreen, type Out } from './terminal/screen.ts';
import { type Overview, type Scene, view } from './top/view.ts';

export interface TopOptions extends AdminOptions {
  readonly once?: boolean;
}

export interface Terminal {
  readonly out: Out;
  readonly keys: Keys;
  readonly signals: Signals;
}

const refreshMs = 1000;

export async function top(
  options: TopOptions,
  output: Output,
  terminal: Terminal = { out: process.stdout, keys: process.stdin, signals: process },
): Promise<number> {
  const { stdout } = output;
  return withAdmin(options, output, async (client) => {
    const overview = await ask(client);
    if (options.json) stdout.write(`${JSON.stringify(overview, undefined, 2)}\n`);
    else if (!options.once && isLive(terminal.out)) await watch(client, overview, options.url, terminal);
    else {
      const lines = view({ overview }, { columns: widthOf(stdout), rows: Number.POSITIVE_INFINITY });
      for (const line of lines) stdout.write(`${paint(line, wantsColours(stdout)).trimEnd()}\n`);
    }
  });
}

const ask = (client: AdminClient) => client.ask<Overview>('GET', '/v1/stats');

/** Shows what is new once a second, until somebody has seen enough. */
async function watch(client: AdminClient, overview: Overview, url: string, terminal: Terminal): Promise<void> {
  const { out, keys, signals } = terminal;
  let scene: Scene = { overview, url };
  const refresh = async () => {
    try {
      scene = { overview: await ask(client), url };
    } catch (error) {
      if (!(error instanceof AdminError)) throw error;
      scene = { ...scene, fault: error.message }; // that may pass: it may be starting again
    }
  };
  const stop = listenForStop(signals);
  const ending = new AbortController();
  const ended = stop.asked.then(() => ending.abort());
  const giveKeysBack = listenForQuit(keys, () => stop.ask('q'));
  const screen = liveScreen(out, wantsColours(out), (size) => view(scene, size));
  try {
    while (!ending.signal.aborted) {
      await sleep(refreshMs, undefined, { signal: ending.signal }).catch(() => {});
      await Promise.race([ended, refresh()]);
      screen.draw();
    }
  } finally {
    screen.close();
    giveKeysBack();
    stop.forget();
  }
}
