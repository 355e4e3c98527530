/** The verbs on the admin API, against a balancer that runs in this process; everything on unix sockets. */
import { EventEmitter, once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { backends } from '../../../core/cli/backends.ts';
import { operate } from '../../../core/cli/operate.ts';
import { askReload } from '../../../core/cli/reload.ts';
import { run } from '../../../core/cli/run.ts';
import { tail } from '../../../core/cli/tail.ts';
import { top } from '../../../core/cli/top.ts';
import { listen } from '../../support/peers.ts';
import { direction, statsOf } from '../../support/stats.ts';
import { collect } from './streams.ts';

const directory = mkdtempSync(join(tmpdir(), 'pointsman-'));
const file = join(directory, 'edge.yaml');
const token = 'a token of the tests';
const url = `unix:${directory}/admin.sock`;
const options = { url, token };
class FakeProcess extends EventEmitter {
  exit(): void {}
}
const signals = new FakeProcess();
const running = collect();
let ended: Promise<number>;
const backend = net.createServer((socket) => socket.pipe(socket));

beforeAll(async () => {
  writeFileSync(
    file,
    `pools: { calls: { drainedSeconds: 0.2, backends: { a: "unix:${directory}/a.sock", b: { address: "unix:${directory}/a.sock", state: drain } } } }
listeners: { edge: { listen: "unix:${directory}/edge.sock", pool: calls, pipeline: [{ ndjson: }, { round-robin: }] } }
observers: [{ admin: { listen: "${url}", token: "${token}" } }]
`,
  );
  backend.listen(join(directory, 'a.sock'));
  const up = new Promise<void>((resolve) => {
    const write = running.stdout.write.bind(running.stdout);
    running.stdout.write = (text) => {
      write(text);
      if (text.includes('"started"')) resolve();
    };
  });
  ended = run([file], { logLevel: 'info', stopSeconds: 1 }, running, signals as never);
  await up;
});

afterAll(async () => {
  signals.emit('SIGTERM', 'SIGTERM');
  await ended;
  backend.close();
  rmSync(directory, { recursive: true });
});

async function did(verb: (output: ReturnType<typeof collect>) => Promise<number>) {
  const output = collect();
  const code = await verb(output);
  return { code, stdout: output.stdout.text, stderr: output.stderr.text };
}

describe('verbs on a balancer that runs', () => {
  it('the socket of the API is for its owner only', () => {
    expect(statSync(join(directory, 'admin.sock')).mode & 0o777).toBe(0o600);
  });

  it('backends: one line each, or JSON', async () => {
    const text = await did((output) => backends(options, output));
    expect(text.code).toBe(0);
    expect(text.stdout.split('\n').map((line) => line.split(/\s+/).slice(0, 3).join(' '))).toEqual([
      ' backend state',
      '● calls/a up',
      '◐ calls/b drain',
      '',
    ]);
    const json = await did((output) => backends({ ...options, json: true }, output));
    expect(JSON.parse(json.stdout)).toMatchObject([{ name: 'a' }, { name: 'b', state: 'drain' }]);
  });

  it('drain, ready and maint change a backend, by its name or with its pool', async () => {
    expect(await did((output) => operate('a', 'drain', options, output))).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/^calls\/a: drains; 0 in flight, \d links? open\n$/),
      stderr: 'pointsman: no backend of calls takes new work now\n', // b drains already
    });
    expect((await did((output) => operate('calls/a', 'maint', options, output))).stdout).toMatch(/^calls\/a: is out; /);
    expect((await did((output) => operate('a', 'ready', options, output))).stdout).toMatch(/^calls\/a: is ready/);
    expect(await did((output) => operate('b', 'drain', options, output))).toMatchObject({ code: 0, stderr: '' });
    expect(await did((output) => operate('c', 'ready', options, output))).toEqual({
      code: 2,
      stdout: '',
      stderr: 'pointsman: there is no backend "c"; did you mean "a"?\n',
    });
  });

  it('drain --wait ends when the backend may be stopped', async () => {
    const waiting = { ...options, wait: true };
    const text = await did((output) => operate('a', 'drain', waiting, output));
    expect(text).toMatchObject({
      code: 0,
      stdout: expect.stringMatching(/calls\/a: has drained: it may be stopped\n$/),
    });
    expect((await did((output) => backends(options, output))).stdout).toContain('has drained: it may be stopped');
    const json = await did((output) => operate('a', 'drain', { ...waiting, json: true }, output));
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'a', state: 'drain', drained: true });
    await did((output) => operate('a', 'ready', options, output));
  });

  it('top: everything at a glance', async () => {
    const { stdout } = await did((output) => top({ ...options, once: true }, output));
    expect(stdout).toMatch(/^pointsman \d.* {2}running, 1 process, up /);
    expect(stdout).toContain(`unix:${directory}/edge.sock to calls: no messages`);
    const json = await did((output) => top({ ...options, json: true }, output));
    expect(JSON.parse(json.stdout)).toMatchObject({ phase: 'running', backends: [{ name: 'a' }, { name: 'b' }] });
  });

  it('tail: where messages go, and why, while they do', async () => {
    const log = { ...collect() };
    const tailing = tail({ ...options, limit: 1, backend: 'calls/a', reason: 'strategy' }, log);
    const client = net.connect(join(directory, 'edge.sock'));
    // When it listens is for the balancer to know; until then messages are not told.
    const timer = setInterval(() => client.write('{"id":1}\n'), 20);
    await tailing;
    clearInterval(timer);
    client.destroy();
    await once(client, 'close');
    expect(log.stdout.text).toMatch(/^\d\d:\d\d:\d\d\.\d{3} {2}edge {2}- → a {2}strategy {2}9 bytes\n$/);
  });

  it.each([
    [{ backend: 'aaa' }, 'there is no backend "aaa"; there are a and b'],
    [{ backend: 'calls/aa' }, 'there is no backend "calls/aa"; did you mean "calls/a"?'],
    [{ listener: 'edg' }, 'there is no listener "edg"; did you mean "edge"?'],
    [{ listener: 'sip' }, 'there is no listener "sip"; there is edge'],
  ])('tail: knows that nothing would come of %o', async (filter, why) => {
    expect(await did((output) => tail({ ...options, ...filter }, output))).toEqual({
      code: 2,
      stdout: '',
      stderr: `pointsman: ${why}\n`,
    });
  });

  it('tail: says of a reason that nobody has given yet what is known, and listens, as a plugin may give it', async () => {
    const stats = statsOf({ fromClients: direction({ refusedFor: { question: 1 } }) }).listeners.edge;
    const answers: Record<string, string> = {
      '/v1/listeners': JSON.stringify({ listeners: [{ name: 'edge', stats }] }),
    };
    const events = 'event: left-out\ndata: {"count":1}\n\n';
    const admin = http.createServer(({ url = '' }, response) => void response.end(answers[url] ?? events));
    const url = `http://127.0.0.1:${await listen(admin)}`;
    for (const [reason, remark] of [
      ['question', /^$/],
      ['identifier', /^$/],
      ['no-backend', /^$/],
      ['stratgy', /^pointsman: no message has had the reason "stratgy" yet; did you mean "strategy"\?\n$/],
      [
        'malformed',
        /^pointsman: no message has had the reason "malformed" yet; there are identifier, .*question, .*…\n$/,
      ],
    ] as const) {
      const { code, stdout, stderr } = await did((output) => tail({ url, reason }, output));
      expect([code, stdout]).toEqual([0, expect.stringContaining('… 1 more decisions were not told')]);
      expect(stderr).toMatch(remark);
    }
  });

  it('tail: ends when whoever read along has gone', async () => {
    const gone = { stdout: { write: () => {}, errored: new Error('write EPIPE') }, stderr: collect().stderr };
    const tailing = tail(options, gone);
    const client = net.connect(join(directory, 'edge.sock'));
    const timer = setInterval(() => client.write('{"id":1}\n'), 20);
    expect(await tailing).toBe(0);
    clearInterval(timer);
    client.destroy();
    await once(client, 'close');
  });

  it('reload: says what is wrong with the config, or that it is done', async () => {
    const config = readFileSync(file, 'utf8');
    writeFileSync(file, config.replace('pool: calls', 'pool: cals'));
    expect(await did((output) => askReload(options, output))).toEqual({
      code: 2,
      stdout: '',
      stderr: expect.stringMatching(
        /^pointsman: the config is not in order; the one that ran still does\n {2}.*there is no pool "cals"/,
      ),
    });
    // Also when the API itself is to be another one.
    for (const changed of [config.replace('token:', 'decisionsPerSecond: 7, token:'), config]) {
      writeFileSync(file, changed);
      expect(await did((output) => askReload(options, output))).toEqual({ code: 0, stdout: 'reloaded\n', stderr: '' });
    }
  });

  it('say what is wrong when they are not let in, or nobody is there', async () => {
    expect((await did((output) => backends({ url }, output))).stderr).toBe(
      `pointsman: ${url} wants a token: --token, or POINTSMAN_TOKEN\n`,
    );
    expect((await did((output) => backends({ url, token: 'wrong' }, output))).stderr).toBe(
      `pointsman: ${url} does not take that token: --token, or POINTSMAN_TOKEN\n`,
    );
    const nobody = `unix:${directory}/nobody.sock`;
    expect((await did((output) => backends({ url, token: 'cut\r' }, output))).stderr).toBe(
      'pointsman: the token (--token, or POINTSMAN_TOKEN) has characters that no header can carry\n',
    );
    expect((await did((output) => backends({ url: nobody }, output))).stderr).toContain(`nobody answers at ${nobody}:`);
    expect((await did((output) => backends({ url: nobody, ca: 'none.pem' }, output))).stderr).toBe(
      'pointsman: cannot read none.pem: no such file\n',
    );
    for (const url of ['localhost:1', 'http://localhost:99999']) {
      expect((await did((output) => backends({ url }, output))).stderr).toContain(`"${url}" is no address`);
    }
  });

  it('say what they have found where there is no admin API', async () => {
    const page = http.createServer((_request, response) => void response.end('<h1>Welcome</h1>'));
    const port = await listen(page);
    const secret = net.createServer((socket) => void socket.on('data', () => socket.destroy()));
    const silent = await listen(secret);
    for (const [url, found] of [
      [`http://127.0.0.1:${port}`, 'is no admin API: it answers with something else than JSON'],
      [`https://127.0.0.1:${port}`, 'does not speak TLS; try http://'],
      [`http://127.0.0.1:${silent}`, 'has closed the connection; it may want https://'],
    ] as const) {
      expect(await did((output) => backends({ url }, output))).toEqual({
        code: 2,
        stdout: '',
        stderr: `pointsman: ${url} ${found}\n`,
      });
    }
  });
});
