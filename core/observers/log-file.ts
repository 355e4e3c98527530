/** A log of an observer's own: JSON lines, written by pino, which never make anybody wait. */

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
  /** Lines that were dropped, since the disk did not keep up. */
  readonly dropped: number;
  /** Opens the file again, as after it has been moved away. */
  reopen(): void;
  /** Writes what waits, and closes the file. */
  close(): Promise<void>;
}

/** @throws Error (rejects with) that says why the file cannot be opened */
export async function openLogFile({ file, redact = [], onError }: LogFileOptions): Promise<LogFile> {
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
  destination.on('drop', () => dropped++);
  destination.on('error', onError);
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
