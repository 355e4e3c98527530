/**
 * How clients ask and backends answer, in each protocol. A message is built once; from then on only digits change, at known
 * places. Requests and answers end alike, so both sides find everything they check by its distance from the end:
 *
 *     … echo (8 digits) … label: client (6 digits), sequence (8 digits), who answered (4 digits, 0 in requests) …
 *
 * The echo repeats the sequence where a balancer may rewrite it (a JSON-RPC id, a correlation number), or next to where it edits.
 */
export const protocols = ['ndjson', 'length-prefixed', 'sip'] as const;
export type Protocol = (typeof protocols)[number];

export const clientDigits = 6;
export const sequenceDigits = 8;
export const backendDigits = 4;

/** What stands in a message besides fixed text: digits that change, and the identifier. */
type Piece = string | 'SEQUENCE' | 'DIALOG' | 'IDENTIFIER';

/** Requests of one kind, as bytes: where they change. */
export class Form {
  readonly bytes: Buffer;
  readonly #sequences: readonly number[];
  readonly #dialogs: readonly number[];
  readonly #identifierAt: number;

  constructor(pieces: readonly Piece[], identifier: Buffer) {
    const sequences: number[] = [];
    const dialogs: number[] = [];
    const parts: Buffer[] = [];
    let identifierAt = -1;
    let at = 0;
    for (const piece of pieces) {
      if (piece === 'IDENTIFIER') identifierAt = at;
      if (piece === 'SEQUENCE') sequences.push(at);
      if (piece === 'DIALOG') dialogs.push(at);
      const isDigits = piece === 'SEQUENCE' || piece === 'DIALOG';
      const part = isDigits
        ? Buffer.alloc(sequenceDigits, '0')
        : piece === 'IDENTIFIER'
          ? identifier
          : Buffer.from(piece, 'latin1');
      parts.push(part);
      at += part.length;
    }
    this.bytes = Buffer.concat(parts);
    this.#sequences = sequences;
    this.#dialogs = dialogs;
    this.#identifierAt = identifierAt;
  }

  /** Puts another identifier, of the same length, in the place of the one it has. */
  set identifier(bytes: Buffer) {
    bytes.copy(this.bytes, this.#identifierAt);
  }

  set sequence(value: number) {
    for (const at of this.#sequences) writeDigits(this.bytes, at, sequenceDigits, value);
  }

  set dialog(value: number) {
    for (const at of this.#dialogs) writeDigits(this.bytes, at, sequenceDigits, value);
  }
}

export interface Dialect {
  /** A request that names nobody, and one that carries an identifier. */
  pieces(client: number): { readonly fresh: readonly Piece[]; readonly sticky: readonly Piece[] };
  /** What stands for an identifier as long as none has been learnt: as long as a real one, so that relays carry as much. */
  readonly placeholder: Buffer;
  /** The identifier in an answer, in the form that requests carry it; undefined: it has none. */
  learn(answer: Buffer, start: number, end: number): Buffer | undefined;
  /** Where the message at `start` ends, in bytes that end with the buffer; 0: it is not whole. */
  endOf(bytes: Buffer, start: number): number;
  /** Distances from the end of a message. */
  readonly labelFromEnd: number;
  readonly echoFromEnd: number;
  /** Makes an answer of a request, in place. */
  answer(bytes: Buffer, start: number): void;
}

/** The shortest request without identifier. */
export const leastMessageBytes: Readonly<Record<Protocol, number>> = { ndjson: 100, 'length-prefixed': 50, sip: 608 };

/** @param messageBytes how long a request without identifier is, as far as it can; 0: as is usual in the protocol */
export function dialectOf(protocol: Protocol, messageBytes: number): Dialect {
  if (protocol === 'ndjson') return ndjson(messageBytes);
  return protocol === 'sip' ? sip(messageBytes) : lengthPrefixed(messageBytes);
}

const labelBytes = clientDigits + sequenceDigits + backendDigits;
const digits = (value: number, width: number) => String(value).padStart(width, '0');
const label = (client: number): Piece[] => [digits(client, clientDigits), 'SEQUENCE', digits(0, backendDigits)];
const padding = (messageBytes: number, others: number) => 'x'.repeat(Math.max(8, messageBytes - others));

function ndjson(messageBytes: number): Dialect {
  const beforeLabel = `","method":"echo","text":"${padding(messageBytes || 200, 75)}","label":"`;
  const afterLabel = '"}\n';
  const named = Buffer.from('"backend":"');
  const labelFromEnd = labelBytes + afterLabel.length;
  return {
    pieces(client) {
      const rest: Piece[] = [`"id":"${client}-`, 'SEQUENCE', beforeLabel, ...label(client), afterLabel];
      return { fresh: ['{', ...rest], sticky: ['{"backend":"', 'IDENTIFIER', '",', ...rest] };
    },
    placeholder: Buffer.from('a'.repeat(29)),
    learn(answer, start, end) {
      const message = answer.subarray(start, end);
      const at = message.indexOf(named);
      return at < 0 ? undefined : message.subarray(at + named.length, message.indexOf('"', at + named.length));
    },
    endOf: (bytes, start) => bytes.indexOf(0x0a, start) + 1,
    labelFromEnd,
    echoFromEnd: labelFromEnd + beforeLabel.length + sequenceDigits,
    answer: () => {},
  };
}

/** 4 bytes length of what follows, 2 bytes identifier, 8 bytes correlation, text, label. */
function lengthPrefixed(messageBytes: number): Dialect {
  const text = padding(messageBytes || 128, 14 + labelBytes);
  const bytesAfterLength = 2 + sequenceDigits + text.length + labelBytes;
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytesAfterLength);
  const begin = length.toString('latin1');
  return {
    pieces(client) {
      const rest: Piece[] = ['SEQUENCE', text, ...label(client)];
      return { fresh: [begin, '\0\0', ...rest], sticky: [begin, 'IDENTIFIER', ...rest] };
    },
    placeholder: Buffer.from([0, 1]),
    learn: (answer, start) =>
      answer.readUInt16BE(start + 4) === 0 ? undefined : answer.subarray(start + 4, start + 6),
    endOf(bytes, start) {
      if (bytes.length - start < 4) return 0;
      const end = start + 4 + bytes.readUInt32BE(start);
      return end <= bytes.length ? end : 0;
    },
    labelFromEnd: labelBytes,
    echoFromEnd: bytesAfterLength - 2,
    answer: () => {},
  };
}

/** An INVITE begins each dialog, INFOs follow it along the recorded route. What is longer than usual has a body. */
function sip(messageBytes: number): Dialect {
  const usualBytes = 608;
  const body = 'x'.repeat(Math.max(0, messageBytes - usualBytes));
  const afterLabel = `\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const beforeLabel =
    `\r\nContact: <sip:alice@127.0.0.1:5090;transport=tcp>\r\nUser-Agent: ${padding(usualBytes, 433)}\r\n` +
    'Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, INFO\r\nX-Label: ';
  const labelFromEnd = labelBytes + afterLabel.length;
  const methodBytes = 7; // both methods with the same number of bytes behind CSeq's digits
  const recordRoute = Buffer.from('\r\nRecord-Route: ');
  const status = Buffer.from('SIP/2.0 200 OK');
  const messageEnd = Buffer.from('\r\n\r\n');
  const common = (client: number, method: string, route: readonly Piece[]): Piece[] => [
    `${method} sip:service@127.0.0.1:5060;transport=tcp SIP/2.0\r\nVia: SIP/2.0/TCP 127.0.0.1:5090;branch=z9hG4bK${client}-`,
    'SEQUENCE',
    ...route,
    `\r\nMax-Forwards: 70\r\nFrom: "Alice" <sip:alice@127.0.0.1>;tag=a${client}\r\nTo: "Service" <sip:service@127.0.0.1>`,
    method === 'INVITE' ? '' : ';tag=b1',
    `\r\nCall-ID: ${client}-`,
    'DIALOG',
    '@127.0.0.1\r\nCSeq: ',
    'SEQUENCE',
    ` ${method}`.padStart(methodBytes),
    beforeLabel,
    ...label(client),
    afterLabel,
  ];
  return {
    pieces: (client) => ({
      fresh: common(client, 'INVITE', []),
      sticky: common(client, 'INFO', ['\r\nRoute: ', 'IDENTIFIER']),
    }),
    placeholder: Buffer.from(
      `<sip:127.0.0.1:5060;transport=tcp;lr;to=${'a'.repeat(29)}>,<sip:127.0.0.1:5060;transport=tcp;lr;to=${'a'.repeat(52)}>`,
    ),
    learn(answer, start, end) {
      const message = answer.subarray(start, end);
      const routes: string[] = []; // the last recorded is the first to travel (RFC 3261 section 12.1.2)
      for (let at = message.indexOf(recordRoute); at >= 0; at = message.indexOf(recordRoute, at + 1)) {
        const value = message.toString('latin1', at + recordRoute.length, message.indexOf('\r\n', at + 2));
        routes.unshift(...value.split(',').reverse());
      }
      return routes.length === 0 ? undefined : Buffer.from(routes.join(','), 'latin1');
    },
    endOf(bytes, start) {
      const at = bytes.indexOf(messageEnd, start);
      const end = at + messageEnd.length + body.length;
      return at < 0 || end > bytes.length ? 0 : end;
    },
    labelFromEnd,
    echoFromEnd: labelFromEnd + beforeLabel.length + methodBytes + sequenceDigits,
    answer(bytes, start) {
      const lineEnd = bytes.indexOf(0x0d, start);
      bytes.fill(0x20, start + status.copy(bytes, start), lineEnd); // the reason phrase may end in spaces
    },
  };
}

export function writeDigits(bytes: Buffer, start: number, count: number, value: number): void {
  for (let at = start + count - 1; at >= start; at--) {
    const rest = Math.trunc(value / 10);
    bytes[at] = 0x30 + value - rest * 10;
    value = rest;
  }
}

/** A negative number if they are no digits. */
export function readDigits(bytes: Buffer, start: number, count: number): number {
  let value = 0;
  for (let at = start; at < start + count; at++) {
    const digit = bytes[at]! - 0x30;
    if (!(digit >= 0 && digit <= 9)) return -1;
    value = value * 10 + digit;
  }
  return value;
}
