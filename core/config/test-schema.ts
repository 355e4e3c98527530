/** The schema of a config's `tests`: what happens, step by step, and what is expected. */
import type { TProperties } from 'typebox';
import Type from '../vendor/typebox.ts';

const closed = { additionalProperties: false };
const optionalText = (description: string) => Type.Optional(Type.String({ description, minLength: 1 }));
const count = (description: string) => Type.Optional(Type.Number({ description }));
const part = <Members extends TProperties>(members: Members, description: string) =>
  Type.Optional(Type.Object(members, { ...closed, description }));

const backendNames = (description: string) =>
  Type.Optional(Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description }));
const oneOrMore = (description: string) =>
  Type.Optional(
    Type.Union(
      [
        Type.String({ minLength: 1 }),
        Type.Array(Type.String({ minLength: 1 }), { minItems: 1, description: 'All of these.' }),
      ],
      { description },
    ),
  );

/** The bytes of a message, written in one of four ways. */
const messageBytes = (received: string) => ({
  text: optionalText(
    `The bytes as text, in UTF-8. {{regular expression}} stands for all it matches in ${received} (of each match its first ` +
      'group, if it has one), {{offset:length}} for bytes of that.',
  ),
  hex: optionalText('The bytes in hexadecimal; white space is ignored. {{…}} as in text.'),
  base64: optionalText('The bytes in base64.'),
  file: optionalText('A file that holds the bytes, relative to the file that this stands in.'),
});

const send = Type.Object(
  {
    ...messageBytes('what this client received last'),
    from: optionalText(
      'A name for the client that sends it; equal names are one connection. A name that is an IP address is also where it ' +
        'connects from. Default: client.',
    ),
    split: Type.Optional(Type.Enum(['every-byte'], { description: 'Sent in pieces of one byte.' })),
  },
  { ...closed, description: 'A client sends a message. It connects when it is first named.' },
);

const reply = Type.Object(
  {
    ...messageBytes('what this backend received last'),
    from: optionalText(
      'The backend that answers what it received last. Default: the backend that received something last.',
    ),
    split: Type.Optional(Type.Enum(['every-byte'], { description: 'Sent in pieces of one byte.' })),
  },
  { ...closed, description: 'A backend answers, on the link that brought what it received last.' },
);

const direction = (description: string) =>
  part(
    {
      received: count('Messages that came in whole, or were lost.'),
      forwarded: count('Messages that left for their destination.'),
      refused: count("Messages whose sender got the protocol's error reply."),
      discarded: count('Messages that nobody got.'),
      held: count('Messages that wait in queues.'),
      frameErrors: count('Messages whose end could not be told.'),
      refusedFor: Type.Optional(
        Type.Record(Type.String(), Type.Number(), { description: 'Refused messages by reason.' }),
      ),
      discardedFor: Type.Optional(
        Type.Record(Type.String(), Type.Number(), { description: 'Discarded messages by reason.' }),
      ),
    },
    description,
  );

/** Any part of what `Listener.stats()` answers. */
const stats = part(
  {
    fromClients: direction('Messages that clients sent.'),
    fromBackends: direction('Messages that backends sent.'),
    replays: direction('Requests that were sent again, as the backend that had them went away.'),
    routes: part(
      {
        identifier: count('Their identifier named the destination.'),
        affinity: count('A related message went there.'),
        strategy: count('The strategy chose.'),
        rechosen: count('The strategy chose anew, as the named backend was down or gone.'),
        correlation: count('They answered a request of that client.'),
        link: count('They came on a dedicated link.'),
        replayed: count('The backend that had them went away, so they went to another one.'),
      },
      'Messages routed, by why they went where they went.',
    ),
    connections: part(
      {
        open: count('Clients that are connected.'),
        accepted: count('Clients that have connected.'),
        turnedAway: count('Clients that were turned away.'),
      },
      'Client connections.',
    ),
    exchanges: part(
      {
        open: count('Requests that wait for their answer.'),
        expired: count('Requests that were given up.'),
        abandoned: count('Requests lost with their backend.'),
        refused: count('Those of them whose client got an error reply at once.'),
      },
      'Requests that wait for an answer, where the protocol correlates.',
    ),
    affinity: part(
      {
        entries: count('Ids that are remembered.'),
        evicted: count('Ids that were forgotten for want of room.'),
        inFlight: count('Those of requests outstanding, where exchanges do not count them.'),
      },
      'The affinity table.',
    ),
    unknownIdentifiers: count('Messages that name a backend that the pool does not have.'),
    redispatched: count('Messages that went to another backend because the first could not be reached.'),
    relayedBytes: count('Bytes that dedicated links passed on unread.'),
    queued: count('Messages that wait in queues.'),
    backends: Type.Optional(
      Type.Record(
        Type.String(),
        Type.Object(
          {
            up: Type.Optional(Type.Boolean({ description: 'Whether it can be reached.' })),
            state: Type.Optional(
              Type.Enum(['ready', 'drain', 'maint'], { description: 'What the operator lets it do.' }),
            ),
            ejected: Type.Optional(Type.Boolean({ description: 'Whether it gets no new work, as it stands out.' })),
            weight: count('Its share of new work, less than it has been given as long as it starts slowly.'),
            ejections: count('How often it has been ejected.'),
            failedConnects: count('Connects to it that failed.'),
            unanswered: count('Requests that it has not answered: overdue, or lost with their link.'),
            messages: count('Messages that were sent to it.'),
            inFlight: count('Requests outstanding there.'),
            links: count('Links open to it.'),
            latencyMs: count('How long its answers take, in milliseconds of the virtual clock.'),
            idleSeconds: count('How long ago it last got a message.'),
          },
          closed,
        ),
        { description: 'What is known of each backend.' },
      ),
    ),
  },
  "Counts of the listener since the test's beginning, any part of them. Reasons that have not occurred count 0.",
);

const expectation = part(
  {
    backend: optionalText('The backend that gets what leaves, and no other does.'),
    sameBackendAs: Type.Optional(
      Type.Union([Type.String({ minLength: 1 }), Type.Integer({ minimum: 1 })], {
        description:
          'It goes to the same backend as in an earlier step: the name that the step has by `as`, or its number, from 1; ' +
          "or a client's name: where what it sent last went.",
      }),
    ),
    notBackend: oneOrMore('A backend, or some, that get nothing.'),
    client: optionalText('The client that gets what leaves, and no other does.'),
    contains: oneOrMore('Text that stands in what leaves.'),
    bytes: Type.Optional(Type.String({ description: 'All that leaves, as text; empty: nothing does.' })),
    hex: Type.Optional(Type.String({ description: 'All that leaves, in hexadecimal; white space is ignored.' })),
    identifier: Type.Optional(
      Type.Union([Type.String({ minLength: 1 }), Type.Literal(false)], {
        description:
          'The backend that the identifier in what leaves names, to this listener and its keys; false: there is no identifier.',
      }),
    ),
    refused: Type.Optional(
      Type.Union([Type.Boolean(), Type.String({ minLength: 1 })], {
        description: 'The sender gets an error reply: true, the reason, or text that stands in the reply.',
      }),
    ),
    discarded: Type.Optional(
      Type.Union([Type.Boolean(), Type.String({ minLength: 1 })], {
        description: 'Nobody gets the message, nor does its sender get an error reply: true, or the reason.',
      }),
    ),
    closed: Type.Optional(
      Type.Union([Type.Boolean(), Type.String({ minLength: 1 })], {
        description:
          'Whether the connection is closed of the client that sent something last; or the name of a client whose is.',
      }),
    ),
    stats,
  },
  "What must follow. What leaves is what backends get of a client's message, and clients of a backend's; or, if nobody gets " +
    'anything, what goes back to the sender.',
);

const step = Type.Object(
  {
    as: optionalText('A name for this step, for `sameBackendAs`.'),
    send: Type.Optional(send),
    reply: Type.Optional(reply),
    advance: Type.Optional(
      Type.String({
        pattern: '^[0-9]{1,9}(ms|s|m|h)$',
        description: 'Moves the virtual clock: 500ms, 31s, 5m, 1h. At most 24h at once.',
      }),
    ),
    down: backendNames('These backends reset their links and refuse connects.'),
    up: backendNames(
      'These backends accept connects again, and drain no longer. The balancer notices when it tries next, in 10s at most.',
    ),
    drain: backendNames(
      'These backends get no new work, only what carries their identifier or belongs to a session they have.',
    ),
    expect: expectation,
  },
  { ...closed, description: 'One step of a test: one of send, reply, advance, down, up and drain.' },
);

export const test = Type.Object(
  {
    name: Type.String({ minLength: 1, description: 'What holds, as a sentence.' }),
    listener: Type.String({ description: 'The name of the listener that clients connect to.' }),
    steps: Type.Array(step, { minItems: 1, description: 'What happens, in order.' }),
  },
  { ...closed, description: 'A test of this config.' },
);
