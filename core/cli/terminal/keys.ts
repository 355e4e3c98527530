/** Keys that are pressed at a terminal. */

/** The part of `process.stdin` that is used. */
export interface Keys {
  readonly isTTY?: boolean;
  setRawMode?(isRaw: boolean): unknown;
  on(event: 'data', listener: (bytes: Buffer) => void): unknown;
  off(event: 'data', listener: (bytes: Buffer) => void): unknown;
  resume(): unknown;
  pause(): unknown;
}

const ctrlC = 0x03;
const ctrlD = 0x04;

/**
 * Hears `q`, and Ctrl-C too: while keys are read one by one it is a key like others, and no signal.
 * @returns how to give the keyboard back
 */
export function listenForQuit(keys: Keys, quit: () => void): () => void {
  if (keys.isTTY !== true) return () => {};
  const hear = (bytes: Buffer) => {
    for (const byte of bytes) if (byte === ctrlC || byte === ctrlD || byte === 0x71) quit();
  };
  keys.setRawMode?.(true);
  keys.on('data', hear);
  keys.resume();
  return () => {
    keys.setRawMode?.(false);
    keys.off('data', hear);
    keys.pause();
  };
}
