/** A worker as a process, whose primary is played. */
import { type ChildProcess, fork } from 'node:child_process';
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import net from 'node:net';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '../../../core/config/load.ts';
import { type FromWorker, packSettings, type ToWorker } from '../../../core/workers/messages.ts';
import { dial, listen, temporaryFolder } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';

const timeoutMs = 20_000;
const instance = Buffer.alloc(8, 7);

class Worker {
  readonly #process: ChildProcess;
  readonly #said: FromWorker[] = [];
  readonly #words = new EventEmitter();

  constructor() {
    this.#process = fork(`${process.cwd()}/core/workers/worker.ts`, {
      execArgv: ['--import', import.meta.resolve('tsx')],
      serialization: 'advanced',
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#process.on('message', (message: FromWorker) => {
      this.#said.push(message);
      this.#words.emit('word');
    });
    this.#process.on('exit', () => this.#words.emit('word'));
    onTestFinished(async () => {
      if (this.#process.exitCode !== null) return;
      this.#process.kill('SIGKILL');
      await once(this.#process, 'exit');
    });
  }

  tell(message: ToWorker): void {
    this.#process.send(message);
  }

  /** The next message of that type. */
  async hear<Type extends FromWorker['type']>(type: Type): Promise<FromWorker & { type: Type }> {
    for (;;) {
      const index = this.#said.findIndex((message) => message.type === type);
      if (index >= 0) return this.#said.splice(index, 1)[0] as FromWorker & { type: Type };
      if (this.#process.exitCode !== null) throw new Error(`it has ended: ${JSON.stringify(this.#said)}`);
      await once(this.#words, 'word');
    }
  }
}

/** A worker that listens, with two backends that answer nothing; and its settings with the first of them only. */
async function started() {
  const backendPort = await listen(net.createServer((stream) => stream.on('error', () => {})));
  const port = await freePort();
  const settingsOf = async (...names: readonly string[]) => {
    const file = join(temporaryFolder(), 'edge.yaml');
    const backends = names.map((name) => `${name}: "tcp://127.0.0.1:${backendPort}"`).join(', ');
    const pipeline = '[{ ndjson: { id: backend, correlation: id } }, { round-robin: }]';
    const edge = `{ listen: "tcp://127.0.0.1:${port}", pool: rpc, pipeline: ${pipeline} }`;
    writeFileSync(file, `pools: { rpc: { backends: { ${backends} } } }\nlisteners: { edge: ${edge} }\n`);
    return packSettings((await loadConfig([file])).settings!);
  };
  const worker = new Worker();
  await worker.hear('ready');
  worker.tell({
    type: 'start',
    assignment: {
      worker: 1,
      settings: await settingsOf('a', 'b'),
      origins: [],
      identity: { instance, processSecret: Buffer.alloc(32) },
      logLevel: 'error',
      changes: [],
      orders: new Map(),
    },
  });
  await worker.hear('started');
  return { worker, port, settings: await settingsOf('a') };
}

it('goes on though an operator changes a backend that a reload has just removed', { timeout: timeoutMs }, async () => {
  const { worker, settings } = await started();
  worker.tell({ type: 'reload', settings, origins: [] });
  worker.tell({ type: 'change', pool: 'rpc', backend: 'b', change: { state: 'drain' } });
  await worker.hear('reloaded');
  await worker.hear('stats'); // comes later
});

it('takes what others hand over to its clients while it stops', { timeout: timeoutMs }, async () => {
  const { worker, port } = await started();
  const client = await dial(port);
  client.write('{"id":1}\n');
  await expect
    .poll(async () => {
      worker.tell({ type: 'ask', id: 1, connections: { limit: 1 } });
      const { answer } = await worker.hear('answer');
      return answer;
    })
    .toMatchObject({ connections: [{ outstanding: 1 }] });
  worker.tell({ type: 'stop', deadlineSeconds: 30 });
  const to = { instance: instance.toString('hex'), slot: 0, generation: 1 };
  worker.tell({ type: 'handover', handover: { to, messages: [Buffer.from('{"method":"bye"}\n')] } });
  expect(String((await once(client, 'data'))[0])).toBe('{"method":"bye"}\n');
});
