/** Finds out which programs are installed and which ports are free, for tests and benchmarks with real peers. */
import dgram from 'node:dgram';
import { once } from 'node:events';
import { accessSync, constants } from 'node:fs';
import net from 'node:net';
import { delimiter, join } from 'node:path';

/** Whether a program is on the PATH. */
export function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((folder) => {
    try {
      accessSync(join(folder, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Whether a port is free for datagrams as well. */
async function takesDatagrams(port: number): Promise<boolean> {
  const socket = dgram.createSocket('udp4');
  socket.bind({ port, address: '127.0.0.1', exclusive: true });
  const isFree = await Promise.race([
    once(socket, 'listening').then(() => true),
    new Promise<boolean>((resolve) => socket.once('error', () => resolve(false))),
  ]);
  socket.close();
  return isFree;
}

/**
 * A port on loopback that nobody listens on, with TCP or UDP. It lies below the range that the system assigns ports from, so that
 * nobody who asks for any free port gets it meanwhile.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries++) {
    const port = 20_000 + Math.floor(Math.random() * 10_000);
    const server = net.createServer().listen({ port, host: '127.0.0.1', exclusive: true });
    const isFree = await Promise.race([
      once(server, 'listening').then(() => true),
      new Promise<boolean>((resolve) => server.once('error', () => resolve(false))),
    ]);
    if (!isFree) continue;
    server.close();
    await once(server, 'close');
    if (await takesDatagrams(port)) return port;
  }
  throw new Error('100 ports tried, none is free');
}
