/**
 * The server that listens, in front of those that do handshakes: it reads the PROXY protocol header of connections that come
 * through a proxy, and turns away whoever may not connect, before anything else is done for them.
 */
import net from 'node:net';
import { plainIp } from './address.ts';
import { isAmongLast } from './files.ts';
import { type ProxyHeader, readProxyHeader } from './proxy-protocol.ts';
import type { Ends, ListenOptions } from './runtime.ts';
import { handshakeMs } from './tls.ts';

export class Front {
  /** To listen with. */
  readonly server: net.Server;
  readonly #options: ListenOptions;
  readonly #pass: (stream: net.Socket) => net.Socket;
  /** What proxies said of connections that are open. A TLS socket and the plain one below it have one and the same peer. */
  readonly #ends = new Map<string, Ends>();

  /** @param pass takes a connection that may come in, paused; answers the socket that it has now */
  constructor(options: ListenOptions, pass: (stream: net.Socket) => net.Socket) {
    const { isProxy = () => false } = options;
    this.#options = options;
    this.#pass = pass;
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (stream) => {
      if (isProxy(plainIp(stream.remoteAddress))) this.#readHeader(stream);
      else this.#admit(stream);
    });
  }

  /** Whom the proxy speaks for; undefined: it did not say, or there is none. */
  endsOf(stream: net.Socket): Ends | undefined {
    return this.#ends.get(keyOf(stream));
  }

  #readHeader(stream: net.Socket): void {
    let bytes: Buffer = Buffer.alloc(0);
    const fail = (error: Error) => {
      settle();
      this.#options.onError(error, stream.remoteAddress);
      stream.destroy();
    };
    const onReadable = () => {
      const more = stream.read() as Buffer | null;
      if (more === null) return;
      bytes = bytes.length === 0 ? more : Buffer.concat([bytes, more]);
      let header: ProxyHeader | 'more';
      try {
        header = readProxyHeader(bytes);
      } catch (error) {
        fail(error as Error);
        return;
      }
      if (header === 'more') return;
      settle();
      stream.pause();
      const rest = bytes.subarray(header.length);
      if (rest.length > 0) stream.unshift(rest);
      // Whoever reads by the end of this tick is made to flow by Node.js, though it wants to wait.
      process.nextTick(() => void (stream.destroyed || this.#admit(stream, header.ends)));
    };
    const onEnd = () => fail(new Error('the connection ended before its PROXY protocol header'));
    const onTimeout = () => fail(new Error(`no PROXY protocol header within ${handshakeMs / 1000} s`));
    const timer = setTimeout(onTimeout, handshakeMs);
    const settle = () => {
      clearTimeout(timer);
      stream.off('readable', onReadable).off('end', onEnd).off('error', fail);
    };
    stream.on('readable', onReadable).on('end', onEnd).on('error', fail);
  }

  #admit(stream: net.Socket, ends?: Ends): void {
    const leave = this.#options.admit(ends?.remoteAddress ?? plainIp(stream.remoteAddress), isAmongLast(stream));
    if (leave === undefined) {
      stream.destroy();
      return;
    }
    if (ends !== undefined) {
      const key = keyOf(stream);
      this.#ends.set(key, ends);
      stream.once('close', () => this.#ends.delete(key));
    }
    this.#pass(stream).once('close', leave);
  }
}

const keyOf = ({ remoteAddress, remotePort }: net.Socket) => `${remoteAddress} ${remotePort}`;
