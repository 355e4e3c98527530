/**
 * What hostile input costs: `npx tsx test/benchmarks/hostile.ts`, after `npm run build`. Prints one line for each case; test/README.md
 * has those of a reference run.
 */
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Affinity } from '../../core/affinity.ts';
import { Random } from '../../core/conformance/random.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { embed } from '../support/embedded.ts';
import { clientAt, messageFrom, poolOf } from '../support/pool.ts';
import { freePort } from '../support/programs.ts';
import { processors, Running, residentKibibytes } from './processes.ts';

const say = (line: string) => void process.stdout.write(`${line}\n`);

/** Tokens that name nobody, in messages through the whole pipeline. */
async function forgeries(count: number): Promise<void> {
  const start = async (secret: number) => {
    const rig = await embed({
      pipeline: [[ndjson], [roundRobin]],
      keys: [{ id: 'k1', secret: Buffer.alloc(32, secret) }],
    });
    rig.client().send('{"a":1}\n{"a":1}\n{"a":1}\n');
    const tokens = rig.backends.map((backend) => JSON.parse(backend.text()).backend as string);
    return { rig, tokens };
  };
  const [{ rig, tokens }, others] = [await start(1), await start(2)];
  const random = new Random(1);
  const { identifiers } = rig.balancer.listeners[0]!.composed;
  const someone = rig.client().peer.socket.handler as never;
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  const kinds: Record<string, () => string> = {
    'made up': () => Array.from({ length: 28 }, () => letters[random.below(32)]).join(''),
    'of one bit flipped': () => {
      const token = Buffer.from(random.pick(tokens));
      const at = random.below(token.length);
      const value = letters.indexOf(String.fromCharCode(token[at]!)) ^ (1 << random.below(5));
      token[at] = letters.charCodeAt(value);
      return token.toString('latin1');
    },
    'of another balancer': () => random.pick(others.tokens),
    'of a client': () => identifiers.ofClient(someone).text.toString('latin1'),
  };
  // The last character holds fewer bits than it could: of two that differ there, both may be the same token.
  const isSame = (token: string) => tokens.some((each) => each.slice(0, -1) === token.slice(0, -1));
  let client = rig.client();
  let sent = 0;
  for (const make of Object.values(kinds)) {
    for (let n = 0; n < count / 4; n++) {
      const token = make();
      if (isSame(token)) continue;
      sent++;
      client.send(`{"backend":"${token}"}\n`);
      if (sent % 1000 === 0) {
        client.reset();
        client = rig.client();
      }
    }
  }
  const delivered = rig.backends.reduce((sum, backend) => sum + backend.take().length, 0);
  const { refusedFor, forwarded } = rig.stats().fromClients;
  say(
    `${sent} tokens ${Object.keys(kinds).join(', ')}: ${forwarded - 3} delivered (${delivered} bytes), refused ${JSON.stringify(refusedFor)}`,
  );
}

/** More ids than the affinity table holds. */
function flood(count: number): void {
  const [pool, bytes] = [poolOf('a', 'b', 'c'), Buffer.alloc(16)];
  const table = new Affinity({
    entries: 65_536,
    countsInFlight: true,
    relate: (message, ids) => ids.add(0, message.length),
    key: Buffer.from('8 bytes!'),
  });
  const client = clientAt('192.0.2.1');
  const message = messageFrom(client, '');
  const take = (id: number) => {
    bytes.writeDoubleLE(id);
    message.open(bytes, 0, 16, 'client', client);
    return message;
  };
  for (let id = 0; id < 65_536; id++) table.remember(take(id), pool.backends[0]!);
  const before = process.memoryUsage().arrayBuffers;
  const began = performance.now();
  for (let id = 65_536; id < count; id++) table.remember(take(id), pool.backends[id % 3]!);
  const seconds = (performance.now() - began) / 1000;
  const newest = Array.from({ length: 65_536 }, (_, n) => table.find(take(count - 1 - n))).filter(
    (each) => each,
  ).length;
  const kept = pool.backends.reduce((sum, { inFlight }) => sum + inFlight, 0);
  say(
    `${count} ids in an affinity table of 65536: memory grew by ${process.memoryUsage().arrayBuffers - before} bytes, ${table.evicted} pushed out, the newest ${newest} found, ${kept} counted in flight; ${((seconds / count) * 1e9).toFixed(0)} ns each`,
  );
}

async function startBalancer(pipeline: object[], backend: number) {
  const port = await freePort();
  const file = join(mkdtempSync(join(tmpdir(), 'hostile-')), 'config.json');
  const pools = { calls: { backends: { a: { address: `tcp://127.0.0.1:${backend}`, number: 1 } } } };
  const listen = `tcp://127.0.0.1:${port}`;
  writeFileSync(file, JSON.stringify({ pools, listeners: { edge: { listen, pool: 'calls', pipeline } } }));
  const running = new Running(processors.balancer, process.execPath, ['.build/core/cli/main.js', 'run', file]);
  await running.listens(port);
  await sleep(1000);
  return { port, running, residentMiB: () => residentKibibytes([running.pid]) / 1024 };
}

async function connect(port: number, count: number): Promise<net.Socket[]> {
  const sockets: net.Socket[] = [];
  while (sockets.length < count) {
    const some = Array.from({ length: Math.min(200, count - sockets.length) }, () => net.connect(port, '127.0.0.1'));
    for (const socket of some) socket.on('error', () => {});
    sockets.push(...some);
    await Promise.all(some.map((socket) => once(socket, 'connect')));
  }
  return sockets;
}

/** Length fields of 4 GiB, and of as much as is allowed, with next to nothing behind them. */
async function promises(backend: number): Promise<void> {
  const options = { length: { offset: 0, size: 4, endian: 'big' }, id: { offset: 4, size: 2 } };
  const { port, running, residentMiB } = await startBalancer(
    [{ 'length-prefixed': options }, { 'round-robin': {} }],
    backend,
  );
  for (const bytes of [0xffff_ffff, 1_000_000]) {
    const sockets = await connect(port, 1000);
    await sleep(1000);
    const before = residentMiB();
    const frame = Buffer.alloc(100);
    frame.writeUInt32BE(bytes);
    for (const socket of sockets) socket.resume().write(frame);
    await sleep(3000);
    const open = sockets.filter(({ readableEnded, destroyed }) => !readableEnded && !destroyed).length;
    say(
      `a length field of ${bytes} on 1000 connections: resident grew by ${(residentMiB() - before).toFixed(1)} MiB; ${open} of them are open`,
    );
    for (const socket of sockets) socket.destroy();
  }
  await running.stop();
}

/** Connections on which nothing happens, and one more. */
async function idlers(backend: number): Promise<void> {
  const { port, running, residentMiB } = await startBalancer([{ ndjson: {} }, { 'round-robin': {} }], backend);
  const ask = async () => {
    const began = performance.now();
    const [socket] = await connect(port, 1);
    socket!.write('{"a":1}\n');
    await once(socket!, 'data');
    socket!.destroy();
    return performance.now() - began;
  };
  await ask();
  const [alone, before] = [await ask(), residentMiB()];
  const sockets = await connect(port, 10_000);
  await sleep(3000); // until all are accepted
  const beside = await ask();
  const open = sockets.filter(({ destroyed }) => !destroyed).length;
  say(
    `10000 idle connections: ${open} open, resident ${before.toFixed(0)} MiB before, ${residentMiB().toFixed(0)} MiB with them; a new one connects and is answered in ${beside.toFixed(1)} ms, ${alone.toFixed(1)} ms without them`,
  );
  for (const socket of sockets) socket.destroy();
  await running.stop();
}

const echo = net.createServer((socket) => socket.on('error', () => {}).pipe(socket)).listen(0, '127.0.0.1');
await once(echo, 'listening');
const { port } = echo.address() as net.AddressInfo;
flood(10_000_000);
await forgeries(1_000_000);
await promises(port);
await idlers(port);
process.exit();
