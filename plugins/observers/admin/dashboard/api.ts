/** Talks to the API that the dashboard comes from. The token is kept for this tab only. */
import type { HistoryPoint, Overview } from '../watch.ts';

export type { BackendRow, HistoryPoint, ListenerRow, Overview } from '../watch.ts';

const tokenKey = 'pointsman-token';

export function token(): string | null {
  return sessionStorage.getItem(tokenKey);
}

export function setToken(value: string | null): void {
  if (value === null) sessionStorage.removeItem(tokenKey);
  else sessionStorage.setItem(tokenKey, value);
}

/** What the API answered instead, or that nobody did (status 0). */
export class ApiError extends Error {
  readonly status: number;
  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

async function send(method: string, path: string, body?: object, signal?: AbortSignal): Promise<Response> {
  const kept = token();
  let response: Response;
  try {
    response = await fetch(path, {
      method,
      headers: {
        ...(kept !== null && { authorization: `Bearer ${kept}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal !== undefined && { signal }),
    });
  } catch (error) {
    throw new ApiError(0, (error as Error).message);
  }
  if (response.ok) return response;
  const problem = (await response.json().catch(() => ({}))) as { detail?: string };
  throw new ApiError(response.status, problem.detail ?? `status ${response.status}`);
}

const ask = async <Answer>(path: string) => (await (await send('GET', path)).json()) as Answer;

export const getStats = () => ask<Overview>('/v1/stats');
export const getHistory = () => ask<{ points: HistoryPoint[] }>('/v1/history');
export const getConfig = () => ask<unknown>('/v1/config');

export async function changeBackend(
  pool: string,
  name: string,
  change: { state?: string; weight?: number },
): Promise<void> {
  await send('PATCH', `/v1/backends/${encodeURIComponent(pool)}/${encodeURIComponent(name)}`, change);
}

export interface ServerEvent {
  readonly type: string;
  // What comes is shown as text, whatever it is.
  readonly data: Readonly<Record<string, string | number | undefined>>;
}

const firstWaitMs = 500;
const lastWaitMs = 4000;

/**
 * Hears events until told to stop; comes back when the connection is lost.
 * @param onState whether it is connected; an error that will not pass ends it
 * @returns how to stop
 */
export function listen(
  query: string,
  onEvent: (event: ServerEvent) => void,
  onState: (connected: boolean, error?: ApiError) => void,
): () => void {
  const ending = new AbortController();
  (async () => {
    let waitMs = firstWaitMs;
    while (!ending.signal.aborted) {
      try {
        const response = await send('GET', `/v1/events?${query}`, undefined, ending.signal);
        onState(true);
        waitMs = firstWaitMs;
        await read(response, onEvent);
      } catch (error) {
        if (ending.signal.aborted) return;
        const { status } = error as Partial<ApiError>;
        if (status === 401) return onState(false, error as ApiError);
      }
      if (ending.signal.aborted) return;
      onState(false);
      await new Promise((resolve) => setTimeout(resolve, waitMs));
      waitMs = Math.min(lastWaitMs, waitMs * 2);
    }
  })();
  return () => ending.abort();
}

async function read(response: Response, onEvent: (event: ServerEvent) => void): Promise<void> {
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    text += value;
    const frames = text.split('\n\n');
    text = frames.pop()!;
    for (const frame of frames) {
      const [, type, data] = /^event: (.*)\ndata: (.*)$/.exec(frame) ?? [];
      if (type !== undefined && data !== undefined) onEvent({ type, data: JSON.parse(data) });
    }
  }
}
