/** Tries the backends of a config: whether they can be connected to, TLS handshake included. Nothing is sent to them. */
import type { Finding, Path } from '../config/finding.ts';
import { writeProxyHeader } from '../runtime/proxy-protocol.ts';
import type { Runtime } from '../runtime/runtime.ts';
import type { BackendSettings, PoolSettings, Settings } from '../settings.ts';

type Place = Pick<Finding, 'file' | 'line' | 'column'>;

/**
 * A finding for each that cannot be reached. Of UDP nobody can tell.
 * @param place where the config has what a path leads to
 */
export async function tryBackends(
  { pools }: Settings,
  place: (path: Path) => Place,
  runtime?: Runtime,
): Promise<Finding[]> {
  const on = runtime ?? (await import('../runtime/node.ts')).nodeRuntime();
  const tried = pools.flatMap((pool) =>
    pool.backends
      .filter(({ address, state }) => address.transport !== 'udp' && state !== 'maint')
      .map(async (backend): Promise<Finding[]> => {
        const fault = await tryBackend(on, pool, backend);
        if (fault === undefined) return [];
        const message = `backend "${backend.name}" cannot be reached: ${fault}`;
        const where = place(['pools', pool.name, 'backends', backend.name]);
        return [{ ...where, severity: 'error', stage: 'connect', rule: 'backend-unreachable', message }];
      }),
  );
  return (await Promise.all(tried)).flat();
}

/** Answers why it cannot be reached; undefined if it can. */
function tryBackend(runtime: Runtime, pool: PoolSettings, { address }: BackendSettings): Promise<string | undefined> {
  return new Promise((resolve) => {
    const { connectSeconds, proxyProtocol, tls } = pool;
    const end = (fault: string | undefined) => {
      cancel();
      resolve(fault);
      socket.destroy();
    };
    const cancel = runtime.after(connectSeconds * 1000, () => end(`no answer within ${connectSeconds} s`));
    const preface = proxyProtocol && writeProxyHeader(proxyProtocol, undefined);
    const socket = runtime.connect(
      { address, preface, tls, keepaliveSeconds: 0 },
      {
        onOpen: () => end(undefined),
        onBytes: () => {},
        onEnd: () => {},
        onWritten: () => {},
        onClose: (error) => end(error?.message ?? 'it closed the connection'),
      },
    );
  });
}
