/**
 * How the peers of the simulation write and read each protocol. Every message carries a label that says who sent it, and filler
 * that follows from the label: whatever was cut, mixed up or made up is found out by reading it.
 */
import type { PluginDefinition } from '../../core/plugin.ts';
import type { Address } from '../../core/runtime/address.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import sip from '../../plugins/protocols/sip/index.ts';

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
  answer(request: Buffer, label: string): Buffer;
  /** Messages that are refused. */
  readonly malformed: readonly Buffer[];
  /** What a backend should not send. */
  readonly nonsense: readonly Buffer[];
}

/** The filler behind a label: of a length and from a character that the label decides. */
function fillerOf(label: string): string {
  let sum = 0;
  for (const character of label) sum = (sum * 31 + character.charCodeAt(0)) % 9973;
  return 'abcdefghijklmnopqrstuvwxyz'[sum % 26]!.repeat(sum % 150);
}

const labelled = (label: string) => `<${label}|${fillerOf(label)}>`;

/** @throws Error if it is not as it was written */
function labelIn(text: string): string {
  const label = /^<([^|]*)\|/.exec(text)?.[1];
  if (label === undefined || labelled(label) !== text) throw new Error(`mangled: ${JSON.stringify(text)}`);
  return label;
}

/** Answers are labelled with the request's label and a number of their own behind `/`. */
const kindOf = (label: string) => (label.includes('/') ? 'answer' : 'request');

function json(links: 'shared' | 'dedicated'): Dialect {
  return {
    name: `ndjson on ${links} links`,
    plugin: ndjson,
    options: { correlation: 'id' },
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

const linesOf = (message: string) => message.slice(0, message.indexOf('\r\n\r\n')).split('\r\n');
const named = (lines: readonly string[], ...names: string[]) =>
  lines.filter((line) => names.includes(line.slice(0, line.indexOf(':'))));

const calls: Dialect = {
  name: 'sip',
  plugin: sip,
  options: {},
  links: 'shared',
  relates: true,
  transports: ['tcp'],
  signs: true,
  request(label, number, handle) {
    const body = labelled(label);
    return Buffer.from(
      [
        `${handle === undefined ? 'INVITE' : 'INFO'} sip:bob@example.net SIP/2.0`,
        ...(handle === undefined ? [] : handle.split('\n')),
        `Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK${label}`,
        'Max-Forwards: 70',
        'From: <sip:alice@example.org>;tag=a',
        `To: <sip:bob@example.net>${handle === undefined ? '' : ';tag=b'}`,
        `Call-ID: ${label}`,
        `CSeq: ${number} ${handle === undefined ? 'INVITE' : 'INFO'}`,
        `Content-Length: ${body.length}`,
        '',
        body,
      ].join('\r\n'),
    );
  },
  forge: (handle) =>
    handle.replace(/;pm=(\w+)(\w)(\w)/g, (_, start, one, last) => `;pm=${start}${one === 'a' ? 'b' : 'a'}${last}`),
  frame(bytes) {
    if (bytes.indexOf('\r\n') === 0) return 2; // the answer to a keepalive
    const headerEnd = bytes.indexOf('\r\n\r\n');
    if (headerEnd < 0) return 0;
    const length = Number(/Content-Length: (\d+)/.exec(bytes.toString('latin1', 0, headerEnd))?.[1] ?? 0);
    return headerEnd + 4 + length <= bytes.length ? headerEnd + 4 + length : 0;
  },
  read(message) {
    if (message.length === 2) return { kind: 'garbage', label: '' };
    const text = message.toString('latin1');
    const lines = linesOf(text);
    const body = text.slice(text.indexOf('\r\n\r\n') + 4);
    const number = Number(/^CSeq: (\d+)/m.exec(text)?.[1]);
    if (body === '') return { kind: /^SIP\/2.0 [3-6]/.test(text) ? 'refusal' : 'garbage', label: '', number };
    const label = labelIn(body);
    const routes = named(lines, 'Record-Route').reverse();
    const handle = routes.map((line) => line.replace('Record-Route', 'Route')).join('\n');
    return { kind: kindOf(label), label, number, handle: handle === '' ? undefined : handle };
  },
  answer(request, label) {
    const copied = named(
      linesOf(request.toString('latin1')),
      'Via',
      'From',
      'To',
      'Call-ID',
      'CSeq',
      'Record-Route',
    ).map((line) => (line.startsWith('To:') && !line.includes(';tag=') ? `${line};tag=b` : line));
    const body = labelled(label);
    return Buffer.from(['SIP/2.0 200 OK', ...copied, `Content-Length: ${body.length}`, '', body].join('\r\n'));
  },
  malformed: [
    'INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.10;branch=z9hG4bKx\r\nMax-Forwards: 0\r\nFrom: <sip:a@b>;tag=a\r\nTo: <sip:c@d>\r\nCall-ID: x\r\nCSeq: 0 INVITE\r\nContent-Length: 0\r\n\r\n',
    'INVITE sip:bob@example.net SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.10\r\nContent-Length: 0\r\n\r\n',
    '\r\n\r\n',
  ].map((text) => Buffer.from(text)),
  nonsense: [
    Buffer.from(
      'SIP/2.0 200 OK\r\nVia: SIP/2.0/TCP somebody.else\r\nCall-ID: x\r\nCSeq: 1 INVITE\r\nContent-Length: 0\r\n\r\n',
    ),
    Buffer.from('\r\nno SIP at all\r\n\r\n'),
  ],
};

export const dialects: readonly Dialect[] = [
  json('shared'),
  json('dedicated'),
  frames('shared'),
  frames('shared', 1),
  frames('dedicated'),
  calls,
];
