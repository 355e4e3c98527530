import { once } from 'node:events';
import type http from 'node:http';
import net from 'node:net';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { balances } from '../../../core/accounting.ts';
import type { ListenerTlsSettings } from '../../../core/settings.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { guest } from '../../support/lines.ts';
import { balancerAt } from '../../support/sockets.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

/** A backend on TCP that answers every line; answers its address. */
async function lineBackend(onLink: (stream: net.Socket) => void = () => {}): Promise<string> {
  const backend = net.createServer((stream) => {
    let rest = '';
    stream.on('data', (bytes) => {
      const parts = (rest + bytes).split('\n');
      rest = parts.pop()!;
      stream.write(parts.map((line) => `${/#\d+ /.exec(line)?.[0]}got ${line.replace(/.*#\d+ /, '')}\n`).join(''));
    });
    stream.on('error', () => {});
    onLink(stream);
  });
  backend.listen({ port: 0, host: '127.0.0.1' });
  await once(backend, 'listening');
  closers.push(() => backend.close());
  return `tcp://127.0.0.1:${(backend.address() as net.AddressInfo).port}`;
}

const overWebSocket = async (listen: string, listenerTls?: ListenerTlsSettings) =>
  balancerAt({
    listen,
    backend: await lineBackend(),
    limits: { messageBytes: 100_000 },
    ...(listenerTls && { listenerTls }),
  });

/** A balancer whose protocol asks for a subprotocol. */
const withSubprotocol = async (listen: string, subprotocol: string) =>
  balancerAt({
    listen,
    backend: await lineBackend(),
    links: 'dedicated',
    protocol: guest((hooks, scope) => {
      scope.protocol({ identifiers: 'text', webSocket: { subprotocol, frames: 'text' } });
      hooks.frame.tap('guest', (_bytes, start, end) => end - start);
    }) as never,
  });

async function connected(socket: WebSocket): Promise<WebSocket> {
  await once(socket, 'open');
  closers.push(() => socket.terminate());
  return socket;
}

async function messages(socket: WebSocket, count: number): Promise<{ text: string; isBinary: boolean }[]> {
  const all: { text: string; isBinary: boolean }[] = [];
  for await (const [data, isBinary] of on(socket, count)) all.push({ text: String(data), isBinary });
  return all;
}

async function* on(socket: WebSocket, count: number): AsyncGenerator<[Buffer, boolean]> {
  const arrived: [Buffer, boolean][] = [];
  let wake = () => {};
  socket.on('message', (data, isBinary) => {
    arrived.push([data as Buffer, isBinary]);
    wake();
  });
  for (let i = 0; i < count; i++) {
    while (arrived.length === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
    yield arrived.shift()!;
  }
}

describe('a WebSocket listener', () => {
  it('carries each message in one of the WebSocket, in the kind of frame that the client uses', async () => {
    const { balancer, port } = await overWebSocket('ws://127.0.0.1:0');
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}/any/path`));
    const answers = messages(socket, 1002);
    for (let i = 0; i < 1000; i++) socket.send(`text ${i}`);
    socket.send(Buffer.from('binary'), { binary: true });
    socket.send('é'.repeat(20_000));
    const received = await answers;
    expect(received.slice(0, 1000)).toEqual(
      Array.from({ length: 1000 }, (_, i) => ({ text: `got text ${i}\n`, isBinary: expect.any(Boolean) })),
    );
    expect(received.slice(1000).map(({ text }) => text)).toEqual(['got binary\n', `got ${'é'.repeat(20_000)}\n`]);
    expect(balances(balancer.stats().listeners.edge!)).toBe(true);
  });

  it('keeps messages in order though reading pauses again and again', async () => {
    const links: net.Socket[] = [];
    const backend = await lineBackend((stream) => void links.push(stream.pause()));
    const { port, stats } = await balancerAt({
      listen: 'ws://127.0.0.1:0',
      backend,
      linkQueueBytes: 1000,
      limits: { queueBytes: 100_000_000 },
    });
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}`));
    const count = 8000;
    const answers = messages(socket, count);
    const padding = 'x'.repeat(3000);
    for (let i = 0; i < count; i++) socket.send(`${i} ${padding}`);
    // The backend does not read before the balancer has stopped, which must be well before it has read everything.
    let before = 0;
    await vi.waitFor(
      () => {
        const { received } = stats().fromClients;
        const hasStopped = received > 0 && received === before;
        before = received;
        expect(hasStopped).toBe(true);
      },
      { timeout: 15_000, interval: 50 },
    );
    expect(before).toBeLessThan(count);
    for (const link of links) link.resume();
    const numbers = (await answers).map(({ text }) => text.split(' ')[1]);
    expect(numbers).toEqual(Array.from({ length: count }, (_, i) => `${i}`));
    expect(balances(stats())).toBe(true);
  });

  it('loses nothing of a client that has closed while it could not be read', async () => {
    let link: net.Socket | undefined;
    let received = '';
    const backend = net.createServer({ pauseOnConnect: true }, (stream) => {
      link = stream;
      stream.on('error', () => {});
      stream.on('data', (bytes) => {
        received += bytes;
      });
      stream.pause();
    });
    backend.listen({ port: 0, host: '127.0.0.1' });
    await once(backend, 'listening');
    closers.push(() => backend.close());
    const { port, stats } = await balancerAt({
      listen: 'ws://127.0.0.1:0',
      backend: `tcp://127.0.0.1:${(backend.address() as net.AddressInfo).port}`,
      linkQueueBytes: 100_000,
    });
    const stream = net.connect({ port, host: '127.0.0.1' });
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}`, { createConnection: () => stream }));
    const count = 300;
    stream.cork();
    for (let i = 0; i < count; i++) socket.send(`${i} ${'x'.repeat(50_000)}`);
    socket.close();
    stream.uncork();
    await vi.waitFor(() => expect(stats().queuedBytes).toBeGreaterThan(100_000));
    link!.resume();
    await vi.waitFor(() => expect(received.match(/\n/g) ?? []).toHaveLength(count), { timeout: 5000 });
    await vi.waitFor(() => expect(stats().connections.open).toBe(0));
  });

  it('answers text with text, and binary with binary', async () => {
    const { port } = await overWebSocket('ws://127.0.0.1:0');
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}`));
    for (const binary of [false, true, false]) {
      const answer = messages(socket, 1);
      socket.send('one', { binary });
      expect(await answer).toEqual([{ text: 'got one\n', isBinary: binary }]);
      socket.removeAllListeners('message');
    }
  });

  it('is secured by TLS as wss', async () => {
    const certificate = await makeCertificate('edge.test');
    const { port } = await overWebSocket('wss://127.0.0.1:0', {
      certificate: certificate.certificate,
      key: certificate.key,
      clientCertificate: 'none',
    });
    const options = { ca: certificate.certificate, servername: 'edge.test' };
    const socket = await connected(new WebSocket(`wss://127.0.0.1:${port}`, options));
    const answer = messages(socket, 1);
    socket.send('one');
    expect(await answer).toEqual([{ text: 'got one\n', isBinary: false }]);
  });

  it('closes a connection whose message is longer than the limit', async () => {
    const { port } = await overWebSocket('ws://127.0.0.1:0');
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}`));
    socket.send('x'.repeat(100_001));
    const [code] = await once(socket, 'close');
    expect(code).toBe(1009);
  });

  it('says what it is to a client that speaks plain HTTP', async () => {
    const { port } = await overWebSocket('ws://127.0.0.1:0');
    const response = await fetch(`http://127.0.0.1:${port}/`);
    expect([response.status, response.headers.get('upgrade')]).toEqual([426, 'websocket']);
    expect(await response.text()).toBe('This is a WebSocket endpoint.\n');
  });

  it.each([
    ['another path', 'ws://127.0.0.1:0/sip', '/', ['acme'], 404],
    ['no subprotocol', 'ws://127.0.0.1:0', '/', [], 400],
    ['another subprotocol', 'ws://127.0.0.1:0', '/', ['acme2'], 400],
  ])('turns a client away that asks for %s', async (_name, listen, path, offers, status) => {
    const { port } = await withSubprotocol(listen, 'acme');
    const socket = new WebSocket(`ws://127.0.0.1:${port}${path}`, offers);
    const [, response] = (await once(socket, 'unexpected-response')) as [unknown, http.IncomingMessage];
    expect(response.statusCode).toBe(status);
    response.destroy();
  });

  it('agrees on the subprotocol that the protocol plugin asks for', async () => {
    const { port } = await withSubprotocol('ws://127.0.0.1:0/sip', 'acme');
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}/sip?x=1`, ['other', 'acme']));
    expect(socket.protocol).toBe('acme');
  });

  it('warns of no connection that fails once it has been accepted', async () => {
    const warn = vi.fn();
    const { port, stats } = await balancerAt({ listen: 'ws://127.0.0.1:0', backend: await lineBackend(), warn });
    const stream = net.connect({ port, host: '127.0.0.1' });
    const socket = await connected(new WebSocket(`ws://127.0.0.1:${port}`, { createConnection: () => stream }));
    socket.on('error', () => {});
    stream.resetAndDestroy();
    await vi.waitFor(() => expect(stats().connections).toMatchObject({ open: 0, accepted: 1 }));
    expect(warn).not.toHaveBeenCalled();
  });

  it('closes in order when the balancer stops, and when the client does', async () => {
    const { balancer, port } = await overWebSocket('ws://127.0.0.1:0');
    const one = await connected(new WebSocket(`ws://127.0.0.1:${port}`));
    const answer = messages(one, 1);
    one.send('one');
    await answer;
    one.close(1000);
    await once(one, 'close');
    const other = await connected(new WebSocket(`ws://127.0.0.1:${port}`));
    const closed = once(other, 'close');
    await balancer.stop({ deadlineSeconds: 1 });
    await closed;
    expect(balancer.stats().listeners.edge!.connections.open).toBe(0);
  });
});
