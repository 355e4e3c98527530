/** The log: pino, one JSON object a line; readable lines on a terminal. */
import { Faults } from '../faults.ts';
import { pino, symbols } from '../vendor/pino.ts';
import { type LogLevel, type Stream, wantsColours } from './output.ts';

/** A repeated event is logged only once in this time, so that a flood of bad input does not flood the log. */
const repeatMs = 1000;
/** How many different events are distinguished. */
const mostEvents = 1024;

/** How many bytes may wait for a slow reader; beyond that, lines are dropped until half of it has been read. */
const mostWaitingBytes = 1_048_576;

export interface LogOptions {
  readonly level: LogLevel;
  readonly stream: Stream;
  /** Counts the lines that are dropped. */
  readonly faults?: Faults;
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

export async function createLog({
  level,
  stream,
  faults = new Faults(),
  worker,
  now = () => performance.now(),
}: LogOptions): Promise<Log> {
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
  const tell = () => {
    log.warn(
      { dropped: faults.log.droppedLines },
      'lines of the log were dropped so far: whoever reads it does not keep up',
    );
  };
  const log = pino(options, new Lines(stream, await formatFor(stream), faults, tell));
  children.set(log, family);
  return log;
}

type Format = (line: string) => string;

async function formatFor(stream: Stream): Promise<Format> {
  if (stream.isTTY !== true) return (line) => line;
  const { prettyFactory } = await import('pino-pretty');
  return prettyFactory({ colorize: wantsColours(stream), translateTime: 'SYS:HH:MM:ss.l', singleLine: true });
}

/** Writes lines. Traffic does not wait for a slow reader, and what is kept for one is bounded. */
class Lines implements pino.DestinationStream {
  readonly #stream: Stream;
  readonly #format: Format;
  readonly #faults: Faults;
  readonly #tell: () => void;
  #isDropping = false;

  /** @param tell says that lines were dropped, when it goes on */
  constructor(stream: Stream, format: Format, faults: Faults, tell: () => void) {
    this.#stream = stream;
    this.#format = format;
    this.#faults = faults;
    this.#tell = tell;
    stream.on?.('drain', () => this.#goOn());
  }

  write(line: string): void {
    const { writableLength = 0 } = this.#stream;
    if (writableLength > (this.#isDropping ? mostWaitingBytes / 2 : mostWaitingBytes)) {
      this.#isDropping = true;
      this.#faults.log.droppedLines++;
      return;
    }
    this.#goOn();
    this.#stream.write(this.#format(line));
  }

  #goOn(): void {
    if (!this.#isDropping) return;
    this.#isDropping = false;
    this.#tell();
  }
}

const { warn } = pino.levels.values as { warn: number };

/** Remembers when events were last logged. */
class Repeats {
  readonly #now: () => number;
  readonly #events = new Map<string, { at: number; suppressed: number }>();

  constructor(now: () => number) {
    this.#now = now;
  }

  /** Returns how many events like it were suppressed since the last one, or undefined if this one is to be as well. */
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
