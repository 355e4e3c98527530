/** A log of an observer's own: JSON lines, written by pino, which never make anybody wait. */
import type { LogFaults } from '../faults.ts';

/** How much may wait for a slow disk, in bytes; beyond it lines are dropped. */
const mostWaitingBytes = 4 * 1024 * 1024;

export interface LogFileOptions {
  /** It is appended to. Undefined: standard output. */
  readonly file?: string | undefined;
  /** Fields that are left out of every line. */
  readonly redact?: readonly string[];
  /** Told what the system says when it cannot be written. */
  onError(error: Error): void;
}

export interface LogFile {
  /** Writes a line: `level` and `time`, then these fields. */
  write(fields: object): void;
  /** Counts lines that were dropped before they came here. */
  drop(lines: number): void;
  /** Lines that were dropped, since the disk does not keep up or is full, or before they came here. */
  readonly dropped: number;
  /** Opens the file again, as after it has been moved away. */
  reopen(): void;
  /** Writes what waits, and closes the file. */
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
