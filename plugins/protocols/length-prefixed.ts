/**
 * Frames that say how long they are, with fields at fixed offsets: ISO 8583, SMPP, Diameter, Kafka, DNS over TCP, …
 * A frame has `value + adjust + offset + size` bytes, where `value` is what its length field says:
 *
 *     bytes on the wire              length                                 value   frame
 *     000c "HELLO, WORLD"            { size: 2 }                               12      14
 *     000e "HELLO, WORLD"            { size: 2, adjust: -2 }                   14      14
 *     cafe 00000c "HELLO, WORLD"     { offset: 2, size: 3 }                    12      17
 *     00000c cafe "HELLO, WORLD"     { size: 3, adjust: 2 }                    12      17
 *     ca 000c fe "HELLO, WORLD"      { offset: 1, size: 2, adjust: 1 }         12      16
 *     ca 0010 fe "HELLO, WORLD"      { offset: 1, size: 2, adjust: -3 }        16      16
 *     "0012HELLO, WORLD"             { size: 4, encoding: ascii }              12      16
 *     0012 "HELLO, WORLD"            { size: 2, encoding: bcd }                12      14
 *     0c "HELLO, WORLD"              { size: 5, encoding: varint }             12      13
 *
 * All offsets count from the frame's first byte. A frame that ends before a field does passes without that field.
 */
import {
  type Backend,
  type Client,
  type Discard,
  definePlugin,
  discard,
  type Exchange,
  type Link,
  type Message,
  type Refusal,
  refusal,
  type Scope,
  type Span,
  type Static,
  type Token,
  Type,
} from 'pointsman';

const name = 'length-prefixed';

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

const Options = Type.Object(
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
type Options = Static<typeof Options>;
type Correlation = NonNullable<Options['correlation']>;

const tooShort = refusal('length-too-short');
const tooLarge = refusal('length-too-large');
const notDigits = refusal('length-not-digits');
const overflow = refusal('length-overflow');
const overloaded = refusal('overloaded');
const handshakeTooLong = refusal('handshake-too-long');
const handshakeAnswer = discard('handshake-answer', { ordinary: true });
const unasked = discard('no-destination');

/** How many requests of backends are remembered for one client; when there is one more, the oldest is forgotten. */
const mostBackendRequests = 256;
/** The longest frame that is kept for replay. */
const handshakeBytes = 4096;

export default definePlugin({
  name,
  summary:
    'Frames with a length field, and identifiers and correlation numbers in fields at fixed offsets: ISO 8583, ' +
    'SMPP, Diameter.',
  pointsman: '^1',
  options: Options,
  samples: [
    { name: 'four bytes of length', bytes: Buffer.from('0000000548454c4c4f', 'hex') },
    {
      name: 'SMPP submit_sm',
      bytes: Buffer.from(
        '00000035000000040000000000000007000000313030000000343437373030393030313233000000000000000001000568656c6c6f',
        'hex',
      ),
      options: {
        length: { size: 4, adjust: -4 },
        correlation: { offset: 12, size: 4, answers: { offset: 4, mask: 128, value: 128 } },
        replay: { offset: 4, values: [1, 2, 9], answers: [0x80000001, 0x80000002, 0x80000009, 0x80000000] },
      },
    },
    {
      name: 'ISO 8583 network management request behind a TPDU',
      bytes: Buffer.from('0015600000012308002020000000000000990000000001', 'hex'),
      options: {
        length: { size: 2 },
        id: { offset: 3, answerOffset: 5, size: 2 },
        correlation: { offset: 5, answerOffset: 3, size: 2 },
      },
    },
    {
      name: 'protobuf, delimited',
      bytes: Buffer.from('090807120568656c6c6f', 'hex'),
      options: { length: { size: 5, encoding: 'varint' } },
    },
  ],
  apply(hooks, options, scope) {
    check(options, scope);
    const { length, id, affinity, keys, replay, error } = options;
    // What a backend sends on a dedicated link need not be an answer: where `answers` does not tell, it passes as is.
    const dedicated = replay !== undefined || scope.pool.settings.links === 'dedicated';
    const correlation = dedicated && options.correlation?.answers === undefined ? undefined : options.correlation;

    const lengthField = new LengthField(length);
    const layout = new Layout(lengthField, id, correlation?.answers);
    const identifiers = id && identify(id, lengthField, layout);
    const errors = error && errorReplies(error, layout, correlation);
    const correlations = correlation && correlate(correlation, layout, scope, errors);
    const replays = correlation && options.replayable && replaysOf(options.replayable, layout);
    const handshakes = replay && keepHandshakes(replay, layout, scope);

    const failure = scope.pool.settings.outliers && options.failure;

    scope.protocol({
      identifiers: id?.encoding === 'number' ? 'number' : 'raw',
      correlates: correlation !== undefined && !dedicated,
      ...(correlation && { correlationBits: idBits(correlation.size) }),
      ...(errors && { refuseAbandoned: errors.late }),
      relaysAnswers:
        correlation === undefined &&
        replay === undefined &&
        failure === undefined &&
        id?.stamp.includes('response') !== true,
      ...(correlation?.answers && { isAnswer: () => layout.find(correlation) >= 0 && layout.isAnswer }),
      ...(failure && { isFailure: failureIn(failure, layout) }),
      ...(replays && { mayReplay: replays.mayReplay }),
      keys: Object.fromEntries(Object.entries(keys).map(([key, field]) => [key, spanOf(field, layout)])),
      ...(affinity && {
        relatedIds(_message, ids) {
          const at = layout.find(affinity);
          if (at < 0) return;
          ids.seconds = affinity.seconds;
          ids.add(at, affinity.size);
        },
      }),
    });
    const longest = scope.identifiers.longest.raw;
    if (id?.encoding === 'bytes' && longest > id.size) {
      throw new Error(`id.size: ${id.size} bytes cannot hold the tokens of this listener, which have up to ${longest}`);
    }

    hooks.frame.tap(name, (bytes, start, end) => lengthField.frame(bytes, start, end));
    hooks.detectId.tap(name, (message) => {
      layout.look(message);
      return handshakes?.detect(message) ?? correlations?.detect(message) ?? identifiers?.detect(message);
    });
    hooks.insertId.tap(name, (message, token) => {
      if (message.reason === 'replayed') replays?.mark(message);
      return identifiers?.insert(message, token) ?? correlations?.insert(message);
    });
    if (handshakes !== undefined) {
      hooks.forward.tap(name, (message, destination) => handshakes.keep(message, destination));
      hooks.onLink.tap(name, (link) => handshakes.replay(link));
    }
    if (errors !== undefined) hooks.refuse.tap(name, errors.refuse);
  },
});

/** Reads and writes whole numbers from 0 in `size` bytes. */
interface NumberCodec {
  readonly size: number;
  /** The first number that does not fit. */
  readonly limit: number;
  /** Returns -1 if some byte is not a digit; inexact above 2^53. */
  read(bytes: Buffer, at: number): number;
  write(value: number, target: Buffer): void;
}

function numberCodec(
  size: number,
  endian: 'big' | 'little',
  encoding: 'binary' | keyof typeof digitBytes = 'binary',
): NumberCodec {
  return encoding === 'binary' ? new BinaryCodec(size, endian) : new DecimalCodec(size, digitBytes[encoding]);
}

/**
 * The last four bytes are read and written as an integer, those before them as a multiple of 2^32, so that no step needs fractions.
 */
class BinaryCodec implements NumberCodec {
  readonly size: number;
  readonly limit: number;
  /** The offset of the most significant byte, and the direction of the next one. */
  readonly #first: number;
  readonly #step: number;

  constructor(size: number, endian: 'big' | 'little') {
    this.size = size;
    this.limit = 256 ** size;
    this.#first = endian === 'big' ? 0 : size - 1;
    this.#step = endian === 'big' ? 1 : -1;
  }

  read(bytes: Buffer, start: number): number {
    const { size } = this;
    const step = this.#step;
    let at = start + this.#first;
    let high = 0;
    let low = 0;
    let left = size;
    for (; left > 4; left--, at += step) high = high * 256 + bytes[at]!;
    for (; left > 0; left--, at += step) low = (low << 8) | bytes[at]!;
    return high * 2 ** 32 + (low >>> 0);
  }

  write(value: number, target: Buffer): void {
    const { size } = this;
    const step = this.#step;
    let at = this.#first + (size - 1) * step;
    let low = value >>> 0;
    for (let left = Math.min(size, 4); left > 0; left--, at -= step, low >>>= 8) target[at] = low & 0xff;
    let high = Math.floor(value / 2 ** 32);
    for (let left = size - 4; left > 0; left--, at -= step, high = Math.floor(high / 256)) target[at] = high % 256;
  }
}

/** Which byte stands for which digit of a number, and how many digits there are: one decimal digit a byte, or two. */
const digitBytes = {
  ascii: Uint8Array.from({ length: 10 }, (_, digit) => 0x30 + digit),
  bcd: Uint8Array.from({ length: 100 }, (_, digit) => Math.floor(digit / 10) * 16 + (digit % 10)),
};

/** The most significant digit comes first. */
class DecimalCodec implements NumberCodec {
  readonly size: number;
  readonly limit: number;
  readonly #bytes: Uint8Array;
  /** The digit that a byte stands for; -1: none. */
  readonly #digits = new Int16Array(256).fill(-1);

  constructor(size: number, bytes: Uint8Array) {
    this.size = size;
    this.limit = bytes.length ** size;
    this.#bytes = bytes;
    for (const [digit, byte] of bytes.entries()) this.#digits[byte] = digit;
  }

  read(bytes: Buffer, at: number): number {
    let value = 0;
    for (let i = 0; i < this.size; i++) {
      const digit = this.#digits[bytes[at + i]!]!;
      if (digit < 0) return -1;
      value = value * this.#bytes.length + digit;
    }
    return value;
  }

  write(value: number, target: Buffer): void {
    const base = this.#bytes.length;
    for (let i = this.size - 1; i >= 0; i--) {
      target[i] = this.#bytes[value % base]!;
      value = Math.floor(value / base);
    }
  }
}

/** The length field: where frames end, and what it says when they grow. */
class LengthField {
  readonly offset: number;
  /** Its width varies with its value. */
  readonly isVarint: boolean;
  /** How many bytes it has in the current frame. */
  width: number;
  readonly #size: number;
  readonly #adjust: number;
  readonly #codec: NumberCodec | undefined;
  readonly #scratch: Buffer;

  constructor({ offset, size, encoding, endian, adjust }: Options['length']) {
    this.offset = offset;
    this.isVarint = encoding === 'varint';
    this.width = this.isVarint ? 1 : size;
    this.#size = size;
    this.#adjust = adjust;
    this.#codec = encoding === 'varint' ? undefined : numberCodec(size, endian, encoding);
    this.#scratch = Buffer.alloc(size);
  }

  /** Where the bytes that it counts (apart from `adjust`) begin in the current frame. */
  get end(): number {
    return this.offset + this.width;
  }

  /** Returns the length of the frame at `bytes[start]`, which becomes the current one. */
  frame(bytes: Buffer, start: number, end: number): number | 'more' | Refusal {
    const at = start + this.offset;
    let value: number;
    if (this.#codec !== undefined) {
      if (end - at < this.#size) return 'more';
      value = this.#codec.read(bytes, at);
      if (value < 0) return notDigits;
    } else {
      this.width = 1;
      value = 0;
      for (let scale = 1; ; scale *= 128, this.width++) {
        if (this.width > this.#size) return tooLarge;
        if (at + this.width > end) return 'more';
        const byte = bytes[at + this.width - 1]!;
        value += (byte & 0x7f) * scale;
        if (byte < 0x80) break;
      }
    }
    const length = this.end + this.#adjust + value;
    if (length < this.end) return tooShort;
    return length <= Number.MAX_SAFE_INTEGER ? length : tooLarge;
  }

  /** Makes the field say that the current frame is `growth` bytes longer. */
  resize(message: Message, growth: number): Refusal | undefined {
    const value = message.length - this.end - this.#adjust + growth;
    const scratch = this.#scratch;
    if (value < 0) return overflow;
    if (this.#codec !== undefined) {
      if (value >= this.#codec.limit) return overflow;
      this.#codec.write(value, scratch);
      message.splice(this.offset, this.width, scratch);
      return undefined;
    }
    let width = 0;
    let rest = value;
    for (; rest >= 0x80; rest = Math.floor(rest / 128)) scratch[width++] = (rest % 128) | 0x80;
    scratch[width++] = rest;
    if (width > this.#size) return overflow;
    message.splice(this.offset, this.width, scratch.subarray(0, width));
    return undefined;
  }
}

interface Field {
  readonly offset: number;
  readonly answerOffset?: number;
  readonly size: number;
}

/** The offsets of the fields of the current message. */
class Layout {
  /** The current message is an answer. */
  isAnswer = false;
  /** How many bytes its inserted identifier takes, including the marker; 0: it has none. */
  insertedBytes = 0;
  /** Where the identifier is, or would be (which may be beyond the message's end). */
  insertion = 0;
  /** Where the message ends, not counting an inserted identifier. */
  #end = 0;
  readonly #length: LengthField;
  readonly #answers: Correlation['answers'];
  readonly #marker: Buffer | undefined;
  readonly #idBytes: number;
  readonly #idOffset: number;

  constructor(length: LengthField, id: Options['id'], answers: Correlation['answers']) {
    this.#length = length;
    this.#answers = answers;
    this.#marker = id?.insert && bytesOf(id.insert.marker);
    this.#idBytes = (this.#marker?.length ?? 0) + (id?.size ?? 0);
    this.#idOffset = id?.insert?.at === 'offset' ? id.offset : Infinity;
  }

  /** Makes `message` the current one. */
  look(message: Message): void {
    this.insertedBytes = 0;
    this.#end = message.length;
    if (this.#marker !== undefined) {
      const atEnd = this.#idOffset === Infinity;
      const at = atEnd ? message.length - this.#idBytes : this.#place(this.#idOffset);
      const fits = at >= this.#length.end && at + this.#idBytes <= message.length;
      if (fits && startsWith(message.bytes, message.start + at, this.#marker)) {
        this.insertedBytes = this.#idBytes;
        if (atEnd) this.#end = at;
      }
      this.insertion = atEnd ? this.#end : at;
    }
    this.isAnswer = message.from === 'backend';
    if (this.#answers !== undefined) {
      const { offset, mask, value } = this.#answers;
      const at = this.#place(offset);
      if (at < this.#end) this.isAnswer = (message.bytes[message.start + at]! & mask) === value;
    }
  }

  /** Where the field starts; -1 if the message ends before the field does. */
  find(field: Field): number {
    const at = this.#place((this.isAnswer ? field.answerOffset : undefined) ?? field.offset);
    return at + field.size <= this.#end ? at : -1;
  }

  /** The real offset for `offset`, which is given as if varints had one byte and no identifier had been inserted. */
  #place(offset: number): number {
    let at = offset;
    if (this.#length.isVarint && offset > this.#length.offset) at += this.#length.width - 1;
    if (offset >= this.#idOffset) at += this.insertedBytes;
    return at;
  }
}

/** One of the option `keys`. */
function spanOf(field: Field, layout: Layout): () => Span | undefined {
  const span = { offset: 0, length: field.size };
  return () => {
    span.offset = layout.find(field);
    return span.offset < 0 ? undefined : span;
  };
}

/** The option `id`. */
function identify(id: NonNullable<Options['id']>, length: LengthField, layout: Layout) {
  const codec = id.encoding === 'number' ? numberCodec(id.size, id.endian) : undefined;
  const marker = id.insert && bytesOf(id.insert.marker);
  const markerBytes = marker?.length ?? 0;
  const inserted = Buffer.concat([marker ?? Buffer.alloc(0), Buffer.alloc(id.size)]);
  const field = inserted.subarray(markerBytes);
  const none = Buffer.alloc(id.size);
  const stampsRequests = id.stamp.includes('request');
  const stampsResponses = id.stamp.includes('response');

  const find = (): number => {
    if (marker === undefined) return layout.find(id);
    return layout.insertedBytes > 0 ? layout.insertion + markerBytes : -1;
  };

  const strip = (message: Message): Refusal | undefined => {
    const at = find();
    if (at < 0) return undefined;
    if (marker === undefined) {
      message.splice(at, id.size, none);
      return undefined;
    }
    message.splice(at - markerBytes, inserted.length);
    return length.resize(message, -inserted.length);
  };

  return {
    detect(message: Message): number | Span | undefined {
      if (message.from === 'backend') return undefined;
      const at = find();
      if (at < 0) return undefined;
      if (codec !== undefined) return codec.read(message.bytes, message.start + at);
      let zeros = 0;
      while (zeros < id.size && message.bytes[message.start + at + zeros] === 0) zeros++;
      return zeros < id.size ? message.span(at + zeros, id.size - zeros) : undefined;
    },

    insert(message: Message, token: Token | undefined): Refusal | undefined {
      const toBackend = message.from === 'client';
      if (toBackend && id.strip) return strip(message);
      if (token === undefined || !(toBackend ? stampsRequests : stampsResponses)) return undefined;
      if (codec !== undefined) codec.write(token.number, field);
      else field.fill(0, 0, id.size - token.raw.length).set(token.raw, id.size - token.raw.length);
      const at = find();
      if (at >= 0) {
        message.splice(at, id.size, field);
        return undefined;
      }
      if (marker === undefined || layout.insertion > message.length) return undefined;
      message.splice(layout.insertion, 0, inserted);
      return length.resize(message, inserted.length);
    },
  };
}

/** The option `correlation`. */
function correlate(field: Correlation, layout: Layout, scope: Scope, errors: ErrorReplies | undefined) {
  const { exchanges } = scope;
  const codec = numberCodec(field.size, field.endian);
  const scratch = Buffer.alloc(field.size);
  const backendRequests = scope.perClient(() => new BackendRequests(2 ** idBits(field.size) - 1));
  /** What the current answer, from a client to a backend, gets back. */
  let original: Buffer | undefined;

  return {
    detect(message: Message): Exchange | Backend | Discard | undefined {
      const at = layout.isAnswer ? layout.find(field) : -1;
      if (at < 0) return undefined;
      const id = codec.read(message.bytes, message.start + at);
      if (message.from === 'backend') return exchanges.find(message, id) ?? unasked;
      const request = backendRequests(message.client!).take(id);
      if (request === undefined || !request.backend.isUsable) return unasked;
      original = request.original;
      return request.backend;
    },

    insert(message: Message): Refusal | undefined {
      const at = layout.find(field);
      if (at < 0) return undefined;
      if (layout.isAnswer) {
        message.splice(at, field.size, message.from === 'backend' ? message.exchange!.original : original!);
        return undefined;
      }
      let id: number;
      if (message.from === 'backend') {
        id = backendRequests(message.client!).add(message.backend!, Buffer.from(message.view(at, field.size)));
      } else {
        const exchange = exchanges.open(message, at, field.size);
        if (exchange === undefined) return overloaded;
        if (errors?.needsMore) exchange.note = errors.write(message, 'backend-lost');
        id = exchange.id;
      }
      codec.write(id, scratch);
      message.splice(at, field.size, scratch);
      return undefined;
    },
  };
}

/** How many bits of a field may hold our ids: never the top bit of a wide one (SMPP's numbers end at 0x7fffffff). */
function idBits(size: number): number {
  return Math.min(8 * size, 31);
}

/** Requests that backends sent to one client and that it has not answered yet. */
class BackendRequests {
  readonly #waiting = new Map<number, { readonly backend: Backend; readonly original: Buffer }>();
  readonly #lastId: number;
  #next = 1;

  constructor(lastId: number) {
    this.#lastId = lastId;
  }

  /** Remembers whose request it is and what stood in its correlation field; answers the id to write there. */
  add(backend: Backend, original: Buffer): number {
    const id = this.#next;
    this.#next = id === this.#lastId ? 1 : id + 1;
    if (this.#waiting.size === mostBackendRequests) this.#waiting.delete(this.#waiting.keys().next().value!);
    this.#waiting.set(id, { backend, original });
    return id;
  }

  take(id: number) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    return request;
  }
}

/** The option `failure`: whether the answer at hand is one; undefined if it is none, or ends before the field does. */
function failureIn(field: NonNullable<Options['failure']>, layout: Layout) {
  const codec = numberCodec(field.size, field.endian);
  return (message: Message): boolean | undefined => {
    const at = layout.find(field);
    if (at < 0 || !layout.isAnswer) return undefined;
    return field.values.includes(codec.read(message.bytes, message.start + at));
  };
}

/** The option `replay`. */
function keepHandshakes(field: NonNullable<Options['replay']>, layout: Layout, scope: Scope) {
  const codec = numberCodec(field.size, field.endian);
  const { values, answers } = field;
  /** By the field's value, so that their number is bounded; with the link that each was sent on, which needs no replay. */
  const handshakes = scope.perClient(() => new Map<number, { readonly frame: Buffer; readonly link: Link }>());
  /** How many answers a link still owes to replayed frames. */
  const owed = new WeakMap<Link | Client, number>();

  const kindOf = (message: Message): number => {
    const at = layout.find(field);
    return at < 0 ? -1 : codec.read(message.bytes, message.start + at);
  };

  return {
    detect(message: Message): Refusal | Discard | undefined {
      if (message.from === 'client') {
        return message.length > handshakeBytes && values.includes(kindOf(message)) ? handshakeTooLong : undefined;
      }
      const count = owed.get(message.source);
      if (count === undefined || !answers.includes(kindOf(message))) return undefined;
      if (count > 1) {
        owed.set(message.source, count - 1);
      } else {
        owed.delete(message.source);
        (message.source as Link).release();
      }
      return handshakeAnswer;
    },

    keep(message: Message, destination: Client | Link): void {
      if (message.from === 'backend' || message.backend === undefined) return;
      const kind = kindOf(message);
      if (!values.includes(kind)) return;
      handshakes(message.client!).set(kind, { frame: Buffer.from(message.view()), link: destination as Link });
    },

    replay(link: Link): void {
      let count = 0;
      for (const handshake of handshakes(link.client!).values()) {
        if (handshake.link === link) continue;
        link.send(handshake.frame);
        count++;
      }
      if (count === 0) return;
      owed.set(link, count);
      link.hold();
    },
  };
}

/** The option `replayable`. */
function replaysOf(field: NonNullable<Options['replayable']>, layout: Layout) {
  const codec = numberCodec(field.size, field.endian);
  const marked = Buffer.alloc(1);
  const { mark, values } = field;
  return {
    mayReplay(message: Message): boolean {
      const at = layout.find(field);
      return at >= 0 && values.includes(codec.read(message.bytes, message.start + at));
    },

    mark(message: Message): void {
      const at = mark === undefined ? -1 : layout.find({ offset: mark.offset, size: 1 });
      if (at < 0) return;
      marked[0] = message.bytes[message.start + at]! | mark!.bits;
      message.splice(at, 1, marked);
    },
  };
}

/** The option `error`. */
function errorReplies(
  { hex, copy, reasons }: NonNullable<Options['error']>,
  layout: Layout,
  correlation: Correlation | undefined,
) {
  const template = bytesOf(hex);
  const templates = new Map(
    Object.entries(reasons).map(([reason, { to, hex: bytes }]) => {
      const changed = Buffer.from(template);
      changed.set(bytesOf(bytes), to);
      return [reason, changed];
    }),
  );
  const { offset: kept = 0, size: keptSize = 0 } = correlation ?? {};

  /** @param message the current one */
  const write = (message: Message, reason: string): Buffer => {
    const reply = Buffer.from(templates.get(reason) ?? template);
    for (const { from, to, size } of copy) {
      const at = layout.find({ offset: from, size });
      if (at >= 0) message.bytes.copy(reply, to, message.start + at, message.start + at + size);
    }
    return reply;
  };

  return {
    /** Whether a reply takes more from the request than its correlation field, so that it must be written while that is there. */
    needsMore: copy.some(({ from, size }) => from < kept || from + size > kept + keptSize),
    write,

    refuse(message: Message, { reason }: Refusal): Uint8Array | undefined {
      layout.look(message);
      return message.from === 'backend' || layout.isAnswer ? undefined : write(message, reason);
    },

    late({ original, note }: Exchange, { reason }: Refusal): Uint8Array {
      if (note instanceof Uint8Array) return note;
      const reply = Buffer.from(templates.get(reason) ?? template);
      for (const { from, to, size } of copy) original.copy(reply, to, from - kept, from - kept + size);
      return reply;
    },
  };
}
type ErrorReplies = ReturnType<typeof errorReplies>;

function bytesOf(hexText: string): Buffer {
  return Buffer.from(hexText.replaceAll(' ', ''), 'hex');
}

function startsWith(bytes: Buffer, at: number, marker: Buffer): boolean {
  for (let i = 0; i < marker.length; i++) if (bytes[at + i] !== marker[i]) return false;
  return true;
}

/** @throws Error if the options contradict each other, or what they are to carry does not fit */
function check(options: Options, scope: Scope): void {
  const { length, id, correlation, replay, error } = options;
  const { backends, name: poolName, settings } = scope.pool;
  if (length.encoding !== 'binary' && length.endian === 'little') {
    throw new Error(`length.endian: only a binary length can be little-endian, not one in ${length.encoding}`);
  }
  if (replay !== undefined && settings.links === 'shared') {
    throw new Error(`replay: each client needs links of its own, but those of the pool "${poolName}" are shared`);
  }
  if (options.replayable !== undefined && correlation === undefined) {
    throw new Error('replayable: which requests wait for an answer is known by their correlation only');
  }
  const answers = correlation?.answers;
  if (answers !== undefined && (answers.value & ~answers.mask) !== 0) {
    throw new Error(`correlation.answers: the value ${answers.value} has bits that the mask ${answers.mask} has not`);
  }
  if (id?.encoding === 'number') {
    if (id.size > 8) throw new Error(`id.size: a number has at most 8 bytes, not ${id.size}`);
    const most = 256 ** id.size - 1;
    const misfit = backends.find((backend) => backend.number !== undefined && backend.number > most);
    if (misfit !== undefined) {
      throw new Error(`id.size: ${id.size} bytes hold numbers up to ${most}, but "${misfit.name}" is ${misfit.number}`);
    }
  }
  if (id?.insert !== undefined && id.answerOffset !== undefined) {
    throw new Error('id.answerOffset: an identifier is inserted at one place in requests and answers');
  }
  checkPlaces(options);
  checkValues(options);
  if (error !== undefined) {
    const template = bytesOf(error.hex);
    const framed = new LengthField(length).frame(template, 0, template.length);
    if (framed !== template.length) {
      throw new Error(
        `error.hex: must be one whole frame of ${template.length} bytes, but its length field does not say so`,
      );
    }
    for (const [reason, { to, hex: bytes }] of Object.entries(error.reasons)) {
      if (to + bytesOf(bytes).length <= template.length) continue;
      throw new Error(`error.reasons: the bytes for "${reason}" reach beyond error.hex`);
    }
    const beyond = error.copy.find(({ to, size }) => to + size > template.length);
    if (beyond !== undefined) {
      throw new Error(`error.copy: bytes ${beyond.to} to ${beyond.to + beyond.size - 1} are not in error.hex`);
    }
  }
}

/** @throws Error if fields that are written overlap, or what is inserted would tear a field apart */
function checkPlaces({ length, id, correlation, affinity, keys, replay, failure, replayable }: Options): void {
  for (const kind of ['requests', 'answers']) {
    const extent = (option: string, field: Field) => {
      const start = (kind === 'answers' ? field.answerOffset : undefined) ?? field.offset;
      return { option, start, end: start + field.size };
    };
    const lengthExtent = extent('length', { ...length, size: length.encoding === 'varint' ? 1 : length.size });
    const written = [lengthExtent];
    if (correlation !== undefined) written.push(extent('correlation', correlation));
    if (id !== undefined && id.insert === undefined) written.push(extent('id', id));
    if (replayable?.mark !== undefined && kind === 'requests') {
      written.push(extent('replayable.mark', { ...replayable.mark, size: 1 }));
    }
    for (const [i, field] of written.entries()) {
      const other = written.slice(0, i).find(({ start, end }) => start < field.end && field.start < end);
      if (other !== undefined) throw new Error(`${field.option}: in ${kind} it overlaps ${other.option}`);
    }
    if (id?.insert?.at !== 'offset') continue;
    if (id.offset < lengthExtent.end) {
      throw new Error('id.offset: an identifier can be inserted only behind the length field');
    }
    const read = Object.entries(keys).map(([key, field]) => extent(`keys.${key}`, field));
    if (affinity !== undefined) read.push(extent('affinity', affinity));
    if (replay !== undefined) read.push(extent('replay', replay));
    if (failure !== undefined) read.push(extent('failure', failure));
    if (replayable !== undefined) read.push(extent('replayable', replayable));
    const torn = [...written, ...read].find(({ start, end }) => start < id.offset && id.offset < end);
    if (torn !== undefined) throw new Error(`${torn.option}: the identifier would be inserted in its middle`);
  }
}

/** @throws Error if a field can never have one of the values that it is compared with */
function checkValues({ replay, failure, replayable }: Options): void {
  for (const [option, size, values] of [
    ['replay.values', replay?.size, replay?.values],
    ['replay.answers', replay?.size, replay?.answers],
    ['failure.values', failure?.size, failure?.values],
    ['replayable.values', replayable?.size, replayable?.values],
  ] as const) {
    const misfit = values?.find((value) => value >= 256 ** size!);
    if (misfit !== undefined)
      throw new Error(`${option}: ${misfit} does not fit into the field, whose size is ${size}`);
  }
}
