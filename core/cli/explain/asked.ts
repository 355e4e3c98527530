/** What `pointsman explain` was asked for, looked up in the config. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import type { Endpoint } from '../../capture/clients.ts';
import { nameOfFile, standardInput, whyUnreadable } from '../../config/parse.ts';
import { among, listed } from '../../config/suggest.ts';
import type { Sending } from '../../rehearsal/explain.ts';
import { isWebSocket } from '../../runtime/address.ts';
import type { ListenerSettings, Settings } from '../../settings.ts';
import type { ExplainOptions } from '../explain.ts';

/** What was asked for is not there. */
export class Misuse extends Error {}

/** From the block for documentation (RFC 5737). */
const anyClient = '198.51.100.1';

/** @throws Misuse if there is none of that name */
export function listenersOf({ listeners }: Settings, name: string | undefined): readonly ListenerSettings[] {
  if (name === undefined) return listeners;
  const found = listeners.filter((listener) => listener.name === name);
  if (found.length > 0) return found;
  throw new Misuse(
    `there is no listener "${name}"${among(
      name,
      listeners.map(({ name }) => name),
    )}`,
  );
}

/** @throws Misuse if there is none of that name, or several and none was named */
export function listenerOf(settings: Settings, name: string | undefined): ListenerSettings {
  const [listener, another] = listenersOf(settings, name);
  if (another === undefined) return listener!;
  throw new Misuse(
    `say to which listener: --listener ${listed(
      settings.listeners.map(({ name }) => name),
      'or',
    )}`,
  );
}

/** @throws Misuse if what is to be sent, or who is to send it, is not there */
export function sendingOf(settings: Settings, listener: ListenerSettings, options: ExplainOptions): Sending {
  const { backends } = settings.pools.find(({ name }) => name === listener.pool)!;
  const names = backends.map(({ name }) => name);
  const sample = options.sample === undefined ? undefined : sampleOf(listener, options.sample);
  const from = options.from ?? (sample?.from === 'backend' ? names[0]! : 'client');
  if (from !== 'client' && !names.includes(from)) {
    throw new Misuse(`the pool "${listener.pool}" has no backend "${from}"${among(from, ['client', ...names])}`);
  }
  const clientAddress = options.client ?? anyClient;
  if (isIP(clientAddress) === 0) throw new Misuse(`"${clientAddress}" is no IP address`);
  const bytes = sample === undefined ? read(options.message!) : Buffer.from(sample.bytes);
  if (bytes.length === 0) throw new Misuse(`${nameOfFile(options.message!)} is empty`);
  return { bytes, backend: from === 'client' ? undefined : from, clientAddress };
}

function sampleOf({ pipeline }: ListenerSettings, name: string) {
  const samples = pipeline.flatMap(({ plugin }) => plugin.samples ?? []);
  const found = samples.find((sample) => sample.name === name);
  if (found === undefined) {
    const names = samples.map((sample) => `"${sample.name}"`);
    throw new Misuse(
      `there is no sample "${name}"; there ${names.length === 1 ? 'is' : 'are'} ${listed(names, 'and') || 'none'}`,
    );
  }
  return found;
}

/** @throws Misuse if it cannot be read */
function read(file: string): Buffer {
  try {
    return readFileSync(file === standardInput ? 0 : file);
  } catch (error) {
    throw new Misuse(`cannot read ${nameOfFile(file)}: ${whyUnreadable(error)}`);
  }
}

/**
 * Where the listener was when the capture was made.
 * @throws Misuse if captures say nothing of such listeners
 */
export function endpointsOf(listener: ListenerSettings, ports: readonly Endpoint[]): readonly Endpoint[] {
  const { listen, name } = listener;
  if (isWebSocket(listen)) {
    throw new Misuse(`the messages of listener "${name}" come in WebSocket frames, which are not read from captures`);
  }
  if (ports.length > 0) return ports;
  if (listen.port === 0) throw new Misuse(`say which port listener "${name}" had in the capture: --port`);
  return [{ address: undefined, port: listen.port }];
}
