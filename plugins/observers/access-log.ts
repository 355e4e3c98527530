/** The access log: one line of JSON for each connection, and for some of the messages. It never makes traffic wait. */
import { definePlugin, type LogFile, type Message, Type } from 'pointsman';

/** How often lines are sent from the pipelines. */
const gatherMs = 100;
/** How many lines may be sent in that time; further ones are dropped. */
const mostLines = 10_000;
/** How often the number of dropped lines is logged, if any were. */
const dropReportMs = 10_000;

interface Line {
  readonly event: 'connection' | 'message';
  readonly listener: string;
  readonly conn: string;
  readonly client: string;
  readonly backend?: string | undefined;
  readonly direction?: 'from-client' | 'from-backend';
  readonly bytes: number;
  readonly messages?: number;
  /** How many of a connection's messages were forwarded to each backend. */
  readonly backends?: Readonly<Record<string, number>> | undefined;
  /** Why the message went where it did, or nowhere; or why the connection ended. */
  readonly reason?: string | undefined;
  /** In seconds: how long a connection was open, or an answer took. */
  readonly duration?: number | undefined;
  /** The trace id of the W3C trace context that the message leaves with. */
  readonly trace?: string | undefined;
  readonly payload?: string;
}

/** The lines that one pipeline has to log. */
interface Batch {
  readonly lines: readonly Line[];
  readonly dropped: number;
}

const fields = [
  'listener',
  'conn',
  'client',
  'backend',
  'direction',
  'bytes',
  'messages',
  'backends',
  'reason',
  'duration',
  'trace',
  'payload',
];

/** The trace id in a `traceparent` (https://www.w3.org/TR/trace-context/#traceparent-header). */
const traceIn = /^[0-9a-f]{2}-([0-9a-f]{32})-/;

const seconds = (milliseconds: number) => Math.round(milliseconds * 1000) / 1_000_000;

export default definePlugin({
  name: 'access-log',
  summary: 'Writes a line of JSON for each connection when it closes, and for one of so many messages.',
  pointsman: '^1',
  options: Type.Object({
    file: Type.Optional(
      Type.String({
        minLength: 1,
        description: 'The file it is appended to; opened again at SIGUSR1. Default: standard output.',
      }),
    ),
    connections: Type.Boolean({ default: true, description: 'Whether connections are logged.' }),
    backends: Type.Boolean({
      default: false,
      description:
        'Whether the line of a connection tells how many of its messages went to which backend: each is looked at.',
    }),
    messages: Type.Integer({
      minimum: 0,
      maximum: 1_000_000_000,
      default: 0,
      description: 'Of so many messages one is logged; 0: none.',
    }),
    payloadBytes: Type.Integer({
      minimum: 0,
      maximum: 65_536,
      default: 0,
      description: 'How much of a message that is logged is shown, in bytes from its beginning, a character for each.',
    }),
    redact: Type.Array(Type.Enum(fields as ['client']), {
      default: [],
      description: 'Fields that are left out.',
    }),
  }),

  apply(hooks, { connections, backends, messages, payloadBytes }, scope) {
    const listener = scope.listener.name;
    let lines: Line[] = [];
    let isDue = false;
    let dropped = 0;
    let count = 0;
    const flush = () => {
      isDue = false;
      if (lines.length === 0) return;
      scope.channel.send({ lines, dropped } satisfies Batch);
      lines = [];
      dropped = 0;
    };
    const add = (line: Line) => {
      if (lines.length < mostLines) lines.push(line);
      else dropped++;
      if (isDue) return;
      isDue = true;
      scope.clock.after(gatherMs, flush);
    };
    scope.onStop(flush);

    if (backends && !connections) scope.advise('"backends" stands in the lines of connections, which are switched off');
    if (connections) {
      const countsOf = backends ? scope.perClient(() => new Map<string, number>()) : undefined;
      if (countsOf !== undefined) {
        hooks.forward.tap('access-log', ({ from, reason, client, backend }) => {
          if (from !== 'client' || reason === 'check' || client === undefined || backend === undefined) return;
          const counts = countsOf(client);
          counts.set(backend.name, (counts.get(backend.name) ?? 0) + 1);
        });
      }
      hooks.onDisconnect.tap('access-log', (client) => {
        add({
          event: 'connection',
          listener,
          conn: client.id,
          client: client.address,
          bytes: client.receivedBytes,
          messages: client.receivedMessages,
          backends: countsOf && Object.fromEntries(countsOf(client)),
          reason: client.endReason,
          duration: seconds(scope.clock.now() - client.openedAtMs),
        });
      });
    }
    if (messages === 0) return;
    const isChosen = () => {
      count = (count + 1) % messages;
      return count === 0;
    };
    const traceparent = scope.field('traceparent');
    const traceOf = (message: Message): string | undefined => {
      const found = traceparent(message);
      const came = found && message.view(found.offset, found.length).toString('latin1');
      return traceIn.exec(message.traceContext?.traceparent ?? came ?? '')?.[1];
    };
    const note = (message: Message, reason: string | undefined) => {
      const { client, backend, exchange, from } = message;
      const isAnswer = from === 'backend' && exchange !== undefined;
      add({
        event: 'message',
        listener,
        conn: client?.id ?? '',
        client: client?.address ?? '',
        backend: backend?.name,
        direction: `from-${from}`,
        bytes: message.length,
        reason,
        duration: isAnswer ? seconds(message.atMs - exchange.openedAtMs) : undefined,
        trace: traceOf(message),
        ...(payloadBytes > 0 && {
          payload: message.view(0, Math.min(payloadBytes, message.length)).toString('latin1'),
        }),
      });
    };
    hooks.forward.tap('access-log', (message) => {
      if (message.reason !== 'check' && isChosen()) note(message, message.reason);
    });
    hooks.onDrop.tap('access-log', (message, { reason }) => {
      if (isChosen()) note(message, reason);
    });
  },

  observe(_balancer, { file, redact }, scope) {
    let log: LogFile | undefined;
    scope.channel.onMessage((value) => {
      const { lines, dropped } = value as Batch;
      for (const line of lines) log?.write(line);
      log?.drop(dropped);
    });
    let stop = async () => {};
    scope.onStart(async () => {
      const opened = await scope.openLog({
        file,
        redact,
        onError: (error) => scope.log.error({ error: error.message }, 'the access log cannot be written'),
      });
      log = opened;
      const { reopen } = opened;
      if (file !== undefined) process.on('SIGUSR1', reopen);
      let told = 0;
      let cancel = () => {};
      const report = () => {
        const lost = opened.dropped - told;
        if (lost > 0) scope.log.warn({ dropped: lost }, 'lines of the access log were dropped: there are too many');
        told += lost;
        cancel = scope.clock.after(dropReportMs, report);
      };
      report();
      stop = async () => {
        cancel();
        process.off('SIGUSR1', reopen);
        await opened.close();
      };
    });
    scope.onStop(() => stop());
  },
});
