/** `npm run simulate`: runs seeds one after the other, or one again. */
import { parseArgs } from 'node:util';
import { Watchdog } from '../support/watchdog.ts';
import { run } from './run.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    hours: { type: 'string', default: '0' },
    seed: { type: 'string' },
    first: { type: 'string', default: '1' },
    verbose: { type: 'boolean', default: false },
  },
});

const say = (line: string) => void process.stdout.write(`${line}\n`);
const began = performance.now();
const secondsPassed = () => (performance.now() - began) / 1000;
const onEvent = values.verbose ? say : undefined;
const first = Number(values.seed ?? values.first);
const watchdog = new Watchdog(120, 'latin1');
let seeds = 0;
let virtualMs = 0;
let steps = 0;
let messages = 0;
do {
  const seed = first + seeds++;
  watchdog.note(Buffer.from(`seed ${seed}`));
  const done = await run(seed, onEvent);
  virtualMs += done.virtualMs;
  steps += done.steps;
  messages += done.messages;
  if (done.failure !== undefined) {
    const { error, lastEvents } = done.failure;
    if (!values.verbose) for (const line of lastEvents) say(line);
    say(`seed ${done.seed} fails at step ${done.steps}: ${error.stack}`);
    say(`to replay it: npm run simulate -- --seed ${done.seed} --verbose`);
    process.exitCode = 1;
    break;
  }
} while (
  values.seed === undefined &&
  (secondsPassed() < Number(values.seconds) || virtualMs < Number(values.hours) * 3_600_000)
);

const hours = virtualMs / 3_600_000;
say(
  `${seeds} seeds from ${first}: ${hours.toFixed(1)} simulated hours, ${messages} messages (${Math.round(messages / hours)} an hour), ` +
    `${steps} events (${Math.round(steps / secondsPassed())} a second) in ${secondsPassed().toFixed(1)} s`,
);
