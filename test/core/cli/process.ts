/** `pointsman run` as a process of its own, with backends and clients to try it with. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onTestFinished, vi } from 'vitest';
import { builtMain } from '../../support/built.ts';
import { dial, listen, temporaryFolder } from '../../support/peers.ts';

export interface Line {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface ProcessOptions {
  /** Undefined: it is there already. */
  readonly config?: string;
  /** Where `config.yaml` is; undefined: in a folder of its own. */
  readonly folder?: string;
  readonly args?: readonly string[];
  /** What the command line begins with, before the command itself. */
  readonly wrapper?: readonly string[];
  /** Where its log goes; undefined: to `log`. */
  readonly stdout?: number;
  readonly env?: NodeJS.ProcessEnv;
}

/** The process, which is killed when the test is over. */
export class PointsmanProcess {
  readonly child: ChildProcess;
  /** The config file. */
  readonly file: string;
  readonly log: Line[] = [];
  errors = '';
  readonly exited: Promise<number | string>;

  constructor({ config, folder = temporaryFolder(), args = [], wrapper = [], stdout, env }: ProcessOptions) {
    this.file = join(folder, 'config.yaml');
    if (config !== undefined) writeFileSync(this.file, config);
    const [program, ...rest] = [...wrapper, process.execPath, builtMain(), 'run', this.file, ...args];
    this.child = spawn(program!, rest, {
      stdio: ['ignore', stdout ?? 'pipe', 'pipe'],
      env: { ...process.env, ...env },
      detached: true,
    });
    this.exited = once(this.child, 'exit').then(([code, signal]) => (code ?? signal) as number | string);
    const lines = this.child.stdout === null ? undefined : createInterface(this.child.stdout);
    lines?.on('line', (line) => this.log.push(JSON.parse(line) as Line));
    this.child.stderr!.on('data', (chunk: Buffer) => {
      this.errors += chunk;
    });
    onTestFinished(async () => {
      try {
        process.kill(-this.child.pid!, 'SIGKILL');
      } catch {
        // It has ended.
      }
      await this.exited;
    });
  }

  /** The first line with that text after the first `after` lines, as soon as there is one. */
  async logged(msg: string, after = 0): Promise<Line> {
    return vi.waitFor(
      () => {
        const line = this.log.slice(after).find((line) => line.msg === msg);
        if (line === undefined) throw new Error(`no line "${msg}":\n${JSON.stringify(this.log)}\n${this.errors}`);
        return line;
      },
      { timeout: 30_000, interval: 10 },
    );
  }

  stop(): Promise<number | string> {
    this.child.kill('SIGTERM');
    return this.exited;
  }
}

/** Opens a backend that speaks JSON-RPC, a message a line; answers its port. */
export function openJsonRpc(resultOf: (request: { params?: unknown }) => unknown): Promise<number> {
  return listen(
    net.createServer({ noDelay: true }, (socket) => {
      socket.on('error', () => {});
      createInterface(socket)
        .on('error', () => {})
        .on('line', (line) => {
          const request = JSON.parse(line) as { id: unknown; params?: unknown };
          socket.write(`${JSON.stringify({ jsonrpc: '2.0', result: resultOf(request), id: request.id })}\n`);
        });
    }),
  );
}

/** Opens a backend that answers every request with its name; answers its port. */
export const openBackend = (name: string): Promise<number> => openJsonRpc(() => name);

/** Asks on a connection; returns who has answered. Rejects if it is closed instead. */
export async function ask(socket: net.Socket): Promise<string> {
  socket.write('{"jsonrpc":"2.0","method":"m","id":"1"}\n');
  const over = new AbortController();
  const closed = once(socket, 'close', over).then(() => Promise.reject(new Error('closed without an answer')));
  try {
    const [bytes] = (await Promise.race([once(socket, 'data', over), closed])) as [Buffer];
    return (JSON.parse(bytes.toString()) as { result: string }).result;
  } finally {
    closed.catch(() => {});
    over.abort();
  }
}

export async function askAt(port: number): Promise<string> {
  const socket = await dial(port);
  const answer = await ask(socket);
  socket.destroy();
  return answer;
}

/** One listener, one backend. */
export const configOf = (listen: string, backend: number, more = '') => `
pools: { calls: { links: shared, backends: { a: "tcp://127.0.0.1:${backend}" } } }
listeners: { edge: { listen: "${listen}", pool: calls, pipeline: [{ ndjson: { correlation: id } }, { round-robin: }] } }
${more}
`;
