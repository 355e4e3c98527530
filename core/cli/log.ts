/** The log: pino, one JSON object a line; readable lines on a terminal. */
import { pino, symbols } from '../vendor/pino.ts';
import { type LogLevel, type Stream, wantsColours } from './output.ts';

/** An event that repeats is logged once in that time, so that a flood of bad input is none of log lines. */
const repeatMs = 1000;
/** How many different events are told apart. */
const mostEvents = 1024;

export interface LogOptions {
  readonly level: LogLevel;
  readonly stream: Stream;
  /** The number of the worker whose log it is. */
  readonly worker?: number | undefined;
  /** Milliseconds that only grow. Undefined: the system's. */
  readonly now?: () => number;
}

export type Log = pino.Logger;

/** The children of each log: pino gives them a level of their own, which is that of the parent when they were made. */
const children = new WeakMap<Log, WeakRef<Log>[]>();

/** Sets the level of a log and of all its children. */
export function setLogLevel(log: Log, level: LogLevel): void {
  log.level = level;
  for (const child of children.get(log) ?? []) {
    const alive = child.deref();
    if (alive !== undefined) alive.level = level;
  }
}

export async function createLog({ level, stream, worker, now = () => performance.now() }: LogOptions): Promise<Log> {
  const family: WeakRef<Log>[] = [];
  const repeats = new Repeats(now);
  const options: pino.LoggerOptions = {
    level,
    onChild: (child) => void family.push(new WeakRef(child)),
    base: worker === undefined ? null : { worker },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    serializers: { err: pino.stdSerializers.errWithCause }, // a plugin's fault says its cause already
    hooks: {
      logMethod(args, method, level) {
        if (level < warn) return method.apply(this, args);
        // What makes an event: who logs (the child's bindings), at what level, with which text, about which backend, why.
        const [fields, text] = args as unknown as [{ readonly backend?: unknown; readonly reason?: unknown }, string?];
        const subject = `${fields.backend} ${fields.reason}`;
        const suppressed = repeats.admit(`${this[symbols.chindingsSym as never] as string}${level}${text} ${subject}`);
        if (suppressed === undefined) return;
        if (suppressed === 0) method.apply(this, args);
        else method.apply(this, [{ ...fields, suppressed }, text] as never);
      },
    },
  };
  const log = pino(options, await destinationFor(stream));
  children.set(log, family);
  return log;
}

async function destinationFor(stream: Stream): Promise<pino.DestinationStream> {
  if (stream.isTTY !== true) return stream as pino.DestinationStream;
  const { prettyFactory } = await import('pino-pretty');
  const format = prettyFactory({
    colorize: wantsColours(stream),
    translateTime: 'SYS:HH:MM:ss.l',
    singleLine: true,
  });
  return { write: (line) => void stream.write(format(line)) };
}

const { warn } = pino.levels.values as { warn: number };

/** Remembers when events were let through last. */
class Repeats {
  readonly #now: () => number;
  readonly #events = new Map<string, { at: number; suppressed: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Answers how many like it were suppressed since the last one, or undefined if this one is to be as well. */
  admit(event: string): number | undefined {
    const now = this.#now();
    const last = this.#events.get(event);
    if (last !== undefined && now - last.at < repeatMs) {
      last.suppressed++;
      return undefined;
    }
    this.#events.delete(event); // so that the map is in the order of times
    if (this.#events.size >= mostEvents) this.#events.delete(this.#events.keys().next().value!);
    this.#events.set(event, { at: now, suppressed: 0 });
    return last?.suppressed ?? 0;
  }
}
