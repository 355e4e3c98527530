/** Real backends in processes of their own, one of which is killed under load. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { expect, it, onTestFinished } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { Balancer } from '../../core/balancer.ts';
import { parseAddress } from '../../core/runtime/address.ts';
import { nodeRuntime } from '../../core/runtime/node.ts';
import { defaultLimits } from '../../core/settings.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { optionsOf } from '../support/embedded.ts';

/** Answers each line after some milliseconds, so that requests are always in flight. */
const backendScript = `
  const server = require('node:net').createServer((socket) => {
    socket.on('error', () => {});
    require('node:readline').createInterface({ input: socket }).on('line', (line) => {
      const { id } = JSON.parse(line);
      setTimeout(() => socket.writable && socket.write(JSON.stringify({ id, from: process.argv[1] }) + '\\n'), 15);
    });
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
`;

async function startBackend(name: string) {
  const child = spawn(process.execPath, ['-e', backendScript, name], { stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const [port] = await once(createInterface({ input: child.stdout }), 'line');
  return { name, child, address: parseAddress(`tcp://127.0.0.1:${port}`), weight: 1 };
}

const clients = 10;
const window = 10;
const answersBefore = 500;
const answersAfter = 1500;

it('kill -9 of a backend under load: each request is answered or refused, once, and all in flight are counted', async () => {
  const backends = [await startBackend('a'), await startBackend('b')];
  const quiet = () => {};
  const replayable = { values: ['get'], mark: 'again' };
  const balancer = new Balancer(
    {
      keys: [],
      pools: [
        {
          name: 'pool',
          backends,
          links: 'shared',
          linksPerBackend: 1,
          connectSeconds: 5,
          keepaliveSeconds: 0,
          queueBytes: 4_194_304,
          replay: 'once',
        },
      ],
      listeners: [
        {
          name: 'edge',
          listen: parseAddress('tcp://127.0.0.1:0'),
          pool: 'pool',
          identifiers: {},
          limits: defaultLimits,
          pipeline: [
            { plugin: ndjson, options: optionsOf(ndjson, { correlation: 'id', stamp: [], replayable }) },
            { plugin: roundRobin, options: {} },
          ],
        },
      ],
    },
    { runtime: nodeRuntime(), log: { debug: quiet, info: quiet, warn: quiet, error: quiet } },
  );
  onTestFinished(() => balancer.stop({ deadlineSeconds: 0 }));
  await balancer.start();
  const listener = balancer.listeners[0]!;

  const waiting = new Map<string, 'get' | 'set'>();
  const refused: string[] = [];
  const froms: string[] = [];
  let sent = 0;
  let answers = 0;
  let twice = 0;
  let isDone = () => {};
  const done = new Promise<void>((resolve) => {
    isDone = resolve;
  });

  for (let client = 0; client < clients; client++) {
    const socket = net.connect(listener.address!.port, '127.0.0.1');
    onTestFinished(() => void socket.destroy());
    const send = () => {
      const id = `${client}-${sent}`;
      const method = sent++ % 2 === 0 ? 'get' : 'set';
      waiting.set(id, method);
      socket.write(`${JSON.stringify({ jsonrpc: '2.0', method, id })}\n`);
    };
    createInterface({ input: socket }).on('line', (line) => {
      const { id, error, from } = JSON.parse(line);
      const method = waiting.get(id);
      if (method === undefined) twice++;
      waiting.delete(id);
      answers++;
      if (error !== undefined) refused.push(`${method} ${error.message}`);
      if (answers > answersBefore + answersAfter - clients * window) froms.push(from);
      if (answers === answersBefore) backends[0]!.child.kill('SIGKILL');
      if (answers < answersBefore + answersAfter) send();
      else if (waiting.size === 0) isDone();
    });
    for (let i = 0; i < window; i++) send();
  }
  await done;

  const stats = listener.stats();
  expect(balances(stats)).toBe(true);
  expect([twice, waiting.size, answers]).toEqual([0, 0, sent]);
  // What may be replayed is answered, the rest refused at once.
  expect(refused.length).toBeGreaterThan(0);
  expect(new Set(refused)).toEqual(new Set(['set backend-lost']));
  expect(stats.exchanges).toMatchObject({ open: 0, expired: 0, refused: refused.length });
  expect(stats.exchanges.abandoned).toBe(refused.length + stats.replays.received);
  expect(stats.replays.received).toBeGreaterThan(0);
  expect(stats.replays).toMatchObject({ forwarded: stats.replays.received, held: 0 });
  // Sent after the death was known, and all answered.
  expect(new Set(froms)).toEqual(new Set(['b']));
}, 30_000);
