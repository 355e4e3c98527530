/**
 * For tests with third-party peers: programs and libraries on loopback sockets, and a balancer in front of them that is loaded from
 * a config. Whatever a helper starts, it ends when the test is over.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, vi } from 'vitest';
import type { ListenerStats } from '../../core/accounting.ts';
import { Balancer } from '../../core/balancer.ts';
import { loadConfig } from '../../core/config/load.ts';
import { nodeRuntime } from '../../core/runtime/node.ts';
import { isInstalled } from './programs.ts';

const host = '127.0.0.1';

/**
 * A suite that needs a program. Where that is not installed the suite is skipped and says so, unless
 * POINTSMAN_REQUIRE_PEERS=1, as in CI: then it fails.
 * @param debianPackage what to install on Debian
 */
export function describeWith(program: string, debianPackage: string, name: string, body: () => void): void {
  if (isInstalled(program)) {
    describe(name, body);
    return;
  }
  const why = `${program} is not installed (Debian: apt-get install ${debianPackage})`;
  if (process.env.POINTSMAN_REQUIRE_PEERS === '1') throw new Error(`${name}: ${why}`);
  console.warn(`skipped: ${name}: ${why}`);
  describe.skip(`${name} (${why})`, body);
}

/** A folder of the test's own. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  return folder;
}

/** Opens a server on a free port; answers the port. */
export async function listen(server: net.Server): Promise<number> {
  server.listen({ port: 0, host });
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return (server.address() as net.AddressInfo).port;
}

/** Connects to `port`. */
export async function dial(port: number): Promise<net.Socket> {
  const socket = net.connect({ port, host });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'connect');
  return socket;
}

/** A program that runs. */
export interface Running {
  /** What it has written so far to its output and its errors. */
  readonly output: () => string;
  readonly signal: (name: NodeJS.Signals) => void;
  /** Its exit code. Rejects, and the program is killed, if it is not done by its deadline. */
  readonly exited: Promise<number>;
}

/** The process groups of what runs: what ends us ends them, too. */
const groups = new Set<number>();

function endGroup(leader: number): void {
  groups.delete(leader);
  try {
    process.kill(-leader, 'SIGKILL');
  } catch {} // nobody is left
}

process.once('exit', () => groups.forEach(endGroup));
for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    groups.forEach(endGroup);
    process.kill(process.pid, signal);
  });
}

/** Runs a program that is to end within `deadlineSeconds`. The processes that it starts end with it. */
export function run(
  program: string,
  args: readonly string[],
  {
    folder,
    deadlineSeconds,
    environment,
  }: { folder: string; deadlineSeconds: number; environment?: NodeJS.ProcessEnv },
): Running {
  const child: ChildProcess = spawn(program, args, {
    cwd: folder,
    env: { ...process.env, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true, // a process group of its own, to be killed as a whole
  });
  let output = '';
  const append = (chunk: Buffer) => {
    output += chunk;
  };
  child.stdout!.on('data', append);
  child.stderr!.on('data', append);
  const { pid } = child;
  if (pid !== undefined) groups.add(pid);
  const kill = () => {
    if (pid !== undefined) endGroup(pid);
  };
  const deadline = setTimeout(kill, deadlineSeconds * 1000);
  const exited = once(child, 'close').then(([code, signal]: (number | string | null)[]) => {
    clearTimeout(deadline);
    if (typeof code === 'number') return code;
    throw new Error(`${program} was ended by ${signal} (its deadline is ${deadlineSeconds} s):\n${output}`);
  });
  const ended = exited.catch(() => {}); // whoever awaits `exited` hears of it
  onTestFinished(async () => {
    kill();
    await ended;
  });
  return { output: () => output, signal: (name) => child.kill(name), exited };
}

/** Waits until a program that has just been started accepts connections; programs do not say when they do. */
export async function untilListening(port: number, program: Running): Promise<void> {
  await vi
    .waitFor(
      async () => {
        const socket = net.connect({ port, host });
        await once(socket, 'connect');
        socket.destroy();
      },
      { timeout: 10_000, interval: 20 },
    )
    .catch((cause) => {
      throw new Error(`nobody listens on port ${port}:\n${program.output()}`, { cause });
    });
}

/** The same for a program that takes datagrams: then nobody else can have its port. */
export async function untilBound(port: number, program: Running): Promise<void> {
  await vi
    .waitFor(
      async () => {
        const socket = dgram.createSocket('udp4');
        const failed = once(socket, 'error');
        socket.bind({ port, address: host, exclusive: true });
        const isFree = await Promise.race([once(socket, 'listening').then(() => true), failed.then(() => false)]);
        socket.close();
        if (isFree) throw new Error('the port is free');
      },
      { timeout: 10_000, interval: 20 },
    )
    .catch((cause) => {
      throw new Error(`nobody has port ${port}:\n${program.output()}`, { cause });
    });
}

/** A balancer that runs. */
export interface RunningBalancer {
  /** The port of its first listener. */
  readonly port: number;
  readonly stats: () => ListenerStats;
  /** The same of each listener, by its name. */
  readonly allStats: () => Readonly<Record<string, ListenerStats>>;
  /** Its warnings and errors, one line each. */
  readonly complaints: readonly string[];
}

/**
 * Starts a balancer.
 * @param config a config, as in a file; `${env:KEY}` in it is a secret
 */
export async function balance(config: string): Promise<RunningBalancer> {
  const file = join(temporaryFolder(), 'config.yaml');
  writeFileSync(file, config);
  const { settings, findings } = await loadConfig([file], { env: { KEY: 'a secret of the tests' } });
  expect(findings).toEqual([]);

  const complaints: string[] = [];
  const quiet = () => {};
  const complain = (fields: object, text?: string) => void complaints.push(`${text} ${JSON.stringify(fields)}`);
  const balancer = new Balancer(settings!, {
    runtime: nodeRuntime(),
    log: { debug: quiet, info: quiet, warn: complain, error: complain },
  });
  await balancer.start();
  onTestFinished(() => balancer.stop({ deadlineSeconds: 0 }));
  const listener = balancer.listeners[0]!;
  return {
    port: listener.address!.port,
    stats: () => listener.stats(),
    allStats: () => balancer.stats().listeners,
    complaints,
  };
}
