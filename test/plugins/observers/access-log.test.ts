import { existsSync, readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import type { PluginDefinition } from 'pointsman';
import { expect, it, onTestFinished, vi } from 'vitest';
import type { Rig, Wire } from '../../../core/rehearsal/rig.ts';
import { defaultLimits } from '../../../core/settings.ts';
import accessLog from '../../../plugins/observers/access-log.ts';
import ndjson from '../../../plugins/protocols/ndjson.ts';
import { guest } from '../../support/lines.ts';
import { temporaryFolder } from '../../support/peers.ts';
import { observed } from './observed.ts';

/** A balancer whose access is logged, and the lines that were. */
async function logged(options: object = {}, visitor?: PluginDefinition, protocol?: Parameters<typeof observed>[3]) {
  const file = join(temporaryFolder(), 'log', 'access.log');
  const { rig, observers, warn } = await observed(
    accessLog as PluginDefinition,
    { file, ...options },
    visitor,
    protocol,
  );
  let isStopped = false;
  const stop = async () => {
    if (!isStopped) await observers.stop();
    isStopped = true;
  };
  onTestFinished(stop);
  const lines = async () => {
    rig.advance(200);
    await stop();
    return readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line));
  };
  return { rig, file, lines, warn };
}

const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
const conn = expect.stringMatching(/^[0-9a-f]+-0-1$/);

it('has a line for each connection when it closes', async () => {
  const { rig, lines } = await logged();
  const alice = rig.client('198.51.100.7');
  alice.send('one\ntwo\n');
  rig.advance(1500);
  alice.reset();
  expect(await lines()).toEqual([
    {
      time,
      level: 'info',
      event: 'connection',
      listener: 'edge',
      conn,
      client: '198.51.100.7',
      bytes: 8,
      messages: 2,
      reason: 'connection-failed',
      duration: 1.5,
    },
  ]);
});

it.each<[string, (rig: Rig, client: Wire) => unknown]>([
  ['client-closed', (_rig, client) => client.end()],
  ['nul', (_rig, client) => client.send('\0\n')],
  ['too-large', (_rig, client) => client.send('x'.repeat(defaultLimits.messageBytes))],
  ['idle', (rig) => rig.advance(defaultLimits.idleSeconds * 1000 + 1000)],
  [
    'operator',
    async ({ balancer }) => balancer.closeConnection((await balancer.connections({ limit: 1 })).connections[0]!.id),
  ],
  ['stopping', (rig) => rig.stop()],
])('says why a connection has ended: %s', async (reason, end) => {
  const { rig, lines } = await logged();
  const alice = rig.client();
  await end(rig, alice);
  rig.advance(7000); // a client that does not close its end is given some time
  expect(await lines()).toMatchObject([{ event: 'connection', reason }]);
});

it('tells how many messages of a connection went to which backend, where that is asked for', async () => {
  const { rig, lines } = await logged({ backends: true });
  const [alice, bob] = [rig.client(), rig.client()];
  alice.send('one\n@b two\n?\n@b three\n');
  rig.backend('b').link.send('#2 done\n');
  alice.reset();
  bob.reset();
  expect(await lines()).toMatchObject([
    { messages: 4, backends: { a: 1, b: 2 } },
    { messages: 0, backends: {} },
  ]);
});

it('has a line for one of so many messages, whatever became of it', async () => {
  const { rig, lines } = await logged({ connections: false, messages: 1 });
  rig.client().send('one\n?\n');
  rig.advance(20);
  rig.backend('a').link.send('#1 done\n');
  const common = { time, level: 'info', event: 'message', listener: 'edge', conn, client: '198.51.100.1' };
  expect(await lines()).toEqual([
    { ...common, backend: 'a', direction: 'from-client', bytes: 4, reason: 'strategy' },
    { ...common, direction: 'from-client', bytes: 2, reason: 'question' },
    { ...common, backend: 'a', direction: 'from-backend', bytes: 8, reason: 'correlation', duration: 0.02 },
  ]);

  const sampled = await logged({ connections: false, messages: 10 });
  sampled.rig.client().send('x\n'.repeat(35));
  expect(await sampled.lines()).toHaveLength(3);
});

it('tells the trace of a message: the one that it came with, or has got', async () => {
  const given = '4bf92f3577b34da6a3ce929d0e0e4736';
  const tracer = guest((hooks) =>
    hooks.detectId.tap({ name: 'guest', stage: -1 }, (message) => {
      const isNew = message.view().includes('new');
      if (isNew) message.traceContext = { traceparent: `00-${'c'.repeat(32)}-00f067aa0ba902b7-01`, tracestate: '' };
      return undefined;
    }),
  );
  const protocol = [ndjson as PluginDefinition, { traceparent: 'trace' }] as const;
  const { rig, lines } = await logged({ connections: false, messages: 1 }, tracer, protocol);
  rig.client().send(`{"trace":"00-${given}-00f067aa0ba902b7-00"}\n{"new":1}\n{}\n{"trace":"none"}\n{"trace":`);
  expect((await lines()).map(({ trace }) => trace)).toEqual([given, 'c'.repeat(32), undefined, undefined]);
});

it('shows payload only where that is asked for, and leaves out what is not to be seen', async () => {
  const { rig, lines } = await logged({ connections: false, messages: 1, payloadBytes: 3, redact: ['client', 'conn'] });
  rig.client().send('secret\n');
  const [line] = await lines();
  expect(line.payload).toBe('sec');
  expect(line).not.toHaveProperty('client');
  expect(line).not.toHaveProperty('conn');
});

it('opens its file again at SIGUSR1', async () => {
  const { rig, file, lines } = await logged({ connections: false, messages: 1 });
  rig.client().send('one\n');
  rig.advance(200);
  await vi.waitFor(() => expect(readFileSync(file, 'utf8')).toContain('"bytes":4'));
  renameSync(file, `${file}.1`);
  process.emit('SIGUSR1');
  await vi.waitFor(() => expect(existsSync(file)).toBe(true));
  rig.client().send('three\n');
  expect((await lines()).map(({ bytes }) => bytes)).toEqual([6]);
});

it('drops lines rather than keep more than it can write, and says how many', async () => {
  const { rig, lines, warn } = await logged({ connections: false, messages: 1 });
  const faultsOf = () => rig.balancer.stats().faults?.logs['access-log'];
  expect(faultsOf()).toEqual({ writeErrors: 0, droppedLines: 0 });
  for (let count = 0; count < 11; count++) rig.client().send('?\n'.repeat(1000));
  rig.advance(11_000);
  expect(warn).toHaveBeenCalledWith({ dropped: 1000 }, 'lines of the access log were dropped: there are too many');
  expect(faultsOf()).toEqual({ writeErrors: 0, droppedLines: 1000 });
  expect(await lines()).toHaveLength(10_000);
});
