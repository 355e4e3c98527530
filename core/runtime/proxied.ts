/** A server before another, for clients that come through a proxy: it takes the PROXY protocol header off each connection. */
import net from 'node:net';
import { plainIp } from './address.ts';
import { type ProxyHeader, readProxyHeader } from './proxy-protocol.ts';
import type { Ends } from './runtime.ts';
import { handshakeMs } from './tls.ts';

export class ProxyFront {
  /** To listen with; the server behind it gets the connections. */
  readonly server: net.Server;
  readonly #behind: net.Server;
  readonly #onError: (error: Error, remoteAddress?: string) => void;
  /** What proxies said of connections that are open. A TLS socket and the plain one below it have one and the same peer. */
  readonly #ends = new Map<string, Ends>();

  /**
   * @param behind never listens itself
   * @param isProxy whose connections begin with a header; others are clients
   */
  constructor(
    behind: net.Server,
    isProxy: (address: string) => boolean,
    onError: (error: Error, remoteAddress?: string) => void,
  ) {
    this.#behind = behind;
    this.#onError = onError;
    this.server = net.createServer({ allowHalfOpen: true, noDelay: true, pauseOnConnect: true }, (stream) => {
      if (isProxy(plainIp(stream.remoteAddress))) this.#read(stream);
      else behind.emit('connection', stream);
    });
    // An HTTP server looks after its deadlines from when it listens until it closes.
    this.server.on('listening', () => behind.emit('listening'));
    this.server.on('close', () => behind.close());
  }

  /** Whom the proxy speaks for; undefined: it did not say, or there is none. */
  endsOf(stream: net.Socket): Ends | undefined {
    return this.#ends.get(keyOf(stream));
  }

  #read(stream: net.Socket): void {
    let bytes: Buffer = Buffer.alloc(0);
    const fail = (error: Error) => {
      settle();
      this.#onError(error, stream.remoteAddress);
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
      this.#pass(stream, header.ends, bytes.subarray(header.length));
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

  #pass(stream: net.Socket, ends: Ends | undefined, rest: Buffer): void {
    if (ends !== undefined) {
      const key = keyOf(stream);
      this.#ends.set(key, ends);
      stream.once('close', () => this.#ends.delete(key));
    }
    stream.pause();
    if (rest.length > 0) stream.unshift(rest);
    this.#behind.emit('connection', stream);
  }
}

const keyOf = ({ remoteAddress, remotePort }: net.Socket) => `${remoteAddress} ${remotePort}`;
