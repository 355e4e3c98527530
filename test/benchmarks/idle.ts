/** How long a balancer takes to start, and what it keeps in memory for connections on which nothing happens. */
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Balancer, Site } from './balancers.ts';
import { processors, Running, residentKibibytes, treeOf } from './processes.ts';

const settleMs = 3000;
const atOnce = 200;

/** Opens `connections` to the balancer and answers a line about its start and its memory. */
export async function measureIdle(
  balancer: Balancer,
  site: Site,
  connections: number,
  folder: string,
): Promise<string> {
  const [program, ...args] = balancer.command([site], folder, []);
  const startMs = performance.now();
  const running = new Running(processors.balancer, program, args);
  const sockets: net.Socket[] = [];
  try {
    await running.listens(site.port);
    const startedMs = performance.now() - startMs;
    await sleep(settleMs);
    const pids = treeOf(running.pid);
    const before = residentKibibytes(pids);
    while (sockets.length < connections) {
      const some = Array.from({ length: Math.min(atOnce, connections - sockets.length) }, () =>
        net.connect({ port: site.port, host: '127.0.0.1' }),
      );
      sockets.push(...some);
      await Promise.all(some.map((socket) => once(socket, 'connect')));
    }
    await sleep(settleMs);
    const each = (residentKibibytes(pids) - before) / connections;
    const open = sockets.filter((socket) => !socket.destroyed && !socket.readableEnded).length;
    return `${balancer.name}: listens after ${startedMs.toFixed(0)} ms, ${(before / 1024).toFixed(1)} MiB before the first connection, ${each.toFixed(2)} KiB for each of ${open}`;
  } finally {
    for (const socket of sockets) socket.destroy();
    await running.stop();
  }
}
