/** How the peers of the simulation write and read each protocol: whatever was cut, mixed up or made up is found out by reading it. */
import type { PluginDefinition } from '../../core/plugin.ts';
import type { Address } from '../../core/runtime/address.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import { calls } from './calls.ts';
import { kindOf, labelIn, labelled } from './labels.ts';

/** What a request must contain to reach the backend that an answer came from. */
export type Handle = string;

/** What stands in a message, for whoever receives it. */
export interface Read {
  readonly kind: 'request' | 'answer' | 'refusal' | 'garbage';
  /** Empty where the message has none. */
  readonly label: string;
  /** Answers: how to name the backend that gave it. */
  readonly handle?: Handle | undefined;
  /** It is marked as one that is sent a second time. */
  readonly again?: boolean | undefined;
  /** The number that an answer or a refusal repeats; undefined: the protocol leaves it out. */
  readonly number?: number | undefined;
  /** What an answer or a refusal says (RFC 3261 section 21), below 200 if it is not the last one; undefined: the protocol has none. */
  readonly status?: number | undefined;
}

/** What belongs to calls besides requests and their answers (RFC 3261 sections 9, 12 and 17). */
interface Calls {
  /** A request that begins one: it may be taken back, and its refusal is acknowledged. */
  begins(request: Buffer): boolean;
  isAnswered(request: Buffer): boolean;
  takesBack(request: Buffer): boolean;
  /** What a request has in common with what takes it back or acknowledges its refusal, as a backend gets them. */
  transaction(request: Buffer): string;
  /** @param first the request that has begun the call */
  takeBack(first: Buffer): Labelled;
  acknowledge(first: Buffer, refusal: Buffer): Labelled;
  tryAgain(first: Buffer, label: string, number: number): Buffer;
  /** Whether a request says, to the backend that gets it, how to name its client. */
  namesClient(request: Buffer): boolean;
  /** What a backend asks the client that such a request names. */
  inquiry(request: Buffer, label: string): Buffer;
}

interface Labelled {
  readonly label: string;
  readonly bytes: Buffer;
}

export interface Dialect {
  readonly name: string;
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  readonly plugin: PluginDefinition<any>;
  readonly options: object;
  readonly links: 'shared' | 'dedicated';
  /** The options that let requests of even numbers be replayed; undefined: none may be. */
  readonly replaying?: { readonly replayable: object } | undefined;
  /** Whether a replay must be marked. */
  readonly marks?: boolean;
  /** Whether a message that names no backend may belong to a session of one. */
  readonly relates?: boolean;
  /** After so many new requests an answer would be taken for that of a later one; undefined: never. */
  readonly answerWithin?: number | undefined;
  readonly transports: readonly Address['transport'][];
  /** Whether identifiers are signed where there are keys. */
  readonly signs: boolean;
  /** @param number what the client's own numbering says: clients use the same ones */
  request(label: string, number: number, handle: Handle | undefined): Buffer;
  /** The handle, spoilt so that no backend must get what carries it; undefined: there are no such handles. */
  forge(handle: Handle): Handle | undefined;
  /** The length of the first message in `bytes`; 0: it is not whole. */
  frame(bytes: Buffer): number;
  read(message: Buffer): Read;
  /** @param status 200 unless it says otherwise */
  answer(request: Buffer, label: string, status?: number): Buffer;
  /** Undefined: it has none. */
  readonly calls?: Calls;
  /** Messages that are refused. */
  readonly malformed: readonly Buffer[];
  /** What a backend should not send. */
  readonly nonsense: readonly Buffer[];
}

/** @param relays what backends send is passed on as it is, and names none of them */
function json(links: 'shared' | 'dedicated', relays = false): Dialect {
  return {
    name: `ndjson on ${links} links${relays ? ', answers relayed' : ''}`,
    plugin: ndjson,
    options: { correlation: 'id', ...(relays && { stamp: ['request'] }) },
    links,
    ...(links === 'shared' && {
      replaying: { replayable: { member: 'again', values: [true], mark: 'second' } },
      marks: true,
    }),
    transports: ['tcp', 'udp', 'ws'],
    signs: true,
    request: (label, number, handle) =>
      Buffer.from(
        `{${handle === undefined ? '' : `"backend":"${handle}",`}"id":${number},${number % 2 === 0 ? '"again":true,' : ''}"text":"${labelled(label)}"}\n`,
      ),
    // The last character but one: the last one holds fewer bits than it could.
    forge: (handle) => handle.slice(0, -2) + (handle.at(-2) === 'a' ? 'b' : 'a') + handle.at(-1),
    frame: (bytes) => bytes.indexOf(0x0a) + 1,
    read(message) {
      const { text, error, id, backend, second } = JSON.parse(message.toString());
      if (error !== undefined) return { kind: 'refusal', label: '', number: id };
      if (text === undefined) return { kind: 'garbage', label: '' };
      const label = labelIn(text);
      return { kind: kindOf(label), label, number: id, handle: backend, again: second };
    },
    answer: (request, label) =>
      Buffer.from(`{"id":${JSON.parse(request.toString()).id},"text":"${labelled(label)}"}\n`),
    malformed: ['{"id":\n', '[]\n', '{"id":1,"id":2}\n', '{"backend":7}\n', '\n'].map((text) => Buffer.from(text)),
    nonsense:
      links === 'shared'
        ? [`{"id":1000025601,"text":"${labelled('nobody/0')}"}\n`, 'what?\n'].map((text) => Buffer.from(text))
        : [],
  };
}

const frameHeader = 10;

function frames(links: 'shared' | 'dedicated', idBytes = 4): Dialect {
  const write = (backend: number, number: number, label: string) => {
    const body = Buffer.from(labelled(label));
    const frame = Buffer.alloc(frameHeader + body.length);
    frame.writeUInt32BE(frame.length - 4, 0);
    frame.writeUInt16BE(backend, 4);
    frame.writeUInt32BE(number, 6);
    body.copy(frame, frameHeader);
    return frame;
  };
  return {
    name: `length-prefixed on ${links} links, ids of ${idBytes} bytes`,
    plugin: lengthPrefixed,
    options: {
      length: { offset: 0, size: 4, endian: 'big' },
      id: { offset: 4, size: 2 },
      correlation: { offset: 10 - idBytes, size: idBytes },
      error: { hex: '0000000a ffff 00000000 21212121', copy: [{ from: 6, to: 6, size: 4 }] },
    },
    links,
    ...(links === 'shared' && {
      replaying: { replayable: { offset: 9, size: 1, values: Array.from({ length: 128 }, (_, half) => 2 * half) } },
    }),
    answerWithin: idBytes === 1 ? 200 : undefined,
    transports: ['tcp', 'ws'],
    signs: false,
    request: (label, number, handle) => write(Number(handle ?? 0), number, label),
    forge: () => undefined,
    frame(bytes) {
      const length = bytes.length < 4 ? 0 : 4 + bytes.readUInt32BE(0);
      return length <= bytes.length ? length : 0;
    },
    read(message) {
      const number = message.readUInt32BE(6);
      const body = message.toString('latin1', frameHeader);
      if (body === '!!!!') return { kind: 'refusal', label: '', number };
      const label = labelIn(body);
      return { kind: kindOf(label), label, number, handle: String(message.readUInt16BE(4)) };
    },
    answer: (request, label) => write(0, request.readUInt32BE(6), label),
    malformed: [],
    nonsense:
      links === 'shared'
        ? [write(0, idBytes === 1 ? 0x7fffff00 : 0x7ffffff0, 'nobody/0'), Buffer.from([0xff, 0xff, 0xff, 0xff, 1, 2])]
        : [],
  };
}

export const dialects: readonly Dialect[] = [
  json('shared'),
  json('dedicated'),
  json('dedicated', true),
  frames('shared'),
  frames('shared', 1),
  frames('dedicated'),
  calls,
];
