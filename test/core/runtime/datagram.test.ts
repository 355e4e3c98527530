import dgram from 'node:dgram';
import { once } from 'node:events';
import net from 'node:net';
import { afterEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { balances } from '../../../core/accounting.ts';
import { guest } from '../../support/lines.ts';
import { balancerAt } from '../../support/sockets.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

const answerTo = (line: string) => `${/#\d+ /.exec(line)?.[0]}got ${line.trim().replace(/.*#\d+ /, '')}\n`;

/** A socket that keeps what it gets, and can be waited on. */
class Endpoint {
  readonly socket = dgram.createSocket('udp4');
  readonly received: string[] = [];
  #wake = () => {};

  constructor() {
    this.socket.on('message', (bytes) => {
      this.received.push(String(bytes));
      this.#wake();
    });
    this.socket.on('error', () => {});
    closers.push(() => this.socket.close());
  }

  async open(address = '127.0.0.1'): Promise<number> {
    this.socket.bind({ port: 0, address });
    await once(this.socket, 'listening');
    return this.socket.address().port;
  }

  send(text: string, port: number): void {
    this.socket.send(text, port, '127.0.0.1');
  }

  async get(count: number): Promise<string[]> {
    while (this.received.length < count) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    return this.received.splice(0);
  }
}

async function udpBackend(): Promise<string> {
  const endpoint = new Endpoint();
  endpoint.socket.on('message', (bytes, { port }) => endpoint.send(answerTo(String(bytes)), port));
  return `udp://127.0.0.1:${await endpoint.open()}`;
}

async function tcpBackend(): Promise<string> {
  const server = net.createServer((stream) => {
    stream.on('data', (bytes) => stream.write(String(bytes).trim().split('\n').map(answerTo).join('')));
    stream.on('error', () => {});
  });
  server.listen({ port: 0, host: '127.0.0.1' });
  await once(server, 'listening');
  closers.push(() => server.close());
  return `tcp://127.0.0.1:${(server.address() as net.AddressInfo).port}`;
}

describe('messages in datagrams', () => {
  it.each([
    ['UDP', udpBackend],
    ['TCP', tcpBackend],
  ])('find their way to backends on %s and back', async (_name, startBackend) => {
    const { port, stats } = await balancerAt({ listen: 'udp://127.0.0.1:0', backend: await startBackend() });
    const clients = [new Endpoint(), new Endpoint(), new Endpoint()];
    for (const client of clients) await client.open();
    for (let round = 0; round < 20; round++) {
      for (const [i, client] of clients.entries()) client.send(`${i}-${round}`, port);
      for (const [i, client] of clients.entries()) expect(await client.get(1)).toEqual([`got ${i}-${round}\n`]);
    }
    expect(stats().connections).toMatchObject({ open: 3, accepted: 3 });
    expect(stats().fromClients).toMatchObject({ received: 60, forwarded: 60 });
    expect(balances(stats())).toBe(true);
  });

  it('are answered over IPv4 where the listener is on ::', async () => {
    const { port } = await balancerAt({
      listen: 'udp://[::]:0',
      backend: await udpBackend(),
      listener: { allow: ['127.0.0.0/8'] },
    });
    const client = new Endpoint();
    await client.open();
    client.send('one', port);
    expect(await client.get(1)).toEqual(['got one\n']);
  });

  it('reach backends on UDP from clients on TCP', async () => {
    const { port } = await balancerAt({ listen: 'tcp://127.0.0.1:0', backend: await udpBackend() });
    const client = net.connect({ port, host: '127.0.0.1', allowHalfOpen: true });
    let received = '';
    client.on('data', (bytes) => {
      received += bytes;
    });
    client.end('one\ntwo\n');
    await once(client, 'close');
    expect(received.split('\n').sort()).toEqual(['', 'got one', 'got two']);
  });

  it('that are broken cost nobody anything else', async () => {
    const { port, stats } = await balancerAt({ listen: 'udp://127.0.0.1:0', backend: await udpBackend() });
    const client = new Endpoint();
    await client.open();
    client.send('bro\0ken', port);
    expect(await client.get(1)).toEqual(['error nul\n']);
    client.send('sound', port);
    expect(await client.get(1)).toEqual(['got sound\n']);
    expect(stats().connections).toMatchObject({ open: 1, accepted: 1 });
  });

  it('are answered at another port where a plugin says so', async () => {
    const answered = new Endpoint();
    const port = await answered.open();
    const visitor = guest((hooks) => hooks.forward.tap('guest', ({ client }) => client!.answerAt(port)));
    const edge = await balancerAt({ listen: 'udp://127.0.0.1:0', backend: await udpBackend(), visitor });
    const client = new Endpoint();
    await client.open();
    client.send('one', edge.port);
    expect(await answered.get(1)).toEqual(['got one\n']);
    expect(client.received).toEqual([]);
  });

  it('are refused if what they become is too long for one', async () => {
    const { port } = await balancerAt({ listen: 'tcp://127.0.0.1:0', backend: await udpBackend() });
    const client = net.connect({ port, host: '127.0.0.1' });
    closers.push(() => client.destroy());
    client.write(`${'x'.repeat(65_506)}\n`);
    expect(String((await once(client, 'data'))[0])).toBe('error too-large\n');
  });
});

describe('a UDP listener', () => {
  it('leaves nothing open where its address is taken', async () => {
    const taken = new Endpoint();
    const port = await taken.open();
    const created = vi.spyOn(dgram, 'createSocket');
    onTestFinished(() => created.mockRestore());
    await expect(balancerAt({ listen: `udp://127.0.0.1:${port}`, backend: 'tcp://127.0.0.1:1' })).rejects.toThrow(
      'EADDRINUSE',
    );
    const [socket] = created.mock.results.map(({ value }) => value as dgram.Socket);
    expect(() => socket!.close()).toThrow('Not running');
  });

  it('forgets the client that has been silent for longest when there are too many', async () => {
    const { port, stats } = await balancerAt({
      listen: 'udp://127.0.0.1:0',
      backend: await udpBackend(),
      limits: { connections: 2 },
    });
    const [one, two, three] = [new Endpoint(), new Endpoint(), new Endpoint()];
    for (const client of [one, two, one, three, one]) {
      client.send('x', port);
      expect(await client.get(1)).toEqual(['got x\n']);
    }
    expect(stats().connections).toEqual({ open: 2, accepted: 3, turnedAway: 0 });
  });

  it('forgets nobody for a client that may not connect', async () => {
    const { port, stats } = await balancerAt({
      listen: 'udp://127.0.0.1:0',
      backend: await udpBackend(),
      limits: { connections: 1 },
      listener: { deny: ['127.0.0.2'] },
    });
    const [alice, stranger] = [new Endpoint(), new Endpoint()];
    await stranger.open('127.0.0.2');
    for (const sender of [alice, stranger, alice]) {
      sender.send('x', port);
      if (sender === alice) expect(await alice.get(1)).toEqual(['got x\n']);
    }
    expect(stats().connections).toEqual({ open: 1, accepted: 2, turnedAway: 1 });
  });

  it('reports an address that is taken', async () => {
    const { port } = await balancerAt({ listen: 'udp://127.0.0.1:0', backend: await udpBackend() });
    await expect(balancerAt({ listen: `udp://127.0.0.1:${port}`, backend: 'udp://127.0.0.1:1' })).rejects.toThrow(
      'EADDRINUSE',
    );
  });
});

describe('a UDP link', () => {
  it('is down when the system says that nobody listens there', async () => {
    const gone = new Endpoint();
    const port = await gone.open();
    closers.pop();
    gone.socket.close();
    await once(gone.socket, 'close');
    let warn: (fields: object, text?: string) => void = () => {};
    const isDown = new Promise<void>((resolve) => {
      warn = (_fields, text) => void (text === 'backend is down' && resolve());
    });
    const { port: edge } = await balancerAt({ listen: 'udp://127.0.0.1:0', backend: `udp://127.0.0.1:${port}`, warn });
    new Endpoint().send('one', edge);
    await isDown;
  });
});
