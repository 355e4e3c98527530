/** A log file of an observer's own: JSON lines, written by pino, without ever making anybody wait. */
import type { LogFaults } from '../faults.ts';

/** How many bytes may wait for a slow disk; beyond that, lines are dropped. */
const mostWaitingBytes = 4 * 1024 * 1024;

export interface LogFileOptions {
  /** The file, which is appended to. Undefined: standard output. */
  readonly file?: string | undefined;
  /** Fields that are left out of every line. */
  readonly redact?: readonly string[];
  /** Called with the system's error when it cannot be written. */
  onError(error: Error): void;
}

export interface LogFile {
  /** Writes a line: `level` and `time`, then these fields. */
  write(fields: object): void;
  /** Counts lines that were dropped before they came here. */
  drop(lines: number): void;
  /** How many lines were dropped because the disk did not keep up. */
  readonly dropped: number;
  /** Reopens the file, for when it has been moved away. */
  reopen(): void;
  /** Writes what is waiting, and closes the file. */
  close(): Promise<void>;
}

/**
 * @param faults where it is counted what cannot be written
 * @throws Error (rejects with) that says why the file cannot be opened
 */
export async function openLogFile({ file, redact = [], onError }: LogFileOptions, faults: LogFaults): Promise<LogFile> {
  const { pino } = await import('../vendor/pino.ts');
  const destination = pino.destination({ dest: file ?? 1, sync: false, mkdir: true, maxLength: mostWaitingBytes });
  await new Promise((resolve, reject) => {
    destination.once('ready', resolve);
    destination.once('error', (cause: Error) => {
      destination.emit('close'); // lest pino flush it when the process ends, and throw
      reject(new Error(`cannot write ${file}: ${cause.message}`, { cause }));
    });
  });
  let dropped = 0;
  const drop = (lines: number) => {
    dropped += lines;
    faults.droppedLines += lines;
  };
  destination.on('drop', () => {
    drop(1);
    destination.write(''); // tries again to write what waits: it may be a full disk that has room again
  });
  let lastError: Error | undefined;
  destination.on('error', (error: Error) => {
    if (error === lastError) return; // pino tells of the first one twice
    lastError = error;
    faults.writeErrors++;
    onError(error);
  });
  const log = pino(
    {
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      redact: { paths: [...redact], remove: true },
    },
    destination,
  );
  return {
    write: (fields) => log.info(fields),
    drop,
    get dropped() {
      return dropped;
    },
    reopen: () => destination.reopen(),
    close: () =>
      new Promise((resolve) => {
        if (file === undefined) destination.flush(() => resolve());
        else {
          destination.once('close', () => resolve());
          destination.once('error', () => destination.destroy()); // a full disk: what waits is lost
          destination.end();
        }
      }),
  };
}
