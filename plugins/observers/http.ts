/** Where observers answer over HTTP. */
import type http from 'node:http';
import type net from 'node:net';
import { Type } from 'pointsman';

/** The option of observers that listen. */
export const listenOption = (port: number, what: string) =>
  Type.String({
    pattern: '^(tcp://.+:\\d{1,5}|unix:.+)$',
    default: `tcp://127.0.0.1:${port}`,
    description: `Where ${what}: tcp://host:port or unix:/path.`,
  });

/** What `net.Server.listen` takes. */
function listenOptions(listen: string): net.ListenOptions {
  if (listen.startsWith('unix:')) return { path: listen.slice('unix:'.length) };
  const [, bracketed, bare, port] = /^tcp:\/\/(?:\[(.*)\]|(.*)):(\d+)$/.exec(listen)!;
  return { host: bracketed ?? bare!, port: Number(port) };
}

/**
 * Listens.
 * @returns how to stop: open connections are closed
 */
export async function listenHttp(server: http.Server, listen: string): Promise<() => Promise<void>> {
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(listenOptions(listen), () => {
      server.off('error', reject);
      resolve();
    });
  });
  return () =>
    new Promise((resolve) => {
      server.close(() => resolve());
      server.closeAllConnections();
    });
}
