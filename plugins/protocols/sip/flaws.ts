/** What can be wrong with a message, and the answer to it: a Refusal carries its status line. */
import { type Reason, type Refusal, refusal } from 'pointsman';

/** A status line without its line end, and header lines that go with it. */
export class Status {
  readonly code: number;
  /** The wording in the log. */
  readonly text: string;
  readonly line: Buffer;
  readonly headers: Buffer;
  constructor(code: number, phrase: string, headers = '') {
    this.code = code;
    this.text = `${code} ${phrase}`;
    this.line = Buffer.from(`SIP/2.0 ${this.text}\r\n`, 'latin1');
    this.headers = Buffer.from(headers, 'latin1');
  }
}

const flaw = (reason: Reason, code: number, phrase: string): Refusal => refusal(reason, new Status(code, phrase));

/** Flaws after which the beginning of the next message cannot be found. */
export const framingFlaws = {
  notSip: flaw('broken-frame', 400, 'Not SIP'),
  lineEnd: flaw('broken-frame', 400, 'CR or LF Alone in a Header'),
  headerName: flaw('broken-frame', 400, 'Bad Header Name'),
  noLength: flaw('broken-frame', 400, 'Missing Content-Length'),
  twoLengths: flaw('broken-frame', 400, 'More Than One Content-Length'),
  length: flaw('broken-frame', 400, 'Bad Content-Length'),
  startLine: flaw('too-large', 414, 'Request-URI Too Long'),
  header: flaw('too-large', 513, 'Message Header Too Large'),
} as const;

/** Flaws that affect only one message. */
export const flaws = {
  requestLine: flaw('malformed', 400, 'Bad Request Line'),
  statusLine: flaw('malformed', 400, 'Bad Status Line'),
  via: flaw('malformed', 400, 'Bad Via'),
  from: flaw('malformed', 400, 'Bad From'),
  to: flaw('malformed', 400, 'Bad To'),
  callId: flaw('malformed', 400, 'Bad Call-ID'),
  cseq: flaw('malformed', 400, 'Bad CSeq'),
  maxForwards: flaw('malformed', 400, 'Bad Max-Forwards'),
  route: flaw('malformed', 400, 'Bad Route'),
  oddName: flaw('malformed', 400, 'Header Name That Not All Servers Read'),
  oddVia: flaw('malformed', 400, 'Via That Not All Servers Read'),
  shortBody: flaw('malformed', 400, 'Body Shorter Than Content-Length'),
  tooManyValues: flaw('too-large', 513, 'Too Many Via or Route Values'),
  hops: flaw('too-many-hops', 483, 'Too Many Hops'),
  extension: flaw('bad-extension', 420, 'Bad Extension'),
  scheme: flaw('unsupported-scheme', 416, 'Unsupported URI Scheme'),
  version: flaw('unsupported-version', 505, 'Version Not Supported'),
  noDestination: flaw('no-destination', 404, 'Not Found'),
} as const;

const unavailable = new Status(503, 'Service Unavailable', 'Retry-After: 5\r\n');
const serverError = new Status(500, 'Server Internal Error');

/** The answers to what the core refuses. 503 says that all service is out; one pinned backend that is down is 500. */
const statuses = new Map<Reason, Status>(
  Object.entries({
    'too-large': new Status(413, 'Request Entity Too Large'),
    'forged-identifier': new Status(403, 'Forbidden'),
    'unknown-backend': serverError,
    'backend-down': serverError,
    'no-backend': unavailable,
    'client-gone': new Status(430, 'Flow Failed'),
    'no-destination': new Status(404, 'Not Found'),
    overloaded: unavailable,
    'rate-limited': unavailable,
    'plugin-error': serverError,
    stopping: unavailable,
  }),
);

/** The status that answers a refusal; undefined where SIP has none for it. */
export function statusOf(refused: Refusal): Status | undefined {
  return refused.detail instanceof Status ? refused.detail : statuses.get(refused.reason);
}
