/** Errors that the balancer throws or logs, each with a stable code, and with whose fault it is. */
import { relative } from 'node:path';

export type Fault = 'client' | 'backend' | 'config' | 'plugin' | 'internal';

interface ErrorFacts {
  readonly fault: Fault;
  readonly summary: string;
}

/** All error codes. Messages may change, codes do not. */
export const errorCodes = {
  POINTSMAN_PLUGIN: { fault: 'plugin', summary: 'A plugin threw, or answered what the hook does not allow.' },
  POINTSMAN_CONFIG: { fault: 'config', summary: 'The config has errors; nothing was started.' },
  POINTSMAN_UNKNOWN_NAME: { fault: 'client', summary: 'The balancer has no pool, backend or connection of that name.' },
  POINTSMAN_WORKER: { fault: 'internal', summary: 'Workers ended before they had started, until there was none.' },
  POINTSMAN_LISTEN: { fault: 'config', summary: 'A listener could not open its address.' },
} as const satisfies Record<string, ErrorFacts>;

export type ErrorCode = keyof typeof errorCodes;

export class PointsmanError extends Error {
  readonly code: ErrorCode;
  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'PointsmanError';
    this.code = code;
  }
  get fault(): Fault {
    return errorCodes[this.code].fault;
  }
}

/** A plugin did something wrong; the message begins with `[plugin] hook:`. */
export class PluginError extends PointsmanError {
  readonly plugin: string;
  readonly hook: string;
  constructor(plugin: string, hook: string, text: string, options?: ErrorOptions) {
    super('POINTSMAN_PLUGIN', `[${plugin}] ${hook}: ${text}`, options);
    this.name = 'PluginError';
    this.plugin = plugin;
    this.hook = hook;
  }
  static threw(plugin: string, hook: string, cause: unknown): PluginError {
    if (cause instanceof PluginError) return cause;
    return new PluginError(plugin, hook, withPlace(cause), { cause });
  }
}

/**
 * @param answer what a plugin has answered where nobody waits for it
 * @throws PluginError if it is a promise
 */
export function checkNoPromise(plugin: string, hook: string, answer: unknown): void {
  if (typeof (answer as { then?: unknown } | null | undefined)?.then !== 'function') return;
  (answer as Promise<unknown>).then(undefined, () => {}); // its rejection must not end the process
  throw new PluginError(plugin, hook, 'answered a promise, but is to be synchronous');
}

/** Our own folder: places in it are of no use to whoever writes a config or a plugin. */
const own = ['.', '../plugins/'].map((folder) => new URL(folder, import.meta.url).pathname);

/**
 * The message of what was thrown. If it comes from the JavaScript engine and not from a plugin, the place is added: `x is not
 * defined (acme.ts:7:3)`.
 */
export function withPlace(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const isOfEngine = [TypeError, ReferenceError, RangeError, SyntaxError].some((type) => cause instanceof type);
  // A line of the stack ends in `(file:///…/acme.ts:7:3)`; that of a syntax error begins with `file:///…/acme.ts:7`. What stands in
  // the message may be a client's: it is not searched.
  const { message, stack = '' } = cause;
  const at = Math.max(0, stack.indexOf(message));
  const frames = `${stack.slice(0, at)}\n${stack.slice(at + message.length)}`;
  const places = [...frames.matchAll(/(?<![^\s(])(file:\/\/)?(\/[^\s()?]+)(?:\?\w+)?((?::\d+)+)\)?$/gm)];
  const place = places.find(([, , path]) => ![...own, '/node_modules/'].some((folder) => path!.includes(folder)));
  if (!isOfEngine || place === undefined) return message;
  const [, scheme, path, position] = place;
  const file = scheme === undefined ? path! : decodeURI(path!);
  return `${message} (${relative('.', file)}${position})`;
}
