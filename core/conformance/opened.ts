/** What code opens while it runs: timers, sockets, processes, files. */
import { createHook } from 'node:async_hooks';
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** Runs `body`; answers what it opened, by Node.js's names of resources (`Timeout`, `TCPSERVERWRAP`) and functions (`openSync`). */
export function openedBy(body: () => void): string[] {
  const opened: string[] = [];
  const watch = createHook({ init: (_id, type) => void (type !== 'PROMISE' && opened.push(type)) });
  // Functions that wait for the disk are no resources, so they are watched by name.
  const files = fs as unknown as Record<string, unknown>;
  const before = Object.entries(files).filter(([name, value]) => name.endsWith('Sync') && typeof value === 'function');
  for (const [name, call] of before) {
    files[name] = (...args: unknown[]) => {
      opened.push(name);
      return (call as (...args: unknown[]) => unknown)(...args);
    };
  }
  syncBuiltinESMExports();
  watch.enable();
  try {
    body();
  } finally {
    watch.disable();
    for (const [name, call] of before) files[name] = call;
    syncBuiltinESMExports();
  }
  return opened;
}
