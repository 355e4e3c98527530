import { EventEmitter, once } from 'node:events';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { listenForStop, type RunOptions, run } from '../../../core/cli/run.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(directory, { recursive: true }));

let files = 0;
function config(address: string, pool = 'calls'): string {
  const file = join(directory, `${files++}.yaml`);
  writeFileSync(
    file,
    `pools: { calls: { backends: { a: "unix:${directory}/a.sock" } } }
listeners: { edge: { listen: "${address}", pool: ${pool}, pipeline: [{ ndjson: }, { round-robin: }] } }
`,
  );
  return file;
}

class FakeProcess extends EventEmitter {
  readonly codes: number[] = [];
  exit(code: number): void {
    this.codes.push(code);
  }
}

/** Runs it until it listens for signals and has logged that it is up. */
function start(file: string, signals: FakeProcess, options: Partial<RunOptions> = {}) {
  const output = collect();
  let onUp = () => {};
  const up = new Promise<void>((resolve) => {
    onUp = resolve;
  });
  const write = output.stdout.write.bind(output.stdout);
  output.stdout.write = (text) => {
    write(text);
    if (text.includes('"started"')) onUp();
  };
  return { output, up, ended: run([file], { logLevel: 'info', ...options }, output, signals) };
}

describe('run', () => {
  it('balances until a signal, then prints the accounting', async () => {
    const signals = new FakeProcess();
    const { output, up, ended } = start(config('tcp://127.0.0.1:0'), signals);
    await up;
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await ended).toBe(0);
    const events = output.stdout.text
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line));
    expect(events).toMatchObject([
      { listener: 'edge', address: expect.stringMatching(/^tcp:\/\/127\.0\.0\.1:\d+$/), msg: 'listening' },
      { msg: 'started' },
      { signal: 'SIGTERM', msg: 'stopping' },
      { listener: 'edge', stats: { fromClients: { received: 0, forwarded: 0, held: 0 } }, msg: 'stopped' },
    ]);
    expect(signals.listenerCount('SIGTERM') + signals.listenerCount('SIGINT')).toBe(0);
  });

  it.each([
    [7, undefined, 7],
    [7, 3, 3],
    [undefined, undefined, 10],
  ])('waits %s s for answers by the config and %s s by the option: %i', async (configured, stopSeconds, waits) => {
    const signals = new FakeProcess();
    const file = config('tcp://127.0.0.1:0');
    if (configured !== undefined) appendFileSync(file, `stopSeconds: ${configured}\n`);
    const { output, up, ended } = start(file, signals, { stopSeconds });
    await up;
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await ended).toBe(0);
    expect(output.stdout.text).toContain(`"signal":"SIGTERM","deadlineSeconds":${waits},`);
  });

  it('reloads when a file changes that the config is read from, if it is to watch', async () => {
    const signals = new FakeProcess();
    const secret = join(directory, 'secret');
    const file = config('tcp://127.0.0.1:0');
    appendFileSync(file, 'keys: [{ id: k1, secret: "${file:secret}" }]\n');
    writeFileSync(secret, 'a secret of the config');
    const { output, up, ended } = start(file, signals, { watch: true });
    await up;
    const logged = async (text: string, count: number) => {
      await expect.poll(() => output.stdout.text.split(text).length - 1, { timeout: 10_000 }).toBe(count);
    };
    writeFileSync(secret, 'another secret of the config');
    await logged('"keysChanged":["k1"],"msg":"reloaded"', 1);
    const sound = readFileSync(file, 'utf8');
    writeFileSync(file, `${sound}nonsense: true\n`);
    await logged('reload refused', 1);
    writeFileSync(file, sound);
    await logged('"msg":"reloaded"', 2);
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await ended).toBe(0);
  });

  it('ends at once at the second signal, which is not an echo of the first', async () => {
    const signals = new FakeProcess();
    let now = 1000;
    const stop = listenForStop(signals, () => now);
    signals.emit('SIGTERM', 'SIGTERM');
    expect(await stop.asked).toBe('SIGTERM');
    now = 1400;
    signals.emit('SIGTERM', 'SIGTERM');
    expect(signals.codes).toEqual([]);
    now = 1500;
    signals.emit('SIGINT', 'SIGINT');
    expect(signals.codes).toEqual([130]);
    stop.forget();
    expect(signals.listenerCount('SIGTERM') + signals.listenerCount('SIGINT')).toBe(0);
  });

  it('starts nothing if the config has errors', async () => {
    const file = config('tcp://127.0.0.1:0', 'cals');
    const output = collect();
    expect(await run([file], { logLevel: 'info' }, output, new FakeProcess())).toBe(1);
    expect(output.stderr.text).toBe(
      `${file}:2:57  there is no pool "cals"; did you mean "calls"?\n1 error; nothing was started\n`,
    );
    expect(output.stdout.text).toBe('');
  });

  it('says which address is in use', async () => {
    const server: Server = createServer().listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const output = collect();
    expect(await run([config(`tcp://127.0.0.1:${port}`)], { logLevel: 'info' }, output, new FakeProcess())).toBe(2);
    expect(output.stderr.text).toMatch(
      new RegExp(`^listener edge cannot listen on tcp://127.0.0.1:${port}: .*EADDRINUSE.*\n$`),
    );
    server.close();
  });
});
