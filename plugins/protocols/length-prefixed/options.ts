/** The options: which fields the frames have, where those are, and what they are for. */
import { type Static, Type } from 'pointsman';

const strict = { additionalProperties: false };
const offset = (description: string, more?: { default: number }) =>
  Type.Integer({ description, minimum: 0, maximum: 65_535, ...more });
const size = (description: string, maximum: number, more?: { default: number }) =>
  Type.Integer({ description, minimum: 1, maximum, ...more });
const values = (description: string, maxItems: number) =>
  Type.Array(Type.Integer({ minimum: 0 }), { description, minItems: 1, maxItems });
const hex = (description: string) => Type.String({ description, pattern: '^ *([0-9A-Fa-f]{2} *)+$' });
const answerOffset = Type.Optional(offset('Where it stands in answers, if elsewhere than in requests.'));
const endian = Type.Enum(['big', 'little'], {
  description: 'Which byte comes first: the most significant (big) or the least (little).',
  default: 'big',
});

const Place = Type.Object(
  { offset: offset('Where the field starts.'), size: size('How many bytes it has.', 65_535) },
  { ...strict, description: 'A field of a frame.' },
);

export const Options = Type.Object(
  {
    length: Type.Object(
      {
        offset: offset('Where the length field starts.', { default: 0 }),
        size: size('How many bytes the length field has; of a varint: at most.', 10, { default: 4 }),
        encoding: Type.Enum(['binary', 'ascii', 'bcd', 'varint'], {
          description:
            'How 300 is written in 4 bytes: binary 0000012c, ascii (decimal digits) 30333030, bcd (two digits a ' +
            "byte) 00000300, varint (protobuf's LEB128) ac02. Behind a varint, offsets count as if it had one byte.",
          default: 'binary',
        }),
        endian,
        adjust: Type.Integer({
          description:
            'What to add to the value so that it counts the bytes behind the length field: 0 where it does (000c + ' +
            '12 bytes with size 2), -2 where it counts itself too (000e + the same 12 bytes).',
          default: 0,
        }),
      },
      { ...strict, description: 'The length field. A frame has value + adjust + offset + size bytes.', default: {} },
    ),
    id: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the identifier starts; of no account if it is inserted at the end.', { default: 0 }),
          answerOffset,
          size: size('How many bytes the identifier has.', 255, { default: 2 }),
          encoding: Type.Enum(['number', 'bytes'], {
            description:
              "number: the backend's `number`, 0 for none; backend 7 in 2 bytes is 0007. bytes: the token with " +
              'zeros in front, all zeros for none; backend "uas-1" in plain mode in 8 bytes is 000000 7561732d31.',
            default: 'number',
          }),
          endian,
          insert: Type.Optional(
            Type.Object(
              {
                marker: hex(
                  'Bytes in front of the identifier that tell frames with one from frames without, as a TLV header ' +
                    'does; choose some that the protocol never has there. Marker 1400 0002, backend 7, at end: 0004 ' +
                    'cafebabe leaves as 000a cafebabe 1400 0002 0007.',
                ),
                at: Type.Enum(['offset', 'end'], {
                  description: 'Where it is inserted: at `offset`, or behind the last byte of the frame.',
                  default: 'offset',
                }),
              },
              {
                ...strict,
                description:
                  'Insert marker and identifier instead of writing over bytes that are there already; the length ' +
                  'field follows. Offsets of other fields count in frames without it.',
              },
            ),
          ),
          stamp: Type.Array(Type.Enum(['request', 'response']), {
            description:
              'Where the identifier is written: into what backends get (request), what clients get (response).',
            uniqueItems: true,
            default: ['request', 'response'],
          }),
          strip: Type.Boolean({
            description: 'Take it out of what backends get (or zero it, unless inserted) instead of stamping that.',
            default: false,
          }),
        },
        { ...strict, description: 'The field that names the backend. Absent: frames carry no identifier.' },
      ),
    ),
    correlation: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the field starts in requests.'),
          answerOffset,
          size: size('How many bytes it has.', 8, { default: 4 }),
          endian,
          answers: Type.Optional(
            Type.Object(
              {
                offset: offset('Where the byte stands.'),
                mask: Type.Integer({ description: 'Which of its bits count.', minimum: 1, maximum: 255 }),
                value: Type.Integer({ description: 'What they are in an answer.', minimum: 0, maximum: 255 }),
              },
              {
                ...strict,
                description:
                  'How an answer is told from a request, for protocols in which backends send requests too. SMPP ' +
                  '(top bit of command_id): { offset: 4, mask: 128, value: 128 }. Diameter (R flag clear): { ' +
                  'offset: 4, mask: 128, value: 0 }. Absent: what clients send are requests, what backends send ' +
                  'are answers.',
              },
            ),
          ),
        },
        {
          ...strict,
          description:
            'The field that an answer repeats from its request (a sequence number). In requests it is overwritten ' +
            'by a number of our own, from 1 to at most 0x7fffffff, in answers restored: 00000007 reaches the ' +
            'backend as 00000001. With it links can be shared.',
        },
      ),
    ),
    affinity: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the field starts.'),
          size: size('How many bytes it has.', 65_535),
          seconds: Type.Integer({
            description: 'How long its backend is remembered after the last such frame.',
            minimum: 1,
            default: 32,
          }),
        },
        { ...strict, description: 'The field whose equal values go to one backend where no identifier names another.' },
      ),
    ),
    keys: Type.Record(Type.String(), Place, {
      description: 'Fields that `hashing` can take as its key, by name.',
      default: {},
    }),
    replay: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the field that tells kinds of frames apart starts.'),
          size: size('How many bytes it has.', 4, { default: 4 }),
          endian,
          values: values('Its values in the frames of a handshake.', 16),
          answers: values('Its values in the answers to those.', 32),
        },
        {
          ...strict,
          description:
            'A handshake: frames that are sent again on each further link of their client, whose answers to them ' +
            "are dropped. SMPP's binds: { offset: 4, values: [1, 2, 9], answers: [0x80000001, 0x80000002, " +
            '0x80000009, 0x80000000] }.',
        },
      ),
    ),
    failure: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the field that tells how it went starts.'),
          size: size('How many bytes it has.', 4, { default: 4 }),
          endian,
          values: values('Its values in answers of a backend that is unable.', 64),
        },
        {
          ...strict,
          description:
            'Which answers are failures of the backend, for the `outliers` of its pool. SMPP (system error, queue full): ' +
            '{ offset: 8, values: [8, 20] }.',
        },
      ),
    ),
    replayable: Type.Optional(
      Type.Object(
        {
          offset: offset('Where the field that tells kinds of frames apart starts.'),
          size: size('How many bytes it has.', 4, { default: 4 }),
          endian,
          values: values('Its values in them.', 256),
          mark: Type.Optional(
            Type.Object(
              {
                offset: offset('Where the byte stands.'),
                bits: Type.Integer({ description: 'The bits that are set in it.', minimum: 1, maximum: 255 }),
              },
              {
                ...strict,
                description:
                  "What tells frames that are sent a second time. Diameter's T flag: { offset: 4, bits: 16 }. Absent: nothing.",
              },
            ),
          ),
        },
        {
          ...strict,
          description:
            'Requests that may be sent to another backend if the one that has them goes away before it answers, and may have ' +
            'done by then what they ask. SMPP query_sm: { offset: 4, values: [3] }. Needs `replay: once` in the pool, and ' +
            '`correlation`. Absent: none.',
        },
      ),
    ),
    error: Type.Optional(
      Type.Object(
        {
          hex: hex('The whole frame.'),
          copy: Type.Array(
            Type.Object(
              {
                from: offset('Where the bytes start in the refused frame.'),
                to: offset('Where they start in the reply.'),
                size: size('How many they are.', 65_535),
              },
              strict,
            ),
            { description: 'What is copied into it from the refused frame.', default: [] },
          ),
          reasons: Type.Record(
            Type.String(),
            Type.Object({ to: offset('Where the bytes start in the reply.'), hex: hex('The bytes.') }, strict),
            {
              description:
                'What it says instead for some reasons. SMPP: { rate-limited: { to: 8, hex: 00000058 }, overloaded: { to: 8, ' +
                'hex: 00000014 } }.',
              default: {},
            },
          ),
        },
        {
          ...strict,
          description:
            'The reply to a refused request; absent: none. SMPP generic_nack: { hex: 00000010 80000000 00000008 ' +
            '00000000, copy: [{ from: 12, to: 12, size: 4 }] }.',
        },
      ),
    ),
  },
  strict,
);

export type Options = Static<typeof Options>;
export type Correlation = NonNullable<Options['correlation']>;
