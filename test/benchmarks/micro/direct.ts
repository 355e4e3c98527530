/**
 * What the pipeline is held against: the same messages through the same functions of the same plugins, in a loop written by
 * hand. Also the same as there: `Message` with its edits, exchanges, the affinity table, one chunk for all that is due to
 * one peer, written once. What it does without: hooks and guards, outcomes and counters, the journal from which queued
 * messages can be taken back, limits, back-pressure, health, times of activity, and the verification of identifiers, in
 * whose place one byte of a token that differs from backend to backend is looked at (in an answer, the label's number of
 * the client). It believes whatever it is told. The sip plugin also asks by itself which routes are its own; that it does here as well.
 */
import type { Client } from '../../../core/client.ts';
import type { Exchange } from '../../../core/exchanges.ts';
import type { Detected } from '../../../core/hooks.ts';
import type { Message as MessageType, Span } from '../../../core/message.ts';
import type { Backend } from '../../../core/pool.ts';
import { clientDigits, readDigits } from '../dialects.ts';
import { headroomBytes, Message, readMemory, Scan, takeSlab } from './built.ts';
import { type Caller, echo, type Rig, read } from './rig.ts';

/** What is due to one peer. */
class Chunk {
  #slab = takeSlab(4096);
  #length = 0;

  append(message: MessageType): void {
    const needed = this.#length + message.length + message.growth;
    if (needed > this.#slab.bytes.length) {
      const larger = takeSlab(needed);
      this.#slab.bytes.copy(larger.bytes, 0, 0, this.#length);
      this.#slab = larger;
    }
    this.#length = message.copyTo(this.#slab, this.#length);
  }

  writeTo(socket: { write(bytes: Buffer): boolean }): void {
    if (this.#length > 0) socket.write(this.#slab.bytes.subarray(0, this.#length));
    this.#length = 0;
  }
}

/** @throws Error if the bytes are more than one read, which may end within a message */
function readWhole(bytes: Buffer): number {
  const length = read(bytes);
  if (length < bytes.length) throw new Error(`${bytes.length} bytes are more than one read brings`);
  return length;
}

export class Direct {
  readonly #rig: Rig;
  readonly #message = new Message();
  readonly #chunkOf: (client: Client) => Chunk;
  readonly #chunks: readonly Chunk[];
  readonly #scans: ReadonlyMap<object, InstanceType<typeof Scan>>;
  readonly #byNumber: (Backend | undefined)[] = [];
  readonly #byByte: (Backend | undefined)[] = [];
  /** Where in tokens that byte stands. */
  readonly #distinctAt: number;

  constructor(rig: Rig) {
    const { pool, identifiers } = rig.scope;
    this.#rig = rig;
    this.#chunkOf = rig.scope.perClient(() => new Chunk());
    this.#chunks = pool.backends.map(() => new Chunk());
    const { limits } = rig.scope.listener;
    this.#scans = new Map<object, InstanceType<typeof Scan>>([
      ...rig.callers.map(({ client }) => [client, new Scan('client', client, limits)] as const),
      ...rig.links.map((link) => [link, new Scan('backend', link, limits)] as const),
    ]);
    const tokens = pool.backends.map((backend) => identifiers.ofBackend(backend).text);
    const isDistinct = (at: number) => new Set(tokens.map((token) => token[at])).size === tokens.length;
    this.#distinctAt = tokens[0]!.findIndex((_, at) => isDistinct(at));
    if (this.#distinctAt < 0) throw new Error('no byte of the tokens tells all backends apart');
    for (const [i, backend] of pool.backends.entries()) {
      this.#byByte[tokens[i]![this.#distinctAt]!] = backend;
      this.#byNumber[backend.number!] = backend;
    }
  }

  /** As `Rig.exchange`. */
  exchange(): void {
    const { callers, links, wires, dialect } = this.#rig;
    for (const caller of callers) this.#request(caller, caller.batch.next());
    for (const [i, pipe] of wires.links.entries()) {
      this.#chunks[i]!.writeTo(pipe);
      const bytes = pipe.take();
      echo(dialect, bytes);
      this.#answer(links[i]!, bytes);
    }
    for (const { client, socket } of callers) this.#chunkOf(client).writeTo(socket);
  }

  #request({ client }: Caller, arrived: Buffer): void {
    const { taps, scope, links, listener } = this.#rig;
    const { affinity } = listener.composed;
    const message = this.#message;
    const scan = this.#scans.get(client)!;
    const [frame, detectId, chooseBackend, insertId, forward] = [
      taps.frame[0]!,
      taps.detectId[0]!,
      taps.chooseBackend[0]!,
      taps.insertId[0]!,
      taps.forward[0],
    ];
    const bytes = readMemory;
    const end = headroomBytes + readWhole(arrived);
    for (let at = headroomBytes; at < end; at += message.length) {
      const length = frame(bytes, at, end, scan) as number;
      message.open(bytes, at, at + length, 'client', client);
      message.client = client;
      let backend = this.#named(message, detectId(message));
      const isNew = backend === undefined;
      if (backend === undefined) backend = affinity?.find(message) ?? chooseBackend(message, scope.pool)!;
      message.backend = backend;
      message.destination = backend;
      insertId(message, scope.identifiers.ofBackend(backend));
      const link = links[backend.index]!;
      forward?.(message, link);
      if (isNew) affinity?.remember(message, backend);
      if (message.exchange !== undefined) message.exchange.link = link;
      this.#chunks[backend.index]!.append(message);
    }
  }

  #named(message: MessageType, detected: Detected | undefined): Backend | undefined {
    if (detected === undefined) return undefined;
    if (typeof detected === 'number') return this.#byNumber[detected];
    this.#found(message, detected as Span);
    return this.#byByte[message.bytes[message.start + message.identifier.offset + this.#distinctAt]!];
  }

  #found({ identifier }: MessageType, { offset, length }: Span): void {
    identifier.offset = offset;
    identifier.length = length;
  }

  #answer(link: Rig['links'][number], arrived: Buffer): void {
    const { taps, scope, callers, listener, dialect } = this.#rig;
    const { exchanges } = listener.composed;
    const message = this.#message;
    const scan = this.#scans.get(link)!;
    const [frame, detectId, insertId, forward] = [
      taps.frame[0]!,
      taps.detectId[0]!,
      taps.insertId[0]!,
      taps.forward[0],
    ];
    const bytes = readMemory;
    const end = headroomBytes + readWhole(arrived);
    for (let at = headroomBytes; at < end; at += message.length) {
      const length = frame(bytes, at, end, scan) as number;
      message.open(bytes, at, at + length, 'backend', link);
      message.backend = link.backend;
      const detected = detectId(message);
      let client: Client;
      if (exchanges !== undefined) {
        message.exchange = detected as Exchange;
        client = message.exchange.client;
      } else {
        this.#found(message, detected as Span);
        client = callers[readDigits(bytes, message.end - dialect.labelFromEnd, clientDigits)]!.client;
      }
      message.client = client;
      message.destination = client;
      insertId(message, scope.identifiers.ofBackend(link.backend));
      forward?.(message, client);
      this.#chunkOf(client).append(message);
      if (message.exchange !== undefined) exchanges!.close(message.exchange);
    }
  }
}
