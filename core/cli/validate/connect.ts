/** Tries the backends of a config: whether they can be connected to, TLS handshake included. Nothing is sent to them. */
import type { Finding } from '../../config/finding.ts';
import type { Path } from '../../config/path.ts';
import { writeProxyHeader } from '../../runtime/proxy-protocol.ts';
import { reach } from '../../runtime/reach.ts';
import type { Runtime } from '../../runtime/runtime.ts';
import type { BackendSettings, PoolSettings, Settings } from '../../settings.ts';

type Place = Pick<Finding, 'file' | 'line' | 'column'>;

/**
 * A finding for each that cannot be reached. Of UDP nobody can tell.
 * @param place where the config has what a path leads to
 */
export async function tryBackends({ pools }: Settings, place: (path: Path) => Place): Promise<Finding[]> {
  const { nodeRuntime } = await import('../../runtime/node.ts');
  const runtime = nodeRuntime();
  const tried = pools.flatMap((pool) =>
    pool.backends
      .filter(({ address, state }) => address.transport !== 'udp' && state !== 'maint')
      .map(async (backend): Promise<Finding[]> => {
        const fault = await tryBackend(runtime, pool, backend);
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
  const { connectSeconds, proxyProtocol, tls } = pool;
  const preface = proxyProtocol && writeProxyHeader(proxyProtocol, undefined);
  return new Promise((resolve) => {
    reach(runtime, { address, preface, tls }, connectSeconds, (error) => resolve(error?.message));
  });
}
