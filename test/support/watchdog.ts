/**
 * Ends the process, and prints what it was working on, if that takes too long: a loop that never ends cannot be interrupted from
 * within.
 */
import { Worker } from 'node:worker_threads';

const longestInput = 16_384;

/** Runs in a thread of its own. */
const watch = `
const { workerData } = require('node:worker_threads');
const { writeSync } = require('node:fs');
const { shared, seconds, encoding } = workerData;
const [counter, length] = [new Int32Array(shared, 0, 1), new Int32Array(shared, 4, 1)];
let last = -1;
setInterval(() => {
  const now = Atomics.load(counter, 0);
  if (now >= 0 && now === last) {
    const input = Buffer.from(new Uint8Array(shared, 8, Atomics.load(length, 0)));
    writeSync(1, 'no answer within ' + seconds + ' s\\n  in ' + encoding + ': ' + input.toString(encoding) + '\\n');
    process.kill(process.pid, 'SIGKILL');
  }
  last = now;
}, seconds * 1000);
`;

export class Watchdog {
  readonly #shared = new SharedArrayBuffer(8 + longestInput);
  readonly #counter = new Int32Array(this.#shared, 0, 1);
  readonly #length = new Int32Array(this.#shared, 4, 1);
  readonly #bytes = new Uint8Array(this.#shared, 8);
  #count = 0;

  /** @param encoding how the input is printed */
  constructor(seconds: number, encoding: 'base64' | 'latin1') {
    new Worker(watch, { eval: true, workerData: { shared: this.#shared, seconds, encoding } }).unref();
  }

  /** Call it before each input. */
  note(input: Buffer): void {
    const shown = input.subarray(0, longestInput);
    this.#bytes.set(shown);
    Atomics.store(this.#length, 0, shown.length);
    this.#count = (this.#count + 1) & 0x7fffffff;
    Atomics.store(this.#counter, 0, this.#count);
  }

  /** Nothing is under way. */
  rest(): void {
    Atomics.store(this.#counter, 0, -1);
  }
}
