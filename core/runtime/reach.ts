/** Finds out whether an address can be connected to. */
import type { ConnectOptions, Runtime } from './runtime.ts';

/**
 * Connects, TLS handshake included, and closes at once: nothing is sent but a preface.
 * @param done is told why not; undefined: it can be. Never called before this has returned
 * @returns how to give up: then `done` is not called
 */
export function reach(
  runtime: Runtime,
  options: Omit<ConnectOptions, 'keepaliveSeconds'>,
  seconds: number,
  done: (error: Error | undefined) => void,
): () => void {
  let isOver = false;
  const stop = () => {
    isOver = true;
    cancelTimeout();
    socket.destroy();
  };
  const end = (error: Error | undefined) => {
    if (isOver) return;
    stop();
    done(error);
  };
  const cancelTimeout = runtime.after(seconds * 1000, () => end(new Error(`no answer within ${seconds} s`)));
  const socket = runtime.connect(
    { ...options, keepaliveSeconds: 0 },
    {
      onOpen: () => end(undefined),
      onBytes: () => {},
      onEnd: () => {},
      onWritten: () => {},
      onClose: (error) => end(error ?? new Error('it closed the connection')),
    },
  );
  return stop;
}
