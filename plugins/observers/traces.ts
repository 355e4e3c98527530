/**
 * Traces, by OpenTelemetry: a span for each message that carries a sampled W3C trace context, and for one of so many that carry
 * none. The message leaves with the span as its parent, where its protocol has a place for that.
 *
 *     client → balancer    {"traceparent":"00-4bf9…-00f0…-01","op":"get"}⏎
 *     balancer → backend   {"traceparent":"00-4bf9…-b7ad…-01","op":"get"}⏎     the same trace, below our span
 *
 * A request's span ends with its answer, where the protocol tells which that is; others end when the message has been forwarded.
 * Each process that has pipelines makes its own. They begin when the observer says so, so that a rehearsal makes none.
 */
import type { Attributes, Span, SpanStatusCode, TracerProvider } from '@opentelemetry/api';
import type { SpanExporter } from '@opentelemetry/sdk-trace';
import {
  type Clock,
  Discard,
  definePlugin,
  type Exchange,
  type Logger,
  type Message,
  Refusal,
  type Side,
  type TraceContext,
  Type,
} from 'pointsman';

/** Packages that are not installed with pointsman: the one that makes spans, and those that an `endpoint` needs as well. */
const api = '@opentelemetry/api';
const sdk = ['@opentelemetry/sdk-trace', '@opentelemetry/resources', '@opentelemetry/exporter-trace-otlp-http'];

/** How many requests waiting for an answer may have spans; further ones end theirs when they are forwarded. */
const mostWaiting = 10_000;
/** How often to check whether their exchanges were closed without an answer. */
const lookMs = 1000;
/** How often, at most, it is logged that spans could not be sent. */
const reportMs = 10_000;
/** How long a collector that does not answer may delay stopping. */
const lingerMs = 2000;
/** The longest part of a field that is shown. */
const mostCharacters = 256;
/** Stages among the taps of a hook. */
const first = -1000;

/** https://www.w3.org/TR/trace-context/#traceparent-header; later versions may have more behind the flags. */
const traceparentForm = /^(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:$|-)/;
const traceparentBytes = 55;
/** The bit in the last digit of the flags that says that others trace the message. */
const sampledFlag = 1;

/** The transports of listeners, where OpenTelemetry has another name for them. */
const transports: Readonly<Record<string, string>> = { tls: 'tcp', ws: 'tcp', wss: 'tcp' };

/** A span that has begun. */
interface Begun {
  readonly span: Span;
  /** The difference between a time since 1970 and one of the runtime's clock, in milliseconds. */
  readonly epochMs: number;
  /** Of its message. */
  readonly serial: number;
}

/** The span of a request that is waiting for its answer. */
interface Waiting extends Begun {
  /** An exchange that has another id by now is one of another request. */
  readonly exchangeId: number;
}

export default definePlugin({
  name: 'traces',
  summary: 'Makes OpenTelemetry spans of messages, and hands W3C trace contexts on in them.',
  pointsman: '^1',
  options: Type.Object({
    endpoint: Type.Optional(
      Type.String({
        minLength: 1,
        description:
          'Where spans are sent, by OTLP over HTTP: http://127.0.0.1:4318, or a whole URL. OTEL_EXPORTER_OTLP_HEADERS and its like hold ' +
          `for it. Needs ${[api, ...sdk].join(', ')}. Default: to the TracerProvider that \`node --import\` has registered, which needs ${api}.`,
      }),
    ),
    service: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The name of the service, with an `endpoint`. Default: OTEL_SERVICE_NAME, else pointsman.',
      }),
    ),
    messages: Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      default: 1000,
      description: 'Of so many messages that carry no trace context one is traced; 0: none.',
    }),
    parents: Type.Boolean({
      default: true,
      description:
        'Whether messages that carry a trace context are traced if it says so. False: as if they carried none, for clients that are not trusted.',
    }),
    fields: Type.Array(Type.String({ minLength: 1, description: 'A field.' }), {
      uniqueItems: true,
      default: ['call-id'],
      description:
        'Fields of messages that spans show, by the names that `hashing` has for them, where the protocol has them.',
    }),
    spansPerSecond: Type.Integer({
      minimum: 1,
      maximum: 1_000_000,
      default: 1000,
      description: 'How many spans may begin in a second, for each listener and worker.',
    }),
  }),

  apply(hooks, options, scope) {
    const { clock, listener } = scope;
    const { messages, spansPerSecond } = options;
    const traceparent = scope.field('traceparent');
    const tracestate = scope.field('tracestate');
    const fields = options.fields.map((name) => ({ attribute: `pointsman.field.${name}`, find: scope.field(name) }));
    const common: Attributes = {
      'pointsman.listener': listener.name,
      'pointsman.pool': scope.pool.name,
      'network.transport': transports[listener.transport] ?? listener.transport,
    };

    let tracing: Tracing | undefined;
    let hasStopped = false;
    let loading: Promise<void> | undefined;
    scope.channel.onMessage(() => {
      loading ??= startTracing(options, scope).then(
        (started) => {
          if (hasStopped) return started.stop();
          tracing = started;
          return undefined;
        },
        (error: Error) => scope.log.error({ err: error }, 'traces cannot be made'),
      );
    });
    scope.onStart(() => loading);

    /** Of the message at hand. */
    let current: Begun | undefined;
    const waiting = new Map<Exchange, Waiting>();
    let cancelLook: (() => void) | undefined;
    let count = 0;
    let allowance = spansPerSecond;
    let allowedAtMs = clock.now();

    const textOf = (message: Message, find: typeof traceparent): string | undefined => {
      const found = find(message);
      return found && message.view(found.offset, found.length).toString('latin1');
    };

    /** Whether the message's trace context is sampled; undefined: it carries none. */
    const saysSampled = (message: Message): boolean | undefined => {
      const found = options.parents ? traceparent(message) : undefined;
      if (found === undefined || found.length < traceparentBytes) return undefined;
      const digit = message.bytes[message.start + found.offset + traceparentBytes - 1]!;
      // The hexadecimal digits from a on are even where their letters are odd.
      if (((digit > 0x39 ? digit + 1 : digit) & sampledFlag) === 0) return false;
      return parentIn(textOf(message, traceparent)!) === undefined ? undefined : true;
    };

    /** Whether to trace this message, which carries no context. */
    const isDue = (): boolean => {
      if (messages === 0 || ++count < messages) return false;
      count = 0;
      return true;
    };

    const isAllowed = (): boolean => {
      const nowMs = clock.now();
      allowance = Math.min(spansPerSecond, allowance + ((nowMs - allowedAtMs) * spansPerSecond) / 1000);
      allowedAtMs = nowMs;
      if (allowance < 1) return false;
      allowance--;
      return true;
    };

    /** Begins a span for the message, if another one is allowed in this second. */
    const begin = (message: Message): void => {
      const { client, from } = message;
      if (tracing === undefined || client?.question !== undefined || !isAllowed()) return;
      const epochMs = Date.now() - clock.now();
      const parent = options.parents ? textOf(message, traceparent) : undefined;
      const state = parent === undefined ? undefined : textOf(message, tracestate);
      const span = tracing.begin(`route ${listener.name}`, from, epochMs + message.atMs, parent, state);
      span.setAttributes({
        ...common,
        'pointsman.from': from,
        'pointsman.message.bytes': message.length,
        ...(client && { 'pointsman.connection': client.id, 'client.address': client.address }),
      });
      current = { span, epochMs, serial: message.serial };
      message.traceContext = tracing.contextOf(span);
      span.addEvent('frame', { 'pointsman.message.bytes': message.length }, epochMs + clock.now());
    };

    /** Adds what is known about the message once it is routed. */
    const describe = (span: Span, message: Message, outcome: 'forwarded' | 'refused' | 'discarded'): void => {
      const { backend, reason } = message;
      span.setAttribute('pointsman.outcome', outcome);
      if (backend !== undefined) span.setAttribute('pointsman.backend', backend.name);
      if (reason !== undefined) span.setAttribute('pointsman.decision', reason);
      for (const { attribute, find } of fields) {
        const text = textOf(message, find);
        if (text !== undefined) span.setAttribute(attribute, text.slice(0, mostCharacters));
      }
    };

    const end = ({ span, epochMs }: Begun, error?: string): void => {
      if (error !== undefined) {
        span.setAttribute('error.type', error);
        span.setStatus({ code: tracing!.errorStatus, message: error });
      }
      span.end(epochMs + clock.now());
    };

    /** Ends the spans of requests that will not be answered any more: nothing tells us when their exchanges are closed. */
    const look = (): void => {
      for (const [exchange, each] of waiting) {
        if (exchange.id === each.exchangeId) continue;
        waiting.delete(exchange);
        end(each, 'no-answer');
      }
      cancelLook = waiting.size > 0 ? clock.after(lookMs, look) : undefined;
    };

    const wait = (exchange: Exchange, begun: Begun): void => {
      const before = waiting.get(exchange);
      if (before !== undefined) end(before, 'no-answer');
      waiting.set(exchange, { ...begun, exchangeId: exchange.id });
      cancelLook ??= clock.after(lookMs, look);
    };

    /** Ends the span of the request that a message answers, if it has one. */
    const answer = (message: Message, exchange: Exchange, error: string | undefined): void => {
      const found = waiting.get(exchange);
      if (found === undefined || found.exchangeId !== exchange.id) return;
      waiting.delete(exchange);
      found.span.addEvent('answer', { 'pointsman.message.bytes': message.length }, found.epochMs + clock.now());
      end(found, error);
    };

    // Before the protocol: what it does then is an event of the span.
    hooks.detectId.tap({ name: 'traces', stage: first }, (message) => {
      current = undefined; // one that had to wait for a backend begins again
      if (tracing === undefined) return undefined;
      const said = saysSampled(message);
      if (said === undefined ? message.from === 'client' && isDue() : said) begin(message);
      return undefined;
    });
    scope.timeHooks(
      () => current !== undefined,
      (hook, plugin, milliseconds) => {
        if (plugin === 'traces' || current === undefined) return;
        const attributes = { 'pointsman.plugin': plugin, 'pointsman.seconds': milliseconds / 1000 };
        current.span.addEvent(hook, attributes, current.epochMs + clock.now());
      },
    );
    hooks.forward.tap('traces', (message) => {
      const { exchange, from } = message;
      if (from === 'backend') {
        if (exchange !== undefined) {
          current = undefined; // an answer has no span of its own, even if it repeats the context of its request
          if (waiting.size > 0) answer(message, exchange, undefined);
          return;
        }
        if (current === undefined && tracing !== undefined && isDue()) begin(message);
      }
      if (current === undefined) return;
      const begun = current;
      current = undefined;
      describe(begun.span, message, 'forwarded');
      begun.span.addEvent('forward', {}, begun.epochMs + clock.now());
      if (from === 'client' && exchange !== undefined && waiting.size < mostWaiting) wait(exchange, begun);
      else end(begun);
    });
    hooks.onDrop.tap('traces', (message, outcome, replied) => {
      const { client, backend, exchange, from } = message;
      if (from === 'backend' && exchange !== undefined) {
        current = undefined;
        answer(message, exchange, outcome.reason);
        return;
      }
      if (current?.serial !== message.serial) current = undefined;
      // It was lost while it was framed, or waited for a backend too long.
      if (current === undefined && client === undefined && backend === undefined && isDue()) begin(message);
      if (current === undefined) return;
      const begun = current;
      current = undefined;
      describe(begun.span, message, replied && outcome instanceof Refusal ? 'refused' : 'discarded');
      // What the protocol has answered itself is in order.
      const isFine = outcome instanceof Discard && outcome.ordinary;
      end(begun, isFine ? undefined : outcome.reason);
    });
    scope.onStop(async () => {
      hasStopped = true;
      cancelLook?.();
      for (const each of waiting.values()) end(each, 'no-answer');
      waiting.clear();
      await tracing?.stop();
    });
  },

  observe(_balancer, { endpoint }, scope) {
    const option = endpoint === undefined ? '' : 'endpoint: ';
    if (endpoint !== undefined) urlOf(endpoint);
    const needed = endpoint === undefined ? [api] : [api, ...sdk];
    const missing = needed.filter((name) => !isInstalled(name));
    if (missing.length > 0) {
      throw new Error(`${option}what it needs is not installed; npm install ${missing.join(' ')}`);
    }
    scope.onStart(() => scope.channel.send('begin'));
  },
});

function isInstalled(name: string): boolean {
  try {
    import.meta.resolve(name);
    return true;
  } catch {
    return false;
  }
}

/** @throws Error if it is none */
function urlOf(endpoint: string): string {
  if (!/^https?:\/\//.test(endpoint) || !URL.canParse(endpoint)) {
    throw new Error(`endpoint: "${endpoint}" is no URL; write http://host:port`);
  }
  const url = new URL(endpoint);
  if (url.pathname === '/') url.pathname = '/v1/traces';
  return url.href;
}

/** The parts of a `traceparent`; undefined if it is none. */
function parentIn(text: string): RegExpExecArray | undefined {
  const found = traceparentForm.exec(text);
  return found === null || /^0+$/.test(found[1]!) || /^0+$/.test(found[2]!) ? undefined : found;
}

/** The parts of OpenTelemetry that are needed here. */
interface Tracing {
  readonly errorStatus: SpanStatusCode;
  begin(name: string, from: Side, startMs: number, traceparent?: string, tracestate?: string): Span;
  /** The span as the parent of what follows it. Undefined: nobody has made one. */
  contextOf(span: Span): TraceContext | undefined;
  stop(): Promise<void>;
}

interface Sending {
  readonly endpoint?: string;
  readonly service?: string;
}

interface Surroundings {
  readonly clock: Clock;
  readonly log: Logger;
}

/** Loads the packages that are needed, which takes a while. */
async function startTracing({ endpoint, service }: Sending, { clock, log }: Surroundings): Promise<Tracing> {
  const { createTraceState, isSpanContextValid, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } = await import(
    '@opentelemetry/api'
  );
  const provider =
    endpoint === undefined
      ? registered(trace.getTracerProvider())
      : await exporting(
          endpoint,
          service,
          (error) => log.warn({ error: error?.message }, 'spans cannot be sent'),
          clock,
        );
  const tracer = provider.getTracer('pointsman');
  if (!isSpanContextValid(tracer.startSpan('never ended').spanContext())) {
    log.warn({}, 'nobody makes spans: register a TracerProvider (node --import), or say where they go (endpoint)');
  }
  return {
    errorStatus: SpanStatusCode.ERROR,
    begin(name, from, startTime, traceparent = '', tracestate = '') {
      const [, traceId, spanId, flags] = parentIn(traceparent) ?? [];
      const kind = from === 'client' ? SpanKind.SERVER : SpanKind.CONSUMER;
      if (traceId === undefined || spanId === undefined || flags === undefined) {
        return tracer.startSpan(name, { kind, startTime }, ROOT_CONTEXT);
      }
      const traceFlags = Number.parseInt(flags, 16);
      const parent = { traceId, spanId, traceFlags, traceState: createTraceState(tracestate), isRemote: true };
      return tracer.startSpan(name, { kind, startTime }, trace.setSpanContext(ROOT_CONTEXT, parent));
    },
    contextOf(span) {
      const context = span.spanContext();
      if (!isSpanContextValid(context)) return undefined;
      const { traceId, spanId, traceFlags, traceState } = context;
      const flags = traceFlags.toString(16).padStart(2, '0');
      return { traceparent: `00-${traceId}-${spanId}-${flags}`, tracestate: traceState?.serialize() ?? '' };
    },
    stop: () => provider.stop(),
  };
}

interface Provider {
  getTracer: TracerProvider['getTracer'];
  stop(): Promise<void>;
}

/** The provider that the process has registered. It stays when we stop, but may be about to end with the process. */
function registered(provider: TracerProvider & { getDelegate?(): { forceFlush?(): Promise<void> } }): Provider {
  return {
    getTracer: (name) => provider.getTracer(name),
    stop: async () => provider.getDelegate?.().forceFlush?.(),
  };
}

/** A provider of our own. */
async function exporting(
  endpoint: string,
  service: string | undefined,
  onError: (error: Error | undefined) => void,
  clock: Clock,
): Promise<Provider> {
  const [
    { BatchSpanProcessor, TracerProvider },
    { defaultResource, detectResources, envDetector, resourceFromAttributes },
    { OTLPTraceExporter },
  ] = await Promise.all([
    import('@opentelemetry/sdk-trace'),
    import('@opentelemetry/resources'),
    import('@opentelemetry/exporter-trace-otlp-http'),
  ]);
  const named = (name: string) => resourceFromAttributes({ 'service.name': name });
  const usual = defaultResource()
    .merge(named('pointsman'))
    .merge(detectResources({ detectors: [envDetector] }));
  const sender: SpanExporter = new OTLPTraceExporter({ url: urlOf(endpoint) });
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const exporter: SpanExporter = {
    export: (spans, done) =>
      sender.export(spans, (result) => {
        if (result.code !== 0 && clock.now() - toldAtMs > reportMs) {
          toldAtMs = clock.now();
          onError(result.error);
        }
        done(result);
      }),
    shutdown: () => sender.shutdown(),
  };
  const provider = new TracerProvider({
    resource: service === undefined ? usual : usual.merge(named(service)),
    spanProcessors: [new BatchSpanProcessor({ exporter })],
  });
  return {
    getTracer: (name) => provider.getTracer(name),
    stop: () =>
      Promise.race([provider.shutdown(), new Promise<void>((resolve) => void clock.after(lingerMs, resolve))]),
  };
}
