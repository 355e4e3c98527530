import { once } from 'node:events';
import net from 'node:net';
import tls from 'node:tls';
import { refusal } from 'pointsman';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { WebSocket } from 'ws';
import { writeProxyHeader } from '../../../core/runtime/proxy-protocol.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { guest } from '../../support/lines.ts';
import { balancerAt } from '../../support/sockets.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const ends = { remoteAddress: '198.51.100.7', remotePort: 4711, localAddress: '203.0.113.1', localPort: 5060 };

/** A backend that tells in its answer what the link began with. */
async function backendAt(server: net.Server): Promise<number> {
  server.listen({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  closers.push(() => server.close());
  return (server.address() as net.AddressInfo).port;
}

function answering(stream: net.Socket): void {
  let rest = '';
  stream.on('data', (bytes) => {
    const parts = (rest + bytes.toString('latin1')).split('\n');
    rest = parts.pop()!;
    const [header = '', ...requests] = parts[0]?.startsWith('PROXY') ? parts : ['', ...parts];
    stream.write(requests.map((line) => `${line.replace('@a ', '')} after ${JSON.stringify(header)}\n`).join(''));
  });
  stream.on('error', () => {});
}

/** A balancer whose links tell in their first line whose they are. */
async function proxied(listen: string, more: Partial<Parameters<typeof balancerAt>[0]> = {}) {
  const backend = `tcp://127.0.0.1:${await backendAt(net.createServer(answering))}`;
  return balancerAt({
    listen,
    backend,
    links: 'dedicated',
    listener: { proxyProtocol: { from: ['127.0.0.0/8'] } },
    proxyProtocol: 'v1',
    ...more,
  });
}

async function firstLine(stream: net.Socket): Promise<string> {
  let text = '';
  for await (const bytes of stream) {
    text += bytes;
    if (text.includes('\n')) break;
  }
  return text;
}

const told = 'hello after "PROXY TCP4 198.51.100.7 203.0.113.1 4711 5060\\r"\n';

describe('the address of a client behind a proxy', () => {
  it.each(['v1', 'v2'] as const)(
    'is what its header says, in version %s, and is told to the backend',
    async (version) => {
      const { port } = await proxied('tcp://127.0.0.1:0');
      const proxy = net.connect({ port, host: '127.0.0.1' });
      proxy.write(Buffer.concat([writeProxyHeader(version, ends), Buffer.from('hello\n')]));
      expect(await firstLine(proxy)).toBe(told);
    },
  );

  it('is known also when the header comes in pieces', async () => {
    const { port } = await proxied('tcp://127.0.0.1:0');
    const proxy = net.connect({ port, host: '127.0.0.1', noDelay: true });
    await once(proxy, 'connect');
    for (const byte of writeProxyHeader('v2', ends)) {
      proxy.write(Buffer.from([byte]));
      await new Promise((resolve) => setImmediate(resolve));
    }
    proxy.write('hello\n');
    expect(await firstLine(proxy)).toBe(told);
  });

  it('is known below TLS', async () => {
    const edge = await makeCertificate('edge.test');
    const { port } = await proxied('tls://127.0.0.1:0', { listenerTls: { ...edge, clientCertificate: 'none' } });
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.write(writeProxyHeader('v2', ends));
    const client = tls.connect({ socket, servername: 'edge.test', ca: edge.certificate });
    client.write('hello\n');
    expect(await firstLine(client)).toBe(told);
  });

  it('is known below WebSockets', async () => {
    const { port } = await proxied('ws://127.0.0.1:0');
    const socket = net.connect({ port, host: '127.0.0.1' });
    socket.write(writeProxyHeader('v1', ends));
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { createConnection: () => socket });
    closers.push(() => client.terminate());
    await once(client, 'open');
    client.send('hello\n');
    expect(String((await once(client, 'message'))[0])).toBe(told);
  });

  it('is that of the proxy where it speaks for itself', async () => {
    const { port } = await proxied('tcp://127.0.0.1:0');
    const proxy = net.connect({ port, host: '127.0.0.1' });
    await once(proxy, 'connect');
    proxy.write(Buffer.concat([writeProxyHeader('v2', undefined), Buffer.from('hello\n')]));
    const own = `PROXY TCP4 127.0.0.1 127.0.0.1 ${proxy.localPort} ${port}`;
    expect(await firstLine(proxy)).toBe(`hello after "${own}\\r"\n`);
  });

  it('decides who is let in', async () => {
    const { port, stats } = await proxied('tcp://127.0.0.1:0', {
      listener: { proxyProtocol: { from: ['127.0.0.1'] }, deny: ['198.51.100.0/24'] },
    });
    const proxy = net.connect({ port, host: '127.0.0.1' });
    proxy.write(Buffer.concat([writeProxyHeader('v1', ends), Buffer.from('hello\n')]));
    expect(await firstLine(proxy)).toBe('');
    expect(stats().connections).toMatchObject({ accepted: 1, turnedAway: 1 });
  });
});

it('nothing of a client behind a proxy is read before onConnect has answered', async () => {
  let refuse = () => {};
  const visitor = guest((hooks) =>
    hooks.onConnect.tap('guest', async () => {
      await new Promise<void>((resolve) => {
        refuse = resolve;
      });
      return refusal('no');
    }),
  );
  const { port, stats } = await proxied('tcp://127.0.0.1:0', { visitor });
  const proxy = net.connect({ port, host: '127.0.0.1' });
  proxy.write(Buffer.concat([writeProxyHeader('v1', ends), Buffer.from('hello\n')]));
  await vi.waitFor(() => expect(stats().connections.open).toBe(1));
  for (let turn = 0; turn < 10; turn++) await new Promise((resolve) => setImmediate(resolve));
  refuse();
  expect(await firstLine(proxy).catch(() => '')).toBe('');
  expect(stats().fromClients.received).toBe(0);
});

it('a client that comes by itself sends no header', async () => {
  const { port } = await proxied('tcp://127.0.0.1:0', { listener: { proxyProtocol: { from: ['192.0.2.0/24'] } } });
  const client = net.connect({ port, host: '127.0.0.1' });
  client.write('hello\n');
  expect(await firstLine(client)).toMatch(/^hello after "PROXY TCP4 127\.0\.0\.1 127\.0\.0\.1 \d+ \d+\\r"\n$/);
});

it('a proxy without header is closed, and that is said', async () => {
  const warn = vi.fn();
  const { port, stats } = await proxied('tcp://127.0.0.1:0', { warn });
  const proxy = net.connect({ port, host: '127.0.0.1' });
  proxy.write('hello\n');
  expect(await firstLine(proxy)).toBe('');
  expect(warn).toHaveBeenCalledWith(
    { error: 'the connection does not begin with a PROXY protocol header', peer: '127.0.0.1' },
    expect.anything(),
  );
  expect(stats().connections.accepted).toBe(0);

  const silent = net.connect({ port, host: '127.0.0.1' });
  silent.end('PROXY TCP4');
  await once(silent, 'close');
  expect(warn).toHaveBeenLastCalledWith(
    { error: 'the connection ended before its PROXY protocol header', peer: '127.0.0.1' },
    expect.anything(),
  );
});

it('a link over TLS tells whose it is before its handshake', async () => {
  const certificate = await makeCertificate('backend.test');
  let header = '';
  const secured = tls.createServer({ cert: certificate.certificate, key: certificate.key }, answering);
  const front = net.createServer((stream) => {
    stream.once('data', (bytes) => {
      header = bytes.toString('latin1', 0, bytes.indexOf('\n') + 1);
      stream.pause();
      stream.unshift(bytes.subarray(header.length));
      secured.emit('connection', stream);
    });
  });
  const { port } = await proxied('tcp://127.0.0.1:0', {
    backend: `tls://127.0.0.1:${await backendAt(front)}`,
    linkTls: { ca: certificate.certificate, serverName: 'backend.test', verify: true },
  });
  const proxy = net.connect({ port, host: '127.0.0.1' });
  proxy.write(Buffer.concat([writeProxyHeader('v1', ends), Buffer.from('hello\n')]));
  expect(await firstLine(proxy)).toBe('hello after ""\n');
  expect(header).toBe('PROXY TCP4 198.51.100.7 203.0.113.1 4711 5060\r\n');
});

it('a client that comes by itself where proxies do asks for its WebSocket', async () => {
  const { port } = await proxied('ws://127.0.0.1:0', { listener: { proxyProtocol: { from: ['192.0.2.0/24'] } } });
  const client = new WebSocket(`ws://127.0.0.1:${port}`);
  closers.push(() => client.terminate());
  await once(client, 'open');
});

describe('before a handshake', () => {
  const guarded = async (transport: string, more: Partial<Parameters<typeof balancerAt>[0]>) =>
    balancerAt({
      listen: `${transport}://127.0.0.1:0`,
      backend: 'tcp://127.0.0.1:1',
      listenerTls: { ...(await makeCertificate('edge.test')), clientCertificate: 'none' },
      ...more,
    });
  const isClosed = async (stream: net.Socket) => {
    stream.on('error', () => {}).resume();
    await once(stream, 'close');
  };

  it.each(['tls', 'wss', 'ws'])('whoever may not connect is turned away: %s', async (transport) => {
    const { port, stats } = await guarded(transport, { listener: { deny: ['127.0.0.1'] } });
    await isClosed(net.connect({ port, host: '127.0.0.1' }));
    expect(stats().connections).toEqual({ open: 0, accepted: 1, turnedAway: 1 });
  });

  it('a client counts for its address, until it has gone or has failed', async () => {
    const warn = vi.fn();
    const { port } = await guarded('tls', { limits: { connectionsPerAddress: 1 }, warn });
    const dial = async () => {
      const stream = net.connect({ port, host: '127.0.0.1' });
      await once(stream, 'connect');
      return stream;
    };
    const attempt = async () => {
      const stream = await dial();
      stream.write('no handshake\n');
      await isClosed(stream);
      return warn.mock.lastCall![0];
    };
    const silent = await dial();
    expect(await attempt()).toEqual({ client: '127.0.0.1', reason: 'too many connections' });
    silent.end();
    await isClosed(silent);
    await vi.waitFor(async () => expect(await attempt()).toEqual({ error: 'wrong version number', peer: '127.0.0.1' }));
    await vi.waitFor(async () => {
      const client = tls.connect({ socket: await dial(), rejectUnauthorized: false });
      client.write('hello\n');
      expect(await firstLine(client)).toBe('error no-backend\n');
    });
  });
});
