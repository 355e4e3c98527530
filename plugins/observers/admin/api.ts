/** Answers requests: checks who may ask, parses what is asked, and returns the result. */
import { isIP } from 'node:net';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { BackendState, BalancerView, ObserverScope } from 'pointsman';
import { Ajv } from '../../../core/vendor/ajv.ts';
import { type AccessOptions, tokenCheck, whyForeign } from './access.ts';
import { openApiDocument } from './document.ts';
import { type EventType, type Hub, mostListeners } from './hub.ts';
import { type Operation, type OperationId, operations } from './operations.ts';
import type { Watch } from './watch.ts';

/** Enough for every message that `explain` is asked about. */
const mostBodyBytes = 4_194_304;

/** An error, in the form of RFC 9457. */
class Problem extends Error {
  readonly status: number;
  readonly errors: readonly string[] | undefined;
  readonly headers: Readonly<Record<string, string>>;
  constructor(
    status: number,
    detail: string,
    { errors, headers = {} }: { errors?: readonly string[]; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    this.status = status;
    this.errors = errors;
    this.headers = headers;
  }
}

const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  405: 'Method Not Allowed',
  413: 'Content Too Large',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  500: 'Internal Server Error',
  501: 'Not Implemented',
  503: 'Service Unavailable',
};

function answerOf({ status, message, errors, headers }: Problem): Response {
  const body = { type: 'about:blank', title: titles[status], status, detail: message, errors };
  return new Response(`${JSON.stringify(body)}\n`, {
    status,
    headers: { ...security, ...headers, 'content-type': 'application/problem+json' },
  });
}

/** On every answer: nothing is cached, guessed, framed or passed on. */
const security = {
  'cache-control': 'no-store',
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-resource-policy': 'same-origin',
} as const;

/** The input of a handler: checked, with defaults. */
interface Asked {
  readonly parameters: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly body: Readonly<Record<string, unknown>>;
}

type Handler = (asked: Asked) => unknown;

export interface ApiParts {
  readonly balancer: BalancerView;
  readonly scope: ObserverScope;
  readonly hub: Hub;
  readonly watch: Watch;
  /** Answers what is not part of the API: the dashboard. */
  readonly files: (path: string) => Response | undefined;
}

export function createApi(access: AccessOptions, parts: ApiParts): Hono {
  const isToken = tokenCheck(access.token);
  const handlers = handlersFor(parts);
  const app = new Hono();

  app.onError((error) => {
    if (error instanceof Problem) return answerOf(error);
    const { code } = error as { code?: string };
    if (code === 'POINTSMAN_UNKNOWN_NAME') return answerOf(new Problem(404, error.message));
    parts.scope.log.error({ err: error }, error.message);
    return answerOf(new Problem(500, 'it has failed; the log says why'));
  });
  const methodsAt = new Map<string, string[]>();
  app.notFound(({ req }) => answerOf(new Problem(404, `there is no ${req.method} ${req.path}`)));

  app.use(async ({ req }, next) => {
    const why = whyForeign(
      { host: req.header('host'), origin: req.header('origin'), fetchSite: siteOf(req) },
      access.hosts,
    );
    if (why !== undefined) throw new Problem(403, why);
    await next();
  });
  app.use(
    bodyLimit({
      maxSize: mostBodyBytes,
      onError: () => answerOf(new Problem(413, `a body has ${mostBodyBytes} bytes at most`)),
    }),
  );

  for (const [id, operation] of Object.entries(operations) as [OperationId, Operation][]) {
    const { method, path, query, body, isOpen = false } = operation;
    const checkQuery = query && checker(query, true);
    const checkBody = body && checker(body, false);
    const route = path.replaceAll(/\{(\w+)\}/g, ':$1');
    methodsAt.set(route, [
      ...(methodsAt.get(route) ?? []),
      ...(method === 'get' ? ['GET', 'HEAD'] : [method.toUpperCase()]),
    ]);
    app.on(method.toUpperCase(), route, async (context) => {
      const { req } = context;
      if (!isOpen && !isToken(bearerOf(req.header('authorization')))) {
        throw new Problem(401, 'send the token, as "Authorization: Bearer …"', {
          headers: { 'www-authenticate': 'Bearer' },
        });
      }
      const asked = {
        parameters: req.param() as Record<string, string>,
        query: checkQuery?.(req.query()) ?? {},
        body: method === 'get' ? {} : await bodyOf(context, checkBody, method !== 'delete'),
      };
      const answer = await handlers[id](asked);
      if (answer instanceof Response) {
        if (req.method === 'HEAD') await answer.body?.cancel(); // nobody is going to read it
        return answer;
      }
      return new Response(`${JSON.stringify(answer)}\n`, {
        headers: { ...security, 'content-type': 'application/json' },
      });
    });
  }

  for (const [route, methods] of methodsAt) {
    const allow = methods.join(', ');
    app.all(route, () => answerOf(new Problem(405, `it knows ${allow}`, { headers: { allow } })));
  }
  app.get('*', ({ req, notFound }) => parts.files(req.path) ?? notFound());
  return app;
}

/** A link on another page may lead to the dashboard; what the dashboard asks for is then its own request. */
function siteOf(req: Context['req']): string | undefined {
  const isVisit = req.method === 'GET' && req.header('sec-fetch-mode') === 'navigate' && req.path === '/';
  return isVisit ? undefined : req.header('sec-fetch-site');
}

const bearerOf = (header: string | undefined) => /^Bearer +(.*)$/i.exec(header ?? '')?.[1];

/** @throws Problem (rejects with) if it is not what it should be */
async function bodyOf(
  { req }: Context,
  check: ((value: unknown) => Record<string, unknown>) | undefined,
  needsType: boolean,
): Promise<Record<string, unknown>> {
  // A form on another page cannot send this.
  if (needsType && !/^application\/json\s*(;|$)/i.test(req.header('content-type') ?? '')) {
    throw new Problem(415, 'send it as "Content-Type: application/json"');
  }
  if (check === undefined) return {};
  let value: unknown;
  try {
    value = JSON.parse((await req.text()) || '{}');
  } catch {
    throw new Problem(400, 'the body is no JSON');
  }
  return check(value);
}

/** @throws Problem from what it answers, with every mistake */
function checker(schema: object, coerceTypes: boolean): (value: unknown) => Record<string, unknown> {
  const ajv = new Ajv({ allErrors: true, useDefaults: true, strict: false, coerceTypes });
  const check = ajv.compile(schema);
  return (value) => {
    if (check(value)) return value as Record<string, unknown>;
    const errors = check.errors!.map(({ instancePath, message, params }) => {
      const { additionalProperty, allowedValues } = params as {
        additionalProperty?: string;
        allowedValues?: unknown[];
      };
      const what = instancePath === '' ? 'it' : instancePath.slice(1).replaceAll('/', '.');
      const which = additionalProperty ?? allowedValues?.join(', ');
      return `${what} ${message}${which === undefined ? '' : `: ${which}`}`;
    });
    throw new Problem(422, errors[0]!, { errors });
  };
}

function handlersFor({ balancer, scope, hub, watch }: ApiParts): Readonly<Record<OperationId, Handler>> {
  const { control, log } = scope;
  const document = openApiDocument(control.version);
  const text = (body: string) => new Response(body, { headers: { ...security, 'content-type': 'text/plain' } });

  return {
    getConfig: () => control.config(),
    getListeners: () => ({ listeners: watch.listeners() }),
    getPools() {
      const backends = watch.backends();
      const names = [...new Set(backends.map(({ pool }) => pool))];
      return { pools: names.map((name) => ({ name, backends: backends.filter(({ pool }) => pool === name) })) };
    },
    getBackends: () => ({ backends: watch.backends() }),
    changeBackend({ parameters: { pool = '', name = '' }, body }) {
      const change = body as { state?: BackendState; weight?: number };
      balancer.setBackend(pool, name, change);
      log.info({ pool, backend: name, ...change }, 'backend changed by an operator');
      watch.look(true);
      return watch.backends().find((row) => row.pool === pool && row.name === name);
    },
    getConnections: ({ query }) => balancer.connections(query as unknown as Parameters<BalancerView['connections']>[0]),
    async closeConnection({ parameters: { id = '' } }) {
      if (!(await balancer.closeConnection(id))) throw new Problem(404, `there is no connection "${id}"`);
      log.info({ connection: id }, 'connection closed by an operator');
      return { done: true };
    },
    getPlugins: () => ({ plugins: control.plugins() }),
    getStats: () => watch.overview(),
    getHistory: () => ({ points: watch.history }),
    getEvents({ query: { types, ...filter } }) {
      if (hub.isFull) throw new Problem(503, `${mostListeners} listen already`);
      const wanted = { ...filter, types: (types as string).split(',') as EventType[] };
      return new Response(hub.listen(wanted), { headers: { ...security, 'content-type': 'text/event-stream' } });
    },
    explain({ body: { listener, backend, client, ...given } }) {
      const [encoding, ...more] = Object.keys(given);
      if (encoding === undefined || more.length > 0) throw new Problem(422, 'give one of "text", "hex" and "base64"');
      if (client !== undefined && isIP(client as string) === 0) throw new Problem(422, `"${client}" is no IP address`);
      const written = given[encoding] as string;
      const bytes =
        encoding === 'hex'
          ? Buffer.from(written.replaceAll(/\s/g, ''), 'hex')
          : Buffer.from(written, encoding === 'text' ? 'utf8' : 'base64');
      return control.explain(listener as string, {
        bytes,
        backend: backend as string | undefined,
        clientAddress: client as string | undefined,
      });
    },
    async reload() {
      if (control.reload === undefined) throw new Problem(501, 'it cannot be reloaded');
      const errors = await control.reload();
      if (errors.length > 0)
        throw new Problem(422, 'the config is not in order; the one that ran still does', { errors });
      return { done: true };
    },
    drain() {
      log.info({}, 'told to stop by an operator');
      control.stop();
      return { done: true };
    },
    setLogLevel({ body: { level } }) {
      control.setLogLevel(level as string);
      log.info({ level }, 'log level set by an operator');
      return { level };
    },
    isAlive: () => text('ok\n'),
    isReady() {
      if (control.phase === 'running') return text('ok\n');
      throw new Problem(503, control.phase === 'starting' ? 'it is starting' : 'it is stopping');
    },
    getDocument: () => document,
  };
}
