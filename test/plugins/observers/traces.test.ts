import { once } from 'node:events';
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createServer as createEchoServer } from 'node:net';
import { join, resolve } from 'node:path';
import { SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, type ReadableSpan, SimpleSpanProcessor, TracerProvider } from '@opentelemetry/sdk-trace';
import type { PluginDefinition } from 'pointsman';
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import traces from '../../../plugins/observers/traces.ts';
import ndjson from '../../../plugins/protocols/ndjson.ts';
import sip from '../../../plugins/protocols/sip/index.ts';
import { builtMain } from '../../support/built.ts';
import { dial, listen, run, temporaryFolder, untilListening } from '../../support/peers.ts';
import { freePort } from '../../support/programs.ts';
import { observed } from './observed.ts';

const traceId = '4bf92f3577b34da6a3ce929d0e0e4736';
const parentId = '00f067aa0ba902b7';
const sampled = `00-${traceId}-${parentId}-01`;
const unsampled = `00-${traceId}-${parentId}-00`;

let exporter: InMemorySpanExporter;
beforeEach(() => {
  exporter = new InMemorySpanExporter();
  trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
});
afterEach(() => trace.disable());

/** A balancer whose messages are traced, and the spans that have ended. */
async function traced(
  options: object = { messages: 1 },
  protocol?: readonly [PluginDefinition, object],
  visitor?: PluginDefinition,
) {
  const { rig, observers, warn } = await observed(traces as PluginDefinition, options, visitor, protocol);
  onTestFinished(async () => {
    await observers.stop();
    await rig.stop();
  });
  // What makes spans is loaded when the observer begins, and there is no word of when it has been.
  await vi.dynamicImportSettled();
  await rig.settle();
  return { rig, spans: () => exporter.getFinishedSpans(), warn };
}

const json = (options: object = {}) =>
  [
    ndjson as PluginDefinition,
    { correlation: 'id', traceparent: 'traceparent', tracestate: 'tracestate', ...options },
  ] as const;

const eventsOf = ({ events }: ReadableSpan) =>
  events.map(({ name, attributes }) => `${name} ${attributes?.['pointsman.plugin'] ?? ''}`.trimEnd());
const millisecondsOf = ({ duration: [seconds, nanoseconds] }: ReadableSpan) => seconds * 1000 + nanoseconds / 1e6;

describe('a span', () => {
  it('tells of a request where it went and why, hook by hook, and ends with its answer', async () => {
    const { rig, spans } = await traced();
    rig.client('198.51.100.7').send('hello\n');
    expect(spans()).toEqual([]);
    rig.advance(30);
    rig.backend('a').link.send('#1 done\n');
    const [span] = spans();
    expect(spans()).toHaveLength(1);
    expect(span).toMatchObject({
      name: 'route edge',
      kind: SpanKind.SERVER,
      attributes: {
        'pointsman.listener': 'edge',
        'pointsman.pool': 'pool',
        'pointsman.from': 'client',
        'pointsman.message.bytes': 6,
        'pointsman.backend': 'a',
        'pointsman.decision': 'strategy',
        'pointsman.outcome': 'forwarded',
        'pointsman.connection': expect.stringMatching(/-0-1$/),
        'network.transport': 'tcp',
        'client.address': '198.51.100.7',
      },
      status: { code: SpanStatusCode.UNSET },
    });
    expect(span!.parentSpanContext).toBeUndefined();
    expect(eventsOf(span!)).toEqual([
      'frame',
      'detectId lines',
      'chooseBackend turns',
      'insertId lines',
      'forward',
      'answer',
    ]);
    expect(millisecondsOf(span!)).toBeCloseTo(30, 1);
  });

  it('says why a message was refused or discarded', async () => {
    const { rig, spans } = await traced();
    rig.client().send('?\n@nobody hello\nbye\n');
    expect(
      spans().map(({ attributes, status }) => [
        attributes['pointsman.outcome'],
        attributes['error.type'],
        status.message,
      ]),
    ).toEqual([
      ['refused', 'question', 'question'],
      ['refused', 'unknown-backend', 'unknown-backend'],
      ['discarded', undefined, undefined],
    ]);
    expect(eventsOf(spans()[0]!)).toEqual(['frame', 'detectId lines', 'refuse lines']);
  });

  it('is made for one of so many messages, and for no answer', async () => {
    const { rig, spans } = await traced({ messages: 10 });
    const alice = rig.client();
    for (let id = 1; id <= 35; id++) {
      alice.send('hello\n');
      rig.backend('a').link.send(`#${id} done\n`);
    }
    expect(spans()).toHaveLength(3);
    expect(spans().every((span) => eventsOf(span).includes('answer'))).toBe(true);
  });

  it('is made for no more messages than so many a second', async () => {
    const { rig, spans } = await traced({ messages: 1, spansPerSecond: 5 });
    rig.client().send('?\n'.repeat(20));
    expect(spans()).toHaveLength(5);
    rig.advance(1000);
    rig.client().send('?\n'.repeat(20));
    expect(spans()).toHaveLength(10);
  });

  it('tells of what is lost before it is a message, as a trace of its own', async () => {
    const { rig, spans } = await traced();
    rig.client().send('a\0b\n');
    expect(spans().map(({ attributes, events }) => [attributes['error.type'], events.length])).toEqual([['nul', 1]]);
  });

  it('ends when its request will not be answered any more', async () => {
    const { rig, spans } = await traced();
    const alice = rig.client();
    alice.send('hello\n');
    rig.backend('a').link.reset();
    rig.advance(1000);
    expect(spans().map(({ attributes }) => attributes['error.type'])).toEqual(['no-answer']);
  });

  it('is of what a backend sends unasked, too', async () => {
    const { rig, spans } = await traced({ messages: 1 }, [ndjson as PluginDefinition, {}]);
    rig.client().send('{}\n');
    rig.backend('a').link.send('{"news":1}\n');
    expect(
      spans().map(({ kind, attributes }) => [kind, attributes['pointsman.from'], attributes['pointsman.decision']]),
    ).toEqual([
      [SpanKind.SERVER, 'client', 'strategy'],
      [SpanKind.CONSUMER, 'backend', 'link'],
    ]);
  });

  it('is made by nobody where the process has registered no provider, which a warning says', async () => {
    trace.disable();
    const { rig, warn, spans } = await traced();
    rig.client().send('hello\n');
    expect(spans()).toEqual([]);
    expect(rig.backend('a').link.take().toString()).toContain('hello');
    expect(warn).toHaveBeenCalledWith(
      {},
      'nobody makes spans: register a TracerProvider (node --import), or say where they go (endpoint)',
    );
  });
});

describe('a trace context', () => {
  it('is continued if it is sampled, whatever is sampled otherwise, and handed on with the span in it', async () => {
    const { rig, spans } = await traced({ messages: 0 }, json());
    rig.client().send(`{"traceparent":"${sampled}","tracestate":"vendor=1","id":1}\n`);
    const sent = JSON.parse(rig.backend('a').link.take().toString());
    rig.backend('a').link.send(`{"id":${sent.id}}\n`);
    const [span] = spans();
    const { spanId } = span!.spanContext();
    expect(span!.parentSpanContext).toMatchObject({ traceId, spanId: parentId, isRemote: true });
    expect(sent).toEqual({
      backend: 'a',
      traceparent: `00-${traceId}-${spanId}-01`,
      tracestate: 'vendor=1',
      id: 1_000_000_001,
    });
  });

  it('is added to a message that has none', async () => {
    for (const options of [
      {},
      { strip: true },
      { correlation: undefined },
      { stamp: [], strip: true, correlation: undefined },
    ]) {
      exporter.reset();
      const { rig, spans } = await traced({ messages: 1 }, json(options));
      const alice = rig.client();
      for (const message of ['{}', '{"id":1}', '{"backend":"a"}', '{"traceparent":null,"tracestate":"old=1","op":1}']) {
        alice.send(`${message}\n`);
        const sent = JSON.parse(rig.backend('a').link.take().toString());
        if (sent.id !== undefined) rig.backend('a').link.send(`{"id":${sent.id}}\n`);
        const written = spans()
          .map((span) => span.spanContext())
          .map(({ traceId, spanId }) => `00-${traceId}-${spanId}-01`);
        expect(written, message).toContain(sent.traceparent);
        expect(sent.tracestate || undefined, message).toBeUndefined();
      }
    }
  });

  it.each([
    ['says that it is not sampled', `"traceparent":"${unsampled}"`, { messages: 1 }],
    ['is of messages that are not chosen', '"op":1', { messages: 10 }],
    ['is none', `"traceparent":"${sampled.replaceAll('4', '-')}"`, { messages: 0 }],
    ['is of zeros', `"traceparent":"00-${'0'.repeat(32)}-${parentId}-01"`, { messages: 0 }],
  ])('stays as it is, and there is no span, where it %s', async (_what, member, options) => {
    const { rig, spans } = await traced(options, json({ correlation: undefined }));
    rig.client().send(`{${member},"x":1}\n`);
    expect(rig.backend('a').link.take().toString()).toBe(`{"backend":"a",${member},"x":1}\n`);
    expect(spans()).toEqual([]);
  });

  it('of clients that are not trusted begins nothing, and is replaced where their message is traced', async () => {
    const { rig, spans } = await traced({ messages: 2, parents: false }, json({ correlation: undefined }));
    rig
      .client()
      .send(`{"traceparent":"${sampled}","tracestate":"a=1"}\n{"traceparent":"${sampled}","tracestate":"a=1"}\n`);
    const [first, second] = rig.backend('a').link.take().toString().split('\n');
    const [span] = spans();
    expect(spans()).toHaveLength(1);
    expect(span!.parentSpanContext).toBeUndefined();
    expect(JSON.parse(first!).traceparent).toBe(sampled);
    expect(JSON.parse(second!).traceparent).toContain(span!.spanContext().spanId);
    expect(JSON.parse(second!).tracestate).toBe('');
  });

  const invite = (...lines: string[]) =>
    [
      'INVITE sip:bob@example.com SIP/2.0',
      'Via: SIP/2.0/TCP 198.51.100.1;branch=z9hG4bK1',
      'From: <sip:alice@example.com>;tag=1',
      'To: <sip:bob@example.com>',
      'Call-ID: call-1',
      'CSeq: 1 INVITE',
      ...lines,
      'Content-Length: 0',
      '',
      '',
    ].join('\r\n');

  it('stands in a header field of SIP that an option names, and Call-ID is among what the span shows', async () => {
    const { rig, spans } = await traced({ messages: 0, fields: ['call-id', 'from-user', 'nothing'] }, [
      sip as PluginDefinition,
      { traceparent: 'X-Traceparent', tracestate: 'X-Tracestate' },
    ]);
    rig.client().send(invite(`x-traceparent: ${sampled}`, 'X-Tracestate: a=1', 'X-Other: 1'));
    const sent = rig.backend('a').link.take().toString();
    const [span] = spans();
    expect(span!.attributes).toMatchObject({
      'pointsman.field.call-id': 'call-1',
      'pointsman.field.from-user': 'alice',
    });
    expect(span!.attributes).not.toHaveProperty('pointsman.field.nothing');
    expect(sent).not.toContain(sampled);
    expect(
      sent.endsWith(
        `X-Other: 1\r\nContent-Length: 0\r\nX-Traceparent: 00-${traceId}-${span!.spanContext().spanId}-01\r\nX-Tracestate: a=1\r\n\r\n`,
      ),
    ).toBe(true);
    expect(span!.parentSpanContext?.spanId).toBe(parentId);
  });

  it('that a SIP message carries twice, or folded, is replaced by one', async () => {
    const { rig, spans } = await traced({ messages: 1 }, [sip as PluginDefinition, { traceparent: 'Traceparent' }]);
    rig.client().send(invite(`Traceparent: ${sampled}`, 'Subject: x', 'Traceparent:', ` ${sampled}`));
    const sent = rig.backend('a').link.take().toString();
    const found = [...sent.matchAll(/^Traceparent: (.*)\r$/gm)].map(([, value]) => value);
    expect(spans()[0]!.parentSpanContext).toBeUndefined();
    expect(found).toEqual([expect.stringContaining(spans()[0]!.spanContext().spanId)]);
    expect(sent).toContain('Subject: x\r\nContent-Length: 0\r\n');
  });

  it('cannot be where the protocol has something else', async () => {
    const start = (protocol: PluginDefinition, options: object) =>
      observed(traces as PluginDefinition, {}, undefined, [protocol, options]);
    await expect(start(ndjson as PluginDefinition, { traceparent: 'backend' })).rejects.toThrow(
      '[ndjson] apply: traceparent: the member backend has another meaning already',
    );
    await expect(start(ndjson as PluginDefinition, { tracestate: 'state' })).rejects.toThrow(
      'tracestate: it says nothing without traceparent',
    );
    await expect(start(sip as PluginDefinition, { traceparent: 'I' })).rejects.toThrow(
      '[sip] apply: traceparent: the field I has another meaning already',
    );
    await expect(start(sip as PluginDefinition, { traceparent: 'T1', tracestate: 't1' })).rejects.toThrow(
      '[sip] apply: tracestate: the field t1 has another meaning already',
    );
  });
});

interface Posted {
  readonly resourceSpans: readonly {
    readonly resource: { readonly attributes: readonly object[] };
    readonly scopeSpans: readonly {
      readonly spans: readonly { readonly traceId: string; readonly spanId: string; readonly parentSpanId?: string }[];
    }[];
  }[];
}

/** What comes by OTLP over HTTP, as JSON. */
async function collector(status = 200) {
  const posts: { url: string; body: Posted }[] = [];
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    posts.push({ url: request.url!, body: JSON.parse(Buffer.concat(chunks).toString()) });
    response.writeHead(status, { 'content-type': 'application/json' }).end('{}');
  });
  return { posts, url: `http://127.0.0.1:${await listen(server)}` };
}

describe('the endpoint', () => {
  it('gets spans by OTLP over HTTP, all of them before the balancer has stopped', async () => {
    const { posts, url } = await collector();
    const { rig } = await traced({ messages: 1, endpoint: url, service: 'edge-1' });
    rig.client().send('?\n');
    await rig.stop();
    expect(posts.map((post) => post.url)).toEqual(['/v1/traces']);
    const { resource, scopeSpans } = posts[0]!.body.resourceSpans[0]!;
    expect(resource.attributes).toContainEqual({ key: 'service.name', value: { stringValue: 'edge-1' } });
    expect(scopeSpans[0]!.spans).toMatchObject([{ name: 'route edge', status: { code: 2, message: 'question' } }]);
    expect(exporter.getFinishedSpans()).toEqual([]);
  });

  it('that takes none is told of in the log', async () => {
    const { url } = await collector(400);
    const { rig, warn } = await traced({ messages: 1, endpoint: url });
    rig.client().send('?\n');
    await rig.stop();
    expect(warn).toHaveBeenCalledWith({ error: expect.any(String) }, 'spans cannot be sent');
  });

  it('is a URL', async () => {
    await expect(observed(traces as PluginDefinition, { endpoint: 'localhost:4318' })).rejects.toThrow(
      '[traces] observe: endpoint: "localhost:4318" is no URL; write http://host:port',
    );
  });
});

const config = (ports: { edge: number; backend: number }, options: string, workers = 1) => `
workers: ${workers}
pools: { pool: { backends: { a: "tcp://127.0.0.1:${ports.backend}" } } }
listeners:
  edge:
    listen: tcp://127.0.0.1:${ports.edge}
    pool: pool
    pipeline: [{ ndjson: { correlation: id, traceparent: traceparent } }, { round-robin: {} }]
observers: [{ traces: ${options} }]
`;

describe('pointsman, installed', () => {
  /** A backend that answers each request with what it got, and pointsman in front of it. */
  async function start(options: string, workers: number, environment: NodeJS.ProcessEnv = {}) {
    const backend = createEchoServer((socket) => socket.on('error', () => {}).pipe(socket));
    const edge = await freePort();
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'edge.yaml'), config({ edge, backend: await listen(backend) }, options, workers));
    const balancer = run(process.execPath, [builtMain(), 'run', 'edge.yaml'], {
      folder,
      deadlineSeconds: 60,
      environment,
    });
    onTestFinished(() => balancer.signal('SIGKILL'));
    await untilListening(edge, balancer);
    const ask = async () => {
      const socket = await dial(edge);
      socket.write(`{"traceparent":"${sampled}","id":7}\n`);
      const [bytes] = await once(socket, 'data');
      return JSON.parse(String(bytes)) as { traceparent: string; id: number };
    };
    const stop = async () => {
      balancer.signal('SIGTERM');
      expect(await balancer.exited, balancer.output()).toBe(0);
    };
    return { folder, ask, stop };
  }

  it('sends spans from every worker to its endpoint', { timeout: 60_000 }, async () => {
    const { posts, url } = await collector();
    const { ask, stop } = await start(`{ endpoint: "${url}", messages: 0 }`, 2, { OTEL_SERVICE_NAME: 'edge-1' });
    const answers = [await ask(), await ask(), await ask()];
    await stop();
    const spans = posts
      .flatMap(({ body }) => body.resourceSpans)
      .flatMap(({ scopeSpans }) => scopeSpans.flatMap((each) => each.spans));
    expect(answers.map(({ id }) => id)).toEqual([7, 7, 7]);
    expect(spans.map(({ spanId }) => `00-${traceId}-${spanId}-01`).toSorted()).toEqual(
      answers.map((answer) => answer.traceparent).toSorted(),
    );
    expect(spans.every((span) => span.traceId === traceId && span.parentSpanId === parentId)).toBe(true);
    expect(posts[0]!.body.resourceSpans[0]!.resource.attributes).toContainEqual({
      key: 'service.name',
      value: { stringValue: 'edge-1' },
    });
  });

  it('gives spans to the TracerProvider that the process has registered', { timeout: 60_000 }, async () => {
    const folder = temporaryFolder();
    const written = join(folder, 'spans');
    const telemetry = join(folder, 'telemetry.mjs');
    const from = (name: string) => JSON.stringify(import.meta.resolve(name));
    writeFileSync(
      telemetry,
      `import { appendFileSync } from 'node:fs';
import { trace } from ${from('@opentelemetry/api')};
import { SimpleSpanProcessor, TracerProvider } from ${from('@opentelemetry/sdk-trace')};
const exporter = {
  export(spans, done) {
    for (const span of spans) appendFileSync(${JSON.stringify(written)}, span.spanContext().spanId + '\\n');
    done({ code: 0 });
  },
  shutdown: async () => {},
};
trace.setGlobalTracerProvider(new TracerProvider({ spanProcessors: [new SimpleSpanProcessor({ exporter })] }));
`,
    );
    const { ask, stop } = await start('{ messages: 0 }', 1, { NODE_OPTIONS: `--import=${telemetry}` });
    const { traceparent } = await ask();
    await stop();
    expect(readFileSync(written, 'utf8').trim()).toBe(traceparent.split('-')[2]);
  });

  it('without OpenTelemetry says how to get it', { timeout: 60_000 }, async () => {
    builtMain();
    const folder = temporaryFolder();
    for (const part of ['.build', 'package.json']) cpSync(part, join(folder, part), { recursive: true });
    mkdirSync(join(folder, 'node_modules'));
    for (const name of readdirSync('node_modules')) {
      if (name !== '@opentelemetry' && !name.startsWith('.'))
        symlinkSync(resolve('node_modules', name), join(folder, 'node_modules', name));
    }
    const validated = async (options: string) => {
      writeFileSync(join(folder, 'edge.yaml'), config({ edge: 7100, backend: 7101 }, options));
      const validating = run(process.execPath, ['.build/core/cli/main.js', 'validate', 'edge.yaml'], {
        folder,
        deadlineSeconds: 60,
      });
      return [await validating.exited, validating.output()];
    };
    expect(await validated('{}')).toEqual([
      1,
      'edge.yaml:9:15  [traces] observe: what it needs is not installed; npm install @opentelemetry/api\n1 error\n',
    ]);
    expect(await validated('{ endpoint: "http://127.0.0.1:4318" }')).toEqual([
      1,
      'edge.yaml:9:35  [traces] observe: endpoint: what it needs is not installed; npm install @opentelemetry/api ' +
        '@opentelemetry/sdk-trace @opentelemetry/resources @opentelemetry/exporter-trace-otlp-http\n1 error\n',
    ]);
  });
});
