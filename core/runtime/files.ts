/**
 * How many files, including sockets, the process can still open. A new file gets the lowest free number, so its number tells how
 * many are open. If none can be opened any more, a client is closed without a word, and a worker does not even get its connection;
 * so clients are turned away while some files are left, for links, logs and other files.
 */
import { closeSync, openSync, readFileSync } from 'node:fs';

const leastSpare = 16;
const mostSpare = 1024;
/** The share of the files that clients leave. */
const spareShare = 1 / 16;

let clientsEnd: number | undefined;

/** @param limits what Linux says in /proc/self/limits */
export function filesForClients(limits: string): number {
  const [, most] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  if (most === undefined) return Number.POSITIVE_INFINITY;
  return Number(most) - Math.min(mostSpare, Math.max(leastSpare, Math.round(Number(most) * spareShare)));
}

/** Whether a client's socket is one of the last that can be opened. Where the system does not tell, none is. */
export function isAmongLast(socket: object): boolean {
  const { _handle: handle } = socket as { _handle?: { fd?: number } | null };
  return isSpare(handle?.fd ?? -1);
}

/** Whether hardly any can be opened, for whoever does not see the sockets of clients. Low numbers may be free by chance: several are tried. */
export function areFilesFew(): boolean {
  const opened: number[] = [];
  try {
    while (opened.length < leastSpare) opened.push(openSync('/dev/null', 'r'));
    return isSpare(Math.max(...opened));
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EMFILE';
  } finally {
    for (const fd of opened) closeSync(fd);
  }
}

function isSpare(fd: number): boolean {
  clientsEnd ??= filesForClients(readLimits());
  return fd >= clientsEnd;
}

function readLimits(): string {
  try {
    return readFileSync('/proc/self/limits', 'latin1');
  } catch {
    return ''; // not Linux
  }
}
