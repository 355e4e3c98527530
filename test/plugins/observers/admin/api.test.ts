/** The API without sockets: requests go to the app, messages through the real core on virtual ones. */
import { Validator } from '@seriousme/openapi-schema-validator';
import { Ajv } from 'ajv';
import { definePlugin, type ObserverScope } from 'pointsman';
import { afterEach, describe, expect, it } from 'vitest';
import type { Control } from '../../../../core/observers/control.ts';
import { noControl } from '../../../../core/observers/control.ts';
import { Observers } from '../../../../core/observers/observers.ts';
import { Rig } from '../../../../core/rehearsal/rig.ts';
import { createApi } from '../../../../plugins/observers/admin/api.ts';
import { Hub } from '../../../../plugins/observers/admin/hub.ts';
import admin from '../../../../plugins/observers/admin/index.ts';
import { type Operation, operations } from '../../../../plugins/observers/admin/operations.ts';
import { Watch } from '../../../../plugins/observers/admin/watch.ts';
import { optionsOf } from '../../../support/embedded.ts';
import { settingsWith } from '../../../support/settings.ts';

const token = 'a token of the tests';

// biome-ignore lint/suspicious/noExplicitAny: what is answered is looked at member by member
type Json = any;

let clean: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const one of clean) await one();
  clean = [];
});

interface Played {
  readonly withToken?: boolean;
  readonly control?: Partial<Control>;
  readonly decisionsPerSecond?: number;
}

async function play({ withToken = false, control, decisionsPerSecond = 200 }: Played = {}) {
  let scope!: ObserverScope;
  // The plugin as it is, but for the server.
  const plugin = definePlugin({
    ...admin,
    observe: (_balancer, _options, given) => {
      scope = given;
    },
  });
  const options = optionsOf(plugin, { decisionsPerSecond });
  const settings = settingsWith({ observers: [{ plugin: plugin as never, options }] });
  const log = { debug() {}, info() {}, warn() {}, error() {} };
  const rig = await Rig.start(settings, { log });
  const hooks = [{ hook: 'frame', plugins: ['lines'] }];
  const facts = [{ listener: 'edge', listen: 'tcp://192.0.2.1:5060', pool: 'pool', links: 'shared', hooks }] as never;
  new Observers(settings.observers!, rig.balancer, {
    clock: rig.runtime,
    log,
    control: { ...noControl, logLevels: ['info', 'debug'], listeners: () => facts, ...control },
  });
  const hub = new Hub(scope);
  const watch = new Watch(rig.balancer, scope, hub);
  const access = { listen: 'tcp://127.0.0.1:9901', hosts: ['admin.example.net'], ...(withToken && { token }) };
  const app = createApi(access, { balancer: rig.balancer, scope, hub, watch, files: () => undefined });
  clean.push(async () => {
    watch.stop();
    hub.close();
    await rig.stop();
  });
  const ask = async (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) => {
    const response = await app.request(`http://localhost:9901${path}`, {
      method,
      headers: {
        host: 'localhost:9901',
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const type = response.headers.get('content-type') ?? '';
    return {
      status: response.status,
      type,
      body: (type.includes('json') ? await response.json() : await response.text()) as Json,
    };
  };
  return { rig, app, hub, watch, ask };
}

/** Reads server-sent events as they come. */
async function listenTo(played: Awaited<ReturnType<typeof play>>, query: string) {
  const response = await played.app.request(`http://localhost:9901/v1/events${query}`, {
    headers: { host: 'localhost' },
  });
  expect(response.status).toBe(200);
  const reader = response.body!.getReader();
  return {
    reader,
    /** The next events, at least so many. */
    async next(least = 0) {
      const events: Json[] = [];
      do {
        const { value } = await reader.read();
        const text = new TextDecoder().decode(value);
        for (const [, type, data] of text.matchAll(/event: (.*)\ndata: (.*)\n\n/g)) {
          events.push({ type, ...JSON.parse(data!) });
        }
      } while (events.length < least);
      return events;
    },
  };
}

describe('the API', () => {
  it('answers every question in the form that its document gives', async () => {
    const { rig, ask } = await play();
    rig.client().send('hello\n');
    rig.advance(3000);
    const ajv = new Ajv({ strict: false, formats: { 'date-time': true } });
    for (const operation of Object.values(operations) as Operation[]) {
      if (operation.method !== 'get' || operation.answerType !== undefined) continue;
      const { status, body } = await ask('GET', operation.path);
      expect([operation.path, status]).toEqual([operation.path, 200]);
      ajv.validate(operation.answer, body);
      expect([operation.path, ajv.errors]).toEqual([operation.path, null]);
    }
  });

  it('is told whole in an OpenAPI document', async () => {
    const { ask } = await play();
    const { body } = await ask('GET', '/v1/openapi.json');
    const validator = new Validator();
    expect(await validator.validate(body)).toEqual({ valid: true });
    expect(validator.version).toBe('3.1');
    expect(Object.keys(body.components.securitySchemes)).toEqual(['token', 'certificate']);
    const told = Object.entries(body.paths).flatMap(([path, methods]) =>
      Object.keys(methods as object).map((method) => `${method} ${path}`),
    );
    expect(told.sort()).toEqual(
      Object.values(operations)
        .map(({ method, path }) => `${method} ${path}`)
        .sort(),
    );
    expect(body.paths['/v1/backends/{pool}/{name}'].patch.parameters).toMatchObject([
      { name: 'pool', in: 'path', required: true },
      { name: 'name', in: 'path', required: true },
    ]);
  });

  it('shows how backends do, and what hooks run how often', async () => {
    const { rig, ask } = await play();
    const client = rig.client();
    for (let index = 0; index < 6; index++) client.send('hello\n');
    rig.advance(3000);
    const { body } = await ask('GET', '/v1/stats');
    expect(body.backends).toMatchObject([
      { name: 'a', status: 'up', state: 'ready', messages: 3, messagesPerSecond: 1, sessions: 1 },
      { name: 'b', messages: 3 },
    ]);
    expect(body.listeners).toMatchObject([{ name: 'edge', connections: 1, hooks: [{ hook: 'frame', perSecond: 2 }] }]);
  });

  it('says what is wrong, and why messages go where they go', async () => {
    const { rig, ask } = await play();
    const client = rig.client();
    expect((await ask('GET', '/v1/stats')).body.troubles).toEqual([]);
    for (let index = 0; index < 10; index++) client.send('hello\n@nobody hello\n');
    rig.backend('b').down();
    rig.advance(1000);
    const { body } = await ask('GET', '/v1/stats');
    expect(body.troubles).toEqual([
      { severity: 'bad', pool: 'pool', text: 'pool/b is down: it cannot be reached' },
      { severity: 'warn', listener: 'edge', text: 'edge refuses 10.0 messages/s: unknown-backend' },
      { severity: 'warn', listener: 'edge', text: 'edge has 5.0 requests/s without an answer' },
    ]);
    expect(body.listeners[0].routesPerSecond).toMatchObject({ strategy: 10, identifier: 0 });
  });

  it('takes nothing for wrong that a plugin, or the core, discards as ordinary', async () => {
    const { rig, ask } = await play();
    const [alice, bob] = [rig.client(), rig.client()];
    bob.send('hello\n');
    bob.reset();
    rig.advance(1000);
    alice.send('bye\n');
    rig.backend('a').link.send('#1 too late\n#2 for nobody\n');
    rig.advance(1000);
    const { body } = await ask('GET', '/v1/stats');
    expect(rig.stats()).toMatchObject({
      fromClients: { discardedFor: { bye: 1 } },
      fromBackends: { discardedFor: { 'client-gone': 1, 'no-destination': 1 } },
    });
    expect(body.troubles).toEqual([
      { severity: 'warn', listener: 'edge', text: 'edge discards 0.5 messages/s: no-destination' },
    ]);
  });

  it('says that a backend has drained, but not from what workers have reported before they heard that it drains', async () => {
    const { rig, ask } = await play();
    const { stats } = rig.balancer;
    rig.balancer.stats = () => {
      const told = stats.call(rig.balancer);
      const { edge } = told.listeners;
      return { ...told, listeners: { edge: { ...edge!, backends: { a: { ...edge!.backends.a!, drained: true } } } } };
    };
    const change = async (state: string) => (await ask('PATCH', '/v1/backends/pool/a', { state })).body;
    expect(await change('drain')).toMatchObject({ status: 'drain', drained: false });
    rig.advance(3000);
    const drained = { status: 'drain', drained: true, why: 'has drained: it may be stopped' };
    expect((await ask('GET', '/v1/backends')).body.backends[0]).toMatchObject(drained);
    expect(await change('drain')).toMatchObject(drained);
    expect(await change('ready')).toMatchObject({ status: 'up', drained: false });
    expect(await change('drain')).toMatchObject({ drained: false, why: 'an operator lets it finish what it has' });
  });

  it('changes what backends get, and says what is wrong with a change', async () => {
    const { rig, ask } = await play();
    const { status, body } = await ask('PATCH', '/v1/backends/pool/a', { state: 'drain', weight: 3 });
    expect([status, body]).toEqual([
      200,
      expect.objectContaining({ name: 'a', state: 'drain', status: 'drain', weight: 3 }),
    ]);
    expect(rig.balancer.pools[0]!.available.map(({ name }) => name)).toEqual(['b']);
    expect(await ask('PATCH', '/v1/backends/pool/c', { state: 'drain' })).toMatchObject({
      status: 404,
      type: 'application/problem+json',
      body: {
        type: 'about:blank',
        title: 'Not Found',
        status: 404,
        detail: 'there is no backend "c" in a pool "pool"',
      },
    });
    expect(await ask('PATCH', '/v1/backends/pool/a', { state: 'off', colour: 'red' })).toMatchObject({
      status: 422,
      body: {
        errors: [
          'it must NOT have additional properties: colour',
          'state must be equal to one of the allowed values: ready, drain, maint',
        ],
      },
    });
    expect((await ask('PATCH', '/v1/backends/pool/a', {})).status).toBe(422);
  });

  it('lists connections and closes one', async () => {
    const { rig, ask } = await play();
    const alice = rig.client();
    rig.client();
    const { body } = await ask('GET', '/v1/connections?limit=1');
    expect(body).toMatchObject({ connections: [{ listener: 'edge', address: '198.51.100.1' }], next: '1' });
    const [{ id }] = body.connections;
    expect((await ask('DELETE', `/v1/connections/${id}`)).body).toEqual({ done: true });
    await rig.settle();
    expect(alice.closed).toBe(true);
    expect((await ask('DELETE', `/v1/connections/${id}`)).status).toBe(404);
    expect((await ask('GET', '/v1/connections?limit=0')).status).toBe(422);
    expect((await ask('GET', '/v1/connections?page=2')).body.detail).toBe(
      'it must NOT have additional properties: page',
    );
  });

  it('reloads, stops and sets the level of the log through what it runs in', async () => {
    const done: unknown[] = [];
    const { ask } = await play({
      control: {
        reload: async () => (done.push('reload') === 1 ? [] : ['edge.yaml:1:1  no']),
        stop: () => void done.push('stop'),
        setLogLevel: (level) => void done.push(level),
      },
    });
    expect((await ask('POST', '/v1/reload', {})).status).toBe(200);
    expect((await ask('POST', '/v1/reload', {})).body).toMatchObject({ status: 422, errors: ['edge.yaml:1:1  no'] });
    expect((await ask('POST', '/v1/drain', {})).status).toBe(200);
    expect((await ask('PUT', '/v1/log-level', { level: 'debug' })).body).toEqual({ level: 'debug' });
    expect((await ask('PUT', '/v1/log-level', { level: 'loud' })).status).toBe(422);
    expect(done).toEqual(['reload', 'reload', 'stop', 'debug']);
    const without = await play();
    expect((await without.ask('POST', '/v1/reload', {})).status).toBe(501);
  });

  it('explains messages in whatever way they are written', async () => {
    const asked: unknown[] = [];
    const { ask } = await play({
      control: {
        explain: async (listener, { bytes, backend, clientAddress }) => {
          asked.push([listener, bytes.toString(), backend, clientAddress]);
          return { messages: [], greetings: [] };
        },
      },
    });
    await ask('POST', '/v1/explain', { listener: 'edge', text: 'hé' });
    await ask('POST', '/v1/explain', { listener: 'edge', hex: '68 69', backend: 'a', client: '192.0.2.7' });
    await ask('POST', '/v1/explain', { listener: 'edge', base64: 'aGk=' });
    expect(asked).toEqual([
      ['edge', 'hé', undefined, undefined],
      ['edge', 'hi', 'a', '192.0.2.7'],
      ['edge', 'hi', undefined, undefined],
    ]);
    expect((await ask('POST', '/v1/explain', { listener: 'edge', text: 'a', hex: '61' })).status).toBe(422);
    expect((await ask('POST', '/v1/explain', { listener: 'edge' })).status).toBe(422);
    expect((await ask('POST', '/v1/explain', { listener: 'edge', text: 'a', client: 'b' })).body).toMatchObject({
      status: 422,
      detail: '"b" is no IP address',
    });
  });

  it('tells rates over whole seconds, however often it is asked to change something', async () => {
    const { rig, ask } = await play();
    const client = rig.client();
    for (let index = 0; index < 6; index++) client.send('hello\n');
    rig.advance(3000);
    for (const weight of [2, 3, 2, 3]) await ask('PATCH', '/v1/backends/pool/a', { weight });
    const { body } = await ask('GET', '/v1/backends');
    expect(body.backends[0]).toMatchObject({ name: 'a', weight: 3, messages: 3, messagesPerSecond: 1 });
    const { body: history } = await ask('GET', '/v1/history');
    expect(history.points.length).toBe(1);
  });

  it('says whether it takes work', async () => {
    const states = new Map<string, number[]>();
    for (const phase of ['starting', 'running', 'stopping'] as const) {
      const { ask } = await play({ control: { phase } });
      states.set(phase, [(await ask('GET', '/livez')).status, (await ask('GET', '/readyz')).status]);
    }
    expect([...states.values()]).toEqual([
      [200, 503],
      [200, 200],
      [200, 503],
    ]);
  });
});

describe('who is let in', () => {
  it('only who has the token, where there is one; probes need none', async () => {
    const { ask } = await play({ withToken: true });
    expect(await ask('GET', '/v1/stats')).toMatchObject({ status: 401, type: 'application/problem+json' });
    expect((await ask('GET', '/v1/stats', undefined, { authorization: 'Bearer wrong' })).status).toBe(401);
    expect((await ask('GET', '/v1/stats', undefined, { authorization: `Bearer ${token}` })).status).toBe(200);
    expect((await ask('GET', '/readyz')).status).toBe(200);
  });

  it('nobody by a token that no header can carry: it is no option', () => {
    expect(optionsOf(admin, { token })).toMatchObject({ token });
    for (const wrong of [`${token}\r`, ` ${token}`, `${token}€`]) {
      expect(() => optionsOf(admin, { token: wrong })).toThrow('token must match pattern');
    }
  });

  it('no page whose name has come to mean our address, and none of another site', async () => {
    const { ask } = await play();
    const from = async (headers: Record<string, string>) => (await ask('GET', '/v1/stats', undefined, headers)).status;
    expect(await from({ host: 'evil.example.com' })).toBe(403);
    expect(await from({ host: 'evil.example.com:9901' })).toBe(403);
    expect(await from({ host: '127.0.0.1.evil.example.com' })).toBe(403);
    expect(await from({ host: 'Admin.example.net' })).toBe(200);
    expect(await from({ host: '[::1]:9901' })).toBe(200);
    expect(await from({ origin: 'https://evil.example.com' })).toBe(403);
    expect(await from({ origin: 'null' })).toBe(403);
    expect(await from({ origin: 'http://localhost:9901' })).toBe(200);
    expect(await from({ 'sec-fetch-site': 'cross-site' })).toBe(403);
    expect(await from({ 'sec-fetch-site': 'same-origin' })).toBe(200);
  });

  it('no form: writes are JSON, and say so', async () => {
    const { ask } = await play();
    const headers = { 'content-type': 'text/plain' };
    expect((await ask('PATCH', '/v1/backends/pool/a', { state: 'drain' }, headers)).status).toBe(415);
    expect((await ask('POST', '/v1/drain', undefined)).status).toBe(415);
    expect((await ask('POST', '/v1/drain', undefined, { 'content-type': 'application/json' })).status).toBe(200);
  });

  it('nothing that is too long, is no JSON, or is not there', async () => {
    const { app, ask } = await play();
    const huge = { listener: 'edge', text: 'x'.repeat(4_194_304) };
    expect((await ask('POST', '/v1/explain', huge)).status).toBe(413);
    const headers = { host: 'localhost', 'content-type': 'application/json' };
    const broken = await app.request('http://localhost/v1/explain', { method: 'POST', headers, body: '{' });
    expect(broken.status).toBe(400);
    expect((await ask('GET', '/v1/nothing')).body).toMatchObject({
      status: 404,
      detail: 'there is no GET /v1/nothing',
    });
  });

  it('no method that a path does not know', async () => {
    const { app, ask } = await play();
    expect(await ask('PATCH', '/v1/stats', {})).toMatchObject({
      status: 405,
      type: 'application/problem+json',
      body: { title: 'Method Not Allowed', detail: 'it knows GET, HEAD' },
    });
    const headers = { host: 'localhost' };
    const { headers: answered } = await app.request('http://localhost/v1/log-level', { headers });
    expect(answered.get('allow')).toBe('PUT');
    expect((await app.request('http://localhost/livez', { method: 'HEAD', headers })).status).toBe(200);
  });

  it('nobody who only wants to know whether there are events', async () => {
    const { app, hub } = await play();
    const { status, body } = await app.request('http://localhost/v1/events', {
      method: 'HEAD',
      headers: { host: 'localhost' },
    });
    expect([status, body, hub.hears('decision')]).toEqual([200, null, false]);
  });

  it.each([
    [
      'tcp://0.0.0.0:9901',
      {},
      'listen: others can reach "tcp://0.0.0.0:9901"; give a "token" or "tls.ca", or listen on',
    ],
    ['tcp://192.0.2.1:9901', {}, 'listen: others can reach'],
    ['tcp://admin.example.net:9901', {}, 'listen: others can reach'],
    ['tcp://[::]:9901', {}, 'listen: others can reach'],
    ['http://127.0.0.1', {}, 'listen: "http://127.0.0.1" is no address; write tcp://host:port or unix:/path'],
    ['tcp://127.0.0.1:99999', {}, 'listen: "tcp://127.0.0.1:99999" is no address'],
    ['tcp://127.0.0.1:1', { tls: { certificate: 'x', key: 'y' } }, 'tls: these certificates and keys cannot be used'],
  ])('nobody by accident: %s', (listen, more, message) => {
    const observe = () => admin.observe!({} as never, optionsOf(admin, { listen, ...more }) as never, {} as never);
    expect(observe).toThrow(message);
  });

  it.each(['tcp://127.0.0.1:9901', 'tcp://127.9.9.9:1', 'tcp://localhost:1', 'tcp://[::1]:1', 'unix:/run/admin.sock'])(
    'without a token only who is here: %s',
    (listen) => {
      const scope = { onStart() {}, onStop() {} } as never;
      expect(() => admin.observe!({} as never, optionsOf(admin, { listen }) as never, scope)).not.toThrow();
    },
  );
});

describe('events', () => {
  it('tell where messages go, and why; only of those that are asked for', async () => {
    const played = await play();
    const all = await listenTo(played, '');
    const some = await listenTo(played, '?outcome=refused');
    await all.next();
    await some.next();
    const alice = played.rig.client();
    alice.send('hello\n');
    alice.send('@nobody hello\n');
    played.rig.advance(100);
    const common = { type: 'decision', listener: 'edge', from: 'client', client: '198.51.100.1' };
    expect(await all.next(2)).toMatchObject([
      { ...common, backend: 'a', outcome: 'forwarded', reason: 'strategy', bytes: 6 },
      { ...common, outcome: 'refused', reason: 'unknown-backend', bytes: 14 },
    ]);
    expect(await some.next()).toMatchObject([{ ...common, outcome: 'refused' }]);
  });

  it('say how many decisions were left out', async () => {
    const played = await play({ decisionsPerSecond: 2 });
    const { next } = await listenTo(played, '');
    await next();
    const alice = played.rig.client();
    for (let index = 0; index < 10; index++) alice.send('hello\n');
    played.rig.advance(100);
    const events = await next(3);
    expect(events.map(({ type }) => type)).toEqual(['decision', 'decision', 'left-out']);
    expect(events.at(-1)).toMatchObject({ count: 8 });
  });

  it('cost nothing when nobody listens any more', async () => {
    const played = await play();
    const orders: unknown[] = [];
    const order = played.rig.balancer.order.bind(played.rig.balancer);
    played.rig.balancer.order = (observer, value) => {
      orders.push(value);
      order(observer, value);
    };
    const { reader, next } = await listenTo(played, '?backend=b');
    await next();
    await reader.cancel();
    expect(orders).toEqual([{ filters: [{ backend: 'b' }] }, { filters: [] }]);
  });

  it('tell when a backend changes', async () => {
    const played = await play();
    const { next } = await listenTo(played, '?types=state');
    await next();
    await played.ask('PATCH', '/v1/backends/pool/a', { state: 'maint' });
    const why = 'an operator has taken it out';
    expect(await next()).toMatchObject([
      { type: 'state', pool: 'pool', backend: 'a', status: 'maint', was: 'up', why },
    ]);
    played.rig.backend('b').down();
    played.rig.advance(1000);
    expect(await next()).toMatchObject([{ type: 'state', backend: 'b', status: 'down' }]);
  });

  it('are missed by who does not read, and that is told', async () => {
    const played = await play();
    const { next } = await listenTo(played, '?types=stats');
    for (let count = 0; count < 1100; count++) played.hub.tell('stats', { count });
    await next();
    const events = await next();
    expect(events.at(-1)).toMatchObject({ type: 'missed' });
    expect(events.length - 1 + events.at(-1)!.count).toBe(1100);
  });
});
