/**
 * What overload and peers that do not read cost: `npx tsx test/benchmarks/overload.ts [seconds]`. Real sockets and processes; the
 * backends answer 1000 requests a second each, and no more. Prints one line for each case; test/README.md has those of a reference run.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

const seconds = Number(process.argv[2] ?? 60);
const backendPerSecond = 1000;
const padding = 'x'.repeat(400);

const backendScript = `
  const waiting = [];
  require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    require('node:readline').createInterface({ input: socket }).on('line', (line) => waiting.push({ socket, line }));
  }).listen(0, '127.0.0.1', function () { console.log(this.address().port); });
  let due = 0;
  setInterval(() => {
    for (due = Math.min(50, due + ${backendPerSecond} / 100); due >= 1 && waiting.length > 0; due--) {
      const { socket, line } = waiting.shift();
      const { id, bytes = ${padding.length} } = JSON.parse(line);
      if (socket.writable) socket.write(JSON.stringify({ jsonrpc: '2.0', id, result: 'x'.repeat(bytes) }) + '\\n');
    }
  }, 10);
`;

const children: ChildProcess[] = [];
const say = (line: string) => void process.stdout.write(`${line}\n`);

async function startBackend(): Promise<{ child: ChildProcess; port: string }> {
  const child = spawn(process.execPath, ['-e', backendScript], { stdio: ['ignore', 'pipe', 'inherit'] });
  children.push(child);
  const [port] = await once(createInterface({ input: child.stdout }), 'line');
  return { child, port };
}

async function startBalancer(ports: readonly string[], pool: object, limits: object) {
  const port = await freePort();
  const config = {
    pools: {
      calls: {
        backends: Object.fromEntries(ports.map((each, index) => [`b${index}`, `tcp://127.0.0.1:${each}`])),
        ...pool,
      },
    },
    listeners: {
      edge: {
        listen: `tcp://127.0.0.1:${port}`,
        pool: 'calls',
        limits,
        pipeline: [{ ndjson: { correlation: 'id' } }, { 'round-robin': {} }],
      },
    },
  };
  const file = join(mkdtempSync(join(tmpdir(), 'overload-')), 'config.json');
  writeFileSync(file, JSON.stringify(config));
  const child = spawn(process.execPath, ['.build/core/cli/main.js', 'run', file], { stdio: 'ignore' });
  children.push(child);
  for (;;) {
    const socket = net.connect(port, '127.0.0.1');
    const isOpen = await Promise.race([
      once(socket, 'connect').then(() => true),
      once(socket, 'error').then(() => false),
    ]).catch(() => false);
    socket.destroy();
    if (isOpen) return { child, port, residentMiB: () => residentMiB(child.pid!) };
    await sleep(50);
  }
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as net.AddressInfo;
  server.close();
  return port;
}

function residentMiB(pid: number): number {
  return Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024;
}

interface Load {
  answered: number;
  refused: Map<string, number>;
  latencies: number[];
}

/** Sends so many requests a second, whatever comes back. */
async function offer(port: number, perSecond: number, forSeconds: number, clients: number): Promise<Load> {
  const load: Load = { answered: 0, refused: new Map(), latencies: [] };
  const sentAt = new Map<number, number>();
  const sockets = Array.from({ length: clients }, () => {
    const socket = net.connect(port, '127.0.0.1');
    socket.on('error', () => {});
    createInterface({ input: socket }).on('line', (line) => {
      const { id, error } = JSON.parse(line);
      if (error !== undefined) load.refused.set(error.message, (load.refused.get(error.message) ?? 0) + 1);
      else {
        load.answered++;
        load.latencies.push(performance.now() - sentAt.get(id)!);
      }
      sentAt.delete(id);
    });
    return socket;
  });
  const began = performance.now();
  let sent = 0;
  while (performance.now() - began < forSeconds * 1000) {
    const due = Math.floor(((performance.now() - began) / 1000) * perSecond);
    for (; sent < due; sent++) {
      sentAt.set(sent, performance.now());
      sockets[sent % clients]!.write(`{"jsonrpc":"2.0","method":"get","id":${sent},"text":"${padding}"}\n`);
    }
    await sleep(5);
  }
  await sleep(1500);
  for (const socket of sockets) socket.destroy();
  return load;
}

const percentile = (values: readonly number[], share: number) =>
  [...values].sort((one, other) => one - other)[Math.floor(values.length * share)] ?? Number.NaN;

const inWords = ({ answered, refused, latencies }: Load) =>
  `${answered} answered (p99 ${percentile(latencies, 0.99).toFixed(0)} ms), ${[...refused].map(([reason, count]) => `${count} ${reason}`).join(', ') || 'none refused'}`;

async function threeTimesSaturation(): Promise<void> {
  const backends = [await startBackend(), await startBackend()];
  const pool = { backendLimits: { inFlight: 200 }, queueSeconds: 1 };
  const balancer = await startBalancer(
    backends.map(({ port }) => port),
    pool,
    {},
  );
  await offer(balancer.port, 1000, 2, 20);
  const before = balancer.residentMiB();
  let most = before;
  const sampling = setInterval(() => {
    most = Math.max(most, balancer.residentMiB());
  }, 250);
  const load = await offer(balancer.port, 3 * 2 * backendPerSecond, seconds, 100);
  clearInterval(sampling);
  say(
    `three times saturation for ${seconds} s: resident ${before.toFixed(0)} MiB before, ${most.toFixed(0)} MiB at most; ${inWords(load)}`,
  );
}

async function clientThatStopsReading(): Promise<void> {
  const backends = [await startBackend(), await startBackend()];
  const balancer = await startBalancer(
    backends.map(({ port }) => port),
    {},
    {},
  );
  await offer(balancer.port, 500, 2, 20);
  const alone: number[] = [];
  const beside: number[] = [];
  let closed = 0;
  for (let round = 0; round < 3; round++) {
    alone.push(percentile((await offer(balancer.port, 500, 4, 20)).latencies, 0.99));
    const deaf = net.connect(balancer.port, '127.0.0.1');
    deaf.on('error', () => {});
    deaf.pause();
    const text = Array.from(
      { length: 30 },
      (_, id) => `{"jsonrpc":"2.0","id":${id},"method":"get","bytes":20000}\n`,
    ).join('');
    const asking = setInterval(() => deaf.writable && deaf.write(text), 100);
    beside.push(percentile((await offer(balancer.port, 500, 4, 20)).latencies, 0.99));
    clearInterval(asking);
    if (deaf.closed) closed++;
    deaf.destroy();
  }
  say(
    `a client that stops reading: p99 of the others ${Math.min(...alone).toFixed(1)} ms without it, ${Math.min(...beside).toFixed(1)} ms beside it (least of three rounds each); it was closed in ${closed} of 3; resident ${balancer.residentMiB().toFixed(0)} MiB`,
  );
}

async function backendThatStopsReading(): Promise<void> {
  const backends = [await startBackend(), await startBackend()];
  const pool = { queueBytes: 262_144, backendLimits: { inFlight: 1000 } };
  const balancer = await startBalancer(
    backends.map(({ port }) => port),
    pool,
    {},
  );
  await offer(balancer.port, 500, 2, 20);
  const before = balancer.residentMiB();
  backends[1]!.child.kill('SIGSTOP');
  const first = await offer(balancer.port, 500, 8, 20);
  const later = await offer(balancer.port, 500, 4, 20);
  backends[1]!.child.kill('SIGCONT');
  say(
    `a backend that stops reading: of the first ${8 * 500} requests ${inWords(first)}; of the next ${4 * 500} ${inWords(later)}; resident ${before.toFixed(0)} MiB before, ${balancer.residentMiB().toFixed(0)} MiB after`,
  );
}

try {
  await clientThatStopsReading();
  await backendThatStopsReading();
  await threeTimesSaturation();
} finally {
  for (const child of children) child.kill('SIGKILL');
}
process.exit();
