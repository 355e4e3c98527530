/** What tests need of a SIP user agent: it writes requests, answers them, and follows the routes of a dialog. */
import sip from '../../../../plugins/protocols/sip/index.ts';
import hashing from '../../../../plugins/strategies/hashing.ts';
import { embed, type Rig, type RigOptions } from '../../../support/embedded.ts';

export const keys = [{ id: 'k1', secret: Buffer.alloc(32, 7) }];

/** A rig with sip and hashing, whose identifiers are signed. */
export function sipRig(options: Partial<RigOptions> = {}): Promise<Rig> {
  return embed({ pipeline: [[sip], [hashing, { key: 'message' }]], keys, ...options });
}

export interface SipMessage {
  startLine: string;
  headers: [name: string, value: string][];
  body: string;
}

/** Takes apart what a peer received: whole messages, one after the other. */
export function parse(text: string): SipMessage[] {
  const messages: SipMessage[] = [];
  for (let rest = text; rest !== ''; ) {
    const headerEnd = rest.indexOf('\r\n\r\n');
    if (headerEnd < 0) throw new Error(`not a whole message: ${JSON.stringify(rest)}`);
    const [startLine, ...lines] = rest.slice(0, headerEnd).split('\r\n');
    const headers = lines.map((line): [string, string] => {
      const colon = line.indexOf(':');
      return [line.slice(0, colon), line.slice(colon + 1).trim()];
    });
    const length = Number(headers.find(([name]) => name === 'Content-Length')?.[1]);
    const end = headerEnd + 4 + length;
    if (!(end <= rest.length)) throw new Error(`cut short: ${JSON.stringify(rest)}`);
    messages.push({ startLine: startLine!, headers, body: rest.slice(headerEnd + 4, end) });
    rest = rest.slice(end);
  }
  return messages;
}

/** The only message in what a peer received. */
export function parseOne(text: string): SipMessage {
  const messages = parse(text);
  if (messages.length !== 1) throw new Error(`${messages.length} messages: ${JSON.stringify(text)}`);
  return messages[0]!;
}

/** All values of a header field, in order; commas separate them (the tests quote none). */
export function values(message: SipMessage, name: string): string[] {
  return message.headers
    .filter(([other]) => other.toLowerCase() === name.toLowerCase())
    .flatMap(([, value]) => value.split(/\s*,\s*/));
}

export function value(message: SipMessage, name: string): string {
  const all = values(message, name);
  if (all.length !== 1) throw new Error(`${all.length} ${name} in ${format(message)}`);
  return all[0]!;
}

export function format({ startLine, headers, body }: SipMessage): string {
  return [startLine, ...headers.map(([name, text]) => `${name}: ${text}`), '', body].join('\r\n');
}

export interface RequestOptions {
  uri?: string;
  branch?: string;
  callId?: string;
  cseq?: number;
  cseqMethod?: string;
  fromTag?: string;
  toTag?: string;
  via?: string;
  maxForwards?: number;
  /** Lines before Content-Length. */
  extra?: string[];
  body?: string;
}

let branches = 0;

export function request(method: string, options: RequestOptions = {}): string {
  const { body = '' } = options;
  const via = options.via ?? `SIP/2.0/TCP 192.0.2.10:5060;branch=${options.branch ?? `z9hG4bKt${++branches}`}`;
  return [
    `${method} ${options.uri ?? 'sip:bob@example.net'} SIP/2.0`,
    `Via: ${via}`,
    `Max-Forwards: ${options.maxForwards ?? 70}`,
    `From: <sip:alice@example.org>;tag=${options.fromTag ?? 'alice1'}`,
    `To: <sip:bob@example.net>${options.toTag === undefined ? '' : `;tag=${options.toTag}`}`,
    `Call-ID: ${options.callId ?? 'call-1'}`,
    `CSeq: ${options.cseq ?? 1} ${options.cseqMethod ?? method}`,
    ...(options.extra ?? []),
    `Content-Length: ${body.length}`,
    '',
    body,
  ].join('\r\n');
}

/** Answers a request as a user agent server does (RFC 3261 section 8.2.6). */
export function respond(to: SipMessage, status: string, toTag?: string): string {
  const copied = to.headers.filter(([name]) => /^(via|from|to|call-id|cseq|record-route)$/i.test(name));
  const headers = copied.map(([name, text]): [string, string] => [
    name,
    name === 'To' && toTag !== undefined && !text.includes(';tag=') ? `${text};tag=${toTag}` : text,
  ]);
  return format({ startLine: `SIP/2.0 ${status}`, headers: [...headers, ['Content-Length', '0']], body: '' });
}

/** The Route lines that the caller sends in a dialog, from the answer it got (section 12.1.2). */
export function callerRoutes(answer: SipMessage): string[] {
  return values(answer, 'Record-Route')
    .reverse()
    .map((route) => `Route: ${route}`);
}

/** The Route lines that the callee sends in a dialog, from the request it got (section 12.1.1). */
export function calleeRoutes(invite: SipMessage): string[] {
  return values(invite, 'Record-Route').map((route) => `Route: ${route}`);
}

/** The backends that have something to read, with what it is. */
export function arrivals(rig: Rig): { name: string; text: string }[] {
  return rig.backends
    .map((backend) => ({ name: backend.name, text: backend.text() }))
    .filter(({ text }) => text !== '');
}

/** The only backend that has something to read, and the only message there. */
export function arrival(rig: Rig): { name: string; message: SipMessage } {
  const all = arrivals(rig);
  if (all.length !== 1) throw new Error(`${all.length} backends got something`);
  return { name: all[0]!.name, message: parseOne(all[0]!.text) };
}

/** The pieces of `bytes` when it comes byte by byte. */
export function bytesOf(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
}
