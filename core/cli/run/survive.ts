/** Keeps a process running after an error that nothing catches, such as one in a plugin's timer. */
import type { Faults } from '../../faults.ts';
import type { Logger } from '../../plugin.ts';

/** The part of `process` that tells of errors. */
export interface ErrorSource {
  on(event: 'uncaughtException', listener: (error: unknown, origin: string) => void): unknown;
  off(event: 'uncaughtException', listener: (error: unknown, origin: string) => void): unknown;
}

/**
 * Logs and counts errors that nobody caught, rejections included, which would end the process. What has thrown is cut short, most
 * likely a timer of a plugin; hooks are not among it, as the core catches what they throw.
 * @returns ends that
 */
export function surviveUncaught(host: ErrorSource, faults: Faults, log: Logger): () => void {
  const hear = (error: unknown, origin: string) => {
    faults.uncaught++;
    const err = error instanceof Error ? error : new Error(String(error));
    log.error({ err, reason: err.message, origin }, 'an error that nobody caught');
  };
  host.on('uncaughtException', hear);
  return () => host.off('uncaughtException', hear);
}
