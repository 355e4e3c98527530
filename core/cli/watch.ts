/**
 * Tells when files change: what `run --watch` reloads by. It looks at them now and then instead of asking the system, which tells
 * nothing of files that are replaced, linked from elsewhere or mounted.
 */
import { type Stats, unwatchFile, watchFile } from 'node:fs';

export interface FileWatchOptions {
  /** How often each file is looked at, in milliseconds. Undefined: 500. */
  readonly lookMs?: number;
  /** How long nothing must have changed, as several files may belong together. Undefined: 200. */
  readonly settleMs?: number;
}

export class FileWatch {
  readonly #onChange: () => void;
  readonly #lookMs: number;
  readonly #settleMs: number;
  #files: ReadonlySet<string> = new Set();
  #settling: NodeJS.Timeout | undefined;

  constructor(onChange: () => void, { lookMs = 500, settleMs = 200 }: FileWatchOptions = {}) {
    this.#onChange = onChange;
    this.#lookMs = lookMs;
    this.#settleMs = settleMs;
  }

  /**
   * Looks at these, and at no others any more.
   * @param files absolute paths of files, which need not be there yet, and of directories, where it is seen that some come or go
   */
  follow(files: Iterable<string>): void {
    const before = this.#files;
    this.#files = new Set(files);
    for (const file of before) if (!this.#files.has(file)) unwatchFile(file, this.#look);
    for (const file of this.#files) {
      if (!before.has(file)) watchFile(file, { interval: this.#lookMs, persistent: false }, this.#look);
    }
  }

  stop(): void {
    this.follow([]);
    clearTimeout(this.#settling);
  }

  readonly #look = (now: Stats, before: Stats): void => {
    // That somebody has read it is told as well.
    if (now.mtimeMs === before.mtimeMs && now.ino === before.ino && now.size === before.size) return;
    clearTimeout(this.#settling);
    this.#settling = setTimeout(this.#onChange, this.#settleMs);
  };
}
