/**
 * Fuzz targets for protocol plugins. Each input reaches two balancers that are alike in everything, one of them in one piece, the
 * other in many: both must see the same messages, give them the same outcomes and send the same bytes, and what leaves for a
 * backend must be exactly one message, for whoever frames it.
 */
import { fail } from 'node:assert';
import { readdirSync, readFileSync } from 'node:fs';
import type { Accounting } from '../../core/accounting.ts';
import type { Client } from '../../core/client.ts';
import { show } from '../../core/conformance/bytes.ts';
import type { Random } from '../../core/conformance/random.ts';
import type { Rig, Seen, Wire } from '../../core/conformance/rig.ts';
import { examine, rigFor, type Setting } from '../../core/conformance/subject.ts';
import { Backend } from '../../core/pool.ts';
import { Scan } from '../../core/scan.ts';
import { defaultLimits } from '../../core/settings.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import sip from '../../plugins/protocols/sip/index.ts';
import type { Target } from './engine.ts';

/** What may stand in memory around the bytes that have come. */
const strays = [Buffer.alloc(0), Buffer.alloc(16, 0xff), Buffer.alloc(16, '\n'), Buffer.alloc(16)];

class Protocol implements Target {
  readonly name: string;
  readonly seeds: readonly Buffer[];
  readonly words: readonly string[];
  readonly #setting: Setting;
  #whole!: Rig;
  #pieces!: Rig;
  #one: Wire | undefined;
  #other: Wire | undefined;

  constructor(name: string, setting: Setting, words: readonly string[], more: readonly Buffer[] = []) {
    this.name = name;
    this.#setting = setting;
    this.words = words;
    this.seeds = [...setting.samples.map(({ bytes }) => Buffer.from(bytes)), ...more];
  }

  async refresh(): Promise<void> {
    const mode = this.#setting.facts.identifiers === 'number' ? 'plain' : 'signed';
    this.#whole = await rigFor(this.#setting, { mode });
    this.#pieces = await rigFor(this.#setting, { mode });
    this.#one = undefined;
    this.#other = undefined;
  }

  async run(input: Buffer, random: Random): Promise<void> {
    const [whole, pieces] = [this.#whole, this.#pieces];
    const one = (this.#one ??= await whole.client());
    const other = (this.#other ??= await pieces.client());
    one.send(input);
    // The longer it is, the less often: each byte costs as much as a piece.
    const isByteByByte = random.below(8 + input.length / 32) === 0;
    for (const piece of isByteByByte ? bytesOf(input) : random.split(input)) {
      if (other.isClosed) break;
      other.send(piece, random.pick(strays));
    }
    const seen = whole.take();
    expectSame(seen, pieces.take(), one, other);
    for (const { sent, to } of seen) if (sent !== undefined && to instanceof Backend) expectOne(whole, sent);
    // What is in the midst of a message would take the next input for the rest of it.
    if (one.isClosed || (one.peer.socket.handler as Client).heldBytes > 0) {
      one.reset();
      other.reset();
      this.#one = undefined;
      this.#other = undefined;
    }
    for (const rig of [whole, pieces]) {
      rig.check();
      if (!closes(rig.composed.accounting)) fail('the accounting identity does not hold');
      rig.forget();
    }
  }
}

const bytesOf = (input: Buffer) => Array.from(input, (_, at) => input.subarray(at, at + 1));

/** As `balances` of core/accounting.ts, without making statistics for each input. */
function closes({ client, backend, replays }: Accounting): boolean {
  return [client, backend, replays].every(
    ({ received, forwarded, refused, discarded, held }) => received === forwarded + refused + discarded + held,
  );
}

/** Both balancers must have done the same. */
function expectSame(whole: readonly Seen[], pieces: readonly Seen[], one: Wire, other: Wire): void {
  for (let index = 0; index < Math.max(whole.length, pieces.length); index++) {
    const [inOne, inMany] = [whole[index], pieces[index]];
    if (isSame(inOne, inMany)) continue;
    fail(`message ${index + 1}: in one piece ${outcomeOf(inOne)}; in many ${outcomeOf(inMany)}`);
  }
  const [toOne, toOther] = [one.take(), other.take()];
  if (!toOne.equals(toOther)) fail(`in one piece the client got ${show(toOne, 400)}; in many ${show(toOther, 400)}`);
  if (one.isClosed !== other.isClosed) fail(`in one piece it was ${one.isClosed ? '' : 'not '}closed; in many not so`);
}

function isSame(one: Seen | undefined, other: Seen | undefined): boolean {
  if (one === undefined || other === undefined || one.isLost !== other.isLost) return false;
  if (one.refusal?.reason !== other.refusal?.reason) return false;
  // Of what makes no message, as much is seen as has come.
  if (one.isLost) return true;
  const isSentAlike = one.sent === undefined ? other.sent === undefined : other.sent?.equals(one.sent) === true;
  return isSentAlike && one.bytes.equals(other.bytes) && nameOf(one) === nameOf(other);
}

const nameOf = ({ to }: Seen) => (to instanceof Backend ? to.name : 'a client');

function outcomeOf(seen: Seen | undefined): string {
  if (seen === undefined) return 'there is none';
  if (seen.isLost) return `lost: ${seen.refusal?.reason}`;
  const fate = seen.sent === undefined ? seen.refusal?.reason : `to ${nameOf(seen)}`;
  return `${show(seen.bytes, 400)}: ${fate} ${seen.sent === undefined ? '' : show(seen.sent, 800)}`;
}

/** What has left must be one message for the next one who frames it. */
function expectOne(rig: Rig, sent: Buffer): void {
  const scan = new Scan('client', {} as never, defaultLimits);
  const framed = rig.composed.hooks.frame.call(sent, 0, sent.length, scan);
  if (framed !== sent.length)
    fail(`what left is no single message (${String(framed)} of ${sent.length}): ${show(sent, 800)}`);
}

const jsonWords = [
  '{',
  '}',
  '[',
  ']',
  '"',
  '\\',
  ':',
  ',',
  '\n',
  '\r\n',
  '"id":',
  '"backend":"a"',
  '1e999',
  '-0',
  'null',
  '\\u0000',
  '\\ud800',
  '"id":"',
  '\xff',
  '\xc0\x80',
  '[{',
  '}]',
  '"\\u0069d":1',
  '"method":"x"',
  '"jsonrpc":"2.0"',
  '  ',
  '\t',
]; // prettier-ignore

const sipWords = [
  '\r\n',
  '\r\n\r\n',
  '\n',
  '\r',
  ' ',
  '\t',
  ';',
  ',',
  '<',
  '>',
  '"',
  '\\',
  ':',
  '=',
  '%00',
  '%0d%0a',
  'Content-Length: 0\r\n',
  'Content-Length: 5\r\n',
  'l: 1\r\n',
  'Content-Length: 99999999999\r\n',
  'Content-Length: -1\r\n',
  'Via: SIP/2.0/TCP a.example;branch=z9hG4bKx\r\n',
  'v: SIP/2.0/UDP h;branch=z9hG4bK1;rport, SIP/2.0/TCP i\r\n',
  'Route: <sip:192.0.2.1;lr>\r\n',
  'Route: <sip:192.0.2.1:5060;lr>, <sip:b@c>\r\n',
  'Record-Route: <sip:a;lr>\r\n',
  'Max-Forwards: 0\r\n',
  'Max-Forwards: 70\r\n',
  'Proxy-Require: x\r\n',
  'CSeq: 1 INVITE\r\n',
  'CSeq: 4294967296 ACK\r\n',
  'Call-ID: a\r\n',
  'i: b\r\n',
  'To: <sip:a@b>;tag=1\r\n',
  'From: "a\\"b" <sip:a@b>;tag=2\r\n',
  'Contact: *\r\n',
  'Path: <sip:p;lr>\r\n',
  'ACK ',
  'CANCEL ',
  'INVITE ',
  'REGISTER ',
  'OPTIONS ',
  'SIP/2.0',
  'SIP/2.0 200 OK\r\n',
  'SIP/2.0 100 \r\n',
  'sip:',
  'sips:',
  'tel:+1',
  ';lr',
  ';transport=tcp',
  ';maddr=1.2.3.4',
  ' \r\n x',
  '\0',
  '\x80',
  '(',
  ')',
  'z9hG4bK',
]; // prettier-ignore

const binaryWords = [
  '\0',
  '\0\0',
  '\0\0\0\0',
  '\xff\xff\xff\xff',
  '\x7f\xff\xff\xff',
  '\x80\0\0\0',
  '\0\0\0\x10',
  '\0\0\0\x01',
  '\x01',
  '\0\0\0\x15',
]; // prettier-ignore

/** RFC 4475's, as the npm package sip has them. */
function tortureMessages(): Buffer[] {
  const folder = new URL('../../node_modules/sip/test/messages/', import.meta.url);
  return readdirSync(folder).map((file) => readFileSync(new URL(file, folder)));
}

// biome-ignore lint/suspicious/noExplicitAny: plugins of any options
function targetsOf(plugin: any, words: readonly string[], more: readonly Buffer[] = []): Target[] {
  const { settings } = examine(plugin, plugin.samples ?? [], {}, 0);
  return settings
    .filter(({ samples }) => samples.length > 0)
    .map((setting, index) => new Protocol(`${plugin.name}${index === 0 ? '' : `-${index + 1}`}`, setting, words, more));
}

export const protocols: readonly Target[] = [
  ...targetsOf(ndjson, jsonWords),
  ...targetsOf(lengthPrefixed, binaryWords),
  ...targetsOf(sip, sipWords, tortureMessages()),
];
