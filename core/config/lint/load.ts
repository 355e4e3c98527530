/** Checks that limits of rate and load, of a listener and of the pool it feeds, have an effect. */
import type { LoadLimits } from '../../settings.ts';
import type { Draft } from '../build.ts';
import type { Path } from '../path.ts';
import type { ComposedListener } from './pipeline.ts';

export function lintLoad({ findings }: Draft, { listener, pool, composed }: ComposedListener): void {
  const listenerPath = ['listeners', listener.name, 'limits'];
  const poolPath = ['pools', pool.name];
  const { limits } = listener;
  const backends = pool.backends.flatMap(({ name, limits }) => (limits === undefined ? [] : { name, limits }));
  const ofPool: [Path, LoadLimits | undefined][] = [
    [[...poolPath, 'limits'], pool.limits],
    [[...poolPath, 'backendLimits'], pool.backendLimits],
    ...backends.map(({ name, limits }): [Path, LoadLimits] => [[...poolPath, 'backends', name, 'limits'], limits]),
  ];

  if (limits.burstMessages > 0 && limits.messagesPerSecond === 0) {
    warn([...listenerPath, 'burstMessages'], 'there is no burst without "messagesPerSecond"');
  }
  if (limits.burstMessagesPerAddress > 0 && limits.messagesPerSecondPerAddress === 0) {
    warn([...listenerPath, 'burstMessagesPerAddress'], 'there is no burst without "messagesPerSecondPerAddress"');
  }
  if (limits.inFlightPerAddress > 0 && composed.exchanges === undefined) {
    warn([...listenerPath, 'inFlightPerAddress'], 'the protocol does not tell which requests wait for an answer');
  }
  const counts = composed.exchanges !== undefined || composed.affinity !== undefined;
  for (const [path, { inFlight = 0, messagesPerSecond = 0, burstMessages = 0, connections = 0 } = {}] of ofPool) {
    if (burstMessages > 0 && messagesPerSecond === 0) {
      warn([...path, 'burstMessages'], 'there is no burst without "messagesPerSecond"');
    }
    if (inFlight > 0 && !counts) {
      const message = `the protocol of listener "${listener.name}" does not tell which requests wait for an answer`;
      warn([...path, 'inFlight'], message);
    }
    if (connections > 0 && composed.links === 'shared') {
      warn([...path, 'connections'], `in listener "${listener.name}" links are shared: "linksPerBackend" of them`);
    }
  }
  if (pool.queueSeconds !== undefined && ofPool.every(([, limits]) => limits === undefined)) {
    warn([...poolPath, 'queueSeconds'], 'every backend has room without "limits" or "backendLimits"');
  }
  if (pool.linksPerBackend > 1 && composed.links === 'dedicated') {
    const message = `in listener "${listener.name}" every client has links of its own, however many that makes`;
    warn([...poolPath, 'linksPerBackend'], message);
  }
  if (pool.queueRequests !== undefined && pool.queueSeconds === undefined) {
    warn([...poolPath, 'queueRequests'], 'nothing waits without "queueSeconds"');
  }

  function warn(path: Path, message: string): void {
    findings.warn('limit-without-effect', path, message);
  }
}
