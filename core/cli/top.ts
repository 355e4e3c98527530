/** `pointsman top`: a balancer that runs at a glance, once a second; lines with --once, or where there is no terminal. */
import { type AdminClient, type AdminOptions, type BackendRow, withAdmin } from './admin-client.ts';
import { backendTable } from './backend-table.ts';
import type { Out } from './demo/screen.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { type Style, styleWith } from './report/style.ts';
import { listenForStop, type Signals } from './run.ts';

export interface TopOptions extends AdminOptions {
  readonly once?: boolean;
}

/** What is shown. */
interface Overview {
  readonly version: string;
  readonly phase: string;
  readonly workers: number;
  readonly uptimeSeconds: number;
  readonly listeners: readonly {
    readonly name: string;
    readonly listen: string;
    readonly pool: string;
    readonly connections: number;
    readonly rates: Readonly<Record<string, number>>;
  }[];
  readonly backends: readonly BackendRow[];
}

const refreshMs = 1000;

export async function top(
  options: TopOptions,
  output: Output,
  out: Out = process.stdout,
  signals: Signals = process,
): Promise<number> {
  const isLive = !options.once && !options.json && out.isTTY === true && process.env.TERM !== 'dumb';
  if (isLive) return live(options, output, out, signals);
  return withAdmin(options, output, async (client) => {
    const overview = await ask(client);
    const { stdout } = output;
    if (options.json) stdout.write(`${JSON.stringify(overview, undefined, 2)}\n`);
    else stdout.write(`${render(overview, styleWith(wantsColours(stdout))).join('\n')}\n`);
  });
}

const ask = (client: AdminClient) => client.ask<Overview>('GET', '/v1/stats');

/** The alternate screen, no cursor, no wrapping; and all of it back. */
const enter = '\x1b[?1049h\x1b[?25l\x1b[?7l';
const leave = '\x1b[?7h\x1b[?25h\x1b[?1049l';

async function live(options: TopOptions, output: Output, out: Out, signals: Signals): Promise<number> {
  const stop = listenForStop(signals);
  const style = styleWith(wantsColours(out));
  let isOver = false;
  stop.asked.then(() => {
    isOver = true;
  });
  let shown = false;
  try {
    while (!isOver) {
      let lines: string[] = [];
      const code = await withAdmin(
        options,
        { ...output, stderr: shown ? { write: (text) => void lines.push(text) } : output.stderr },
        async (client) => {
          lines = render(await ask(client), style);
        },
      );
      if (!shown) {
        if (code !== exitCodes.clean) return code;
        out.write(enter);
        shown = true;
      }
      const { rows = 24 } = out;
      // What goes wrong later may pass: the balancer may be starting again.
      out.write(
        `\x1b[H${lines
          .slice(0, rows)
          .map((line) => `\x1b[K${line.trimEnd()}`)
          .join('\r\n')}\x1b[J`,
      );
      await Promise.race([stop.asked, new Promise((resolve) => setTimeout(resolve, refreshMs).unref())]);
    }
  } finally {
    if (shown) out.write(leave);
    stop.forget();
  }
  return exitCodes.clean;
}

function render({ version, phase, workers, uptimeSeconds, listeners, backends }: Overview, style: Style): string[] {
  const nameWidth = Math.max(...listeners.map(({ name }) => name.length), 8);
  const rate = (rates: Readonly<Record<string, number>>, what: string) => (rates[what] ?? 0).toFixed(1);
  return [
    `${style('bold', 'pointsman')} ${version}  ${phase}, ${workers === 1 ? '1 process' : `${workers} workers`}, up ${duration(uptimeSeconds)}`,
    '',
    ...listeners.map(({ name, listen, pool, connections, rates }) => {
      const why = ['chosen', 'byIdentifier', 'byAffinity'].map((what) => rate(rates, what));
      return (
        `${style('bold', name.padEnd(nameWidth))}  ${listen} → ${pool}  ${connections} clients  ` +
        `${rate(rates, 'requests')} requests/s, ${rate(rates, 'answers')} answers/s  ` +
        `strategy ${why[0]}, identifier ${why[1]}, affinity ${why[2]}  ` +
        `refused ${rate(rates, 'refused')}, discarded ${rate(rates, 'discarded')}`
      );
    }),
    '',
    ...backendTable(backends, style),
  ];
}

function duration(seconds: number): string {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24, Math.floor(whole / 60) % 60, whole % 60];
  const first = parts.findIndex((part) => part > 0);
  const units = ['d', 'h', 'min', 's'];
  return first < 0
    ? '0 s'
    : parts
        .map((part, at) => `${part} ${units[at]}`)
        .slice(first, first + 2)
        .join(' ');
}
