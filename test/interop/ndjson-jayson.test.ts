/** JSON-RPC 2.0 over TCP with jayson (npm), servers and clients, through `ndjson`. */
import jayson from 'jayson';
import { expect, it, vi } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { balance, dial, listen, type RunningBalancer } from '../support/peers.ts';

const serverNames = ['a', 'b', 'c'];

interface Answer {
  readonly backend?: string;
  readonly id?: unknown;
  readonly result?: { readonly server: string; readonly value: unknown };
  readonly error?: { readonly code: number; readonly message: string };
}

/** Three jayson servers and a balancer. */
async function start({ identifiers = 'plain', checks = '[]' } = {}) {
  /** What each server was told by notifications. */
  const told: Record<string, string[]> = {};
  const ports: Record<string, number> = {};
  for (const name of serverNames) {
    const heard: string[] = (told[name] = []);
    const server = new jayson.Server({
      echo: (params: unknown, done: jayson.JSONRPCCallbackTypePlain) => done(null, { server: name, value: params }),
      // Answers overtake one another, so that their order says nothing about whose they are.
      later: ({ ms, text }: { ms: number; text: string }, done: jayson.JSONRPCCallbackTypePlain) =>
        setTimeout(() => done(null, { server: name, value: text }), ms),
      fail: (_params: unknown, done: jayson.JSONRPCCallbackTypePlain) => done({ code: 42, message: `${name} failed` }),
      tell: ({ text }: { text: string }, done: jayson.JSONRPCCallbackTypePlain) => {
        heard.push(text);
        done(null, null);
      },
    });
    ports[name] = await listen(server.tcp());
  }
  const balancer = await balance(`
    keys: [{ id: k1, secret: '\${env:KEY}' }]
    pools:
      rpc:
        links: shared
        checks: ${checks}
        backends: { ${serverNames.map((name) => `${name}: tcp://127.0.0.1:${ports[name]}`).join(', ')} }
    listeners:
      edge:
        listen: tcp://127.0.0.1:0
        pool: rpc
        identifiers: { mode: ${identifiers} }
        pipeline:
          - ndjson: { correlation: id }
          - round-robin: {}
  `);
  return { balancer, told };
}

function clientOf(balancer: RunningBalancer, generator: () => number | string) {
  const client = jayson.Client.tcp({ port: balancer.port, host: '127.0.0.1', generator });
  // jayson's types lack this form, which takes a request as it is.
  const send = (request: object) =>
    new Promise<Answer>((resolve, reject) => {
      client.request(request as never, (error: unknown, answer: Answer) => (error ? reject(error) : resolve(answer)));
    });
  return {
    send,
    call: (method: string, params: object) => send(client.request(method, params)),
    /** Sends a notification; resolves when it has been sent. */
    notify: (method: string, params: object) => send(client.request(method, params, null)),
  };
}

it('brings each answer to its caller, though all callers use the same ids', async () => {
  const { balancer } = await start();
  const clients = 20;
  const calls = 15;
  await Promise.all(
    Array.from({ length: clients }, async (_client, c) => {
      let id = 0;
      const client = clientOf(balancer, () => (id % 2 === 0 ? ++id : `${++id}`));
      const answers = Array.from({ length: calls }, async (_call, n) => {
        const text = `client ${c}, call ${n}`;
        const answer = await client.call('later', { ms: (c * 7 + n * 13) % 40, text });
        expect(answer.id).toBe(n % 2 === 0 ? n + 1 : `${n + 1}`);
        expect(answer.result?.value).toBe(text);
        expect(answer.backend).toBe(answer.result?.server);
      });
      await Promise.all(answers);
    }),
  );

  const stats = balancer.stats();
  expect(balances(stats)).toBe(true);
  expect(stats.fromClients).toMatchObject({ received: 300, forwarded: 300 });
  expect(stats.fromBackends).toMatchObject({ received: 300, forwarded: 300 });
  expect(stats.routes).toMatchObject({ strategy: 300, correlation: 300 });
  expect(stats.exchanges).toEqual({ open: 0, expired: 0, abandoned: 0, refused: 0 });
  for (const name of serverNames) expect(stats.backends[name]).toMatchObject({ messages: 100, links: 1, inFlight: 0 });
  expect(balancer.complaints).toEqual([]);
});

it('brings the answers back over one connection that carries many requests at once', async () => {
  const { balancer } = await start();
  const socket = await dial(balancer.port);
  const waiting = new Map<string, string>();
  const texts = Array.from({ length: 200 }, (_, n) => `ünïcödé "${n}" \\ \u0001`);
  const done = new Promise<void>((resolve, reject) => {
    jayson.Utils.parseStream(socket, {}, (error, value) => {
      const answer = value as Answer;
      if (error) return reject(error);
      expect(answer.result?.value).toBe(waiting.get(String(answer.id)));
      waiting.delete(String(answer.id));
      if (waiting.size === 0) resolve();
    });
  });
  let bytes = '';
  for (const [n, text] of texts.entries()) {
    const request = jayson.Utils.request('later', { ms: (n * 31) % 50, text }, `id-${n}`);
    waiting.set(`id-${n}`, text);
    bytes += `${JSON.stringify(request)}\n`;
  }
  socket.write(bytes);
  await done;
  expect(balancer.stats().backends.a!.messages).toBeGreaterThan(60);
  expect(balances(balancer.stats())).toBe(true);
});

it.each(['plain', 'signed'])('takes requests with a %s identifier to the server that it names', async (identifiers) => {
  const { balancer } = await start({ identifiers });
  const client = clientOf(balancer, () => 1);
  for (let session = 0; session < 3; session++) {
    const first = await client.call('echo', { hello: session });
    for (let n = 0; n < 5; n++) {
      const request = { jsonrpc: '2.0', method: 'echo', params: { n }, id: 1, backend: first.backend };
      const answer = await client.send(request);
      expect(answer.result).toEqual({ server: first.result!.server, value: { n } });
      expect(answer.backend).toBe(first.backend);
    }
  }
  expect(balancer.stats().routes).toMatchObject({ strategy: 3, identifier: 15 });
  expect(balances(balancer.stats())).toBe(true);
});

it("passes on servers' errors, and answers itself with errors that jayson understands", async () => {
  const { balancer } = await start({ identifiers: 'signed' });
  const client = clientOf(balancer, () => 'same');
  const failed = await client.call('fail', {});
  expect(failed).toMatchObject({ id: 'same', error: { code: 42, message: expect.stringMatching(/^[abc] failed$/) } });
  const unknown = await client.call('no such method', {});
  expect(unknown).toMatchObject({ id: 'same', error: { code: -32601 } });

  const forged = await client.send({ jsonrpc: '2.0', method: 'echo', params: {}, id: 'mine', backend: 'a' });
  expect(forged).toEqual({ jsonrpc: '2.0', id: 'mine', error: { code: -32600, message: 'forged-identifier' } });
  expect(jayson.Utils.Response.isValidResponse(forged)).toBe(true);

  const stats = balancer.stats();
  expect(stats.fromClients).toMatchObject({ received: 3, forwarded: 2, refused: 1 });
  expect(stats.fromClients.refusedFor).toEqual({ 'forged-identifier': 1 });
  expect(balances(stats)).toBe(true);
});

it('takes notifications to the servers in turn, and waits for no answer', async () => {
  const { balancer, told } = await start();
  const client = clientOf(balancer, () => 1);
  for (let n = 0; n < 6; n++) await client.notify('tell', { text: `news ${n}` });
  const all = () => serverNames.flatMap((name) => told[name]!).sort();
  await vi.waitFor(() => expect(all()).toEqual(['news 0', 'news 1', 'news 2', 'news 3', 'news 4', 'news 5']));
  for (const name of serverNames) expect(told[name]).toHaveLength(2);
  expect(balancer.stats().exchanges.open).toBe(0);
  expect(balances(balancer.stats())).toBe(true);
});

it('is asked for a ping over the link that calls go over', async () => {
  const ping = 'message: { form: json-ping, over: link, intervalSeconds: 5, timeoutSeconds: 4, jitterPercent: 0 }';
  const { balancer } = await start({ identifiers: 'signed', checks: `[{ ${ping} }]` });
  const client = clientOf(balancer, () => 'pointsman-check');
  for (const server of ['a', 'b', 'c']) {
    expect((await client.call('echo', {})).result).toMatchObject({ server });
    const checks = () => balancer.stats().backends[server]!.checks;
    await vi.waitFor(() => expect(checks()).toMatchObject({ passed: 1, failed: 0 }), { timeout: 4000 });
  }
  expect(balancer.stats()).toMatchObject({
    fromClients: { received: 3, forwarded: 3 },
    fromBackends: { received: 6, forwarded: 6 },
    checks: { received: 3, forwarded: 3 },
    routes: { check: 6 },
  });
  expect(balances(balancer.stats())).toBe(true);
});
