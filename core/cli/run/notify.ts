/**
 * Tells systemd about the state of the process, as in sd_notify(3): for units with `Type=notify`. Node.js has no sockets of the
 * kind needed, so `systemd-notify` (1), which comes with systemd, does it. As that is a process of its own, a unit whose user is
 * not root needs `NotifyAccess=all`.
 */
import { execFile } from 'node:child_process';
import type { Clock, Logger } from '../../plugin.ts';

/** How long it may take to say something; a service manager that is stuck must not hold up whoever tells it. */
const tellMs = 5000;

interface NotifierOptions {
  readonly clock: Pick<Clock, 'after'>;
  readonly log: Logger;
  /** Where systemd says where it listens, and how often it wants to hear. Undefined: the environment. */
  readonly env?: NodeJS.ProcessEnv;
  /** Says these assignments. Undefined: `systemd-notify` does. */
  readonly say?: (assignments: readonly string[]) => Promise<void>;
}

export class Notifier {
  readonly #options: NotifierOptions;
  readonly #isHeard: boolean;
  readonly #watchdogMs: number;
  /** What is said in the order it was, one thing after the other. */
  #said: Promise<void> = Promise.resolve();
  #hasFailed = false;
  #cancel: (() => void) | undefined;

  constructor(options: NotifierOptions) {
    this.#options = options;
    const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID = `${process.pid}` } = options.env ?? process.env;
    this.#isHeard = Boolean(NOTIFY_SOCKET);
    // At half of the time, as sd_watchdog_enabled(3) recommends.
    this.#watchdogMs = WATCHDOG_PID === `${process.pid}` ? Number(WATCHDOG_USEC ?? 0) / 2000 : 0;
  }

  /** It has started, or reloaded. The watchdog hears from now on that the event loop turns. */
  ready(status: string): void {
    this.#tell('READY=1', `STATUS=${status}`);
    if (this.#cancel === undefined && this.#watchdogMs > 0) this.#feedLater();
  }

  reloading(): void {
    this.#tell('RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`);
  }

  stopping(): void {
    this.#tell('STOPPING=1', 'STATUS=stopping');
  }

  /** Waits until all has been said, and says no more. */
  async stop(): Promise<void> {
    this.#cancel?.();
    await this.#said;
  }

  #feedLater(): void {
    this.#cancel = this.#options.clock.after(this.#watchdogMs, async () => {
      await this.#tell('WATCHDOG=1');
      this.#feedLater();
    });
  }

  #tell(...assignments: readonly string[]): Promise<void> {
    if (!this.#isHeard) return this.#said;
    const { say = sayBySystemd, log } = this.#options;
    this.#said = this.#said
      .then(() => say(assignments))
      .catch((error: Error) => {
        if (!this.#hasFailed) log.warn({ error: error.message }, 'systemd cannot be told how it is');
        this.#hasFailed = true;
      });
    return this.#said;
  }
}

function sayBySystemd(assignments: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    execFile('systemd-notify', assignments, { timeout: tellMs }, (error) =>
      error === null ? resolve() : reject(error),
    );
  });
}
