import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { inheritedFd } from '../../../core/runtime/inherited.ts';
import { temporaryFolder } from '../../support/peers.ts';
import { openJsonRpc } from '../cli/process.ts';

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

/** As a supervisor has it: a socket that is bound, where others listen. */
function bind(): { fd: number; port: number; close: () => void } {
  interface Handle {
    fd: number;
    getsockname(into: { port: number }): void;
    close(): void;
  }
  const { _createServerHandle: create } = net as unknown as {
    _createServerHandle(host: string, port: number, family: number): Handle;
  };
  const handle = create('127.0.0.1', 0, 4);
  const name = { port: 0 };
  handle.getsockname(name);
  return { fd: handle.fd, port: name.port, close: () => handle.close() };
}

/** One request after the other, each on a connection that is there as long as nobody closes it; what got no answer is asked again. */
class Asker {
  readonly #port: number;
  readonly #name: string;
  #socket: net.Socket | undefined;
  #isDone = false;
  asked = 0;
  answered = 0;
  /** How often its connection was closed, or refused new requests, so that it went on on another. */
  moved = 0;
  /** What must not happen: connections that fail, answers to something else. */
  readonly faults: string[] = [];
  readonly done: Promise<void>;

  constructor(port: number, name: string) {
    this.#port = port;
    this.#name = name;
    onTestFinished(() => {
      this.#isDone = true;
      this.#socket?.destroy();
    });
    this.done = this.#run();
  }

  end(): void {
    this.#isDone = true;
  }

  async #run(): Promise<void> {
    while (!this.#isDone) {
      const id = `${this.#name}-${++this.asked}`;
      let answer: string | undefined;
      while (answer === undefined) {
        this.#socket ??= this.#connect();
        const socket = this.#socket;
        socket.write(`{"jsonrpc":"2.0","method":"get","id":"1","params":"${id}"}\n`);
        answer = await this.#answer(socket);
        if (answer === undefined || answer.includes('"stopping"')) {
          this.moved++;
          answer = undefined;
          socket.end();
          this.#socket = undefined;
        }
      }
      if ((JSON.parse(answer) as { result: string }).result === id) this.answered++;
      else this.faults.push(answer);
    }
    this.#socket?.destroy();
  }

  #connect(): net.Socket {
    const socket = net.connect({ port: this.#port, host: '127.0.0.1', noDelay: true });
    socket.on('error', (error) => this.faults.push(error.message));
    return socket;
  }

  /** Undefined: the connection was closed instead. */
  #answer(socket: net.Socket): Promise<string | undefined> {
    return new Promise((resolve) => {
      let text = '';
      const onData = (bytes: Buffer) => {
        text += bytes;
        if (text.endsWith('\n')) settle(text);
      };
      const onEnd = () => settle(undefined);
      const settle = (answer: string | undefined) => {
        socket.off('data', onData).off('end', onEnd).off('close', onEnd);
        resolve(answer);
      };
      socket.on('data', onData).on('end', onEnd).on('close', onEnd);
    });
  }
}

it('goes from one process to the next under load: no connection refused, no request lost or sent twice', {
  timeout: 120_000,
}, async () => {
  const folder = temporaryFolder();
  const asked = new Map<string, number>();
  const backend = await openJsonRpc(({ params }) => {
    asked.set(params as string, (asked.get(params as string) ?? 0) + 1);
    return params;
  });
  const file = join(folder, 'config.yaml');
  writeFileSync(
    file,
    `pools: { calls: { backends: { a: "tcp://127.0.0.1:${backend}" } } }
listeners: { edge: { listen: fd://3, pool: calls, pipeline: [{ ndjson: { correlation: id } }, { round-robin: }] } }
`,
  );
  const { fd, port, close } = bind();
  onTestFinished(close);
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
  const stop = async (child: ChildProcess) => {
    child.kill('SIGTERM');
    expect(await once(child, 'exit')).toEqual([0, null]);
  };

  let running = await start();
  const askers = Array.from({ length: 8 }, (_, index) => new Asker(port, `client-${index}`));
  /** Every asker has got some answers more. */
  const traffic = async () => {
    const before = askers.map(({ answered }) => answered);
    await vi.waitFor(() => expect(askers.every(({ answered }, index) => answered >= before[index]! + 30)).toBe(true), {
      timeout: 20_000,
      interval: 5,
    });
  };
  await traffic();
  for (let restart = 0; restart < 3; restart++) {
    const next = await start();
    await stop(running);
    running = next;
    await traffic();
  }
  for (const asker of askers) asker.end();
  await Promise.all(askers.map(({ done }) => done));
  await stop(running);

  expect(askers.flatMap(({ faults }) => faults)).toEqual([]);
  expect(askers.every(({ asked, answered }) => asked === answered)).toBe(true);
  expect(Math.min(...askers.map(({ moved }) => moved))).toBeGreaterThan(0);
  expect([...asked.values()].filter((times) => times !== 1)).toEqual([]);
  expect(asked.size).toBe(askers.reduce((sum, { asked }) => sum + asked, 0));
});
