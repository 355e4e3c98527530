/**
 * How the peers of the simulation write and read SIP. Besides requests and their answers there are those that take a call back
 * (CANCEL), acknowledge its refusal (ACK) or try it anew, and those of backends to clients.
 */
import sip from '../../plugins/protocols/sip/index.ts';
import type { Dialect } from './dialects.ts';
import { kindOf, labelIn, labelled } from './labels.ts';

const body = (message: string) => message.slice(message.indexOf('\r\n\r\n') + 4);
const linesOf = (message: string) => message.slice(0, message.indexOf('\r\n\r\n')).split('\r\n');
const isNamed = (line: string, names: readonly string[]) => names.includes(line.slice(0, line.indexOf(':')));
const named = (lines: readonly string[], ...names: string[]) => lines.filter((line) => isNamed(line, names));
const methodOf = (request: Buffer) => request.toString('latin1', 0, request.indexOf(' '));
const via = (label: string) => `Via: SIP/2.0/TCP 192.0.2.10:5060;branch=z9hG4bK${label}`;
const branchIn = (text: string) => /;branch=z9hG4bK([^;\r]*)/.exec(text)?.[1] ?? '';
const uri = 'sip:bob@example.net';
/** Behind the label of a request: what takes it back. */
const cancelled = '-cancel';

function write(startLine: string, lines: readonly string[], label: string): Buffer {
  const text = labelled(label);
  return Buffer.from([startLine, ...lines, `Content-Length: ${text.length}`, '', text].join('\r\n'));
}

/** A request of the client that has sent `first`, in the same call. */
function follow(first: Buffer, method: string, own: { via: string; to: string; number: number }, label: string) {
  const [from, callId] = named(linesOf(first.toString('latin1')), 'From', 'Call-ID');
  const lines = [own.via, 'Max-Forwards: 70', from!, own.to, callId!, `CSeq: ${own.number} ${method}`];
  return write(`${method} ${uri} SIP/2.0`, lines, label);
}

/** What begins a dialog or registers names whoever sends it. */
const routesIn = (request: Buffer) => named(linesOf(request.toString('latin1')), 'Record-Route', 'Path');
/** The one of a backend's request. */
const numberOf = (label: string) => Number(/\d+$/.exec(label)![0]);
const numberIn = (message: string) => Number(/^CSeq: (\d+)/m.exec(message)?.[1]);

/** What a follower of `first` shares with it; `answer` is the one that it follows. */
function sharedWith(first: Buffer, answer: Buffer | undefined) {
  const text = first.toString('latin1');
  const [ownVia] = named(linesOf(text), 'Via');
  const [to] = named(linesOf((answer ?? first).toString('latin1')), 'To');
  return { via: ownVia!, to: to!, number: numberIn(text) };
}

export const calls: Dialect = {
  name: 'sip',
  plugin: sip,
  options: {},
  links: 'shared',
  relates: true,
  transports: ['tcp'],
  signs: true,
  request(label, number, handle) {
    const method = handle !== undefined ? 'INFO' : number % 4 === 0 ? 'REGISTER' : 'INVITE';
    const lines = [
      ...(handle === undefined ? [] : handle.split('\n')),
      via(label),
      'Max-Forwards: 70',
      'From: <sip:alice@example.org>;tag=a',
      `To: <${uri}>${handle === undefined ? '' : ';tag=b'}`,
      `Call-ID: ${label}`,
      `CSeq: ${number} ${method}`,
    ];
    return write(`${method} ${uri} SIP/2.0`, lines, label);
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
    const number = numberIn(text);
    const status = Number(/^SIP\/2.0 (\d+)/.exec(text)?.[1] ?? 0);
    if (body(text) === '') {
      const label = `${branchIn(text)}${/^CSeq: \d+ CANCEL/m.test(text) ? cancelled : ''}`;
      return { kind: status >= 300 ? 'refusal' : 'garbage', label, number, status };
    }
    const label = labelIn(body(text));
    // Only an answer that accepts begins a dialog.
    const routes = status >= 200 && status < 300 ? named(lines, 'Record-Route').reverse() : [];
    const handle = routes.map((line) => line.replace('Record-Route', 'Route')).join('\n');
    return { kind: kindOf(label), label, number, status, handle: handle === '' ? undefined : handle };
  },
  answer(request, label, status = 200) {
    const lines = linesOf(request.toString('latin1'));
    const copied = named(lines, 'Via', 'From', 'To', 'Call-ID', 'CSeq', 'Record-Route').map((line) =>
      line.startsWith('To:') && !line.includes(';tag=') ? `${line};tag=b` : line,
    );
    return write(`SIP/2.0 ${status} Whatever`, copied, label);
  },
  calls: {
    begins: (request) => methodOf(request) === 'INVITE',
    isAnswered: (request) => methodOf(request) !== 'ACK',
    takesBack: (request) => methodOf(request) === 'CANCEL',
    transaction: (request) => branchIn(request.toString('latin1')),
    takeBack: (first) => {
      const label = `${labelIn(body(first.toString('latin1')))}${cancelled}`;
      return { label, bytes: follow(first, 'CANCEL', sharedWith(first, undefined), label) };
    },
    acknowledge: (first, answer) => {
      const label = `${labelIn(body(first.toString('latin1')))}-ack`;
      return { label, bytes: follow(first, 'ACK', sharedWith(first, answer), label) };
    },
    tryAgain: (first, label, number) =>
      follow(first, 'INVITE', { ...sharedWith(first, undefined), via: via(label), number }, label),
    namesClient: (request) => routesIn(request).length > 0,
    inquiry(request, label) {
      const routes = routesIn(request).map((line) => line.replace(/^[^:]+/, 'Route'));
      const method = numberOf(label) % 2 === 0 ? 'INFO' : 'NOTIFY';
      const [callId] = named(linesOf(request.toString('latin1')), 'Call-ID');
      const own = ['From: <sip:bob@example.net>;tag=b', 'To: <sip:alice@example.org>;tag=a', callId!];
      const more = [...own, 'Max-Forwards: 70', `CSeq: ${numberOf(label)} ${method}`];
      return write(`${method} sip:alice@192.0.2.10 SIP/2.0`, [...routes, via(label), ...more], label);
    },
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
