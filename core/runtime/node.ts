/** The seam on Node.js: real time, the system's randomness, TCP, TLS and unix sockets. Others are in datagram.ts and websocket.ts. */
import { randomBytes } from 'node:crypto';
import { chmodSync, existsSync, lstatSync, unlinkSync } from 'node:fs';
import net from 'node:net';
import { dirname } from 'node:path';
import tls from 'node:tls';
import { getSystemErrorMap } from 'node:util';
import { headroomBytes, readMemory } from '../memory.ts';
import { type Address, isSecure, isWebSocket, plainIp } from './address.ts';
import { connectDatagrams, listenDatagrams } from './datagram.ts';
import { Front } from './front.ts';
import { inheritedFd } from './inherited.ts';
import type {
  ClientCertificate,
  ConnectOptions,
  Ends,
  ListeningSocket,
  ListenOptions,
  Runtime,
  Socket,
  SocketHandler,
} from './runtime.ts';
import { certificateOf, clientTls, serverTls } from './tls.ts';

/** @param isWorker other processes listen on the same addresses, by node:cluster */
export function nodeRuntime({ isWorker = false } = {}): Runtime {
  return {
    now: () => performance.now(),
    random: Math.random,
    randomBytes,
    after(milliseconds, callback) {
      const timer = setTimeout(callback, milliseconds);
      return () => clearTimeout(timer);
    },
    atTurnEnd: (callback) => setImmediate(callback),
    async listen(options, accept) {
      if (!isWorker) await vacate(options.address);
      return listen(options, accept);
    },
    connect,
  };
}

async function listen(options: ListenOptions, accept: (socket: Socket) => SocketHandler): Promise<ListeningSocket> {
  const { address } = options;
  if (address.transport === 'udp') return listenDatagrams(options, accept);
  if (isSecure(address) && options.tls === undefined) {
    throw new Error(`a ${address.transport}:// listener needs a certificate and a key`);
  }
  const endsOf = (stream: net.Socket) => front.endsOf(stream);
  /** Does the handshakes; never listens itself. */
  let inner: net.Server | undefined;
  if (isWebSocket(address)) {
    const { webSocketServer } = await import('./websocket.ts');
    inner = webSocketServer(options, accept, endsOf);
  } else if (address.transport === 'tls') {
    inner = tls.createServer(serverTls(options.tls!), (stream) => {
      stream.allowHalfOpen = true;
      const socket = new NodeSocket(stream, endsOf(stream));
      socket.attach(accept(socket));
    });
  }
  inner?.on('tlsClientError', (error: Error & { reason?: string }, { remoteAddress }) => {
    // OpenSSL's message names its source files; its reason is what can be understood.
    options.onError(new Error(error.reason ?? error.message.trim(), { cause: error }), remoteAddress);
  });
  const front = new Front(options, (stream) => {
    if (inner === undefined) return takePlain(stream, endsOf(stream), accept);
    const isTls = inner instanceof tls.Server;
    if (isTls) stream.allowHalfOpen = false; // whoever ends before the handshake is done has gone
    inner.emit('connection', stream);
    if (!isTls) stream.resume(); // HTTP takes it that it reads
    return stream;
  });
  const { server } = front;
  await new Promise<void>((resolve, reject) => {
    const onError = (error: NodeJS.ErrnoException) => reject(listenError(error, address));
    server.once('error', onError);
    const onListening = () => {
      server.off('error', onError);
      resolve();
    };
    if (address.fd !== undefined) server.listen({ fd: inheritedFd(address.fd) }, onListening);
    else if (address.transport === 'unix') server.listen(address.path, onListening);
    else server.listen({ port: address.port, host: address.host, backlog: 4096 }, onListening);
  });
  server.on('error', (error) => options.onError(error));
  inner?.emit('listening'); // an HTTP server looks after its deadlines from then until it closes
  if (address.transport === 'unix') chmodSync(address.path, 0o660);
  const bound = server.address();
  const port = typeof bound === 'object' && bound !== null ? bound.port : 0;
  return {
    address: { ...address, port },
    ...(inner instanceof tls.Server && { secure: (settings) => inner.setSecureContext(serverTls(settings)) }),
    close: async () => {
      server.close();
      inner?.close();
    },
  };
}

/** Accepts a connection that has no handshake; answers the socket that it has now. */
function takePlain(stream: net.Socket, ends: Ends | undefined, accept: (socket: Socket) => SocketHandler): net.Socket {
  const reader = new SharedReader();
  const reading = reader.takeOver(stream);
  if (reading === undefined) stream.resume();
  const socket = new NodeSocket(reading ?? stream, ends);
  reader.handler = accept(socket);
  socket.attach(reader.handler, reading !== undefined);
  return reading ?? stream;
}

/**
 * Why an address cannot be listened on, in words. In a worker Node.js says of the address only its number; elsewhere it adds what the
 * system calls the error, "permission denied" for a unix socket whose folder is missing, "invalid argument" for what is no socket.
 */
export function listenError(error: NodeJS.ErrnoException & { address?: string; port?: number }, to: Address): Error {
  if (to.transport === 'unix' && !existsSync(dirname(to.path))) {
    return new Error(`there is no folder ${dirname(to.path)}`, { cause: error });
  }
  if (to.fd !== undefined && (error.code === 'EINVAL' || error.code === 'EBADF')) {
    const text = `the process has not been given a listening socket as its file descriptor ${inheritedFd(to.fd)}`;
    return new Error(text, { cause: error });
  }
  const [, words] = getSystemErrorMap().get(error.errno ?? 0) ?? [];
  if (error.syscall !== 'bind' || words === undefined) return error;
  const where = error.port === undefined || error.port < 0 ? error.address : `${error.address}:${error.port}`;
  return new Error(`listen ${error.code}: ${words} ${where}`, { cause: error });
}

/**
 * Makes way for listening on an address. A unix socket's file outlives its process: where nobody answers any more, it is
 * removed. For the primary; where there are no workers, `listen` does it.
 */
export async function vacate({ transport, path }: Address): Promise<void> {
  if (transport !== 'unix' || !lstatSync(path, { throwIfNoEntry: false })?.isSocket()) return;
  const stale = await new Promise<boolean>((resolve) => {
    const probe = net.connect({ path });
    probe.once('connect', () => {
      probe.destroy();
      resolve(false);
    });
    probe.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'));
  });
  if (stale) unlinkSync(path);
}

function connect(options: ConnectOptions, handler: SocketHandler): Socket {
  const { address } = options;
  if (address.transport === 'udp') return connectDatagrams(options, handler);
  const reader = new SharedReader();
  reader.handler = handler;
  const { preface } = options;
  const where = address.transport === 'unix' ? { path: address.path } : { host: address.host, port: address.port };
  const netOptions = { allowHalfOpen: true, noDelay: true, ...where };
  let stream: net.Socket;
  if (address.transport !== 'tls') {
    stream = net.connect({ ...netOptions, onread: reader.onread });
    if (preface !== undefined) stream.write(preface);
  } else if (preface === undefined) {
    stream = tls.connect({ ...clientTls(address, options.tls), ...where });
  } else {
    const plain = net.connect(netOptions);
    plain.write(preface);
    stream = tls.connect({ ...clientTls(address, options.tls), socket: plain });
  }
  const socket = new NodeSocket(stream);
  stream.once(address.transport === 'tls' ? 'secureConnect' : 'connect', () => {
    if (options.keepaliveSeconds > 0) stream.setKeepAlive(true, options.keepaliveSeconds * 1000);
    stream.setNoDelay(true);
    handler.onOpen();
  });
  socket.attach(handler, address.transport !== 'tls');
  return socket;
}

/**
 * Where every plain socket reads into. What arrives is dealt with before the next read, so one piece of memory serves all, and
 * nothing is allocated for a read.
 */
const readArea = readMemory.subarray(headroomBytes);

class SharedReader {
  handler: SocketHandler | undefined;
  readonly onread = {
    buffer: readArea,
    callback: (length: number): boolean => {
      this.handler?.onBytes(readMemory, headroomBytes, headroomBytes + length);
      return true;
    },
  };

  /**
   * `onread` is for sockets one makes, not for those that a server accepts; so an accepted one hands its connection over to
   * one made here, which begins to read in the next turn. Undefined if it has read already, or where Node.js does not let it.
   */
  takeOver(accepted: net.Socket): net.Socket | undefined {
    if (accepted.bytesRead > 0) return undefined;
    const { _handle: handle } = accepted as unknown as { _handle?: object };
    if (typeof handle !== 'object' || handle === null) return undefined;
    (accepted as unknown as { _handle: object | null })._handle = null;
    accepted.destroy();
    return new net.Socket({ handle, allowHalfOpen: true, onread: this.onread } as net.SocketConstructorOpts);
  }
}

const nothing = Buffer.alloc(0);

class NodeSocket implements Socket {
  readonly delimits = false;
  readonly longestMessageBytes = Number.POSITIVE_INFINITY;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly #stream: net.Socket;
  readonly #ends: Ends | undefined;
  readonly #isTls: boolean;
  #handler!: SocketHandler;
  #error: Error | undefined;
  /** `write` has answered false and `onWritten` is due. */
  #owesWritten = false;
  readonly #onWrite: () => void;

  /** @param ends as a proxy has seen them */
  constructor(stream: net.Socket, ends?: Ends) {
    this.#stream = stream;
    this.#ends = ends;
    this.#isTls = stream instanceof tls.TLSSocket;
    this.remoteAddress = ends?.remoteAddress ?? plainIp(stream.remoteAddress);
    this.remotePort = ends?.remotePort ?? stream.remotePort ?? 0;
    this.#onWrite = () => {
      if (this.#owesWritten && this.#stream.writableLength === 0 && !this.#stream.destroyed) {
        this.#owesWritten = false;
        this.#handler.onWritten();
      }
    };
  }

  /** @param hasReader what arrives reaches the handler by another way */
  attach(handler: SocketHandler, hasReader = false): void {
    this.#handler = handler;
    const stream = this.#stream;
    if (!hasReader) stream.on('data', (bytes: Buffer) => handler.onBytes(bytes, 0, bytes.length));
    stream.on('end', () => handler.onEnd());
    stream.on('error', (error) => {
      this.#error = error;
    });
    stream.on('close', () => handler.onClose(this.#error));
  }

  get localAddress(): string {
    return this.#ends?.localAddress ?? plainIp(this.#stream.localAddress);
  }

  get localPort(): number {
    return this.#ends?.localPort ?? this.#stream.localPort ?? 0;
  }

  get certificate(): ClientCertificate | undefined {
    return certificateOf(this.#stream);
  }

  get writable(): boolean {
    return this.#stream.writable;
  }

  /**
   * A callback costs some 0.8 of the 10 µs that a write takes, and nearly always the system has taken everything at once. Where
   * it has not, an empty write behind it calls back. (TLS hands nothing over at once, so there each write does.)
   */
  write(bytes: Buffer): boolean {
    const stream = this.#stream;
    if (this.#isTls) stream.write(bytes, this.#onWrite);
    else stream.write(bytes);
    this.#owesWritten = stream.writableLength > 0;
    if (this.#owesWritten && !this.#isTls) stream.write(nothing, this.#onWrite);
    return !this.#owesWritten;
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  end(): void {
    this.#stream.end();
  }

  destroy(): void {
    this.#stream.destroy();
  }
}
