/**
 * UDP: a datagram is a message. All datagrams from one address and port are one client, until none has come for a long time; a link
 * is a socket of its own. Nothing is repeated or reordered: where that matters, the protocol does it.
 */
import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { plainIp } from './address.ts';
import type { ConnectOptions, ListeningSocket, ListenOptions, Socket, SocketHandler } from './runtime.ts';

/** The longest payload of an IPv4 datagram. */
const longestMessageBytes = 65_507;
/** How many bytes the system keeps of what arrives while the event loop is busy. */
const receiveBufferBytes = 1_048_576;

/** Opens a listener. */
export async function listenDatagrams(
  options: ListenOptions,
  accept: (socket: Socket) => SocketHandler,
): Promise<ListeningSocket> {
  const { address, connections, onError, admit } = options;
  const socket = createSocket(address.host);
  /** By address and port, the one that has been silent for longest first. */
  const flows = new Map<string, Flow>();
  let isClosing = false;
  socket.on('message', (bytes, { address: host, port }) => {
    const key = `${host} ${port}`;
    let flow = flows.get(key);
    if (flow === undefined && isClosing) return;
    flows.delete(key);
    if (flow === undefined) {
      const leave = admit(plainIp(host), false);
      if (leave === undefined) return;
      // Anybody can make up addresses: whoever has been silent for longest makes room.
      if (flows.size >= connections) flows.values().next().value!.closeNow();
      flow = new Flow(socket, host, port, () => {
        leave();
        if (flows.get(key) === flow) flows.delete(key);
        if (isClosing && flows.size === 0) socket.close();
      });
      flows.set(key, flow);
      flow.handler = accept(flow);
    } else flows.set(key, flow);
    flow.receive(bytes);
  });
  const listening = once(socket, 'listening'); // which may be told at once
  socket.bind({ port: address.port, address: address.host });
  await listening.catch((error: unknown) => {
    socket.close();
    throw error;
  });
  socket.on('error', onError);
  return {
    address: { ...address, port: socket.address().port },
    // Clients that are still there are answered through it: the last one closes it.
    close: async () => {
      isClosing = true;
      if (flows.size === 0) socket.close();
    },
  };
}

/** Opens the socket of a link. */
export function connectDatagrams({ address }: ConnectOptions, handler: SocketHandler): Socket {
  const socket = createSocket(address.host);
  const flow = new Flow(socket, address.host, address.port, () => socket.close(), true);
  flow.handler = handler;
  socket.on('message', (bytes) => flow.receive(bytes));
  // The system tells that nobody listens there (ICMP port unreachable).
  socket.on('error', (error) => flow.fail(error));
  socket.on('connect', () => {
    if (flow.writable) handler.onOpen();
  });
  // Not at once: the handler hears nothing before it has its socket.
  setImmediate(() => {
    if (flow.writable) socket.connect(address.port, address.host);
  });
  return flow;
}

function createSocket(host: string): dgram.Socket {
  return dgram.createSocket({
    type: net.isIPv6(host) ? 'udp6' : 'udp4',
    recvBufferSize: receiveBufferBytes,
    // Addresses of datagrams need no look-up; Node.js would put each one off for it.
    ...(net.isIP(host) > 0 && { lookup: asItIs }),
  });
}

function asItIs(ip: string, _options: unknown, callback: (error: null, address: string, family: number) => void): void {
  callback(null, ip, net.isIP(ip));
}

/** All datagrams from and to one address and port. */
class Flow implements Socket {
  readonly delimits = true;
  readonly longestMessageBytes = longestMessageBytes;
  readonly remoteAddress: string;
  readonly remotePort: number;
  answerPort: number;
  handler!: SocketHandler;
  /** As the socket has it: one that listens on :: sends to IPv4 peers by their mapped addresses alone. */
  readonly #host: string;
  readonly #socket: dgram.Socket;
  readonly #isConnected: boolean;
  readonly #onClose: () => void;
  #isClosed = false;
  #isPaused = false;
  #owesWritten = false;
  #error: Error | undefined;

  constructor(socket: dgram.Socket, host: string, port: number, onClose: () => void, isConnected = false) {
    this.#socket = socket;
    this.#host = host;
    this.remoteAddress = plainIp(host);
    this.remotePort = port;
    this.answerPort = port;
    this.#onClose = onClose;
    this.#isConnected = isConnected;
  }

  receive(bytes: Buffer): void {
    // While it may not be read there is nowhere to keep a datagram; its sender repeats it, as if the network had lost it.
    if (!this.#isClosed && !this.#isPaused) this.handler.onBytes(bytes, 0, bytes.length);
  }

  get writable(): boolean {
    return !this.#isClosed;
  }

  /** The socket may serve others when this flow is closed, and what it has not sent by then it still reads: so it gets a copy. */
  write(bytes: Buffer, ends: readonly number[]): boolean {
    const copy = Buffer.from(bytes);
    let start = 0;
    for (const end of ends) {
      const length = end - start;
      if (this.#isConnected) this.#socket.send(copy, start, length, this.#onSent);
      else this.#socket.send(copy, start, length, this.answerPort, this.#host, this.#onSent);
      start = end;
    }
    this.#owesWritten = this.#socket.getSendQueueSize() > 0;
    return !this.#owesWritten;
  }

  /** What could not be sent is lost on its way like any other datagram; on a link it tells that nobody is there. */
  readonly #onSent = (error: Error | null): void => {
    if (error !== null && this.#isConnected) this.fail(error);
    if (!this.#owesWritten || this.#isClosed || this.#socket.getSendQueueSize() > 0) return;
    this.#owesWritten = false;
    this.handler.onWritten();
  };

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
  }

  end(): void {
    this.destroy();
  }

  destroy(): void {
    if (!this.#isClosed) setImmediate(() => this.handler.onClose(this.#error));
    this.#shut();
  }

  fail(error: Error): void {
    this.#error = error;
    this.closeNow();
  }

  /** For events of the socket: the handler is not in the midst of anything, so it is told at once. */
  closeNow(): void {
    if (this.#isClosed) return;
    this.#shut();
    this.handler.onClose(this.#error);
  }

  #shut(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
  }
}
