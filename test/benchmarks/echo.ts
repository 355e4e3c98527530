/**
 * Echo backends, a process of their own: node --import tsx echo.ts PROTOCOL. Opens as many as it is ordered to and sends their
 * ports. They answer every request with itself, but for the digits that say who answered; what one read has brought is
 * answered in place, with one write.
 */
import { once } from 'node:events';
import net from 'node:net';
import {
  backendDigits,
  clientDigits,
  type Dialect,
  dialectOf,
  type Protocol,
  sequenceDigits,
  writeDigits,
} from './dialects.ts';

/** Where in the label it says who answered. */
const answeredByAt = clientDigits + sequenceDigits;

function serve(socket: net.Socket, dialect: Dialect, number: number): void {
  let rest: Buffer | undefined;
  socket.on('data', (arrived: Buffer) => {
    const bytes = rest === undefined ? arrived : Buffer.concat([rest, arrived]);
    let at = 0;
    for (let end = dialect.endOf(bytes, 0); end > 0; end = dialect.endOf(bytes, at)) {
      writeDigits(bytes, end - dialect.labelFromEnd + answeredByAt, backendDigits, number);
      dialect.answer(bytes, at);
      at = end;
    }
    rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
    if (at > 0) socket.write(bytes.subarray(0, at));
  });
  socket.on('error', () => {}); // the balancer's end is no event here
}

export interface Backends {
  /** How long requests are (0: as is usual in the protocol). */
  readonly messageBytes: number;
  readonly count: number;
}

async function open({ messageBytes, count }: Backends): Promise<number[]> {
  const dialect = dialectOf(protocol, messageBytes);
  const ports: number[] = [];
  for (let number = 1; number <= count; number++) {
    const server = net.createServer({ noDelay: true }, (socket) => serve(socket, dialect, number));
    server.listen({ port: 0, host: '127.0.0.1', backlog: 4096 });
    await once(server, 'listening');
    ports.push((server.address() as net.AddressInfo).port);
  }
  return ports;
}

const protocol = process.argv[2] as Protocol;
process.on('message', (backends: Backends) => {
  open(backends).then((ports) => process.send!(ports));
});
