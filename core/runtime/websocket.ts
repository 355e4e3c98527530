/** WebSocket listeners (RFC 6455): each WebSocket message carries one message of the protocol, however it is fragmented. */
import { isUtf8 } from 'node:buffer';
import http from 'node:http';
import https from 'node:https';
import type net from 'node:net';
import type { Duplex } from 'node:stream';
import { type RawData, type WebSocket, WebSocketServer } from 'ws';
import type { WebSocketFacts } from '../plugin.ts';
import { plainIp } from './address.ts';
import type { ClientCertificate, Ends, ListenOptions, Socket, SocketHandler } from './runtime.ts';
import { certificateOf, handshakeMs, serverTls } from './tls.ts';

/** How long a connection may stay open after its close frame. */
const closeMs = 2000;

/**
 * @param endsOf what a proxy has said of a connection
 * @returns a server that is not listening yet, and hands WebSockets to `accept`
 */
export function webSocketServer(
  options: ListenOptions,
  accept: (socket: Socket) => SocketHandler,
  endsOf: (stream: net.Socket) => Ends | undefined,
): http.Server {
  const { address, tls, webSocket, messageBytes, onError } = options;
  const facts: WebSocketFacts = webSocket ?? { frames: 'binary' };
  const { subprotocol } = facts;
  const endpoint = new WebSocketServer({
    noServer: true,
    maxPayload: messageBytes,
    perMessageDeflate: false, // it keeps some 300 KiB for each connection, and every message would wait for a thread
    ...(subprotocol && { handleProtocols: () => subprotocol }),
  });
  const httpOptions = { headersTimeout: handshakeMs, requestTimeout: handshakeMs, connectionsCheckingInterval: 5000 };
  const server =
    address.transport === 'wss'
      ? https.createServer({ ...httpOptions, ...(tls === undefined ? {} : serverTls(tls)) })
      : http.createServer(httpOptions);

  server.on('request', (_request, response) => {
    response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' }).end('This is a WebSocket endpoint.\n');
  });
  server.on('upgrade', (request, stream, head) => {
    const onFailed = (error: Error) => onError(error, request.socket.remoteAddress);
    stream.on('error', onFailed);
    const path = request.url?.replace(/\?.*/s, '');
    if (address.path !== '' && path !== address.path) return refuse(stream, 404);
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim());
    if (subprotocol !== undefined && !offered.includes(subprotocol)) return refuse(stream, 400);
    endpoint.handleUpgrade(request, stream, head, (connection) => {
      stream.off('error', onFailed);
      const socket = new WebSocketSocket(connection, request.socket, endsOf(request.socket), facts);
      socket.attach(accept(socket));
    });
  });
  return server;
}

function refuse(stream: Duplex, status: 400 | 404): void {
  stream.end(`HTTP/1.1 ${status} ${http.STATUS_CODES[status]}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`);
}

class WebSocketSocket implements Socket {
  readonly delimits = true;
  readonly longestMessageBytes = Number.POSITIVE_INFINITY;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly localAddress: string;
  readonly localPort: number;
  readonly #connection: WebSocket;
  readonly #stream: net.Socket;
  #handler!: SocketHandler;
  #error: Error | undefined;
  /** The kind of frame that the client prefers: that of its last message. */
  #binary: boolean;
  #paused = false;
  /** Messages that were on their way through the reader when it was paused, and those that came before they had been dealt with. */
  #waiting: Buffer[] = [];
  #isClosed = false;
  /** `write` has answered false and `onWritten` is due. */
  #owesWritten = false;
  readonly #onSent: () => void;

  constructor(connection: WebSocket, stream: net.Socket, ends: Ends | undefined, { frames }: WebSocketFacts) {
    this.#connection = connection;
    this.#stream = stream;
    this.#binary = frames === 'binary';
    this.remoteAddress = ends?.remoteAddress ?? plainIp(stream.remoteAddress);
    this.remotePort = ends?.remotePort ?? stream.remotePort ?? 0;
    this.localAddress = ends?.localAddress ?? plainIp(stream.localAddress);
    this.localPort = ends?.localPort ?? stream.localPort ?? 0;
    this.#onSent = () => {
      if (this.#owesWritten && this.#connection.bufferedAmount === 0 && this.writable) {
        this.#owesWritten = false;
        this.#handler.onWritten();
      }
    };
  }

  attach(handler: SocketHandler): void {
    this.#handler = handler;
    const connection = this.#connection;
    connection.on('message', (data: RawData, isBinary) => {
      this.#binary = isBinary;
      const bytes = data as Buffer; // of the type `nodebuffer`, as long as nobody sets another one
      if (this.#paused || this.#waiting.length > 0) this.#waiting.push(bytes);
      else handler.onBytes(bytes, 0, bytes.length);
    });
    connection.on('error', (error) => {
      this.#error = error;
    });
    connection.on('close', () => {
      this.#isClosed = true;
      this.#tellIfClosed();
    });
  }

  /** What came before the close comes first. */
  #tellIfClosed(): void {
    if (!this.#isClosed || this.#waiting.length > 0) return;
    this.#isClosed = false;
    this.#handler.onClose(this.#error);
  }

  /** Reads no more. */
  #forgetWaiting(): void {
    this.#waiting = [];
    if (this.#isClosed) setImmediate(() => this.#tellIfClosed());
  }

  get certificate(): ClientCertificate | undefined {
    return certificateOf(this.#stream);
  }

  get writable(): boolean {
    return this.#connection.readyState === this.#connection.OPEN;
  }

  write(bytes: Buffer, ends: readonly number[]): boolean {
    const connection = this.#connection;
    let start = 0;
    this.#stream.cork(); // all messages in one write
    for (const end of ends) {
      const message = bytes.subarray(start, end);
      const options = { binary: this.#binary || !isUtf8(message) };
      if (end === bytes.length) connection.send(message, options, this.#onSent);
      else connection.send(message, options);
      start = end;
    }
    this.#stream.uncork();
    this.#owesWritten = connection.bufferedAmount > 0;
    return !this.#owesWritten;
  }

  pause(): void {
    this.#paused = true;
    if (this.writable) this.#connection.pause();
  }

  resume(): void {
    if (!this.#paused) return;
    this.#paused = false;
    setImmediate(() => {
      while (!this.#paused && this.#waiting.length > 0) {
        const bytes = this.#waiting.shift()!;
        this.#handler.onBytes(bytes, 0, bytes.length);
      }
      this.#tellIfClosed();
    });
    if (this.writable) this.#connection.resume();
  }

  end(): void {
    this.#forgetWaiting();
    this.#connection.close(1000);
    setTimeout(() => this.#connection.terminate(), closeMs).unref();
  }

  destroy(): void {
    this.#forgetWaiting();
    this.#connection.terminate();
  }
}
