/**
 * One JSON object per line. The identifier is a member of the object, written as text in front of the others; no byte
 * besides it changes:
 *
 *     client → balancer    {"op":"get","id":"a"}⏎
 *     balancer → backend   {"backend":"db-1","op":"get","id":"a"}⏎
 *
 * and with `correlation: id`, on links that many clients share:
 *
 *     balancer → backend   {"backend":"db-1","op":"get","id":1000000001}⏎
 *     backend → balancer   {"id":1000000001,"value":7}⏎
 *     balancer → client    {"backend":"db-1","id":"a","value":7}⏎
 *
 * JSON-RPC 2.0 is recognised by its `jsonrpc` member: its notifications stay notifications, its errors are its own. A
 * member that is read here may appear only once, for readers disagree about which of two counts.
 */
import {
  type Client,
  definePlugin,
  type Exchange,
  type Message,
  type Refusal,
  type RelatedIds,
  refusal,
  type Span,
  type Token,
  type TraceContext,
  Type,
  viewOf,
} from 'pointsman';
import { type JsonFault, JsonScan, type Member } from './json-scan.ts';

const delimiters = { lf: '\n', crlf: '\r\n', nul: '\0' };

const faults: Readonly<Record<JsonFault, Refusal>> = {
  'malformed-json': refusal('malformed-json'),
  'invalid-utf8': refusal('invalid-utf8'),
  'nested-too-deep': refusal('nested-too-deep'),
  'duplicate-member': refusal('duplicate-member'),
};
const notAnObject = refusal('not-an-object');
const forgedIdentifier = refusal('forged-identifier');
const overloaded = refusal('overloaded');

/** JSON-RPC 2.0 section 5.1: faults of the request itself have codes there; the other codes are ours to choose. */
const rpcCodes: Readonly<Record<string, number>> = {
  'malformed-json': -32700,
  'invalid-utf8': -32700,
  'nested-too-deep': -32600,
  'duplicate-member': -32600,
  'forged-identifier': -32600,
  'too-large': -32600,
  'plugin-error': -32603,
  'no-backend': -32001,
  'backend-down': -32002,
  'unknown-backend': -32003,
  overloaded: -32004,
  stopping: -32005,
  'backend-lost': -32006,
  'rate-limited': -32007,
};
const otherRpcCode = -32000;

// Ids of exchanges are written with this added: all have ten digits then, and still fit a signed 32-bit integer.
const idBase = 1_000_000_000;
const idDigits = 10;
const correlationBits = 30;

// From here on a line is searched for its end before it is scanned.
const longLineBytes = 4096;

const memberName = (description: string, more?: { default: string }) =>
  Type.String({ minLength: 1, description, ...more });

export default definePlugin({
  name: 'ndjson',
  summary: 'Carries one JSON object per line, JSON-RPC 2.0 among them; the identifier is a member of the object.',
  pointsman: '^1',
  options: Type.Object(
    {
      id: Type.String({
        minLength: 1,
        default: 'backend',
        description: 'The top-level member that carries the identifier, as a string. Absent or null: there is none.',
      }),
      stamp: Type.Array(Type.Enum(['request', 'response']), {
        uniqueItems: true,
        default: ['request', 'response'],
        description:
          'Where the identifier is written: `request`, what clients send (backends then echo it); `response`, what backends send (they need not know of it).',
      }),
      strip: Type.Boolean({
        default: false,
        description:
          'Remove the identifier from what clients send, instead of writing it there: backends never see it.',
      }),
      correlation: Type.Optional(
        memberName(
          'The top-level member that an answer repeats from its request (`id` in JSON-RPC). On shared links it is rewritten to an integer and restored in the answer, whatever value it had or if it was absent. Without it, links are dedicated.',
        ),
      ),
      affinity: Type.Optional(
        memberName('The top-level member that related messages without identifier share, such as a session id.'),
      ),
      affinitySeconds: Type.Number({
        exclusiveMinimum: 0,
        default: 300,
        description: 'How long after the last of them messages are related.',
      }),
      keys: Type.Array(memberName('A top-level member.'), {
        uniqueItems: true,
        default: [],
        description: 'Top-level members that `hashing` can use as its key.',
      }),
      traceparent: Type.Optional(
        memberName(
          'The top-level member that carries the W3C trace context (`traceparent` in CloudEvents), for observers that trace: they read it, and what clients send leaves with theirs.',
        ),
      ),
      tracestate: Type.Optional(memberName('The top-level member that carries its `tracestate`.')),
      replayable: Type.Optional(
        Type.Object(
          {
            member: Type.String({
              minLength: 1,
              default: 'method',
              description: 'The top-level member that tells them.',
            }),
            values: Type.Array(Type.Union([Type.String(), Type.Number(), Type.Boolean()]), {
              minItems: 1,
              maxItems: 256,
              description: 'The values that it has in them.',
            }),
            mark: Type.Optional(
              memberName('The top-level member that is set to true in what is sent a second time. Absent: none.'),
            ),
          },
          {
            additionalProperties: false,
            description:
              'Requests that may be sent to another backend if the one that has them goes away before it answers, and may ' +
              'have done by then what they ask: { values: [get, list] } are those of these methods. Needs `replay: once` in the pool, and ' +
              '`correlation`. Absent: none.',
          },
        ),
      ),
      delimiter: Type.Enum(['lf', 'crlf', 'nul'], {
        default: 'lf',
        description: 'What ends a line: LF (a CR in front of it is white space), CR LF, or the byte 0.',
      }),
      notObject: Type.Enum(['refuse', 'pass'], {
        default: 'refuse',
        description:
          'What becomes of lines that are an array (a JSON-RPC batch), a scalar or blank: `refuse`, or `pass` to a backend as they are. They carry no identifier, and on shared links no answer finds back.',
      }),
      failure: Type.Object(
        {
          member: memberName('The top-level member of such an answer; null is as good as absent.', {
            default: 'error',
          }),
          codes: Type.Array(Type.Integer({ description: 'A code.' }), {
            default: [-32603],
            description:
              'What its own member `code` is; without any, whatever it is. -32603 is an internal error in JSON-RPC.',
          }),
        },
        {
          additionalProperties: false,
          default: {},
          description: 'Which answers are failures of the backend, for the `outliers` of its pool.',
        },
      ),
      depth: Type.Integer({
        minimum: 1,
        maximum: 1000,
        default: 128,
        description: 'How many objects and arrays may be nested in each other.',
      }),
      error: Type.Record(Type.String(), Type.Unknown(), {
        default: { error: { reason: '{reason}' } },
        description:
          'The reply to what is refused, JSON-RPC requests aside; `{reason}` in its strings stands for the reason. The correlation member is added to it.',
      }),
    },
    { additionalProperties: false },
  ),

  samples: [
    { name: 'a request', bytes: Buffer.from('{"op":"get","key":"a"}\n') },
    { name: 'a request that names its backend', bytes: Buffer.from('{"backend":"a","op":"get"}\r\n') },
    {
      name: 'an answer',
      from: 'backend',
      bytes: Buffer.from('{ "value": [1, 2.5e3, null], "text": "\\u00e9 \\"é\\"" }\n'),
    },
    { name: 'an empty object', bytes: Buffer.from('{}\n') },
    {
      name: 'a JSON-RPC request',
      bytes: Buffer.from('{"jsonrpc":"2.0","method":"add","params":[1,2],"id":"a-1"}\n'),
      options: { correlation: 'id' },
    },
    {
      name: 'a JSON-RPC notification',
      bytes: Buffer.from('{"jsonrpc":"2.0","method":"tick"}\n'),
      options: { correlation: 'id' },
    },
    {
      name: 'a JSON-RPC batch',
      bytes: Buffer.from('[{"jsonrpc":"2.0","method":"tick"}]\n'),
      options: { notObject: 'pass' },
    },
    {
      name: 'an object ended by CR LF',
      bytes: Buffer.from('\n{"level":6,\n"message":"up"}\r\n'),
      options: { delimiter: 'crlf' },
    },
    {
      name: 'an object ended by a zero byte',
      bytes: Buffer.from('{"level":6,\n"message":"up"}\0'),
      options: { delimiter: 'nul' },
    },
  ],

  apply(hooks, options, scope) {
    const { strip } = options;
    const stampsRequests = options.stamp.includes('request') && !strip;
    const stampsResponses = options.stamp.includes('response');
    if (strip && !stampsResponses && options.stamp.length > 0) {
      throw new Error('strip removes what stamp: [request] writes: add response to stamp, or leave strip out');
    }
    if (options.replayable !== undefined && options.correlation === undefined) {
      throw new Error('replayable: which requests wait for an answer is known by their `correlation` only');
    }
    const { mark: markName } = options.replayable ?? {};
    if (markName !== undefined && (markName === options.id || markName === options.correlation)) {
      throw new Error(`replayable.mark: the member ${markName} has another meaning already`);
    }
    for (const option of ['traceparent', 'tracestate'] as const) {
      const others = [
        options.id,
        options.correlation,
        markName,
        option === 'tracestate' ? options.traceparent : undefined,
      ];
      if (options[option] !== undefined && others.includes(options[option])) {
        throw new Error(`${option}: the member ${options[option]} has another meaning already`);
      }
    }
    if (options.tracestate !== undefined && options.traceparent === undefined) {
      throw new Error('tracestate: it says nothing without traceparent');
    }
    if (options.correlation === options.id) throw new Error(`id and correlation are the same member, ${options.id}`);
    const { exchanges } = scope;
    const correlates = options.correlation !== undefined && scope.pool.settings.links !== 'dedicated';

    const delimiter = Buffer.from(delimiters[options.delimiter]);
    const lastByte = delimiter[delimiter.length - 1]!;
    const isCrlf = options.delimiter === 'crlf';
    const line = new JsonScan(options.depth, isCrlf ? undefined : lastByte);
    const id = line.watch(options.id);
    const jsonrpc = line.watch('jsonrpc');
    const method = line.watch('method');
    const rpcId = line.watch('id');
    // Without the option the JSON-RPC id stands in, which `correlates` keeps from being used.
    const correlation = line.watch(options.correlation ?? 'id');
    const affinity = options.affinity === undefined ? undefined : line.watch(options.affinity);

    const traceparent = options.traceparent === undefined ? undefined : line.watch(options.traceparent);
    const tracestate = options.tracestate === undefined ? undefined : line.watch(options.tracestate);

    // Read only where anybody wants to know.
    const failure = scope.pool.settings.outliers === undefined ? undefined : line.watch(options.failure.member);

    const echoed = options.correlation !== undefined && !Object.hasOwn(options.error, options.correlation);
    const errorTemplate = JSON.stringify(options.error).slice(1);

    const lineOf = (to: Pick<Client, 'delimits'>, ...parts: Uint8Array[]): Buffer =>
      Buffer.concat(to.delimits ? parts : [...parts, delimiter]);

    /** The option `error`, with the correlation member in front if it has a value. */
    const error = (to: Pick<Client, 'delimits'>, reason: string, value: Uint8Array | undefined): Buffer => {
      const body = Buffer.from(errorTemplate.replaceAll('{reason}', () => JSON.stringify(reason).slice(1, -1)));
      if (value === undefined) return lineOf(to, Buffer.from('{'), body);
      const member = Buffer.from(`{${JSON.stringify(correlation.name)}:`);
      return lineOf(to, member, value, Buffer.from(body.length > 1 ? ',' : ''), body);
    };

    const rpcError = (
      to: Pick<Client, 'delimits'>,
      reason: string,
      rpcIdValue: Uint8Array = Buffer.from('null'),
    ): Buffer => {
      const code = rpcCodes[reason] ?? otherRpcCode;
      const rest = `,"error":{"code":${code},"message":${JSON.stringify(reason)}}}`;
      return lineOf(to, Buffer.from('{"jsonrpc":"2.0","id":'), rpcIdValue, Buffer.from(rest));
    };

    /** Kept in the exchange of a request: whether it is a JSON-RPC request, or its id if another member correlates. */
    const noteOf = (message: Message): boolean | Buffer =>
      jsonrpc.present && correlation !== rpcId
        ? Buffer.from(message.view(rpcId.valueAt, rpcId.valueLength))
        : jsonrpc.present;

    const refuseAbandoned = ({ client, original, note }: Exchange, { reason }: Refusal): Buffer => {
      if (note instanceof Buffer) return rpcError(client, reason, note);
      if (note === true) return rpcError(client, reason, original);
      return error(client, reason, echoed && original.length > 0 ? original : undefined);
    };

    const replayable = options.replayable && line.watch(options.replayable.member);
    const replayableValues = (options.replayable?.values ?? []).map((value) => Buffer.from(JSON.stringify(value)));
    const mayReplay = ({ bytes, start }: Message): boolean => {
      if (!replayable?.present) return false;
      const from = start + replayable.valueAt;
      const value = bytes.subarray(from, from + replayable.valueLength);
      return replayableValues.some((each) => each.equals(value));
    };
    const mark = options.replayable?.mark === undefined ? undefined : line.watch(options.replayable.mark);
    const markText = mark && memberText(mark.name, 'true');

    const relatedIds = (message: Message, ids: RelatedIds): void => {
      if (affinity === undefined || !hasValue(message, affinity)) return;
      ids.seconds = options.affinitySeconds;
      ids.add(affinity.valueAt, affinity.valueLength);
    };
    scope.protocol({
      identifiers: 'text',
      correlates,
      ...(correlates && { correlationBits, refuseAbandoned, ...(replayable && { mayReplay }) }),
      isAnswer: (message) => jsonrpc.present && !method.present && hasValue(message, id),
      relaysAnswers: !stampsResponses && !correlates && failure === undefined,
      ...(failure && {
        isFailure: (message) => hasValue(message, failure) && isFailure(message, failure, options.failure),
      }),
      ...(affinity && { relatedIds }),
      keys: {
        ...Object.fromEntries(options.keys.map((name) => [name, keyOf(line.watch(name))])),
        ...(traceparent && { traceparent: textOf(traceparent) }),
        ...(tracestate && { tracestate: textOf(tracestate) }),
      },
    });

    /** The length of the last line. */
    let lineBytes = 0;

    hooks.frame.tap('ndjson', (bytes, start, end, scan) => {
      // A line that is whole and sound ends where its JSON does. Finding that out spares the search, which takes 25 of the 230 ns
      // of a line of 200 bytes. What a long line would gain is nothing to what it loses if it has not arrived as a whole.
      if (scan.resume === 0 && lineBytes < longLineBytes && !isCrlf) {
        const at = line.scan(bytes, start, end);
        if (at >= 0 && at < end) {
          lineBytes = at + 1 - start;
          return lineBytes;
        }
      }
      // `indexOf` runs on behind `end`, which a line that has just begun may cost, but not every byte that is added to it.
      const arrived = scan.resume === 0 ? bytes : bytes.subarray(0, end);
      let at = arrived.indexOf(lastByte, start + scan.resume);
      while (isCrlf && at >= 0 && at < end && (at === start || bytes[at - 1] !== 0x0d)) {
        at = arrived.indexOf(lastByte, at + 1);
      }
      if (at < 0 || at >= end) {
        if (scan.isWhole) {
          line.scan(bytes, start, end);
          return end - start;
        }
        scan.resume = end - start;
        return 'more';
      }
      line.scan(bytes, start, at); // the CR is white space to it
      lineBytes = at + 1 - start;
      return lineBytes;
    });

    hooks.detectId.tap('ndjson', (message) => {
      if (line.fault !== undefined) return faults[line.fault];
      if (!line.isObject) return options.notObject === 'refuse' ? notAnObject : undefined;
      if (message.from === 'backend') {
        if (!correlates || (jsonrpc.present && method.present)) return undefined;
        return exchanges.find(message, exchangeIdIn(message, correlation));
      }
      if (!hasValue(message, id)) return undefined;
      const isText = message.bytes[message.start + id.valueAt] === 0x22 && id.valueLength > 2;
      return isText ? message.span(id.valueAt + 1, id.valueLength - 2) : forgedIdentifier;
    });

    /** Whether the object expects an answer: in JSON-RPC, requests do. */
    const asks = () => !jsonrpc.present || (method.present && rpcId.present);

    /** By the backend's index. */
    const idTexts: IdText[] = [];
    const idTextOf = (token: Token, index: number): IdText => {
      const known = idTexts[index];
      if (known?.token === token) return known;
      const text = memberText(id.name, JSON.stringify(token.text.toString('latin1')));
      return (idTexts[index] = { ...text, token, view: viewOf(text.value) });
    };
    const writeId = (message: Message, token: Token, isFollowed: boolean): void => {
      const text = idTextOf(token, message.backend?.index ?? 0);
      // It is there already in what repeats the identifier it was told: most requests, and the answers of backends that echo.
      if (!line.holds(id, text.value, text.view)) write(message, line, id, text, isFollowed);
    };
    const correlationText = memberText(correlation.name, '0'.repeat(idDigits));
    let writtenId = 0;

    const writeTrace = (message: Message, context: TraceContext, isFollowed: boolean): void => {
      if (tracestate !== undefined && (tracestate.present || context.tracestate !== '')) {
        write(message, line, tracestate, memberText(tracestate.name, JSON.stringify(context.tracestate)), true);
      }
      if (traceparent === undefined) return;
      write(message, line, traceparent, memberText(traceparent.name, JSON.stringify(context.traceparent)), isFollowed);
    };

    // Members are added before one is cut, because both may happen at the same place.
    const editRequest = (message: Message, token: Token): Refusal | undefined => {
      let addsCorrelation = false;
      if (correlates && asks()) {
        const { present, valueAt, valueLength } = correlation;
        const exchange = exchanges.open(message, present ? valueAt : 0, present ? valueLength : 0);
        if (exchange === undefined) return overloaded;
        exchange.note = noteOf(message);
        writeDigits(correlationText.value, exchange.id + idBase, writtenId);
        writtenId = exchange.id + idBase;
        addsCorrelation = !present;
        if (present) message.splice(valueAt, valueLength, correlationText.value);
      }
      const cuts = strip && id.present;
      const others = line.memberCount - (cuts ? 1 : 0);
      if (message.traceContext !== undefined) {
        writeTrace(message, message.traceContext, others > 0 || addsCorrelation || stampsRequests);
      }
      if (mark !== undefined && message.reason === 'replayed') {
        write(message, line, mark, markText!, others > 0 || addsCorrelation || stampsRequests);
      }
      if (stampsRequests) writeId(message, token, others > 0 || addsCorrelation);
      if (addsCorrelation) write(message, line, correlation, correlationText, others > 0);
      if (cuts) cut(message, id);
      return undefined;
    };

    const editAnswer = (message: Message, token: Token): undefined => {
      const original = message.exchange?.original;
      const cuts = original?.length === 0;
      if (stampsResponses) writeId(message, token, line.memberCount > (cuts ? 1 : 0));
      if (cuts) cut(message, correlation);
      else if (original !== undefined) message.splice(correlation.valueAt, correlation.valueLength, original);
    };

    /** Whether a delimiter ends the message: what a transport has delimited needs none. */
    const isEnded = ({ bytes, end }: Message): boolean =>
      bytes[end - 1] === lastByte && (!isCrlf || bytes[end - 2] === 0x0d);

    hooks.insertId.tap('ndjson', (message, token) => {
      if (isEnded(message) === message.destination?.delimits) {
        if (message.destination.delimits) message.splice(message.length - delimiter.length, delimiter.length);
        else message.splice(message.length, 0, delimiter);
      }
      if (token === undefined || !line.isObject) return undefined;
      return message.from === 'client' ? editRequest(message, token) : editAnswer(message, token);
    });

    hooks.refuse.tap('ndjson', (message, { reason }) => {
      if (message.from === 'backend') return undefined;
      // Read again: what is refused while it arrives, or late, is not what `frame` saw last.
      line.scan(message.bytes, message.start, isEnded(message) ? message.end - 1 : message.end);
      const isSound = line.fault === undefined;
      const valueIn = ({ present, valueAt, valueLength }: Member): Buffer | undefined =>
        isSound && present ? message.view(valueAt, valueLength) : undefined;
      if (!jsonrpc.present) return error(message.source, reason, echoed ? valueIn(correlation) : undefined);
      return isSound && !asks() ? undefined : rpcError(message.source, reason, valueIn(rpcId));
    });
  },
});

/** A member to be written; all three share their memory. */
interface MemberText {
  /** With a comma behind it. */
  readonly followed: Buffer;
  readonly last: Buffer;
  readonly value: Buffer;
}

interface IdText extends MemberText {
  readonly token: Token;
  readonly view: DataView;
}

function memberText(name: string, value: string): MemberText {
  const followed = Buffer.from(`${JSON.stringify(name)}:${value},`);
  const last = followed.subarray(0, -1);
  return { followed, last, value: last.subarray(-value.length) };
}

/** Replaces the member's value, or adds the member before all others. */
function write(message: Message, line: JsonScan, member: Member, text: MemberText, isFollowed: boolean): void {
  if (member.present) message.splice(member.valueAt, member.valueLength, text.value);
  else message.splice(line.bodyAt, 0, isFollowed ? text.followed : text.last);
}

function cut(message: Message, member: Member): void {
  message.splice(member.cutFrom, member.cutEnd - member.cutFrom);
}

/** Whether the member is present and not null. */
function hasValue(message: Message, member: Member): boolean {
  return member.present && message.bytes[message.start + member.valueAt] !== 0x6e;
}

/** Whether the member in an answer makes it a failure. */
function isFailure(message: Message, member: Member, { codes }: { readonly codes: readonly number[] }): boolean {
  if (codes.length === 0) return true;
  const error = JSON.parse(message.view(member.valueAt, member.valueLength).toString()) as { code?: unknown };
  return codes.includes(error.code as number);
}

function keyOf(member: Member): (message: Message) => Span | undefined {
  const span: Span = { offset: 0, length: 0 };
  return (message) => {
    if (!hasValue(message, member)) return undefined;
    span.offset = member.valueAt;
    span.length = member.valueLength;
    return span;
  };
}

/** Within the quotes of a string. */
function textOf(member: Member): (message: Message) => Span | undefined {
  const span: Span = { offset: 0, length: 0 };
  return (message) => {
    if (!member.present || message.bytes[message.start + member.valueAt] !== 0x22) return undefined;
    span.offset = member.valueAt + 1;
    span.length = member.valueLength - 2;
    return span;
  };
}

/** The id of the exchange that the member names; 0, which no exchange has, if it names none. */
function exchangeIdIn(message: Message, member: Member): number {
  if (!member.present || member.valueLength !== idDigits) return 0;
  let value = 0;
  for (let at = message.start + member.valueAt, i = 0; i < idDigits; i++) {
    const digit = message.bytes[at + i]! - 0x30;
    if (digit < 0 || digit > 9) return 0;
    value = value * 10 + digit;
  }
  return value > idBase ? value - idBase : 0;
}

/** Writes a number over another one of as many digits, from the last digit on until they agree: numbers that count up soon do. */
function writeDigits(target: Buffer, value: number, written: number): void {
  for (let at = target.length - 1; value !== written; at--) {
    const rest = Math.trunc(value / 10);
    target[at] = 0x30 + value - 10 * rest;
    value = rest;
    written = Math.trunc(written / 10);
  }
}
