/** What goes wrong in a process, and does not end it: real processes. */
import { closeSync, openSync, writeFileSync } from 'node:fs';
import type net from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { describeWith, dial, temporaryFolder } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';
import { ask, askAt, configOf, openBackend, PointsmanProcess } from './process.ts';

const host = '127.0.0.1';
const timeout = 60_000;

async function metric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://${host}:${port}/metrics`)).text();
  const line = text.split('\n').find((line) => line.startsWith(`pointsman_${name} `));
  return Number(line?.split(' ')[1]);
}

/** Starts it with a plugin of that name and source, and metrics. */
async function startWith(name: string, source: string, workers: number) {
  const plugin = join(temporaryFolder(), `${name}.ts`);
  writeFileSync(plugin, source);
  const [port, metrics, backend] = [await freePort(), await freePort(), await openBackend('a')];
  const pointsman = new PointsmanProcess({
    config: configOf(
      `tcp://${host}:${port}`,
      backend,
      `plugins: [ ${plugin} ]
workers: ${workers}
observers: [{ metrics: { listen: "tcp://${host}:${metrics}" } }]`,
    ).replace('pipeline: [', `pipeline: [{ ${name}: }, `),
  });
  await pointsman.logged('started');
  return { pointsman, port, metrics };
}

const careless = `import { definePlugin, Type } from 'pointsman';
export default definePlugin({
  name: 'careless', summary: 'Throws where nobody catches.', pointsman: '^1', options: Type.Object({}),
  apply(hooks, _options, scope) {
    hooks.detectId.tap('careless', () => {
      setTimeout(() => { throw new Error('in a timer'); }, 1);
      Promise.reject(new Error('in a promise'));
      return undefined;
    });
  },
});
`;

it.each([1, 2])(
  'an error that nobody catches is logged and counted, with workers: %i',
  { timeout },
  async (workers) => {
    const { pointsman, port, metrics } = await startWith('careless', careless, workers);
    const socket = await dial(port);
    for (let each = 0; each < 3; each++) expect(await ask(socket)).toBe('a');
    await vi.waitFor(async () => expect(await metric(metrics, 'uncaught_errors_total')).toBe(12), { timeout: 10_000 });
    const logged = pointsman.log.filter(({ msg }) => msg === 'an error that nobody caught');
    expect(logged).toMatchObject(
      expect.arrayContaining([
        expect.objectContaining({ level: 'error', reason: 'in a timer', origin: 'uncaughtException' }),
        expect.objectContaining({ level: 'error', reason: 'in a promise', origin: 'unhandledRejection' }),
      ]),
    );
    expect(JSON.stringify(logged)).toContain('careless.ts:');
    expect(pointsman.log.some(({ msg }) => msg.startsWith('worker ended'))).toBe(false);
    expect(await pointsman.stop()).toBe(0);
  },
);

it.each([1, 2])('a full disk costs log lines, which are counted, with workers: %i', { timeout }, async (workers) => {
  const full = openSync('/dev/full', 'w');
  onTestFinished(() => closeSync(full));
  const [port, metrics, backend] = [await freePort(), await freePort(), await openBackend('a')];
  const pointsman = new PointsmanProcess({
    config: configOf(
      `tcp://${host}:${port}`,
      backend,
      `workers: ${workers}
observers: [{ metrics: { listen: "tcp://${host}:${metrics}" } }, { access-log: { file: /dev/full, messages: 1 } }]`,
    ),
    stdout: full,
  });
  await vi.waitFor(() => askAt(port), { timeout: 30_000, interval: 50 });
  const failed = (log: string) => metric(metrics, `log_write_errors_total{log="${log}"}`);
  const before = await failed('process');
  expect(before).toBeGreaterThan(0);
  for (let each = 0; each < 5; each++) expect(await askAt(port)).toBe('a');
  await vi.waitFor(async () => expect(await failed('access-log')).toBeGreaterThan(0), { timeout: 10_000 });
  // That the access log cannot be written would be logged as well, and cannot be.
  await vi.waitFor(async () => expect(await failed('process')).toBeGreaterThan(before), { timeout: 10_000 });
  expect(await pointsman.stop()).toBe(0);
});

const talkative = `import { definePlugin, Type } from 'pointsman';
export default definePlugin({
  name: 'talkative', summary: 'Logs much.', pointsman: '^1', options: Type.Object({}),
  apply: (hooks, _options, scope) => hooks.detectId.tap('talkative', () => scope.log.info({}, 'x'.repeat(200_000))),
});
`;

it.each([1, 2])(
  'whoever reads the log and stops costs lines, which are counted, and no traffic, with workers: %i',
  { timeout },
  async (workers) => {
    const { pointsman, port, metrics } = await startWith('talkative', talkative, workers);
    pointsman.child.stdout!.pause();
    const socket = await dial(port);
    for (let each = 0; each < 50; each++) expect(await ask(socket)).toBe('a');
    await vi.waitFor(
      async () => expect(await metric(metrics, 'log_lines_dropped_total{log="process"}')).toBeGreaterThan(0),
      {
        timeout: 10_000,
      },
    );
    pointsman.child.stdout!.resume();
    const told = 'lines of the log were dropped so far: whoever reads it does not keep up';
    expect((await pointsman.logged(told)).dropped).toBeGreaterThan(0);
    expect(await ask(socket)).toBe('a');
    expect(await pointsman.stop()).toBe(0);
  },
);

it('a worker that dies while a connection is handed to it is replaced', { timeout }, async () => {
  const [port, backend] = [await freePort(), await openBackend('a')];
  const pointsman = new PointsmanProcess({ config: configOf(`tcp://${host}:${port}`, backend, 'workers: 2') });
  await pointsman.logged('started');
  const [worker] = pointsman.log.filter(({ msg }) => msg === 'worker started').map(({ pid }) => pid as number);
  const before = pointsman.log.length;
  process.kill(worker!, 'SIGSTOP');
  const sockets = [await dial(port), await dial(port)]; // one for each worker
  onTestFinished(() => void sockets.map((socket) => socket.destroy()));
  await Promise.any(sockets.map(ask));
  process.kill(worker!, 'SIGKILL');
  await pointsman.logged('worker started', before);
  for (let each = 0; each < 4; each++) expect(await askAt(port)).toBe('a');
  expect(await pointsman.stop()).toBe(0);
});

describeWith('prlimit', 'util-linux', 'a process without file descriptors', () => {
  it.each([1, 2])(
    'goes on with the connections it has, and takes new ones when it can, with workers: %i',
    {
      timeout,
    },
    async (workers) => {
      const [port, metrics, backend] = [await freePort(), await freePort(), await openBackend('a')];
      const pointsman = new PointsmanProcess({
        config: configOf(
          `tcp://${host}:${port}`,
          backend,
          `workers: ${workers}\nobservers: [{ metrics: { listen: "tcp://${host}:${metrics}" } }]`,
        ),
        wrapper: ['prlimit', '--nofile=64:64'],
      });
      await pointsman.logged('started');
      const first = await dial(port);
      expect(await ask(first)).toBe('a');

      // One after the other: what comes at once, the system may close before anybody has seen it.
      const others: net.Socket[] = [];
      let closed = 0;
      for (let each = 0; each < 80; each++) {
        const socket = await dial(port);
        others.push(socket.on('error', () => {}).on('close', () => closed++));
        await ask(socket).catch(() => {});
      }
      expect(closed).toBeGreaterThan(0);
      await vi.waitFor(
        async () => expect(await metric(metrics, 'connections_turned_away_total{listener="edge"}')).toBeGreaterThan(0),
        { timeout: 10_000 },
      );
      expect(await pointsman.logged('client turned away')).toMatchObject({ reason: 'too many open files' });
      for (let each = 0; each < 20; each++) expect(await ask(first)).toBe('a');

      for (const each of others) each.destroy();
      await vi.waitFor(() => askAt(port), { timeout: 10_000, interval: 50 });
      expect(await ask(first)).toBe('a');
      expect(await pointsman.stop()).toBe(0);
      expect(pointsman.log.some(({ msg }) => msg.startsWith('worker ended'))).toBe(false);
    },
  );

  it('says so where workers are stuck, and takes clients when they are not any more', { timeout }, async () => {
    const [port, backend] = [await freePort(), await openBackend('a')];
    const pointsman = new PointsmanProcess({
      config: configOf(`tcp://${host}:${port}`, backend, 'workers: 2'),
      wrapper: ['prlimit', '--nofile=64:64'],
    });
    await pointsman.logged('started');
    const workers = pointsman.log.filter(({ msg }) => msg === 'worker started').map(({ pid }) => pid as number);
    for (const pid of workers) process.kill(pid, 'SIGSTOP');
    const waiting = await Promise.all(Array.from({ length: 80 }, () => dial(port)));
    let closed = 0;
    for (const socket of waiting) socket.on('error', () => {}).on('close', () => closed++);
    await vi.waitFor(() => expect(closed).toBeGreaterThan(0), { timeout: 10_000 });
    await pointsman.logged('hardly any file can be opened any more: connections that no worker takes are closed');

    const before = pointsman.log.length;
    process.kill(workers[0]!, 'SIGKILL');
    await vi.waitFor(() => expect(JSON.stringify(pointsman.log.slice(before))).toContain('spawn'), { timeout: 10_000 });

    for (const each of waiting) each.destroy();
    process.kill(workers[1]!, 'SIGCONT');
    await pointsman.logged('files can be opened again');
    await pointsman.logged('worker started', before);
    await vi.waitFor(() => askAt(port), { timeout: 10_000, interval: 50 });
    expect(await pointsman.stop()).toBe(0);
  });
});
