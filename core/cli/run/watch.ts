/**
 * Notices changes of files, for `run --watch`. It checks them every so often instead of asking the system, which does not report
 * files that are replaced, linked from elsewhere or mounted.
 */
import { type Stats, stat, statSync } from 'node:fs';

export interface FileWatchOptions {
  /** How often the files are looked at, in milliseconds. Undefined: 500. */
  readonly lookMs?: number;
  /** How long nothing must have changed, as several files may belong together. Undefined: 200. */
  readonly settleMs?: number;
}

export class FileWatch {
  readonly #onChange: () => void;
  readonly #lookMs: number;
  readonly #settleMs: number;
  /** The files, and how they looked. */
  #looks = new Map<string, string>();
  #timer: NodeJS.Timeout | undefined;
  #settling: NodeJS.Timeout | undefined;

  constructor(onChange: () => void, { lookMs = 500, settleMs = 200 }: FileWatchOptions = {}) {
    this.#onChange = onChange;
    this.#lookMs = lookMs;
    this.#settleMs = settleMs;
  }

  /**
   * Looks at these, and at no others any more. What changes from this moment on is seen.
   * @param files absolute paths of files, which need not be there yet, and of directories, where it is seen that some come or go
   */
  follow(files: Iterable<string>): void {
    this.#looks = new Map(Array.from(files, (file) => [file, this.#looks.get(file) ?? lookOf(statOf(file))]));
    this.#timer ??= setInterval(() => this.#look(), this.#lookMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#settling);
    this.#looks.clear();
  }

  #look(): void {
    for (const file of this.#looks.keys()) stat(file, (_error, stats) => this.#compare(file, lookOf(stats)));
  }

  #compare(file: string, look: string): void {
    const before = this.#looks.get(file);
    if (before === undefined || before === look) return;
    this.#looks.set(file, look);
    clearTimeout(this.#settling);
    this.#settling = setTimeout(this.#onChange, this.#settleMs);
  }
}

/** What tells a file from what it was. That somebody has read it does not. */
function lookOf(stats: Stats | undefined): string {
  return stats === undefined ? 'not there' : `${stats.mtimeMs} ${stats.ino} ${stats.size}`;
}

function statOf(file: string): Stats | undefined {
  try {
    return statSync(file);
  } catch {
    return undefined;
  }
}
