/**
 * The messages of RFC 4475 (as the npm package `sip` has them), over TCP: what becomes of each, and why. Each is sent whole, cut in
 * two everywhere and byte by byte, and meanwhile another client is served over the same link.
 */
import { createRequire } from 'node:module';
import { isDeepStrictEqual } from 'node:util';
import { describe, expect, it } from 'vitest';
import sip from '../../../../plugins/protocols/sip/index.ts';
import hashing from '../../../../plugins/strategies/hashing.ts';
import type { Rig } from '../../../support/embedded.ts';
import { tortureMessage, tortureNames } from './rfc4475.ts';
import { bytesOf, parse, request, respond, type SipMessage, sipRig } from './ua.ts';

type Fate =
  /** So many messages reach the backend. */
  | `${number} forwarded`
  /** The client gets a reply with that status from us. */
  | `refused with ${number}`
  | `answered with ${number}`
  /** The same, and the connection is closed, as nobody can tell where the next message begins. */
  | `refused with ${number}, closed`
  | 'closed'
  /** It goes nowhere, and its sender hears nothing. */
  | `discarded: ${string}`
  /** The message is not whole, and when it has not become so for long the connection is closed. */
  | 'waits';

const table: readonly [file: string, section: string, fate: Fate, why: string][] = [
  ['wsinv', '3.1.1.1', '1 forwarded', 'folds, blanks and compact names are legal'],
  ['intmeth', '3.1.1.2', 'refused with 400', 'a legal header name for which Kamailio closes the link that all share'],
  ['esc01', '3.1.1.3', '1 forwarded', 'what is escaped is not looked into'],
  ['escnull', '3.1.1.4', '1 forwarded', 'an escaped NUL is no NUL'],
  ['esc02', '3.1.1.5', 'refused with 400', 'the same; its method would be passed on'],
  ['lwsdisp', '3.1.1.6', '1 forwarded', 'no blank is needed before the bracket'],
  ['longreq', '3.1.1.7', '1 forwarded', 'long values are legal'],
  ['dblreq', '3.1.1.8', '2 forwarded', 'on a stream the second is a message too; what is behind it is none'],
  ['semiuri', '3.1.1.9', '1 forwarded', 'a user may hold semicolons'],
  ['transports', '3.1.1.10', '1 forwarded', 'a Via may name any transport'],
  ['mpart01', '3.1.1.11', '1 forwarded', 'a body is opaque, NUL and all'],
  ['unreason', '3.1.1.12', 'discarded: not-our-via', 'it answers nothing that we have sent'],
  ['noreason', '3.1.1.13', 'discarded: not-our-via', 'the same; an empty reason phrase is legal'],
  ['badinv01', '3.1.2.1', 'discarded: malformed', 'its Via is malformed, so no reply can carry it'],
  ['clerr', '3.1.2.2', 'waits', 'the body is shorter than Content-Length says'],
  ['ncl', '3.1.2.3', 'refused with 400, closed', 'a negative Content-Length'],
  ['scalar02', '3.1.2.4', 'refused with 400', 'CSeq is beyond 2^31'],
  ['scalarlg', '3.1.2.5', 'discarded: malformed', 'a response gets no reply'],
  ['quotbal', '3.1.2.6', 'discarded: malformed', 'the quote in To does not end: no reply can carry it'],
  ['ltgtruri', '3.1.2.7', 'refused with 400', 'a Request-URI in angle brackets'],
  ['lwsruri', '3.1.2.8', 'refused with 400', 'a blank in the Request-URI'],
  ['lwsstart', '3.1.2.9', 'refused with 400', 'two blanks in the request line'],
  ['trws', '3.1.2.10', 'refused with 400', 'blanks behind the request line'],
  ['escruri', '3.1.2.11', '1 forwarded', 'headers in a Request-URI are not obeyed; the server knows if it bears them'],
  ['baddate', '3.1.2.12', '1 forwarded', 'Date is not for us to read'],
  ['regbadct', '3.1.2.13', '1 forwarded', 'neither is Contact'],
  ['badaspec', '3.1.2.14', 'discarded: malformed', 'blanks around the URI in To: no reply can carry it'],
  ['baddn', '3.1.2.15', 'discarded: malformed', 'a comma in a display name without quotes: no reply can carry it'],
  ['badvers', '3.1.2.16', 'refused with 505', 'version 7.0'],
  ['mismatch01', '3.1.2.17', 'refused with 400', 'CSeq names another method'],
  ['mismatch02', '3.1.2.18', 'refused with 400', 'the same, of an unknown method'],
  ['bigcode', '3.1.2.19', 'discarded: malformed', 'a status beyond 699'],
  ['badbranch', '3.2.1', '1 forwarded', 'with a branch of our own made of more than the magic cookie'],
  ['insuf', '3.3.1', 'discarded: malformed', 'without From, To and Call-ID there is no reply'],
  ['unkscm', '3.3.2', 'refused with 416', 'an unknown scheme'],
  ['novelsc', '3.3.3', 'refused with 416', 'a known scheme that is not for SIP'],
  ['unksm2', '3.3.4', '1 forwarded', 'an unknown scheme in To is for the registrar to judge'],
  ['bext01', '3.3.5', 'refused with 420', 'it requires of proxies what we do not know'],
  ['invut', '3.3.6', '1 forwarded', 'the type of a body is for the server to judge'],
  ['regaut01', '3.3.7', '1 forwarded', 'so are credentials'],
  ['multi01', '3.3.8', 'refused with 400', 'two From, and more'],
  ['mcl01', '3.3.9', 'refused with 400, closed', 'two Content-Length'],
  ['bcast', '3.3.10', 'discarded: not-our-via', 'a response with the Via of another on top'],
  ['zeromf', '3.3.11', 'answered with 200', 'OPTIONS without hops ends here'],
  ['cparam01', '3.3.12', '1 forwarded', 'unknown parameters of Contact'],
  ['cparam02', '3.3.13', '1 forwarded', 'the same, of its URI'],
  ['regescrt', '3.3.14', '1 forwarded', 'escaped headers in Contact'],
  ['sdp01', '3.3.15', '1 forwarded', 'what Accept says is for the server'],
  ['inv2543', '3.4.1', 'refused with 400, closed', 'on a stream Content-Length is needed (section 18.3 of RFC 3261)'],
  ['badcseq', 'of the package', 'discarded: malformed', 'CSeq has no number, and no reply can carry it'],
  ['test', 'of the package', 'closed', 'a request line without a version is not SIP'],
];

/** Peers of a rig keep all they get, so it is replaced now and then. */
const waysAtOnce = 50;

/** Another client, whose OPTIONS the backend answers over the link that all share. */
class Bystander {
  readonly #rig: Rig;
  readonly #client: ReturnType<Rig['client']>;
  #discardedFor: Readonly<Record<string, number>> = {};
  asked = 0;
  answered = 0;

  constructor(rig: Rig) {
    this.#rig = rig;
    this.#client = rig.client('198.51.100.2');
  }

  /** The reasons for which messages have been discarded since this was called last. */
  newlyDiscarded(): string[] {
    const { discardedFor } = this.#rig.stats().fromClients;
    const before = this.#discardedFor;
    this.#discardedFor = discardedFor;
    return Object.keys(discardedFor).filter((why) => discardedFor[why] !== before[why]);
  }

  /** Asks; answers what else had arrived at the backend before. */
  ask(): SipMessage[] {
    this.#client.send(request('OPTIONS', { callId: `bystander-${this.asked++}`, branch: `z9hG4bKb${this.asked}` }));
    const arrived = this.#rig.backends[0]!.links.length === 0 ? [] : parse(this.#rig.backend('a').text());
    const own = arrived.pop()!;
    this.#rig.backend('a').link.send(respond(own, '200 OK', 'b'));
    if (this.#client.text().startsWith('SIP/2.0 200 OK\r\n')) this.answered++;
    return arrived;
  }
}

/** What becomes of bytes on a connection of their own. */
function fateOf(rig: Rig, bystander: Bystander, pieces: readonly Uint8Array[]) {
  const client = rig.client();
  const forwarded: SipMessage[] = [];
  for (const [i, piece] of pieces.entries()) {
    client.send(piece);
    if (i === 0) forwarded.push(...bystander.ask());
  }
  forwarded.push(...parse(rig.backend('a').text()));
  const { ended } = client;
  const reply = client.text();
  client.end();
  const discarded = bystander.newlyDiscarded();
  client.reset();
  return { forwarded: forwarded.map(plain), reply: reply.replace(/rport=\d+/g, 'rport=1'), ended, discarded };
}

/** Connections differ in their tokens and ports. */
function plain(message: SipMessage): string {
  return JSON.stringify(message)
    .replace(/pm=[a-z2-7]+/g, 'pm=token')
    .replace(/rport=\d+/g, 'rport=1');
}

function fateIn({ forwarded, reply, ended, discarded }: ReturnType<typeof fateOf>): Fate {
  const status = /^SIP\/2\.0 (\d+)/.exec(reply)?.[1];
  if (forwarded.length > 0) return `${forwarded.length} forwarded`;
  if (status?.startsWith('2')) return `answered with ${Number(status)}`;
  if (status !== undefined) return `refused with ${Number(status)}${ended ? ', closed' : ''}` as Fate;
  if (ended) return 'closed';
  const [reason] = discarded;
  return reason === 'cut-short' ? 'waits' : `discarded: ${reason}`;
}

it('the table has every message', () => {
  expect(table.map(([file]) => file).sort()).toEqual(tortureNames().sort());
});

describe('a message of RFC 4475', () => {
  it.each(table)(
    '%s (%s) is %s: %s',
    async (file, _section, fate) => {
      const bytes = tortureMessage(file);
      const ways = [[bytes], bytesOf(bytes)];
      for (let cut = 1; cut < bytes.length; cut++) ways.push([bytes.subarray(0, cut), bytes.subarray(cut)]);
      let expected: ReturnType<typeof fateOf> | undefined;
      for (let from = 0; from < ways.length; from += waysAtOnce) {
        const rig = await sipRig({ backends: ['a'] });
        const bystander = new Bystander(rig);
        for (const pieces of ways.slice(from, from + waysAtOnce)) {
          const found = fateOf(rig, bystander, pieces);
          expected ??= found;
          if (!isDeepStrictEqual(found, expected)) expect({ cut: pieces[0]!.length, ...found }).toEqual(expected);
        }
        expect(bystander.asked).toBeGreaterThan(0);
        expect(bystander.answered).toBe(bystander.asked);
        expect(rig.backend('a').wires).toHaveLength(1);
        expect(rig.logged.filter((entry) => 'err' in entry)).toEqual([]);
      }
      expect(fateIn(expected!)).toBe(fate);
    },
    120_000,
  );

  it.each(table.filter(([, , fate]) => fate.endsWith('forwarded')))(
    '%s leaves as messages that others read alike: each with one Content-Length, unfolded',
    async (file, _section, fate) => {
      const rig = await sipRig({ backends: ['a'] });
      rig.client().send(tortureMessage(file));
      const text = rig.backend('a').text();
      const messages = parse(text);
      expect(`${messages.length} forwarded`).toBe(fate);
      for (const message of messages) {
        const lengths = message.headers.filter(([name]) => /^(content-length|l)\s*$/i.test(name));
        expect(lengths).toEqual([['Content-Length', String(message.body.length)]]);
        expect(message.headers.every(([name]) => /^\S/.test(name))).toBe(true);
        const raw = [message.startLine, ...message.headers.map((line) => line.join(': ')), '', message.body].join(
          '\r\n',
        );
        expect(othersParser.parse(raw)).toMatchObject({
          method: unescape(message.startLine.split(' ')[0]!),
          headers: { 'content-length': message.body.length },
          content: message.body,
        });
      }
    },
  );

  it.each(['intmeth', 'esc02'])('%s is forwarded where the operator lets clients use any header name', async (file) => {
    const rig = await sipRig({ pipeline: [[sip, { headerNames: 'any' }], [hashing]] });
    rig.client().send(tortureMessage(file));
    expect(rig.stats().fromClients.forwarded).toBe(1);
  });

  it.each([
    ['dblreq', '1 forwarded', 'the second is surplus (section 18.3 of RFC 3261)'],
    ['clerr', 'refused with 400', 'nothing more will come'],
    ['inv2543', '1 forwarded', 'a datagram needs no Content-Length'],
    ['ncl', 'refused with 400', 'it ends where the datagram does, but claims nonsense'],
    ['mcl01', 'refused with 400', 'the same'],
    ['wsinv', '1 forwarded', 'as on a stream'],
  ])('in a datagram: %s is %s: %s', async (file, fate) => {
    const rig = await sipRig({ transport: 'udp', backends: ['a'] });
    const client = rig.client();
    client.send(tortureMessage(file));
    const reply = client.text();
    const { forwarded } = rig.stats().fromClients;
    expect(forwarded > 0 ? `${forwarded} forwarded` : `refused with ${/^SIP\/2\.0 (\d+)/.exec(reply)?.[1]}`).toBe(fate);
    client.send(request('MESSAGE'));
    expect(rig.stats().fromClients.forwarded).toBe(forwarded + 1);
  });

  it('that is not whole is waited for, until nothing has come for the idle time', async () => {
    const rig = await sipRig({ backends: ['a'], limits: { idleSeconds: 60 } });
    const client = rig.client();
    client.send(tortureMessage('clerr'));
    rig.advance(50_000);
    expect(client.ended).toBe(false);
    rig.advance(20_000);
    expect(client.ended).toBe(true);
    expect(rig.stats().fromClients.forwarded).toBe(0);
  });

  it('whose header is not whole is waited for for ten seconds', async () => {
    const rig = await sipRig({ backends: ['a'] });
    const client = rig.client();
    rig.advance(1);
    client.send(tortureMessage('wsinv').subarray(0, 300));
    rig.advance(9_000);
    expect(client.ended).toBe(false);
    rig.advance(3_000);
    expect(client.ended).toBe(true);
  });

  it('whose branch is the magic cookie alone has another branch of ours than the next like it (section 3.2.1)', async () => {
    const rig = await sipRig({ backends: ['a'] });
    const branchOf = (text: string) => {
      rig.client().send(text);
      return /branch=(z9hG4bK[0-9a-f]{16});pm/.exec(rig.backend('a').text())![1];
    };
    const text = tortureMessage('badbranch').toString('latin1');
    const branch = branchOf(text);
    expect(branchOf(text)).toBe(branch);
    expect(branchOf(text.replace('Call-ID: ', 'Call-ID: x'))).not.toBe(branch);
  });
});

interface OthersParser {
  parse(
    text: string,
  ): { method?: string; status?: number; headers: Record<string, unknown>; content: string } | undefined;
}

/** Written by others: what it finds in a message, a server may find. */
const othersParser = createRequire(import.meta.url)('sip') as OthersParser;
