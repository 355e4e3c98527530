/** How long a balancer takes to start, and what it keeps in memory for connections on which nothing happens. */
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Balancer, Site } from './balancers.ts';
import { processors, Running, residentKibibytes, treeOf } from './processes.ts';
import { aligned } from './report.ts';

const settleMs = 3000;
const atOnce = 200;

export interface Idle {
  readonly balancer: string;
  /** From the command to the first connection that is accepted. */
  readonly startMilliseconds: number;
  /** Resident memory before the first connection, and how much each of `connections` has added. */
  readonly mebibytesBefore: number;
  readonly kibibytesEach: number;
  /** How many stayed open. */
  readonly connections: number;
}

/** Opens so many connections to the balancer, on which nothing happens. */
export async function measureIdle(balancer: Balancer, site: Site, connections: number, folder: string): Promise<Idle> {
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
    return {
      balancer: balancer.name,
      startMilliseconds: startedMs,
      mebibytesBefore: before / 1024,
      kibibytesEach: each,
      connections: open,
    };
  } finally {
    for (const socket of sockets) socket.destroy();
    await running.stop();
  }
}

export function idleTable(all: readonly Idle[]): string {
  const rows = all.map(({ balancer, startMilliseconds, mebibytesBefore, kibibytesEach, connections }) => [
    balancer,
    startMilliseconds.toFixed(0),
    mebibytesBefore.toFixed(1),
    kibibytesEach.toFixed(2),
    String(connections),
  ]);
  return aligned([['', 'start ms', 'MiB before', 'KiB each of', 'connections'], ...rows]);
}
