/** The demo's backends, which answer. */
import { once } from 'node:events';
import net from 'node:net';
import type { BackendAddress, DemoProtocol } from './protocol.ts';

export const host = '127.0.0.1';

/** Hands `onMessage` every whole message that arrives. */
export function onMessages(stream: net.Socket, protocol: DemoProtocol, onMessage: (message: Buffer) => void): void {
  let rest: Buffer = Buffer.alloc(0);
  stream.on('data', (bytes: Buffer) => {
    rest = Buffer.concat([rest, bytes]);
    for (let length = protocol.lengthOf(rest); length > 0; length = protocol.lengthOf(rest)) {
      onMessage(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
}

export interface Backend extends BackendAddress {
  close(): void;
}

/** Starts a backend on a free port. */
export async function startBackend(protocol: DemoProtocol, name: string): Promise<Backend> {
  const streams = new Set<net.Socket>();
  const server = net.createServer({ noDelay: true }, (stream) => {
    streams.add(stream);
    onMessages(stream, protocol, (message) => {
      for (const answer of protocol.answer(message, { name, port })) stream.write(answer);
    });
    stream.on('error', () => {}); // followed by 'close'
    stream.on('close', () => streams.delete(stream));
  });
  server.listen(0, host);
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  return {
    name,
    port,
    close() {
      server.close();
      for (const stream of streams) stream.destroy();
    },
  };
}
