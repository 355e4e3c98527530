/**
 * The schema of a config: the core's part here, with one branch for each plugin that a pipeline may use. It is what
 * ajv compiles, what editors read (schemas/) and what the docs are made from, so every member is described.
 */
import type { Static, TObject, TSchema } from 'typebox';
import type { PluginDefinition } from '../plugin.ts';
import { defaultLimits, defaultStopSeconds } from '../settings.ts';
import Type from '../vendor/typebox.ts';
import { test } from './test-schema.ts';

/** Names of pools, listeners and backends. A backend's goes over the wire, so it is plain ASCII and short. */
const name = '^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$';

const closed = { additionalProperties: false };
const mapOf = <Value extends TSchema>(value: Value, options: object) =>
  Type.Record(Type.String({ pattern: name }), value, { ...closed, ...options });

const seconds = (description: string, options: object) =>
  Type.Number({ description, minimum: 0, maximum: 86_400, ...options });
const bytes = (description: string, options: object) =>
  Type.Integer({ description, minimum: 1, maximum: 2 ** 30, ...options });
const count = (description: string, options: object) =>
  Type.Integer({ description, minimum: 1, maximum: 2 ** 24, ...options });
const path = (description: string) =>
  Type.String({ description: `${description} A PEM file, relative to the config file.`, minLength: 1 });
const address = (description: string) => Type.String({ description, minLength: 1 });

const tlsVersion = Type.Enum(['TLSv1.2', 'TLSv1.3'], {
  default: 'TLSv1.2',
  description: 'The oldest version of TLS that is spoken.',
});
const networks = (description: string) =>
  Type.Optional(
    Type.Array(Type.String(), { description: `${description} IP addresses, or networks such as 10.0.0.0/8.` }),
  );

const key = Type.Object(
  {
    id: Type.String({
      pattern: '^[a-z0-9-]{1,15}$',
      description: 'Names the key in identifiers: 1 to 15 characters of a-z, 0-9 and "-".',
    }),
    secret: Type.String({
      writeOnly: true,
      description: 'At least 16 bytes, best from outside the config: "${env:NAME}" or "${file:PATH}".',
    }),
  },
  { ...closed, description: 'A key that signs and verifies identifiers.' },
);

const perSecond = (description: string) => Type.Number({ description, minimum: 0, maximum: 10_000_000 });

/** The bounds of a pool's load, or a backend's. */
const loadLimits = {
  inFlight: Type.Optional(count('How many requests may wait for their answer there at once.', {})),
  messagesPerSecond: Type.Optional(perSecond('How many messages may go there each second, in the long run.')),
  burstMessages: Type.Optional(count('How many may go there at once. Default: as many as each second.', {})),
  connections: Type.Optional(count('How many dedicated links may lead there at once.', {})),
};
const limitsOfLoad = (description: string) => Type.Optional(Type.Object(loadLimits, { ...closed, description }));

// Ajv ignores (and in strict mode refuses) defaults inside a union, so those of `weight` and `state` are filled in later.
const backend = Type.Union(
  [
    address('The address of the backend: tcp://host:port, tls://host:port, udp://host:port or unix:/path.'),
    Type.Object(
      {
        address: address(
          'The address of the backend: tcp://host:port, tls://host:port, udp://host:port or unix:/path.',
        ),
        weight: Type.Optional(
          Type.Number({
            minimum: 0,
            maximum: 1000,
            description: 'Its share of new work relative to the others; 0: no new work. Default: 1.',
          }),
        ),
        number: Type.Optional(
          Type.Integer({
            minimum: 1,
            maximum: Number.MAX_SAFE_INTEGER,
            description: 'Its identifier in fixed-width binary fields, unique in the pool.',
          }),
        ),
        limits: limitsOfLoad('Bounds of its load, instead of the `backendLimits` of the pool.'),
        state: Type.Optional(
          Type.Enum(['ready', 'drain', 'maint'], {
            description:
              'What it is given: `ready` everything, `drain` what carries its identifier or belongs to a session it has, `maint` nothing. Default: ready.',
          }),
        ),
        priority: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: 1000,
            description:
              'Lower numbers get new work first; the others are backups, used when fewer than `minimumUp` are healthy before them. Default: 0.',
          }),
        ),
      },
      closed,
    ),
  ],
  {
    description:
      'A backend: its address, or its address with weight, number, state and priority. Its name is its identity on the wire.',
  },
);

/** The options of every check, which the core adds to those of the plugin. */
const checkTiming = {
  intervalSeconds: seconds('How long after one attempt the next one begins, in seconds.', {
    minimum: 0.01,
    default: 2,
  }),
  jitterPercent: Type.Number({
    minimum: 0,
    maximum: 100,
    default: 10,
    description: 'By how much each interval is shorter or longer, at random, lest many balancers ask at once.',
  }),
  timeoutSeconds: Type.Optional(
    seconds(
      'How long an attempt may take, in seconds, the connect included: 1, or half of `intervalSeconds` where that is less, unless given.',
      { minimum: 0.01 },
    ),
  ),
  rise: count('So many successes in a row make a backend pass that has failed.', { default: 2 }),
  fall: count('So many failures in a row make a backend fail that has passed.', { default: 3 }),
  port: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65_535,
      description: "The port to connect to, if it is not that of the backend's address.",
    }),
  ),
  over: Type.Optional(
    Type.Enum(['connection', 'link'], {
      description:
        'connection: it asks on a connection of its own. link: over the links that clients share, of each listener of the pool: it sends a ' +
        'whole message, which goes through the pipeline to the backend that is asked, and must be answered there as well. A link that ' +
        'is closed is a failure. Needs a protocol that tells whose answer it is. Default: connection.',
    }),
  ),
};

const outliers = Type.Object(
  {
    consecutiveFailures: Type.Integer({
      minimum: 0,
      maximum: 1_000_000,
      default: 5,
      description:
        'So many failures in a row eject a backend: it could not be reached, has broken a link, has not answered in time, or has ' +
        'answered what the protocol plugin takes for a failure. 0: none do.',
    }),
    latencyFactor: Type.Optional(
      Type.Number({
        exclusiveMinimum: 1,
        maximum: 1000,
        description:
          "Eject a backend whose answers take on average that many times as long as the median backend's. Compared every 10 s, among " +
          'backends with 10 answers or more. Default: slowness ejects none.',
      }),
    ),
    baseEjectionSeconds: seconds(
      'How long a backend is ejected the first time; the second time twice as long, and so on.',
      {
        minimum: 0.01,
        default: 30,
      },
    ),
    maxEjectionSeconds: seconds(
      'How long it is ejected at most. One that has been good for so long begins with the first time again.',
      { minimum: 0.01, default: 300 },
    ),
    maxEjectedPercent: Type.Number({
      minimum: 0,
      maximum: 100,
      default: 30,
      description:
        'The share of the backends that may be ejected at once; one may in any case, but never the last that is healthy.',
    }),
  },
  {
    ...closed,
    description:
      'When a backend stands out among the others, and is ejected: it gets no new work for a while. It keeps its sessions: what names it, ' +
      'or belongs to what it has, still goes there.',
  },
);

const pool = <Entry extends TSchema>(checkEntry: Entry) =>
  Type.Object(
    {
      backends: mapOf(backend, { minProperties: 1, description: 'The backends by name.' }),
      links: Type.Optional(
        Type.Enum(['shared', 'dedicated'], {
          description:
            'shared: connections that carry many clients; dedicated: one for each client and backend. ' +
            'Default: shared where the protocol plugin can correlate, else dedicated.',
        }),
      ),
      linksPerBackend: Type.Integer({
        minimum: 1,
        maximum: 64,
        default: 1,
        description: 'How many shared links each listener keeps to each backend.',
      }),
      queueBytes: bytes(
        'How many bytes may wait for one backend. Above it, reading from what feeds it pauses until half is gone; ' +
          'above twice that, messages are refused.',
        { default: 4_194_304 },
      ),
      limits: limitsOfLoad('Bounds of the load of all backends together. Absent: none.'),
      backendLimits: limitsOfLoad('Bounds of the load of each backend that has none of its own. Absent: none.'),
      queueSeconds: Type.Optional(
        seconds(
          'How long new requests wait when no backend has room for them, before they are refused, in seconds. What carries an identifier does not wait. Default: 0.',
          {},
        ),
      ),
      queueRequests: Type.Optional(
        count(
          'How many requests of each listener may wait so at once, besides that they fit into `queueBytes`. Default: 1024.',
          {},
        ),
      ),
      replay: Type.Optional(
        Type.Enum(['never', 'once'], {
          description:
            'What becomes of a request whose backend goes away before it answers. never: it is refused to its client at once. ' +
            'once: if the protocol plugin says that it may be, it is sent to one other backend. Default: never.',
        }),
      ),
      replayBytes: Type.Optional(
        bytes('How many bytes of requests are kept for that at most; above, they are refused. Default: 16777216.', {}),
      ),
      connectSeconds: seconds('How long a connect may take, in seconds, with the handshake replayed after it.', {
        minimum: 0.01,
        default: 5,
      }),
      keepaliveSeconds: seconds('TCP keepalive starts after that many seconds without traffic; 0: never.', {
        default: 30,
      }),
      proxyProtocol: Type.Optional(
        Type.Enum(['v1', 'v2'], {
          description:
            'Links begin with a PROXY protocol header of that version. Dedicated links tell the address of their client; a shared one, that it is our own.',
        }),
      ),
      checks: Type.Optional(
        Type.Array(checkEntry, {
          description:
            'How backends are asked whether they are well. One that fails a check gets no messages, not even of its sessions, as if it were down. Each worker asks for itself.',
        }),
      ),
      outliers: Type.Optional(outliers),
      slowStartSeconds: Type.Optional(
        seconds(
          'A backend that has recovered gets its full weight after that many seconds, and ever more of it until then.',
          {
            minimum: 0.01,
          },
        ),
      ),
      minimumUp: count(
        'Backends of a higher `priority` number get new work when fewer than that many are healthy before them.',
        {
          default: 1,
        },
      ),
      panicPercent: Type.Number({
        minimum: 0,
        maximum: 100,
        default: 0,
        description:
          'When a smaller share of the ready backends is healthy, checks and ejections are ignored, lest the few be overrun. Backends that ' +
          'cannot be reached stay out all the same. 0: never.',
      }),
      drainedSeconds: seconds(
        'A backend that drains and has had no message for that many seconds has drained, which is logged.',
        {
          minimum: 0.01,
          default: 60,
        },
      ),
      tls: Type.Optional(
        Type.Object(
          {
            ca: Type.Optional(path("Who may sign the backends' certificates. Default: the system's authorities.")),
            certificate: Type.Optional(path('Our own certificate, for backends that ask for one.')),
            key: Type.Optional(path('The key of that certificate.')),
            serverName: Type.Optional(
              Type.String({
                minLength: 1,
                description: "The name a backend's certificate must be for. Default: its host.",
              }),
            ),
            minVersion: tlsVersion,
            verify: Type.Boolean({ default: true, description: "Whether backends' certificates are verified." }),
          },
          { ...closed, description: 'How links to tls:// backends are secured.' },
        ),
      ),
    },
    { ...closed, description: 'A named set of backends.' },
  );

const limits = Type.Object(
  {
    messageBytes: bytes('The longest message, in bytes.', { default: defaultLimits.messageBytes }),
    headerBytes: bytes('The longest header, in bytes, in protocols that have one.', {
      default: defaultLimits.headerBytes,
    }),
    queueBytes: bytes(
      'How many bytes may wait for one client. Above it, a dedicated link pauses, a client of shared links that still does not read is closed, and one that does not read our replies is not read from.',
      { default: defaultLimits.queueBytes },
    ),
    connections: count('How many clients may be connected at once.', { default: defaultLimits.connections }),
    connectionsPerAddress: count('How many of them from one address; 0: as many as `connections`.', {
      minimum: 0,
      default: defaultLimits.connectionsPerAddress,
    }),
    connectionsPerSecondPerAddress: {
      ...perSecond('How many clients may connect from one address each second, and at once; 0: any number.'),
      default: defaultLimits.connectionsPerSecondPerAddress,
    },
    inFlight: count('How many requests may wait for their answer at once.', { default: defaultLimits.inFlight }),
    inFlightPerAddress: count(
      'How many requests of the clients at one address may wait for their answer at once; 0: as many as `inFlight`.',
      { minimum: 0, default: defaultLimits.inFlightPerAddress },
    ),
    messagesPerSecond: {
      ...perSecond('How many messages clients may send each second, in the long run; 0: any number.'),
      default: defaultLimits.messagesPerSecond,
    },
    burstMessages: count('How many they may send at once; 0: as many as each second.', {
      minimum: 0,
      default: defaultLimits.burstMessages,
    }),
    messagesPerSecondPerAddress: {
      ...perSecond('How many messages the clients at one address may send each second; 0: any number.'),
      default: defaultLimits.messagesPerSecondPerAddress,
    },
    burstMessagesPerAddress: count('How many those may send at once; 0: as many as each second.', {
      minimum: 0,
      default: defaultLimits.burstMessagesPerAddress,
    }),
    reservedPercent: Type.Number({
      minimum: 0,
      maximum: 100,
      default: defaultLimits.reservedPercent,
      description:
        'The share of each limit of rate or load that new work leaves to messages that carry an identifier or belong to a session. ' +
        'It counts for `inFlight` as soon as that is lower than its default.',
    }),
    headerSeconds: seconds("How long a message's header may take to arrive, in seconds; 0: for ever.", {
      default: defaultLimits.headerSeconds,
    }),
    idleSeconds: seconds('How long a client connection may be without traffic, in seconds; 0: for ever.', {
      default: defaultLimits.idleSeconds,
    }),
    replySeconds: seconds(
      'How long an answer is waited for, in seconds; then the request is refused where the protocol can.',
      {
        minimum: 0.01,
        default: defaultLimits.replySeconds,
      },
    ),
    affinityEntries: count('How many ids of related messages are remembered.', {
      default: defaultLimits.affinityEntries,
    }),
  },
  { ...closed, default: {}, description: 'Bounds, enforced before anything is buffered.' },
);

const listener = <Entry extends TSchema>(pipelineEntry: Entry) =>
  Type.Object(
    {
      listen: address(
        'Where clients connect: tcp://host:port, tls://host:port, udp://host:port, ws://host:port/path, wss://host:port/path, unix:/path, or fd://3 or fd://name for a TCP socket that it has been given. Port 0 is any free one; a WebSocket without a path takes any.',
      ),
      pool: Type.String({ description: 'The name of the pool it feeds.' }),
      advertise: Type.Optional(
        Type.String({
          description:
            'host:port that the protocol writes where peers must reach us. Default: the address it listens on.',
        }),
      ),
      allow: networks('Clients that may connect; others are turned away. Default: all.'),
      deny: networks('Clients that are turned away, though they be among those allowed.'),
      proxyProtocol: Type.Optional(
        Type.Object(
          {
            from: Type.Array(Type.String(), {
              minItems: 1,
              description: 'The proxies that are trusted: IP addresses, or networks such as 10.0.0.0/8.',
            }),
          },
          {
            ...closed,
            description:
              'Connections from these proxies begin with a PROXY protocol header (version 1 or 2), which tells the address of the client; others are clients themselves.',
          },
        ),
      ),
      pipeline: Type.Array(pipelineEntry, {
        minItems: 1,
        description: 'The plugins, each with its options: one protocol plugin, one or more strategies.',
      }),
      identifiers: Type.Object(
        {
          mode: Type.Optional(
            Type.Enum(['plain', 'signed', 'sealed'], {
              description:
                "plain: the backend's bare name or number; signed: with a MAC; sealed: encrypted too. " +
                'Default: signed where there are keys and the protocol can carry it, else plain.',
            }),
          ),
          whenDown: Type.Optional(
            Type.Enum(['refuse', 'rechoose'], {
              description:
                'What becomes of a message whose identifier names a backend that is down or gone. ' +
                'Default: as the protocol plugin says, else refuse.',
            }),
          ),
        },
        { ...closed, default: {}, description: 'How identifiers are written and obeyed.' },
      ),
      limits,
      tls: Type.Optional(
        Type.Object(
          {
            certificate: path('The certificate of the listener, with the chain.'),
            key: path('The key of that certificate.'),
            ca: Type.Optional(path('Who may sign client certificates.')),
            minVersion: tlsVersion,
            clientCertificate: Type.Enum(['none', 'optional', 'required'], {
              default: 'none',
              description: 'Whether clients are asked for a certificate, and whether they must have one.',
            }),
          },
          { ...closed, description: 'The TLS side of a tls:// listener.' },
        ),
      ),
    },
    { ...closed, description: 'An address where clients connect, a pipeline, and the pool it feeds.' },
  );

const configSchema = <Entry extends TSchema>(pipelineEntry: Entry, observerEntry: Entry, checkEntry: Entry) =>
  Type.Object(
    {
      $schema: Type.Optional(Type.String({ description: 'Where editors find the schema of this file.' })),
      keys: Type.Optional(
        Type.Array(key, {
          description: 'Keys of identifiers: the first signs, all verify. Identifiers are plain without.',
        }),
      ),
      pools: Type.Optional(mapOf(pool(checkEntry), { description: 'The pools by name.' })),
      listeners: Type.Optional(mapOf(listener(pipelineEntry), { description: 'The listeners by name.' })),
      observers: Type.Optional(
        Type.Array(observerEntry, {
          description:
            'The plugins that look at the balancer as a whole, and watch every pipeline, each with its options.',
        }),
      ),
      workers: Type.Union([Type.Integer({ minimum: 1, maximum: 1024 }), Type.Literal('auto')], {
        default: 1,
        description:
          'How many processes share the work, each with its own event loop and its own links to every backend; ' +
          'auto: one for each processor. Limits, tables and strategies are those of each process.',
      }),
      stopSeconds: Type.Integer({
        minimum: 0,
        maximum: 3600,
        default: defaultStopSeconds,
        description: 'How long answers that are due are waited for when it stops; `--stop-seconds` comes before it.',
      }),
      plugins: Type.Optional(
        Type.Array(Type.String({ minLength: 1 }), {
          description:
            'Third-party plugins: package names, or paths, relative to the config file, that begin with "." or "/".',
        }),
      ),
      tests: Type.Optional(Type.Array(test, { description: 'Tests of this config, run by `pointsman test`.' })),
      testEnv: Type.Optional(
        mapOf(Type.String(), {
          description:
            'What `${env:NAME}` stands for while `pointsman test` runs, whatever the environment says. Nothing else reads this.',
        }),
      ),
    },
    {
      ...closed,
      patternProperties: { '^x-': {} },
      description: 'A config of pointsman. Members that begin with "x-" are ignored: a place for YAML anchors.',
    },
  );

const anyPipelineEntry = Type.Record(Type.String(), Type.Record(Type.String(), Type.Unknown()));

/** A config that has passed the schema, with its defaults. */
export type Config = Static<ReturnType<typeof configSchema<typeof anyPipelineEntry>>>;

/**
 * The schema of configs whose pipelines use these plugins.
 * @param open lets pipelines name other plugins too, as the schema for editors must
 */
export function composeSchema(plugins: readonly PluginDefinition[], { open = false } = {}): object {
  const entry = (section: Section) => {
    const branches: Record<string, object | false> = {};
    for (const plugin of plugins) branches[plugin.name] = sectionOf(plugin) === section && optionsSchema(plugin);
    return Type.Unsafe({
      type: 'object',
      description: 'One plugin with its options.',
      properties: branches,
      minProperties: 1,
      maxProperties: 1,
      additionalProperties: open
        ? { type: ['object', 'null'], description: 'A third-party plugin with its options.' }
        : false,
    });
  };
  return withoutRequiredDefaults(configSchema(entry('pipeline'), entry('observers'), entry('checks'))) as object;
}

/** The lists of a config in which plugins stand. */
export type Section = 'pipeline' | 'observers' | 'checks';

/** In which of them a plugin belongs. */
export function sectionOf({ check, observe }: PluginDefinition): Section {
  if (check !== undefined) return 'checks';
  return observe === undefined ? 'pipeline' : 'observers';
}

/** The schema of a plugin's options, where its name stands in a config. */
export function optionsSchema(plugin: PluginDefinition): object {
  // Options the plugin does not know are mistakes, also where its schema forgets to say so; a name alone means no options.
  return { additionalProperties: false, description: plugin.summary, ...allOptions(plugin), type: ['object', 'null'] };
}

/** The options that a plugin has in a config: its own, and those that the core adds for its kind. */
export function allOptions(plugin: PluginDefinition): TObject {
  const { options } = plugin;
  if (sectionOf(plugin) !== 'checks') return options;
  return { ...options, properties: { ...checkTiming, ...options.properties } };
}

/** The schema as a file for editors and CI: JSON Schema draft-07, which they all know. */
export function schemaText(plugins: readonly PluginDefinition[], options: { open: boolean }): string {
  const schema = {
    $schema: 'http://json-schema.org/draft-07/schema#',
    $id: 'https://unpkg.com/pointsman@1/schemas/pointsman.schema.json',
    title: 'pointsman config',
    ...composeSchema(plugins, options),
  };
  return `${JSON.stringify(schema, undefined, 2)}\n`;
}

/** A member that has a default may be left out; TypeBox lists it as required because it is there once defaults are. */
function withoutRequiredDefaults(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(withoutRequiredDefaults);
  if (typeof schema !== 'object' || schema === null) return schema;
  const copy: Record<string, unknown> = {};
  for (const [keyword, value] of Object.entries(schema)) {
    copy[keyword] = keyword === 'default' ? value : withoutRequiredDefaults(value);
  }
  const { required, properties } = copy;
  if (Array.isArray(required) && typeof properties === 'object' && properties !== null) {
    const members = properties as Record<string, { default?: unknown }>;
    const needed = required.filter((member) => members[member]?.default === undefined);
    if (needed.length > 0) copy.required = needed;
    else delete copy.required;
  }
  return copy;
}
