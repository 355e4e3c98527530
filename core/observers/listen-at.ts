/**
 * Where observers open servers of their own: at tcp://host:port or unix:/path. By convention an observer's option `listen` says so,
 * which lets `validate` find addresses that are taken twice.
 */
import { chmodSync } from 'node:fs';
import type net from 'node:net';
import { parseAddress } from '../runtime/address.ts';

/** The options for `net.Server.listen`. */
export type ServerAddress = { readonly host: string; readonly port: number } | { readonly path: string };

/**
 * Reads the address of a server.
 * @throws SyntaxError that says what an address looks like
 */
export function serverAddress(text: string): ServerAddress {
  try {
    const { transport, host, port, path } = parseAddress(text);
    if (transport === 'unix') return { path };
    if (transport === 'tcp' && host !== '') return { host, port };
  } catch {
    // Said below: what else there is to listen on is not for servers.
  }
  throw new SyntaxError(`"${text}" is no address; write tcp://host:port or unix:/path`);
}

/**
 * Makes a server listen. The file of a unix socket that nobody listens on any more is removed first.
 * @param mode who may open the file of a unix socket
 * @throws Error (rejects with) that says why the address cannot be opened
 */
export async function listenAt(server: net.Server, text: string, mode = 0o660): Promise<void> {
  const address = serverAddress(text);
  const { listenError, vacate } = await import('../runtime/node.ts'); // a config is validated without it
  const parsed = parseAddress(text);
  await vacate(parsed);
  await new Promise<void>((resolve, reject) => {
    const onError = (error: Error) => reject(listenError(error, parsed));
    server.once('error', onError);
    server.listen(address, () => {
      server.off('error', onError);
      resolve();
    });
  });
  if ('path' in address) chmodSync(address.path, mode);
}
