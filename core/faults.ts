/** What goes wrong in a process besides messages and is survived: counted here, for the statistics. */

export interface FaultStats {
  /** Errors that nobody caught: in a timer, or a promise, of a plugin. */
  readonly uncaught: number;
  /** Writes of the log that failed: a full disk, or nobody who reads. */
  readonly logWrites: number;
  /** Lines of the log that were dropped: whoever reads it does not keep up. */
  readonly logDrops: number;
}

export class Faults implements FaultStats {
  uncaught = 0;
  logWrites = 0;
  logDrops = 0;

  stats(): FaultStats {
    return { uncaught: this.uncaught, logWrites: this.logWrites, logDrops: this.logDrops };
  }
}
