/**
 * Takes the picture of the README and prints what `top` shows beside it: three backends and some clients keep a balancer busy, and
 * one backend has just gone away. `npm run screenshots -- 300` lets it run for 300 seconds before.
 */
import { EventEmitter } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';
import { run } from '../../core/cli/run.ts';
import { top } from '../../core/cli/top.ts';

const seconds = Number(process.argv[2] ?? 120);
const host = '127.0.0.1';
const portOf = (index: number) => 7100 + index;
const url = `http://${host}:9901`;
const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
const file = join(folder, 'config.yaml');
writeFileSync(
  file,
  `keys: [{ id: k1, secret: "\${env:POINTSMAN_KEY}" }]
pools:
  workers:
    checks: [{ tcp-connect: {} }]
    backends:
      worker-1: tcp://${host}:${portOf(1)}
      worker-2: { address: "tcp://${host}:${portOf(2)}", weight: 2 }
      worker-3: tcp://${host}:${portOf(3)}
listeners:
  rpc:
    listen: tcp://${host}:${portOf(0)}
    pool: workers
    identifiers: { whenDown: rechoose }
    pipeline: [{ ndjson: { stamp: [response], correlation: id } }, { least-loaded: {} }]
observers: [{ admin: { listen: "tcp://${host}:9901" } }]
`,
);
process.env.POINTSMAN_KEY = 'a key for pictures only';

/** Calls back with each line. */
function onLine(socket: net.Socket, callback: (message: { id: number; backend?: string }) => void): void {
  let rest = '';
  socket.on('error', () => {});
  socket.on('data', (bytes) => {
    const lines = (rest + bytes).split('\n');
    rest = lines.pop()!;
    for (const line of lines) callback(JSON.parse(line));
  });
}

const connections = new Set<net.Socket>();
const backends = [1, 2, 3].map((index) =>
  net
    .createServer((socket) => {
      connections.add(socket);
      onLine(socket, ({ id }) => {
        setTimeout(() => socket.write(`{"id":${id},"result":${index}}\n`), 2 + Math.random() * 6 * index);
      });
    })
    .listen(portOf(index), host),
);

/** Goes on with a session, as its answers say, or begins another one. */
function startClient(number: number): void {
  const socket = net.connect(portOf(0), host);
  connections.add(socket);
  let session: string | undefined;
  onLine(socket, ({ backend }) => {
    session = backend ?? session;
  });
  let id = 0;
  setInterval(
    () => {
      const isNew = Math.random() < 0.3 + 0.1 * Math.sin(Date.now() / 20_000);
      socket.write(`${JSON.stringify({ ...(session !== undefined && !isNew && { backend: session }), id: ++id })}\n`);
    },
    20 + 4 * number,
  );
}

const signals = Object.assign(new EventEmitter(), { exit: () => {} });
const quiet = { write: () => {} };
void run([file], { logLevel: 'error', stopSeconds: 0 }, { stdout: quiet, stderr: process.stderr }, signals as never);
await sleep(2000);
for (let number = 0; number < 8; number++) startClient(number);
await sleep(seconds * 1000);
backends[2]!.close();
for (const socket of connections) if (socket.localPort === portOf(3)) socket.destroy();
await sleep(9000);

const browser = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 1280, height: 1215 } });
await page.addInitScript({ path: fileURLToPath(new URL('page.js', import.meta.url)) });
await page.goto(url);
await sleep(4000);
writeFileSync(new URL('dashboard.svg', import.meta.url), await page.evaluate<string>('pictureOfPage()'));
await browser.close();
await top(
  { url, once: true },
  { stdout: { write: (text) => process.stdout.write(text), isTTY: true, columns: 100 }, stderr: process.stderr },
);
rmSync(folder, { recursive: true });
process.exit();
