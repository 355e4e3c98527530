import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished } from 'vitest';
import { inheritedFd } from '../../../core/runtime/inherited.ts';
import { dial, listen, temporaryFolder } from '../../support/peers.ts';

describe('a socket that the process has been given', () => {
  const env = { LISTEN_PID: '100', LISTEN_FDS: '2', LISTEN_FDNAMES: 'edge:admin:more' };

  it.each([
    ['7', 7],
    ['edge', 3],
    ['admin', 4],
  ])('is found by %s', (name, fd) => {
    expect(inheritedFd(name, env, [100, 1])).toBe(fd);
    expect(inheritedFd(name, env, [200, 100])).toBe(fd);
  });

  it.each([
    ['is not there', 'other', env, 100],
    ['is beyond their number', 'more', env, 100],
    ['is for another process', 'edge', env, 101],
    ['has never been announced', 'edge', {}, 100],
  ])('is missed if it %s', (_why, name, given, pid) => {
    expect(() => inheritedFd(name, given, [pid])).toThrow(`no socket named "${name}" has been handed over`);
  });
});

it('goes from one process to the next, with no connection refused', { timeout: 90_000 }, async () => {
  const folder = temporaryFolder();
  const backend = await listen(
    net.createServer((socket) => {
      socket.on('error', () => {});
      socket.on('data', (bytes) => socket.write(bytes));
    }),
  );
  const file = join(folder, 'config.yaml');
  writeFileSync(
    file,
    `pools: { calls: { backends: { a: "tcp://127.0.0.1:${backend}" } } }
listeners: { edge: { listen: fd://3, pool: calls, pipeline: [{ ndjson: }, { round-robin: }] } }
`,
  );
  const holder = net.createServer().listen({ port: 0, host: '127.0.0.1' });
  await once(holder, 'listening');
  const { port } = holder.address() as net.AddressInfo;
  const { fd } = (holder as unknown as { _handle: { fd: number } })._handle;
  const start = async (): Promise<ChildProcess> => {
    const main = join(process.cwd(), 'core/cli/main.ts');
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), main, 'run', file], {
      stdio: ['ignore', 'pipe', 'inherit', fd],
    });
    onTestFinished(() => void child.kill('SIGKILL'));
    const lines = createInterface(child.stdout!);
    for await (const line of lines) if (line.includes('"started"')) break;
    child.stdout!.resume();
    return child;
  };
  const ask = async (socket: net.Socket) => {
    socket.write('{"op":"get"}\n');
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return bytes.toString();
  };
  const stop = async (child: ChildProcess) => {
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  };

  const [first, second] = await Promise.all([start(), start()]);
  holder.close();
  await stop(first);
  for (let each = 0; each < 50; each++) {
    const socket = await dial(port);
    expect(await ask(socket)).toContain('"op":"get"');
    socket.destroy();
  }
  await stop(second);
});
