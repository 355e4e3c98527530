/** Talks to the admin API of a running balancer, for the verbs that need it. */
import { readFileSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import { whyUnreadable } from '../config/parse.ts';
import { among } from '../config/suggest.ts';
import { exitCodes, type Output } from './output.ts';

export interface AdminOptions {
  /** http://host:port, https://host:port or unix:/path. */
  readonly url: string;
  /** Undefined: that of POINTSMAN_TOKEN, if it is set. */
  readonly token?: string;
  /** Files in PEM: who may have signed its certificate, and what we show of ourselves. */
  readonly ca?: string;
  readonly certificate?: string;
  readonly key?: string;
  readonly json?: boolean;
}

/** Thrown with what the balancer answered instead, or why nobody answered. */
export class AdminError extends Error {
  readonly exitCode: number;
  constructor(message: string, exitCode: number = exitCodes.couldNotRun) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** A backend, as far as the verbs show it. */
export interface BackendRow {
  readonly pool: string;
  readonly name: string;
  readonly address: string;
  readonly state: string;
  readonly status: string;
  readonly why: string;
  readonly weight: number;
  readonly sessions: number;
  readonly messages: number;
  readonly messagesPerSecond: number;
  readonly inFlight: number;
  readonly queued: number;
  readonly failedConnects: number;
  readonly unanswered: number;
  readonly p50Ms: number | null;
  readonly p99Ms: number | null;
  /** Seconds since it last got a message; null: it never has. */
  readonly idleSeconds: number | null;
  /** It can be stopped. */
  readonly drained: boolean;
}

/** How long an answer may take. */
const timeoutMs = 15_000;

export class AdminClient {
  readonly #url: string;
  readonly #token: string | undefined;
  readonly #tls: https.RequestOptions;

  /** @throws AdminError if a file cannot be read, or the token cannot be sent */
  constructor({ url, token = process.env.POINTSMAN_TOKEN, ca, certificate, key }: AdminOptions) {
    if (token !== undefined && !/^[ -~]*$/.test(token)) {
      throw new AdminError('the token (--token, or POINTSMAN_TOKEN) has characters that no header can carry');
    }
    this.#url = url;
    this.#token = token;
    this.#tls = {
      ...(ca !== undefined && { ca: contentOf(ca) }),
      ...(certificate !== undefined && { cert: contentOf(certificate) }),
      ...(key !== undefined && { key: contentOf(key) }),
    };
  }

  /** @throws AdminError (rejects with) that says what is wrong */
  async ask<Answer>(method: string, path: string, body?: object): Promise<Answer> {
    const response = await this.#send(method, path, body);
    const text = await textOf(response);
    try {
      return JSON.parse(text) as Answer;
    } catch {
      throw new AdminError(`${this.#url} is no admin API: it answers with something else than JSON`);
    }
  }

  /** Server-sent events as they come, until the other end closes. */
  async *events(path: string): AsyncGenerator<{ readonly type: string; readonly data: unknown }> {
    const response = await this.#send('GET', path, undefined);
    response.setEncoding('utf8');
    let text = '';
    for await (const chunk of response) {
      text += chunk as string;
      const frames = text.split('\n\n');
      text = frames.pop()!;
      for (const frame of frames) {
        const [, type, data] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? [];
        if (type !== undefined && data !== undefined) yield { type, data: JSON.parse(data) };
      }
    }
  }

  async #send(method: string, path: string, body: object | undefined): Promise<http.IncomingMessage> {
    const response = await this.#request(method, path, body);
    const { statusCode = 0 } = response;
    if (statusCode < 300) return response;
    const text = await textOf(response);
    throw new AdminError(this.#explain(statusCode, text));
  }

  #explain(status: number, text: string): string {
    let problem: { readonly detail?: string; readonly errors?: readonly string[] } = {};
    try {
      problem = JSON.parse(text);
    } catch {
      return `${this.#url} is no admin API: it answers with status ${status}`;
    }
    if (status === 401) {
      const wants = this.#token === undefined ? 'wants a token' : 'does not take that token';
      return `${this.#url} ${wants}: --token, or POINTSMAN_TOKEN`;
    }
    return [
      problem.detail ?? `status ${status}`,
      ...(problem.errors ?? []).filter((one) => one !== problem.detail),
    ].join('\n  ');
  }

  #request(method: string, path: string, body: object | undefined): Promise<http.IncomingMessage> {
    const [, socketPath] = /^unix:(?:\/\/(?=\/))?(.+)$/.exec(this.#url) ?? [];
    if (socketPath === undefined && !(/^https?:\/\/[^/]/.test(this.#url) && URL.canParse(this.#url))) {
      throw new AdminError(`"${this.#url}" is no address; write http://host:port, https://host:port or unix:/path`);
    }
    const url = new URL(path, socketPath === undefined ? this.#url : 'http://localhost');
    const { request } = url.protocol === 'https:' ? https : http;
    const content = body === undefined ? undefined : JSON.stringify(body);
    return new Promise((resolve, reject) => {
      const sent = request(
        url,
        {
          method,
          ...this.#tls,
          ...(socketPath !== undefined && { socketPath }),
          headers: {
            ...(content !== undefined && {
              'content-type': 'application/json',
              'content-length': Buffer.byteLength(content),
            }),
            ...(this.#token !== undefined && { authorization: `Bearer ${this.#token}` }),
          },
        },
        (response) => {
          sent.setTimeout(0);
          resolve(response);
        },
      );
      sent.setTimeout(timeoutMs, () => sent.destroy(new Error(`no answer within ${timeoutMs / 1000} s`)));
      sent.on('error', (error: NodeJS.ErrnoException) => reject(new AdminError(this.#whyUnreachable(error))));
      sent.end(content);
    });
  }

  #whyUnreachable({ code = '', message }: NodeJS.ErrnoException): string {
    if (/SELF_SIGNED|UNABLE_TO_(VERIFY|GET_ISSUER)/.test(code)) {
      return `cannot trust ${this.#url}: ${message}; say who has signed its certificate: --ca`;
    }
    // Whoever does not like our certificate may say so, or just close.
    if (/^ERR_SSL_\w+_ALERT_/.test(code) || (code === 'ECONNRESET' && this.#url.startsWith('https:'))) {
      const why = /SSL routines:[^:]*:([^:]+)/.exec(message)?.[1] ?? message;
      return `${this.#url} has refused us: ${why}; it may want another certificate: --certificate and --key`;
    }
    if (message.includes('wrong version number')) return `${this.#url} does not speak TLS; try http://`;
    if (code === 'ECONNRESET') return `${this.#url} has closed the connection; it may want https://`;
    if (code !== 'ECONNREFUSED' && code !== 'ENOENT') return `cannot reach ${this.#url}: ${message}`;
    return (
      `nobody answers at ${this.#url}: is pointsman running, with "observers: [{ admin: {} }]" in its config? ` +
      'If it listens elsewhere, say where: --url'
    );
  }
}

function contentOf(file: string): Buffer {
  try {
    return readFileSync(file);
  } catch (error) {
    throw new AdminError(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
}

async function textOf(response: http.IncomingMessage): Promise<string> {
  response.setEncoding('utf8');
  let text = '';
  for await (const chunk of response) text += chunk as string;
  return text;
}

/**
 * Runs a verb; reports in one line whatever goes wrong between it and the balancer.
 * @returns the exit code
 */
export async function withAdmin(
  options: AdminOptions,
  { stderr }: Output,
  verb: (client: AdminClient) => Promise<void>,
): Promise<number> {
  try {
    await verb(new AdminClient(options));
    return exitCodes.clean;
  } catch (error) {
    if (!(error instanceof AdminError)) throw error;
    stderr.write(`pointsman: ${error.message}\n`);
    return error.exitCode;
  }
}

/** The backends of that name, of whatever pool, or that of `pool/name`: one at least. */
export function findBackends(backends: readonly BackendRow[], named: string): readonly [BackendRow, ...BackendRow[]] {
  const [first, ...more] = backends.filter(({ pool, name }) => name === named || `${pool}/${name}` === named);
  if (first !== undefined) return [first, ...more];
  const names = new Set(backends.map(({ pool, name }) => (named.includes('/') ? `${pool}/${name}` : name)));
  throw new AdminError(`there is no backend "${named}"${among(named, [...names])}`);
}

/** The backend of that name, or of `pool/name`; the only one. */
export function findBackend(backends: readonly BackendRow[], named: string): BackendRow {
  const found = findBackends(backends, named);
  if (found.length === 1) return found[0];
  const several = found.map(({ pool, name }) => `${pool}/${name}`).join(' or ');
  throw new AdminError(`several pools have a backend "${named}": say ${several}`);
}
