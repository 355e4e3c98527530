/**
 * The socket of a stand-in: a client that has no connection in this process. What is written goes another way, and nothing is read.
 */
import type { Runtime, Socket } from './runtime/runtime.ts';

export abstract class StandInSocket implements Socket {
  abstract readonly delimits: boolean;
  readonly longestMessageBytes = Number.POSITIVE_INFINITY;
  readonly remoteAddress = '';
  readonly remotePort = 0;
  writable = true;
  readonly #runtime: Runtime;

  constructor(runtime: Runtime) {
    this.#runtime = runtime;
  }

  abstract write(bytes: Buffer, ends: readonly number[]): boolean;

  /** Called when it is closed. */
  protected abstract onClosed(): void;

  pause(): void {}

  resume(): void {}

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (!this.writable) return;
    this.writable = false;
    this.#runtime.atTurnEnd(() => this.onClosed());
  }
}
