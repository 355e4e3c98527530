/** The processes of a benchmark: where they run, what they use (from /proc, so on Linux only), and their end. */
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import net from 'node:net';
import { availableParallelism } from 'node:os';
import { isInstalled } from '../support/programs.ts';

/** Which processors a process may use, as `taskset -c` takes it. With two, the balancer has one, all others the other. */
const cpus = availableParallelism();
export const processors = { balancer: String(cpus - 1), load: '0', echo: cpus > 2 ? '1' : '0' };

const pins = cpus > 1 && isInstalled('taskset');

/** A program that runs on one processor. */
export class Running {
  readonly child: ChildProcess;
  readonly #name: string;
  #errors = '';

  constructor(processor: string, program: string, args: readonly string[], { ipc = false } = {}) {
    const command = pins ? ['taskset', '-c', processor, program, ...args] : [program, ...args];
    this.#name = program;
    this.child = spawn(command[0]!, command.slice(1), {
      stdio: ['ignore', 'pipe', 'pipe', ...(ipc ? ['ipc' as const] : [])],
    });
    const keep = (chunk: Buffer) => {
      this.#errors = (this.#errors + chunk).slice(-4000);
    };
    this.child.stdout!.on('data', keep);
    this.child.stderr!.on('data', keep);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** Sends it an order; answers the next message it sends. Rejects if it ends before. */
  async ask<Answer>(order: object): Promise<Answer> {
    const waiting = new AbortController();
    const { signal } = waiting;
    this.child.send(order);
    try {
      return await Promise.race([
        once(this.child, 'message', { signal }).then(([answer]) => answer as Answer),
        once(this.child, 'exit', { signal }).then(() => Promise.reject(this.#ended())),
      ]);
    } finally {
      waiting.abort();
    }
  }

  /** Waits until it accepts connections. */
  async listens(port: number): Promise<void> {
    for (const deadline = performance.now() + 30_000; performance.now() < deadline; ) {
      if (this.child.exitCode !== null) throw this.#ended();
      const socket = net.connect({ port, host: '127.0.0.1' });
      const isOpen = await once(socket, 'connect').then(
        () => true,
        () => false,
      );
      socket.destroy();
      if (isOpen) return;
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    throw new Error(`${this.#name} does not listen on port ${port}:\n${this.#errors}`);
  }

  /** Ends it and the processes it has started. */
  async stop(): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return;
    const pids = treeOf(this.pid);
    const exited = once(this.child, 'exit');
    this.child.kill('SIGTERM');
    const kill = setTimeout(() => pids.forEach(killAtOnce), 5000);
    await exited;
    clearTimeout(kill);
  }

  #ended(): Error {
    return new Error(`${this.#name} has ended (${this.child.exitCode ?? this.child.signalCode}):\n${this.#errors}`);
  }
}

function killAtOnce(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** The process and all that descend from it. */
export function treeOf(pid: number): number[] {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    if (!/^\d+$/.test(name)) continue;
    const parent = Number(statOf(Number(name))?.[1]);
    children.set(parent, [...(children.get(parent) ?? []), Number(name)]);
  }
  const tree = [pid];
  for (const member of tree) tree.push(...(children.get(member) ?? []));
  return tree;
}

const microsecondsPerTick = 1e6 / Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }));

/** What the processes have used so far, in user and kernel mode. */
export function cpuMicroseconds(pids: readonly number[]): number {
  let ticks = 0;
  for (const pid of pids) {
    const fields = statOf(pid);
    ticks += Number(fields?.[11] ?? 0) + Number(fields?.[12] ?? 0); // utime and stime of all threads
  }
  return ticks * microsecondsPerTick;
}

/** The memory of the processes that is in RAM, what they share counted once for each. */
export function residentKibibytes(pids: readonly number[]): number {
  let sum = 0;
  for (const pid of pids) sum += Number(/^VmRSS:\s+(\d+) kB$/m.exec(read(pid, 'status') ?? '')?.[1] ?? 0);
  return sum;
}

/** The fields of /proc/<pid>/stat (proc(5)) from the third on, behind the name; undefined: it has ended. */
function statOf(pid: number): string[] | undefined {
  const text = read(pid, 'stat');
  return text?.slice(text.lastIndexOf(')') + 2).split(' ');
}

function read(pid: number, file: string): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/${file}`, 'latin1');
  } catch {
    return undefined;
  }
}
