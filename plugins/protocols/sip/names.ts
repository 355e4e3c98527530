/** The names of header fields and methods that are handled specially. */
import { isSame, isWord } from './bytes.ts';
import { ascii, classOf } from './characters.ts';

/** The header fields that matter here; all others are `other`. */
export const field = {
  other: 0,
  // Those that list values come first.
  via: 1,
  route: 2,
  recordRoute: 3,
  from: 4,
  to: 5,
  callId: 6,
  cseq: 7,
  contentLength: 8,
  maxForwards: 9,
  proxyRequire: 10,
  /** `Content_Length`, which some servers read as Content-Length and others do not. */
  lookAlike: 11,
  // Those that have the names that the options give them.
  traceparent: 12,
  tracestate: 13,
} as const;
export const fields = 14;

/** Long and compact names (section 7.3.3), in lower case, by their length. */
const names: { readonly name: Buffer; readonly field: number }[][] = [];
for (const [name, id] of [
  ['v', field.via],
  ['f', field.from],
  ['t', field.to],
  ['i', field.callId],
  ['l', field.contentLength],
  ['via', field.via],
  ['from', field.from],
  ['to', field.to],
  ['call-id', field.callId],
  ['cseq', field.cseq],
  ['content-length', field.contentLength],
  ['max-forwards', field.maxForwards],
  ['route', field.route],
  ['record-route', field.recordRoute],
  ['proxy-require', field.proxyRequire],
  ['content_length', field.lookAlike],
] as const) {
  (names[name.length] ??= []).push({ name: ascii(name), field: id });
}
const initials = new Set(names.flat().map(({ name }) => name[0]!));
export const isInitial = classOf((byte) => initials.has(byte | 0x20));

/** Methods whose handling differs; all others are `other`. */
export const method = {
  other: 0,
  invite: 1,
  ack: 2,
  cancel: 3,
  options: 4,
  register: 5,
  subscribe: 6,
  notify: 7,
  refer: 8,
  update: 9,
} as const;

/** By their length; in upper case, and nothing else: methods are case-sensitive (section 7.1). */
const methodNames: { readonly name: Buffer; readonly method: number }[][] = [];
for (const [name, id] of Object.entries(method)) {
  if (id !== method.other) (methodNames[name.length] ??= []).push({ name: ascii(name.toUpperCase()), method: id });
}

export function fieldOf(bytes: Buffer, start: number, end: number): number {
  const candidates = names[end - start];
  if (candidates !== undefined) {
    for (const candidate of candidates) {
      if (isWord(bytes, start, end, candidate.name)) return candidate.field;
    }
  }
  return field.other;
}

export function readMethod(bytes: Buffer, start: number, end: number): number {
  const candidates = methodNames[end - start];
  if (candidates !== undefined) {
    for (const candidate of candidates) {
      if (isSame(bytes, start, end, candidate.name)) return candidate.method;
    }
  }
  return method.other;
}
