/** Opens the admin API, with all that belongs to it. */
import http from 'node:http';
import https from 'node:https';
import { createAdaptorServer } from '@hono/node-server';
import { type BalancerView, listenAt, type ObserverScope } from 'pointsman';
import type { AccessOptions } from './access.ts';
import { createApi } from './api.ts';
import { dashboardFiles } from './files.ts';
import { Hub } from './hub.ts';
import { Watch } from './watch.ts';

export interface AdminOptions extends AccessOptions {
  readonly dashboard: boolean;
}

/** More would be a mistake, or an attack. */
const mostConnections = 256;
const requestSeconds = 30;
/** How long an answer that is being given may take when it closes: `POST /v1/reload` may be what closes it. */
const farewellMs = 1000;

/**
 * @returns how to close it
 * @throws Error (rejects with) if it cannot listen there
 */
export async function open(
  options: AdminOptions,
  balancer: BalancerView,
  scope: ObserverScope,
): Promise<() => Promise<void>> {
  const hub = new Hub(scope);
  const watch = new Watch(balancer, scope, hub);
  const files = options.dashboard ? dashboardFiles() : () => undefined;
  const api = createApi(options, { balancer, scope, hub, watch, files });
  let isClosing = false;
  const fetch = async (request: Request) => {
    const response = await api.fetch(request);
    if (isClosing) response.headers.set('connection', 'close'); // the next question is for whoever listens then
    return response;
  };
  const server = serverFor(options, fetch);
  server.maxConnections = mostConnections;
  server.requestTimeout = requestSeconds * 1000;
  server.headersTimeout = requestSeconds * 1000;
  const close = async () => {
    isClosing = true;
    watch.stop();
    hub.close();
    server.close();
    server.closeIdleConnections();
    setTimeout(() => server.closeAllConnections(), farewellMs).unref();
  };
  try {
    await listenAt(server, options.listen, 0o600); // whoever can open it can do all that operators can
  } catch (error) {
    watch.stop();
    hub.close();
    throw new Error(`cannot listen on ${options.listen}: ${(error as Error).message}`, { cause: error });
  }
  const bound = server.address();
  const where = typeof bound === 'string' || bound === null ? options.listen : `tcp://${bound.address}:${bound.port}`;
  scope.log.info({ address: where, tls: options.tls !== undefined, dashboard: options.dashboard }, 'admin API is open');
  return close;
}

function serverFor(
  { tls }: AdminOptions,
  fetch: (request: Request) => Response | Promise<Response>,
): http.Server | https.Server {
  if (tls === undefined) return createAdaptorServer({ fetch, createServer: http.createServer }) as http.Server;
  const { certificate: cert, key, ca } = tls;
  const requireClient = ca === undefined ? {} : { ca, requestCert: true, rejectUnauthorized: true };
  const serverOptions: https.ServerOptions = { cert, key, minVersion: 'TLSv1.2', ...requireClient };
  return createAdaptorServer({ fetch, createServer: https.createServer, serverOptions }) as https.Server;
}
