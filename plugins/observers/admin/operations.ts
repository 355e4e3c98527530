/**
 * Every request that the API knows, with the schemas of what is sent and answered. Requests are checked by these, and the API
 * document is made from them.
 */
import { Type } from 'pointsman';
import { eventTypes } from './hub.ts';

const closed = { additionalProperties: false } as const;
const count = (description: string) => Type.Integer({ minimum: 0, description });
const nullable = (schema: object) => Type.Unsafe<number | null>({ ...schema, type: ['number', 'null'] });

const backend = Type.Object({
  pool: Type.String(),
  name: Type.String(),
  address: Type.String(),
  number: Type.Optional(Type.Integer()),
  state: Type.Enum(['ready', 'drain', 'maint'], { description: 'What the operator lets it do.' }),
  status: Type.Enum(['up', 'drain', 'maint', 'down', 'failing', 'ejected'], { description: 'How it is, in one word.' }),
  why: Type.String({ description: 'What is known about that.' }),
  weight: Type.Number({ minimum: 0, description: 'Its share of new work relative to the others.' }),
  currentWeight: Type.Number({ minimum: 0, description: 'Less than `weight` while it starts slowly.' }),
  priority: Type.Integer(),
  checks: Type.Object({
    passed: count('Checks passed.'),
    failed: count('Checks failed.'),
    last: Type.Optional(Type.String()),
  }),
  ejections: count('How often it has been ejected for standing out.'),
  failedConnects: count('Connects to it that failed.'),
  unanswered: count('Requests that it has not answered: overdue, or lost with their link.'),
  sessions: count('Links open to it.'),
  messages: count('Messages sent to it since the start.'),
  messagesPerSecond: Type.Number({ description: 'In the last seconds.' }),
  inFlight: count('Requests outstanding there.'),
  queued: count('Messages that wait for it.'),
  p50Ms: nullable({ description: 'Half of the answers of the last 10 s came within that; null: there were none.' }),
  p99Ms: nullable({ description: 'And 99 in 100 of them.' }),
  downs: count('How often it has gone down.'),
  downSeconds: count('How long it has been down, in all.'),
  idleSeconds: nullable({ description: 'Since it last got a message; null: it never has.' }),
  drained: Type.Boolean({
    description:
      'It drains, has had no message for the `drainedSeconds` of its pool, and owes no answer: it may be stopped.',
  }),
});

const listener = Type.Object({
  name: Type.String(),
  listen: Type.String(),
  pool: Type.String(),
  links: Type.Enum(['shared', 'dedicated']),
  connections: count('Client connections that are open.'),
  inFlight: count('Requests of its clients that are outstanding.'),
  rates: Type.Record(Type.String(), Type.Number(), { description: 'What happens how often a second.' }),
  routesPerSecond: Type.Record(Type.String(), Type.Number(), {
    description: 'How many messages a second go where they go, by why: identifier, affinity, strategy, …',
  }),
  hooks: Type.Array(
    Type.Object({
      hook: Type.String(),
      plugins: Type.Array(Type.String(), { description: 'In the order in which they are asked.' }),
      perSecond: nullable({ description: 'How often it runs; null: that is not counted.' }),
    }),
  ),
  stats: Type.Unsafe<object | null>({ type: ['object', 'null'], description: 'All that is counted since the start.' }),
});

const overview = Type.Object({
  at: Type.String({ format: 'date-time' }),
  version: Type.String(),
  phase: Type.Enum(['starting', 'running', 'stopping']),
  workers: Type.Integer({ minimum: 1 }),
  uptimeSeconds: Type.Number(),
  logLevel: Type.String(),
  troubles: Type.Array(
    Type.Object({
      severity: Type.Enum(['bad', 'warn'], { description: 'bad: work is lost, or cannot be done.' }),
      listener: Type.Optional(Type.String()),
      pool: Type.Optional(Type.String()),
      text: Type.String({ description: 'What is wrong, in a sentence.' }),
    }),
    { description: 'What is wrong now, the worst first.' },
  ),
  listeners: Type.Array(listener),
  backends: Type.Array(backend),
});

const connection = Type.Object({
  id: Type.String(),
  listener: Type.String(),
  address: Type.String({ description: "The client's IP address; empty for unix sockets." }),
  port: Type.Integer(),
  openSeconds: Type.Number(),
  idleSeconds: Type.Number({ description: 'Since it last sent something.' }),
  messages: count('Messages that it has sent.'),
  bytes: count('Bytes that it has sent.'),
  outstanding: count('Its requests that wait for an answer.'),
  queueBytes: count('Bytes that wait for it.'),
  links: Type.Array(Type.String(), { description: 'The backends that it has a dedicated link to.' }),
});

const point = Type.Object({
  at: Type.String({ format: 'date-time' }),
  connections: count('Client connections that were open.'),
  inFlight: count('Requests outstanding.'),
  forwardedPerSecond: Type.Number(),
  refusedPerSecond: Type.Number(),
  discardedPerSecond: Type.Number(),
  p50Ms: nullable({}),
  p99Ms: nullable({}),
});

export const problem = Type.Object(
  {
    type: Type.String({ description: 'about:blank: the status says what kind of problem it is.' }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String(),
    errors: Type.Optional(Type.Array(Type.String(), { description: 'Every mistake, in a sentence.' })),
  },
  { description: 'What went wrong (RFC 9457).' },
);

/** For writes whose path says everything. A body is required all the same: a form on another page cannot send JSON. */
const nothing = Type.Object({}, { ...closed, description: 'An empty object.' });
const byListener = Type.Optional(Type.String({ description: 'Only of this listener.' }));
const done = Type.Object({ done: Type.Boolean() });

export const operations = {
  getConfig: {
    method: 'get',
    path: '/v1/config',
    summary: 'The config as it was written, without its tests. Secrets are masked; references such as ${env:KEY} stay.',
    answer: Type.Unknown(),
  },
  getListeners: {
    method: 'get',
    path: '/v1/listeners',
    summary: 'The listeners: their pipelines, what they count, and rates.',
    answer: Type.Object({ listeners: Type.Array(listener) }),
  },
  getPools: {
    method: 'get',
    path: '/v1/pools',
    summary: 'The pools with their backends.',
    answer: Type.Object({ pools: Type.Array(Type.Object({ name: Type.String(), backends: Type.Array(backend) })) }),
  },
  getBackends: {
    method: 'get',
    path: '/v1/backends',
    summary: 'The backends of all pools: how they are, and how they do.',
    answer: Type.Object({ backends: Type.Array(backend) }),
  },
  changeBackend: {
    method: 'patch',
    path: '/v1/backends/{pool}/{name}',
    summary: 'Lets a backend do more or less, or gives it another share of new work, until the config says otherwise.',
    parameters: Type.Object({ pool: Type.String(), name: Type.String() }),
    body: Type.Object(
      {
        state: Type.Optional(
          Type.Enum(['ready', 'drain', 'maint'], {
            description: 'ready: everything; drain: nothing new; maint: nothing at all.',
          }),
        ),
        weight: Type.Optional(Type.Number({ minimum: 0, maximum: 1_000_000, description: '0: no new work.' })),
      },
      { ...closed, minProperties: 1 },
    ),
    answer: backend,
  },
  getConnections: {
    method: 'get',
    path: '/v1/connections',
    summary: 'The client connections that are open, page by page.',
    query: Type.Object(
      {
        limit: Type.Integer({ minimum: 1, maximum: 1000, default: 100 }),
        from: Type.Optional(Type.String({ description: 'The `next` of the page before.' })),
        listener: byListener,
        address: Type.Optional(Type.String({ description: 'Only of this IP address.' })),
      },
      closed,
    ),
    answer: Type.Object({
      connections: Type.Array(connection),
      next: Type.Optional(Type.String({ description: 'Where the next page begins; absent: this is the last.' })),
    }),
  },
  closeConnection: {
    method: 'delete',
    path: '/v1/connections/{id}',
    summary: 'Closes a client connection at once.',
    parameters: Type.Object({ id: Type.String() }),
    answer: done,
  },
  getPlugins: {
    method: 'get',
    path: '/v1/plugins',
    summary: 'The plugins that the config can use, and where it does.',
    answer: Type.Object({
      plugins: Type.Array(
        Type.Object({ name: Type.String(), summary: Type.String(), usedBy: Type.Array(Type.String()) }),
      ),
    }),
  },
  getStats: {
    method: 'get',
    path: '/v1/stats',
    summary: 'Everything at a glance.',
    answer: overview,
  },
  getHistory: {
    method: 'get',
    path: '/v1/history',
    summary: 'The last 15 minutes, a point for every 5 s, all listeners together.',
    answer: Type.Object({ points: Type.Array(point) }),
  },
  getEvents: {
    method: 'get',
    path: '/v1/events',
    summary:
      'What happens, as server-sent events, from now on. `decision`: what became of a message; `left-out`: how many more there ' +
      'were than are told; `state`: a backend has changed; `stats`: everything at a glance, once a second; `missed`: how many ' +
      'events you were too slow for.',
    query: Type.Object(
      {
        types: Type.String({
          default: 'decision,left-out,state',
          pattern: `^(${eventTypes.join('|')})(,(${eventTypes.join('|')}))*$`,
          description: `Which: ${eventTypes.join(', ')}, joined by commas. The other members choose among decisions.`,
        }),
        listener: byListener,
        backend: Type.Optional(Type.String({ description: 'Only to or from this backend.' })),
        client: Type.Optional(Type.String({ description: 'Only of clients whose IP address begins so.' })),
        reason: Type.Optional(
          Type.String({ description: 'Only with this reason: strategy, identifier, no-backend, …' }),
        ),
        outcome: Type.Optional(Type.Enum(['forwarded', 'refused', 'discarded'])),
      },
      closed,
    ),
    answerType: 'text/event-stream',
    answer: Type.String(),
  },
  explain: {
    method: 'post',
    path: '/v1/explain',
    summary: 'What would become of messages, of the first 100, by the config that runs. Nothing is sent to anybody.',
    body: Type.Object(
      {
        listener: Type.String(),
        text: Type.Optional(Type.String({ description: 'The bytes, as UTF-8 text.' })),
        hex: Type.Optional(
          Type.String({ pattern: '^([0-9A-Fa-f]{2}\\s*)*$', description: 'The same in hexadecimal digits.' }),
        ),
        base64: Type.Optional(Type.String({ pattern: '^[A-Za-z0-9+/]*={0,2}$', description: 'The same in base64.' })),
        backend: Type.Optional(Type.String({ description: 'The backend that sends them; absent: a client does.' })),
        client: Type.Optional(Type.String({ description: "The client's IP address." })),
      },
      closed,
    ),
    answer: Type.Object({ messages: Type.Array(Type.Unknown()), greetings: Type.Array(Type.Unknown()) }),
  },
  reload: {
    method: 'post',
    path: '/v1/reload',
    summary: 'Reads the config again, as on SIGHUP. One that is not in order changes nothing.',
    body: nothing,
    answer: done,
  },
  drain: {
    method: 'post',
    path: '/v1/drain',
    summary: 'Stops accepting, waits some time for answers that are due, and ends, as on SIGTERM.',
    body: nothing,
    answer: done,
  },
  setLogLevel: {
    method: 'put',
    path: '/v1/log-level',
    summary: 'Sets what is logged, until the next start.',
    body: Type.Object({ level: Type.Enum(['debug', 'info', 'warn', 'error', 'silent']) }, closed),
    answer: Type.Object({ level: Type.String() }),
  },
  isAlive: {
    method: 'get',
    path: '/livez',
    summary: 'Whether it runs at all. Needs no token.',
    isOpen: true,
    answerType: 'text/plain',
    answer: Type.String(),
  },
  isReady: {
    method: 'get',
    path: '/readyz',
    summary: 'Whether it takes work: 503 before all listeners are open, and while it stops. Needs no token.',
    isOpen: true,
    answerType: 'text/plain',
    answer: Type.String(),
  },
  getDocument: {
    method: 'get',
    path: '/v1/openapi.json',
    summary: 'This document. Needs no token.',
    isOpen: true,
    answer: Type.Unknown(),
  },
} as const;

export type OperationId = keyof typeof operations;

/** The members an operation may have, with the same type in all of them. */
export interface Operation {
  readonly method: 'get' | 'post' | 'put' | 'patch' | 'delete';
  /** With parameters as `{name}`. */
  readonly path: string;
  readonly summary: string;
  readonly parameters?: ReturnType<typeof Type.Object>;
  readonly query?: ReturnType<typeof Type.Object>;
  readonly body?: ReturnType<typeof Type.Object>;
  /** Undefined: application/json. */
  readonly answerType?: string;
  readonly answer: object;
  /** It needs no token. */
  readonly isOpen?: boolean;
}
