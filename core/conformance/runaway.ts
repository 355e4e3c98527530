/** What JavaScript offers against code that does not come back, or does not give back. */
import { fail } from 'node:assert';
import { setFlagsFromString } from 'node:v8';
import { createContext, runInNewContext, Script } from 'node:vm';

const place: { work?: (() => unknown) | undefined } = {};
const context = createContext(place);
const script = new Script('work()');

/**
 * Runs `body`, and fails where that does not end.
 * @param doing what was going on when it was cut short: the end of a sentence
 */
export function within<Result>(milliseconds: number, doing: () => string, body: () => Result): Result {
  place.work = body;
  try {
    return script.runInContext(context, { timeout: milliseconds }) as Result;
  } catch (error) {
    if ((error as { code?: unknown }).code !== 'ERR_SCRIPT_EXECUTION_TIMEOUT') throw error;
    fail(`${doing()}: did not come back within ${milliseconds / 1000} s`);
  } finally {
    place.work = undefined;
  }
}

let collect: (() => void) | undefined;

/** Collects garbage: all of it, now. */
export async function collectGarbage(): Promise<void> {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  // What a weak reference has shown stays alive until the turn ends, and buffers are freed some time after they were found.
  for (let round = 0; round < 3; round++) {
    await new Promise((resolve) => setImmediate(resolve));
    collect();
  }
}

/** Bytes in use, on the heap and outside of it. */
export function usedBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}
