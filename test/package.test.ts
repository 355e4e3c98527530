/**
 * The package as strangers get it: packed, installed in an empty folder, a plugin begun there, proved and put to work. It takes
 * a minute and needs the npm registry, so it runs only where POINTSMAN_REQUIRE_PEERS=1 asks for all that can be had, as in CI.
 */
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, it, onTestFinished, vi } from 'vitest';
import { builtMain } from './support/built.ts';
import { dial, listen, run } from './support/peers.ts';
import { freePort } from './support/programs.ts';

const blockEnd = '\x1c\r';
const block = (...segments: string[]) => `\x0b${segments.map((segment) => `${segment}\r`).join('')}${blockEnd}`;

const folder = mkdtempSync(join(tmpdir(), 'pointsman-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }), 120_000); // thousands of files

/** Runs a program to its end, which is to be a good one; answers what it wrote. */
async function succeed(folder: string, program: string, ...args: string[]): Promise<string> {
  const running = run(program, args, { folder, deadlineSeconds: 240 });
  const code = await running.exited;
  expect(code, `${program} ${args.join(' ')}: ${running.output()}`).toBe(0);
  return running.output();
}

/** Answers every message with an acknowledgement of the same identifier, if it has one, and keeps what it got. */
async function startLab(): Promise<{ port: number; received: () => string }> {
  let received = '';
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', (bytes) => {
      const text = bytes.toString('latin1');
      received += text;
      for (const message of text.split(blockEnd).slice(0, -1)) {
        socket.write(block('MSA|AA', ...(/ZPM\|[^\r]*/.exec(message) ?? [])), 'latin1');
      }
    });
  });
  return { port: await listen(server), received: () => received };
}

const isAsked = process.env.POINTSMAN_REQUIRE_PEERS === '1';
if (!isAsked)
  console.warn('skipped: the packed package, which takes a registry; POINTSMAN_REQUIRE_PEERS=1 asks for it');

it.skipIf(!isAsked)(
  'lets a stranger begin a plugin, prove it, and balance HL7 messages with it',
  { timeout: 600_000 },
  async () => {
    builtMain(); // it is packed as it is
    const packed = await succeed('.', 'npm', 'pack', '--silent', '--ignore-scripts', '--pack-destination', folder);
    const tarball = join(folder, packed.trim());
    const project = join(folder, 'project');
    mkdirSync(project);
    await succeed(project, 'npm', 'init', '-y');
    await succeed(project, 'npm', 'install', '--no-audit', '--no-fund', tarball);

    const pointsman = (...args: string[]) => succeed(project, 'npx', '--no-install', 'pointsman', ...args);
    for (const kind of ['strategy', 'check', 'observer', 'protocol']) {
      const directory = kind === 'protocol' ? 'mllp' : `my-${kind}`;
      await pointsman('create', 'plugin', directory, '--kind', kind, '--directory', directory);
      const tested = await succeed(join(project, directory), 'npm', 'test');
      expect(tested).toMatch(/^# pass [1-9]\d*$/m);
      expect(tested).toMatch(/^# fail 0$/m);
      await succeed(join(project, directory), 'npm', 'run', 'validate');
    }

    const home = join(project, 'mllp');
    await succeed(home, 'npm', 'install', '--no-audit', '--no-fund', '--save-dev', tarball);
    writeFileSync(join(home, 'index.ts'), readFileSync('test/examples/plugins/mllp.ts'));
    await succeed(home, 'npm', 'run', 'build');
    await succeed(home, 'npm', 'test');
    expect(await succeed(home, 'npm', 'run', 'conform')).toMatch(/\n\d\d cases passed\n/);

    const labs = [await startLab(), await startLab()];
    const port = await freePort();
    const ports = [port, ...labs.map((lab) => lab.port)];
    const example = readFileSync(join(home, 'example.yaml'), 'utf8');
    const addressed = example.replaceAll(/:700(\d)/g, (_address, index) => `:${ports[Number(index)]}`);
    writeFileSync(join(home, 'example.yaml'), addressed);
    expect(await succeed(home, 'npm', 'run', 'validate')).toContain('example.yaml: ok');

    const main = join(home, 'node_modules/pointsman/.build/core/cli/main.js');
    const balancer = run(process.execPath, [main, 'run', 'example.yaml'], { folder: home, deadlineSeconds: 120 });
    onTestFinished(() => balancer.signal('SIGKILL'));
    await vi.waitFor(() => expect(balancer.output()).toContain('"msg":"started"'), { timeout: 60_000 });

    const ward = await dial(port);
    let answers = '';
    ward.on('data', (bytes) => {
      answers += bytes.toString('latin1');
    });
    const ask = async (message: string) => {
      const before = answers.length;
      ward.write(message, 'latin1');
      await vi.waitFor(() => expect(answers.slice(before).endsWith(blockEnd)).toBe(true), { timeout: 20_000 });
    };
    for (const number of [1, 2, 3, 4]) await ask(block(`MSH|${number}`));
    await ask(block('MSH|5', 'ZPM|worker-2'));
    await ask(block('MSH|6', 'ZPM|worker-2'));
    const got = (lab: number) =>
      [...labs[lab]!.received().matchAll(/MSH\|(\d)\rZPM\|(worker-\d)/g)].map(([text]) => text);
    expect(got(0)).toEqual([1, 3].map((number) => `MSH|${number}\rZPM|worker-1`));
    expect(got(1)).toEqual([2, 4, 5, 6].map((number) => `MSH|${number}\rZPM|worker-2`));
    expect(answers.match(/MSA\|AA/g)).toHaveLength(6);

    ward.end();
    await once(ward, 'close');
    balancer.signal('SIGTERM');
    expect(await balancer.exited).toBe(0);
    expect(balancer.output()).toContain('"forwarded":6');
  },
);
