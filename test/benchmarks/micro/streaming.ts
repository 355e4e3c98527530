/**
 * Long messages that arrive in pieces: what a byte costs must depend neither on the message's length nor on the pieces'.
 * `framer` is the plugin's `frame` alone, called as the core calls it; `pair` is a request and its answer on their whole
 * way, both arriving in such pieces, with what the core copies to keep and to forward them.
 */
import { Form, type Protocol } from '../dialects.ts';
import { aligned } from '../report.ts';
import { Scan } from './built.ts';
import { cpuOf } from './cpu.ts';
import { deliver, Rig } from './rig.ts';

const kibi = 1024;
const cases: readonly (readonly [messageBytes: number, pieceBytes: number])[] = [
  ...[64, 256, 1024].flatMap((message) => [1, 16, 64].map((piece) => [message * kibi, piece * kibi] as const)),
  [4 * kibi, 4 * kibi],
  [4 * kibi, 1],
];
const samples = 12;
const sampleMs = 20;

export async function measureStreaming(protocol: Protocol): Promise<void> {
  const rows = [[`${protocol}: bytes`, 'pieces of', 'framer ns/byte', 'pair ns/byte']];
  for (const [messageBytes, pieceBytes] of cases) {
    const rig = await Rig.start(protocol, { clients: 1, window: 1, messageBytes });
    const [framer, pair] = cpuOf(
      [framing(rig, pieceBytes), streaming(rig, messageBytes, pieceBytes)],
      samples,
      sampleMs,
    );
    const perByte = [framer!, pair!].map(({ leastNanoseconds }) => leastNanoseconds.toFixed(3));
    rows.push([String(messageBytes), String(pieceBytes), ...perByte]);
  }
  console.log(aligned(rows));
}

/** Bytes of one request, framed as it grows. */
function framing({ callers, taps, scope }: Rig, pieceBytes: number) {
  const [{ client, batch }] = callers as [Rig['callers'][number]];
  const request = Buffer.from(batch.next());
  // A view of what has arrived each time, as the core's memory ends soon behind it too.
  const arrived: Buffer[] = [];
  for (let end = pieceBytes; end < request.length; end += pieceBytes) arrived.push(request.subarray(0, end));
  arrived.push(request);
  const frame = taps.frame[0]!;
  const scan = new Scan('client', client, scope.listener.limits);
  const body = () => {
    scan.resume = 0;
    for (let i = 0; i < arrived.length; i++) {
      const bytes = arrived[i]!;
      const framed = frame(bytes, 0, bytes.length, scan);
      if (typeof framed === 'number') return; // from now on the core only counts bytes
      if (framed !== 'more') throw new Error(`answered ${JSON.stringify(framed)}`);
    }
    throw new Error('the message has no end');
  };
  return { count: request.length, body };
}

/** Bytes of requests and answers, all the way. */
function streaming({ callers, dialect, wires }: Rig, messageBytes: number, pieceBytes: number) {
  const [{ socket }] = callers as [Rig['callers'][number]];
  const request = new Form(dialect.pieces(0).fresh, dialect.placeholder);
  const feed = (handler: typeof socket.handler, bytes: Buffer) => {
    for (let at = 0; at < bytes.length; at += pieceBytes) {
      deliver(handler, bytes.subarray(at, at + pieceBytes));
    }
    wires.endTurn();
  };
  let sequence = 100;
  const body = () => {
    request.sequence = sequence;
    request.dialog = sequence++;
    feed(socket.handler, request.bytes);
    for (const link of wires.links) {
      const bytes = link.take();
      if (bytes.length === 0) continue;
      dialect.answer(bytes, 0);
      feed(link.handler, bytes);
    }
    if (socket.take().length < messageBytes / 2) throw new Error('there was no answer');
  };
  return { count: 2 * request.bytes.length, body };
}
