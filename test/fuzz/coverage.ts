/** Which code has run: what an input must show to be kept. Counted by V8 itself, block by block. */
import inspector from 'node:inspector';

const ours = /\/(core|plugins)\/(?!vendor\/)/;

export class Coverage {
  readonly #session = new inspector.Session();
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** How much of what has run since the last call had never run, or never so often. */
  news(): number {
    const before = this.#seen.size;
    this.#session.post('Profiler.takePreciseCoverage', (error, { result }) => {
      if (error !== null) throw error;
      for (const { scriptId, url, functions } of result) {
        if (!ours.test(url)) continue;
        for (const { ranges } of functions) {
          for (const { startOffset, endOffset, count } of ranges) {
            if (count === 0) continue;
            this.#seen.add(`${scriptId} ${startOffset} ${endOffset} ${Math.min(3, Math.floor(Math.log2(count)))}`);
          }
        }
      }
    });
    return this.#seen.size - before;
  }

  /** Blocks that have run, by how often. */
  get size(): number {
    return this.#seen.size;
  }

  stop(): void {
    this.#session.disconnect();
  }
}
