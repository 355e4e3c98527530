/** Counts what goes wrong in a process apart from messages and does not end it, for the statistics. */

export interface FaultStats {
  /** Errors that nobody caught, in a timer or a promise of a plugin. */
  readonly uncaught: number;
  /** What happened to each log: `process` is that of the process, the others have the names of the observers that write them. */
  readonly logs: Readonly<Record<string, LogFaults>>;
}

export interface LogFaults {
  /** Writes that failed: a full disk, or nobody who reads. What was to be written is kept for the next one. */
  writeErrors: number;
  /** Lines that were dropped: there was no room to keep more. */
  droppedLines: number;
}

export class Faults {
  uncaught = 0;
  readonly #logs = new Map<string, LogFaults>();
  readonly log = this.ofLog('process');

  /** Where it is counted what happens to the log of that name. */
  ofLog(name: string): LogFaults {
    const faults = this.#logs.get(name) ?? { writeErrors: 0, droppedLines: 0 };
    this.#logs.set(name, faults);
    return faults;
  }

  stats(): FaultStats {
    const logs = Object.fromEntries([...this.#logs].map(([name, faults]) => [name, { ...faults }]));
    return { uncaught: this.uncaught, logs };
  }
}
