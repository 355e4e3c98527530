/** SIGHUP to a real process under load: every request is answered, on the connection that it came on. */
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import type net from 'node:net';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import tls from 'node:tls';
import { expect, it, onTestFinished, vi } from 'vitest';
import { balances, type ListenerStats } from '../../../core/accounting.ts';
import { makeCertificate } from '../../support/certificates.ts';
import { dial, run, temporaryFolder } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';
import { openJsonRpc } from './process.ts';

const host = '127.0.0.1';

/** Opens a backend that answers every request with its name, and counts them; answers its port. */
function openCounted(name: string, counts: Map<string, number>): Promise<number> {
  return openJsonRpc(() => {
    counts.set(name, (counts.get(name) ?? 0) + 1);
    return name;
  });
}

/** Asks one thing after the other until it is told to end; fails if an answer is not to its question, or the connection closes. */
class Asker {
  asked = 0;
  answered = 0;
  isClosed = false;
  /** What has come that is no answer. */
  readonly odd: string[] = [];
  /** The identifiers that it was told, without those of the same backend in a row. */
  readonly told: string[] = [];
  #ends = false;
  readonly #socket: net.Socket;
  readonly #isFaithful: boolean;

  /** @param isFaithful it sends back the identifier that it was told last */
  constructor(socket: net.Socket, isFaithful = false) {
    this.#socket = socket;
    this.#isFaithful = isFaithful;
    socket.on('close', () => {
      this.isClosed = true;
    });
    createInterface(socket)
      .on('error', () => {})
      .on('line', (line) => {
        const { id, result, backend } = JSON.parse(line) as { id: string; result?: string; backend?: string };
        if (id === `${this.asked}` && result !== undefined) this.answered++;
        else this.odd.push(line);
        if (backend !== undefined && backend !== this.told.at(-1)) this.told.push(backend);
        if (!this.#ends) this.#ask();
      });
    this.#ask();
  }

  #ask(): void {
    const named = this.#isFaithful && this.told.length > 0 ? `"backend":"${this.told.at(-1)}",` : '';
    this.#socket.write(`{${named}"jsonrpc":"2.0","method":"m","id":"${++this.asked}"}\n`);
  }

  async end(): Promise<void> {
    this.#ends = true;
    await vi.waitFor(() => expect(this.answered + this.odd.length).toBe(this.asked), { timeout: 10_000 });
    expect([this.odd, this.isClosed]).toEqual([[], false]);
  }
}

const marker = (version: string) => `import { definePlugin, discard, Type } from 'pointsman';
const answer = discard('version', { reply: Buffer.from('${version}\\n') });
export default definePlugin({
  name: 'marker', summary: 'Says its version.', pointsman: '^1', options: Type.Object({}),
  apply(hooks) {
    hooks.detectId.tap('marker', (message) => (message.view().includes('version') ? answer : undefined));
  },
});
`;

async function versionOf(port: number): Promise<string> {
  const socket = await dial(port);
  socket.write('{"jsonrpc":"2.0","method":"version","id":"v"}\n');
  const [bytes] = (await once(socket, 'data')) as [Buffer];
  socket.destroy();
  return bytes.toString();
}

async function dialSecurely(port: number): Promise<net.Socket> {
  const socket = tls.connect({ port, host, rejectUnauthorized: false });
  onTestFinished(() => void socket.destroy());
  await once(socket, 'secureConnect');
  return socket;
}

async function certificateAt(port: number): Promise<string> {
  const socket = (await dialSecurely(port)) as tls.TLSSocket;
  return socket.getPeerCertificate().subject.CN as string;
}

it.each([
  [1, 'shared'],
  [2, 'shared'],
  [1, 'dedicated'],
])('loses nothing on SIGHUP under load, with %i workers and %s links', { timeout: 120_000 }, async (workers, links) => {
  const folder = temporaryFolder();
  const counts = new Map<string, number>();
  const [a, b, c, moved] = await Promise.all(['a', 'b', 'c', 'moved'].map((name) => openCounted(name, counts)));
  const [port, tlsPort] = [await freePort(), await freePort()];
  const file = join(folder, 'config.yaml');
  const keys = ['k1'];
  let pool = 'calls';
  let strategy = 'round-robin: ';
  const configure = (backends: string, more = '') =>
    writeFileSync(
      file,
      `workers: ${workers}
plugins: [./marker.ts]
keys: [${keys.map((id) => `{ id: ${id}, secret: "the secret of ${id}, which is long" }`).join()}]
pools: { ${pool}: { links: ${links}, backends: { ${backends} } } }
listeners:
  edge: { listen: "tcp://${host}:${port}", pool: ${pool}, identifiers: { whenDown: rechoose }, pipeline: [{ marker: }, { ndjson: { correlation: id } }, { ${strategy} }] }
${more}`,
    );
  const backend = (name: string, at: number | undefined, weight = 1) =>
    `${name}: { address: "tcp://${host}:${at}", weight: ${weight} }`;
  const secure = `  secure: { listen: "tls://${host}:${tlsPort}", pool: calls, tls: { certificate: c.pem, key: k.pem }, pipeline: [{ ndjson: { correlation: id } }, { round-robin: }] }\n`;
  const certify = async (name: string) => {
    const { certificate, key } = await makeCertificate(name);
    writeFileSync(join(folder, 'c.pem'), certificate);
    writeFileSync(join(folder, 'k.pem'), key);
  };
  writeFileSync(join(folder, 'marker.ts'), marker('one'));
  configure(`${backend('a', a)}, ${backend('b', b)}`);

  const main = join(process.cwd(), 'core/cli/main.ts');
  const program = run(process.execPath, ['--import', import.meta.resolve('tsx'), main, 'run', file], {
    folder,
    deadlineSeconds: 110,
  });
  const logged = (text: string) => program.output().split(`"msg":"${text}"`).length - 1;
  const until = (text: string, count: number) =>
    vi.waitFor(() => expect(logged(text), program.output()).toBe(count), { timeout: 30_000, interval: 20 });
  const reloaded = async (text = 'reloaded') => {
    const before = logged(text);
    program.signal('SIGHUP');
    await until(text, before + 1);
  };
  /** Every asker has got some answers more. */
  const traffic = async () => {
    const before = askers.map(({ answered }) => answered);
    await vi.waitFor(() => expect(askers.every(({ answered }, index) => answered >= before[index]! + 20)).toBe(true), {
      timeout: 20_000,
      interval: 5,
    });
  };
  await until('started', 1);
  const askers = await Promise.all(Array.from({ length: 8 }, async () => new Asker(await dial(port))));
  await traffic();

  // Another backend.
  configure(`${backend('a', a)}, ${backend('b', b)}, ${backend('c', c)}`);
  await reloaded();
  await traffic();
  expect(counts.get('c')).toBeGreaterThan(0);

  // Other weights.
  configure(`${backend('a', a, 0)}, ${backend('b', b, 3)}, ${backend('c', c)}`);
  await reloaded();
  await traffic();
  const idle = counts.get('a');
  await traffic();
  expect(counts.get('a')).toBe(idle);

  // Another address, and a backend that is gone.
  configure(`${backend('b', moved)}, ${backend('c', c)}`);
  await reloaded();
  await traffic();
  expect(counts.get('moved')).toBeGreaterThan(0);
  expect(counts.get('a')).toBe(idle);

  // A config that is not in order.
  configure('b: nonsense');
  await reloaded('reload refused: the config before stays');
  await traffic();

  // Other plugin code.
  configure(`${backend('b', moved)}, ${backend('c', c)}`);
  expect(await versionOf(port)).toBe('one\n');
  writeFileSync(join(folder, 'marker.ts'), marker('two'));
  await reloaded();
  expect(await versionOf(port)).toBe('two\n');
  await traffic();

  // Another listener, then another certificate.
  await certify('first.example');
  configure(`${backend('b', moved)}, ${backend('c', c)}`, secure);
  await reloaded();
  expect(await certificateAt(tlsPort)).toBe('first.example');
  const secureAskers = [new Asker(await dialSecurely(tlsPort))];
  await certify('second.example');
  await reloaded();
  expect(await certificateAt(tlsPort)).toBe('second.example');
  const { answered: whenRenewed } = secureAskers[0]!;
  await vi.waitFor(() => expect(secureAskers[0]!.answered).toBeGreaterThan(whenRenewed + 20), { timeout: 20_000 });
  await traffic();

  // Another key, which signs what is told from now on; what names a backend by the key before is understood.
  const faithful = await Promise.all(Array.from({ length: 4 }, async () => new Asker(await dial(port), true)));
  askers.push(...faithful);
  await traffic();
  expect(faithful.map(({ told }) => told.length)).toEqual([1, 1, 1, 1]);
  keys.unshift('k2');
  configure(`${backend('b', moved)}, ${backend('c', c)}`, secure);
  await reloaded();
  await traffic();
  expect(faithful.map(({ told }) => told.length)).toEqual([2, 2, 2, 2]);

  // No more of the listener whose client goes on, and another strategy.
  strategy = 'least-loaded: ';
  configure(`${backend('b', moved)}, ${backend('c', c)}`);
  await reloaded();
  await traffic();
  await expect(dialSecurely(tlsPort)).rejects.toThrow('ECONNREFUSED');
  const [{ answered }] = secureAskers as [Asker];
  await vi.waitFor(() => expect(secureAskers[0]!.answered).toBeGreaterThan(answered + 20), { timeout: 20_000 });

  // No more of a backend that messages name.
  configure(backend('c', c));
  await reloaded();
  await traffic();
  const named = counts.get('moved');
  await traffic();
  expect(counts.get('moved')).toBe(named);

  // Another pool: clients that there are finish with the one they have.
  pool = 'others';
  configure(`${backend('a', a)}`);
  await reloaded();
  const before = counts.get('a');
  await traffic();
  expect(counts.get('a')).toBe(before);
  const newcomer = new Asker(await dial(port));
  askers.push(newcomer);
  await traffic();
  expect(counts.get('a')).toBeGreaterThan(before!);

  await Promise.all([...askers, ...secureAskers].map((asker) => asker.end()));
  program.signal('SIGTERM');
  expect(await program.exited).toBe(0);
  const lines = program
    .output()
    .split('\n')
    .filter((line) => line.includes('"msg":"stopped"'));
  const { stats } = lines.map((line) => JSON.parse(line)).find(({ listener }) => listener === 'edge') as {
    stats: ListenerStats;
  };
  const asked = askers.reduce((sum, asker) => sum + asker.asked, 0);
  expect(balances(stats)).toBe(true);
  expect(stats.fromClients).toMatchObject({ received: asked + 2, forwarded: asked, refused: 0, discarded: 2 });
  expect(stats.exchanges).toMatchObject({ open: 0, expired: 0, abandoned: 0 });
});
