/** The command line with several workers: real processes, from the sources. */
import { type ChildProcess, spawn } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { existsSync, linkSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tls from 'node:tls';
import { describe, expect, it, onTestFinished } from 'vitest';
import { balances, type ListenerStats } from '../../../core/accounting.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { dial, listen, temporaryFolder } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';

const host = '127.0.0.1';
const timeoutMs = 60_000;

interface Line {
  readonly msg: string;
  readonly worker?: number;
  readonly pid?: number;
  readonly address?: string;
  readonly [field: string]: unknown;
}

/** `pointsman run` as a process, in a process group of its own. */
class Pointsman {
  readonly child: ChildProcess;
  readonly log: Line[] = [];
  errors = '';
  /** Its exit code, or the signal that ended it. */
  readonly exited: Promise<number | string>;
  /** Nobody holds its output any more: all its processes have ended. */
  readonly gone: Promise<unknown>;
  readonly #lines = new EventEmitter();

  constructor(config: string) {
    const command = ['--import', import.meta.resolve('tsx'), `${process.cwd()}/core/cli/main.ts`, 'run', config];
    this.child = spawn(process.execPath, command, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
    this.exited = once(this.child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
    this.gone = once(this.child, 'close');
    createInterface(this.child.stdout!).on('line', (line) => {
      this.log.push(JSON.parse(line) as Line);
      this.#lines.emit('line');
    });
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.errors += chunk;
    });
    onTestFinished(async () => {
      this.signalAll('SIGKILL');
      await this.gone;
    });
  }

  /** The lines with that text, as soon as there are so many. */
  async logged(msg: string, count = 1): Promise<Line[]> {
    for (;;) {
      const lines = this.log.filter((line) => line.msg === msg);
      if (lines.length >= count) return lines;
      await Promise.race([
        once(this.#lines, 'line'),
        this.gone.then(() => Promise.reject(new Error(`it has ended without "${msg}":\n${this.errors}`))),
      ]);
    }
  }

  /** As a terminal does. */
  signalAll(signal: NodeJS.Signals): void {
    try {
      process.kill(-this.child.pid!, signal);
    } catch {
      // All have ended.
    }
  }

  async stop(): Promise<ListenerStats> {
    this.child.kill('SIGTERM');
    expect(await this.exited).toBe(0);
    await this.gone;
    const [stopped] = await this.logged('stopped');
    return stopped!.stats as ListenerStats;
  }
}

/** A backend that answers every line: JSON-RPC, as soon as it may. */
class Backend {
  port = 0;
  readonly links = new Set<net.Socket>();
  /** Requests that have come over each link that ever was. */
  readonly received: number[] = [];
  holds = false;
  readonly arrivals = new EventEmitter();
  readonly #held: (() => void)[] = [];

  async open(): Promise<this> {
    this.port = await listen(
      net.createServer({ noDelay: true }, (socket) => {
        const index = this.received.push(0) - 1;
        this.links.add(socket);
        socket.on('error', () => {});
        socket.on('close', () => this.links.delete(socket));
        const requests = createInterface(socket);
        requests.on('error', () => {});
        requests.on('line', (line) => {
          this.received[index]!++;
          const { id } = JSON.parse(line);
          const answer = () => void socket.write(`${JSON.stringify({ jsonrpc: '2.0', result: index, id })}\n`);
          if (this.holds) this.#held.push(answer);
          else answer();
          this.arrivals.emit('request');
        });
      }),
    );
    return this;
  }

  release(): void {
    this.holds = false;
    for (const answer of this.#held.splice(0)) answer();
  }
}

/** A client with one request outstanding at a time. */
class Client {
  answers = 0;
  asked = 0;
  /** The link, by its number at the backend, that the last answer came over: that of its worker. */
  link: number | undefined;
  closed = false;
  readonly #socket: net.Socket;
  #onAnswer: (line: string | undefined) => void = () => {};

  constructor(socket: net.Socket) {
    this.#socket = socket;
    socket.on('error', () => {}); // followed by 'close'
    socket.on('close', () => {
      this.closed = true;
      this.#onAnswer(undefined);
    });
    socket.on('data', (bytes: Buffer) => this.#onAnswer(bytes.toString())); // so short that it comes in one piece
  }

  /** Answers false if the connection has closed instead. */
  async ask(): Promise<boolean> {
    this.asked++;
    const line = await new Promise<string | undefined>((resolve) => {
      this.#onAnswer = resolve;
      if (this.closed) resolve(undefined);
      else this.#socket.write(`{"jsonrpc":"2.0","method":"m","id":"${this.asked}"}\n`);
    });
    if (line === undefined) return false;
    const { id, result } = JSON.parse(line);
    expect(id).toBe(String(this.asked));
    this.link = result as number;
    this.answers++;
    return true;
  }
}

function configOf(backend: Backend, listeners: readonly string[], more = 'workers: 2'): string {
  const file = join(temporaryFolder(), 'edge.yaml');
  const members = listeners.map(
    (listen, i) =>
      `  l${i}: { ${listen}, pool: rpc, pipeline: [{ ndjson: { id: backend, correlation: id } }, { round-robin: }] }`,
  );
  writeFileSync(
    file,
    `${more}
pools: { rpc: { backends: { a: "tcp://${host}:${backend.port}" } } }
listeners:
${members.join('\n')}
`,
  );
  return file;
}

const portOf = ({ address }: Line) => Number(/\d+$/.exec(address!)![0]);

async function startTwo() {
  const backend = await new Backend().open();
  const pointsman = new Pointsman(configOf(backend, [`listen: "tcp://${host}:0"`]));
  await pointsman.logged('started');
  const [listening] = await pointsman.logged('listening', 2);
  const port = portOf(listening!);
  const connect = async () => new Client(await dial(port));
  return { backend, pointsman, connect };
}

describe('two workers', () => {
  it(
    'share the clients of a listener, and their statistics are one',
    async () => {
      const { backend, pointsman, connect } = await startTwo();
      const listening = await pointsman.logged('listening', 2);
      expect(listening.map(({ worker }) => worker).sort()).toEqual([1, 2]);
      expect(listening[0]!.address).toBe(listening[1]!.address);
      const [started] = await pointsman.logged('started');
      expect(started).toMatchObject({ workers: 2, listeners: 1 });

      const clients = [];
      for (let i = 0; i < 8; i++) {
        const client = await connect();
        for (let n = 0; n < 5; n++) expect(await client.ask()).toBe(true);
        clients.push(client);
      }
      // The connections go round, and each worker has its own link.
      expect(backend.received).toEqual([20, 20]);

      const stats = await pointsman.stop();
      expect(stats).toMatchObject({
        fromClients: { received: 40, forwarded: 40, held: 0 },
        fromBackends: { received: 40, forwarded: 40, held: 0 },
        connections: { open: 0, accepted: 8 },
        backends: { a: { up: true, upIn: 2, messages: 40 } },
      });
      expect(balances(stats)).toBe(true);
      expect(pointsman.errors).toBe('');
    },
    timeoutMs,
  );

  it(
    'listen with TLS and on unix sockets too',
    async () => {
      const backend = await new Backend().open();
      const folder = temporaryFolder();
      const { certificate, key } = await makeCertificate('edge');
      writeFileSync(join(folder, 'cert.pem'), certificate);
      writeFileSync(join(folder, 'key.pem'), key);
      const path = join(folder, 'edge.sock');
      const stale = new net.Server().listen(path);
      await once(stale, 'listening');
      // A socket of a process that was killed: its file is there, and nobody listens.
      linkSync(path, `${path}.kept`);
      stale.close();
      await once(stale, 'close');
      linkSync(`${path}.kept`, path);
      rmSync(`${path}.kept`);

      const pointsman = new Pointsman(
        configOf(backend, [
          `listen: "tls://${host}:0", tls: { certificate: "${folder}/cert.pem", key: "${folder}/key.pem" }`,
          `listen: "unix:${path}"`,
        ]),
      );
      await pointsman.logged('started');
      const listening = await pointsman.logged('listening', 4);
      const port = portOf(listening.find(({ listener }) => listener === 'l0')!);
      for (let i = 0; i < 4; i++) {
        const overTls = tls.connect({ port, host, ca: certificate, servername: 'edge' });
        onTestFinished(() => void overTls.destroy());
        await once(overTls, 'secureConnect');
        expect(await new Client(overTls).ask()).toBe(true);
        const overUnix = net.connect({ path });
        onTestFinished(() => void overUnix.destroy());
        expect(await new Client(overUnix).ask()).toBe(true);
      }
      await pointsman.stop();
      const stats = (await pointsman.logged('stopped', 2)).map((line) => line.stats as ListenerStats);
      for (const each of stats) {
        expect(each).toMatchObject({ fromClients: { received: 4, forwarded: 4 }, connections: { accepted: 4 } });
        expect(balances(each)).toBe(true);
      }
      expect(existsSync(path)).toBe(false);
    },
    timeoutMs,
  );

  it(
    'hand over to each other what names a client of the other',
    async () => {
      let invite = '';
      const arrived = new EventEmitter();
      const port = await listen(
        net.createServer((link) => {
          link.on('error', () => {});
          link.on('data', (bytes) => {
            invite += bytes;
            if (invite.endsWith('\r\n\r\n')) arrived.emit('invite');
          });
        }),
      );
      const file = join(temporaryFolder(), 'edge.yaml');
      writeFileSync(
        file,
        `workers: 2
pools: { calls: { backends: { a: "tcp://${host}:${port}" } } }
listeners: { edge: { listen: "tcp://${host}:0", pool: calls, pipeline: [{ sip: }, { hashing: { key: message } }] } }
`,
      );
      const pointsman = new Pointsman(file);
      await pointsman.logged('started');
      const edge = portOf((await pointsman.logged('listening', 2))[0]!);
      const request = (method: string, more: string) =>
        [
          `${method} sip:bob@example.test SIP/2.0`,
          `Via: SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK${method}${more.length}`,
          'Max-Forwards: 70',
          'From: <sip:alice@example.test>;tag=1',
          'To: <sip:bob@example.test>',
          'Call-ID: one',
          `CSeq: 1 ${method}`,
          `${more}Content-Length: 0\r\n\r\n`,
        ].join('\r\n');

      const alice = await dial(edge);
      let got = '';
      alice.on('data', (bytes) => {
        got += bytes;
        arrived.emit('request');
      });
      alice.write(request('INVITE', 'Contact: <sip:alice@192.0.2.1>\r\n'));
      await once(arrived, 'invite');
      const routes = invite.match(/^Record-Route: .*\r\n/gm)!.map((line) => line.replace('Record-', ''));
      // The backend opens connections of its own; they go round, so that one of two is at the worker that does not have alice.
      for (let count = 1; count <= 4; count++) {
        const backend = await dial(edge);
        backend.write(request('INFO', `${routes.join('')}Subject: ${'x'.repeat(count)}\r\n`));
        while ((got.match(/^INFO /gm) ?? []).length < count) await once(arrived, 'request');
      }
      const stats = await pointsman.stop();
      expect(stats.fromClients).toMatchObject({ received: 5, forwarded: 5 });
    },
    timeoutMs,
  );

  it(
    'do not notice when the other is killed under load; its clients reconnect, and it is replaced',
    async () => {
      const { pointsman, connect } = await startTwo();
      const clients: Client[] = [];
      for (let i = 0; i < 20; i++) {
        const client = await connect();
        expect(await client.ask()).toBe(true);
        clients.push(client);
      }
      let isOver = false;
      const later: Client[] = [];
      const work = async (client: Client): Promise<void> => {
        while (!isOver && !client.closed) await client.ask();
        if (isOver) return;
        // Node.js forgets a connection that it is handing to a worker in the moment in which that dies: it is never accepted.
        await pointsman.logged('worker ended; another takes its place');
        const next = await connect();
        later.push(next);
        await work(next);
      };
      const working = clients.map(work);
      const [first] = await pointsman.logged('worker started');
      process.kill(first!.pid!, 'SIGKILL');
      const [ended] = await pointsman.logged('worker ended; another takes its place');
      expect(ended).toMatchObject({ level: 'error', error: 'SIGKILL', ended: 1 });
      const restarted = (await pointsman.logged('worker started', 3)).at(-1)!;
      expect(restarted.worker).toBe(ended!.worker);
      isOver = true;
      await Promise.all(working);

      const [cut, kept] = [clients.filter(({ closed }) => closed), clients.filter(({ closed }) => !closed)];
      expect([cut.length, kept.length]).toEqual([10, 10]);
      expect(new Set(kept.map(({ link }) => link)).size).toBe(1);
      // What was outstanding at the killed worker is lost, one request for each client; everything else was answered.
      for (const { asked, answers, closed } of [...clients, ...later]) expect(answers).toBe(closed ? asked - 1 : asked);
      expect(later.filter(({ closed }) => !closed)).toHaveLength(10);

      // The one that was replaced serves clients again.
      const late = [await connect(), await connect()];
      for (const client of late) expect(await client.ask()).toBe(true);
      expect(late[0]!.link).not.toBe(late[1]!.link);
      const stats = await pointsman.stop();
      expect(balances(stats)).toBe(true);
      expect(stats.fromClients.held + stats.fromBackends.held).toBe(0);
    },
    timeoutMs,
  );

  it(
    'drain at a signal to the whole process group, then all exit with 0',
    async () => {
      const { backend, pointsman, connect } = await startTwo();
      const clients = [await connect(), await connect()];
      for (const client of clients) expect(await client.ask()).toBe(true);
      backend.holds = true;
      const answers = [];
      for (const client of clients) {
        answers.push(client.ask());
        await once(backend.arrivals, 'request');
      }
      pointsman.signalAll('SIGINT');
      await pointsman.logged('stopping');
      backend.release();
      expect(await Promise.all(answers)).toEqual([true, true]);
      expect(await pointsman.exited).toBe(0);
      await pointsman.gone;
      const [stopped] = await pointsman.logged('stopped');
      expect(stopped!.stats).toMatchObject({ fromClients: { received: 4 }, fromBackends: { forwarded: 4 } });
      expect(pointsman.errors).toBe('');
    },
    timeoutMs,
  );

  it(
    'end by themselves when the primary is killed',
    async () => {
      const { pointsman, connect } = await startTwo();
      const client = await connect();
      expect(await client.ask()).toBe(true);
      pointsman.child.kill('SIGKILL');
      expect(await pointsman.exited).toBe('SIGKILL');
      await pointsman.gone;
      expect(await client.ask()).toBe(false);
    },
    timeoutMs,
  );

  it(
    'end at once at a second signal',
    async () => {
      const { backend, pointsman, connect } = await startTwo();
      const client = await connect();
      backend.holds = true;
      const answer = client.ask();
      await once(backend.arrivals, 'request');
      pointsman.child.kill('SIGTERM');
      await pointsman.logged('stopping');
      // One that comes within half a second would be taken for an echo of the first.
      const again = setInterval(() => pointsman.child.kill('SIGTERM'), 100);
      expect(await pointsman.exited).toBe(128 + 15);
      clearInterval(again);
      await pointsman.gone;
      expect(await answer).toBe(false);
    },
    timeoutMs,
  );
});

describe('a config with workers', () => {
  it(
    'whose port is taken ends as it does without workers',
    async () => {
      const backend = await new Backend().open();
      const port = await freePort();
      const taken = net.createServer().listen({ port, host });
      await once(taken, 'listening');
      onTestFinished(() => void taken.close());
      const config = configOf(backend, [`listen: "tcp://${host}:${port}"`], 'workers: 3');
      const results = [];
      for (const file of [config, configOf(backend, [`listen: "tcp://${host}:${port}"`], 'workers: 1')]) {
        const pointsman = new Pointsman(file);
        const code = await pointsman.exited;
        await pointsman.gone;
        results.push({ code, errors: pointsman.errors, log: pointsman.log });
      }
      const words = `listen EADDRINUSE: address already in use ${host}:${port}`;
      const expected = { code: 2, errors: `listener l0 cannot listen on tcp://${host}:${port}: ${words}\n`, log: [] };
      expect(results).toEqual([expected, expected]);
    },
    timeoutMs,
  );

  it(
    'whose plugin throws when it starts ends as it does without workers',
    async () => {
      const backend = await new Backend().open();
      const results = [];
      for (const workers of [2, 1]) {
        const file = configOf(backend, [`listen: "tcp://${host}:0"`], `workers: ${workers}\nplugins: [./acme.ts]`);
        writeFileSync(
          join(file, '..', 'acme.ts'),
          `import { definePlugin, Type } from 'pointsman';
export default definePlugin({ name: 'acme', summary: 'x', pointsman: '^1', options: Type.Object({}),
  apply(hooks, options, scope) { scope.onStart(() => { throw new Error('no licence'); }); } });`,
        );
        writeFileSync(file, readFileSync(file, 'utf8').replace('{ round-robin: }', '{ round-robin: }, { acme: }'));
        const pointsman = new Pointsman(file);
        const code = await pointsman.exited;
        await pointsman.gone;
        results.push({ code, errors: pointsman.errors, log: pointsman.log });
      }
      const expected = { code: 2, errors: '[acme] onStart: no licence\n', log: [] };
      expect(results).toEqual([expected, expected]);
    },
    timeoutMs,
  );
});
