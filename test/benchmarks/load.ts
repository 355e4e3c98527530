/**
 * The load generator, a process of its own: node --import tsx load.ts PROTOCOL. Runs what it is ordered to, one order at a time: so many clients, each with so many requests outstanding, each answer at once followed by the next request.
 * What one read has brought is answered with one write, and no message becomes a string: it must not be what is measured.
 */
import { once } from 'node:events';
import net from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  backendDigits,
  clientDigits,
  type Dialect,
  dialectOf,
  Form,
  type Protocol,
  readDigits,
  sequenceDigits,
} from './dialects.ts';
import { Latencies } from './latencies.ts';
import { cpuMicroseconds, residentKibibytes, treeOf } from './processes.ts';

export interface Order {
  readonly port: number;
  readonly clients: number;
  /** Requests outstanding for each client. */
  readonly window: number;
  /** Pairs per second of all clients together; undefined: as fast as answers come. */
  readonly pairsPerSecond?: number | undefined;
  /** How long requests are (0: as is usual in the protocol). */
  readonly messageBytes: number;
  /** The first of so many requests names nobody; the others carry the identifier that its answer has brought. */
  readonly dialogMessages: number;
  readonly warmSeconds: number;
  readonly seconds: number;
  /** The balancer's first process. */
  readonly pid: number;
}

export interface Measured {
  /** Requests answered while it was measured. */
  readonly pairs: number;
  readonly cpuMicrosecondsPerPair: number;
  readonly pairsPerSecond: number;
  readonly p50Milliseconds: number;
  readonly p99Milliseconds: number;
  readonly p999Milliseconds: number;
  readonly residentKibibytes: number;
  /** Of all requests, those of the warm-up too. Must all be 0. */
  readonly faults: Faults;
}

export interface Faults {
  /** Requests without an answer. */
  lost: number;
  /** Answers to what had been answered before. */
  duplicated: number;
  /** Answers that are another client's, or unreadable, or do not repeat what the request had in their place. */
  misrouted: number;
  /** Answers from another backend than the one that the request's identifier names. */
  unsticky: number;
}

const readBytes = 65_536;
/** Compilers need that many messages, however slow the machine is; and how long those are waited for. */
const warmPairs = 20_000;
const longestWarmMs = 5000;
/** How long late answers are waited for. */
const drainMs = 3000;
const connectedAtOnce = 100;

/** One outstanding request at a time. */
class Slot {
  /** Of the request that is out, or is next. Slots of one client have different ones: each counts on by the window. */
  sequence: number;
  isOut = false;
  sentAtMs = 0;
  /** How many more requests carry the identifier. */
  left = 0;
  /** Who has answered the last request without identifier; 0: nobody yet. */
  named = 0;
  readonly fresh: Form;
  readonly #pieces: ReturnType<Dialect['pieces']>;
  #identifierBytes: number;
  #sticky: Form;

  constructor(dialect: Dialect, client: number, index: number) {
    this.sequence = index;
    this.#pieces = dialect.pieces(client);
    this.#identifierBytes = dialect.placeholder.length;
    this.fresh = new Form(this.#pieces.fresh, dialect.placeholder);
    this.#sticky = new Form(this.#pieces.sticky, dialect.placeholder);
  }

  /** The next request. */
  next(): Buffer {
    const form = this.left > 0 ? this.#sticky : this.fresh;
    if (this.left === 0) {
      this.named = 0;
      this.#sticky.dialog = this.fresh.dialog = this.sequence;
    }
    form.sequence = this.sequence;
    return form.bytes;
  }

  learn(identifier: Buffer | undefined): void {
    if (identifier === undefined) return;
    if (identifier.length === this.#identifierBytes) {
      this.#sticky.identifier = identifier;
      return;
    }
    this.#identifierBytes = identifier.length;
    this.#sticky = new Form(this.#pieces.sticky, identifier);
    this.#sticky.dialog = this.sequence;
  }
}

/** All clients of one order. */
class Load {
  readonly dialect: Dialect;
  readonly order: Order;
  readonly faults: Faults = { lost: 0, duplicated: 0, misrouted: 0, unsticky: 0 };
  readonly waiting: { caller: Caller; slot: Slot; dueMs: number }[] = [];
  latencies = new Latencies();
  pairs = 0;
  /** Answers are followed by no further requests: before the load begins, and once it ends. */
  held = true;
  readonly intervalMs: number;

  constructor(dialect: Dialect, order: Order) {
    this.dialect = dialect;
    this.order = order;
    const { pairsPerSecond, clients, window } = order;
    this.intervalMs = pairsPerSecond === undefined ? 0 : (1000 * clients * window) / pairsPerSecond;
  }

  /** Sends what is due, in every turn of the event loop: a timer of Node.js would come late and for many at once. */
  readonly pace = (): void => {
    const now = performance.now();
    while (this.waiting.length > 0 && this.waiting[0]!.dueMs <= now) {
      const { caller, slot } = this.waiting.shift()!;
      caller.ask(slot, now);
      caller.flush();
    }
    if (!this.held) setImmediate(this.pace);
  };
}

const readBuffer = Buffer.allocUnsafeSlow(readBytes);

class Caller {
  readonly #load: Load;
  readonly #number: number;
  readonly #slots: Slot[];
  readonly #socket: net.Socket;
  #out = Buffer.allocUnsafeSlow(4096);
  #outBytes = 0;
  #rest: Buffer | undefined;

  constructor(load: Load, number: number) {
    const { port, window } = load.order;
    this.#load = load;
    this.#number = number;
    this.#slots = Array.from({ length: window }, (_, index) => new Slot(load.dialect, number, index));
    const onread = { buffer: readBuffer, callback: (count: number) => this.#receive(count) };
    this.#socket = net.connect({ port, host: '127.0.0.1', noDelay: true, onread });
    this.#socket.on('error', () => {}); // what it owes is lost, and counted
  }

  async connected(): Promise<void> {
    if (this.#socket.connecting) await once(this.#socket, 'connect');
  }

  /** Sends one request. */
  async greet(): Promise<void> {
    await this.connected();
    this.ask(this.#slots[0]!, performance.now());
    this.flush();
  }

  start(): void {
    for (const slot of this.#slots) this.ask(slot, performance.now());
    this.flush();
  }

  ask(slot: Slot, now: number): void {
    const request = slot.next();
    if (this.#outBytes + request.length > this.#out.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(2 * this.#out.length, this.#outBytes + request.length));
      this.#out.copy(larger, 0, 0, this.#outBytes);
      this.#out = larger;
    }
    request.copy(this.#out, this.#outBytes);
    this.#outBytes += request.length;
    slot.isOut = true;
    slot.sentAtMs = now;
  }

  flush(): void {
    if (this.#outBytes === 0) return;
    this.#socket.write(this.#out.subarray(0, this.#outBytes));
    this.#outBytes = 0;
    if (this.#socket.writableLength > 0) this.#out = Buffer.allocUnsafeSlow(this.#out.length); // it still needs the other
  }

  get outstanding(): number {
    return this.#slots.filter((slot) => slot.isOut).length;
  }

  close(): void {
    this.#socket.destroy();
  }

  #receive(count: number): boolean {
    const arrived = readBuffer.subarray(0, count);
    const bytes = this.#rest === undefined ? arrived : Buffer.concat([this.#rest, arrived]);
    const now = performance.now();
    const { dialect } = this.#load;
    let at = 0;
    for (let end = dialect.endOf(bytes, 0); end > 0; end = dialect.endOf(bytes, at)) {
      this.#answered(bytes, at, end, now);
      at = end;
    }
    this.#rest = at < bytes.length ? Buffer.from(bytes.subarray(at)) : undefined;
    this.flush();
    return true;
  }

  #answered(bytes: Buffer, start: number, end: number, now: number): void {
    const load = this.#load;
    const { dialect, faults } = load;
    const labelAt = end - dialect.labelFromEnd;
    const sequenceAt = labelAt + clientDigits;
    const sequence = readDigits(bytes, sequenceAt, sequenceDigits);
    const answeredBy = readDigits(bytes, sequenceAt + sequenceDigits, backendDigits);
    const slot = this.#slots[sequence % this.#slots.length];
    if (
      slot === undefined ||
      labelAt < start ||
      readDigits(bytes, labelAt, clientDigits) !== this.#number ||
      readDigits(bytes, end - dialect.echoFromEnd, sequenceDigits) !== sequence
    ) {
      faults.misrouted++;
      return;
    }
    if (!slot.isOut || slot.sequence !== sequence) {
      faults.duplicated++;
      return;
    }
    slot.isOut = false;
    load.pairs++;
    load.latencies.add(now - slot.sentAtMs);
    if (slot.left > 0) {
      if (slot.named !== answeredBy) faults.unsticky++;
      slot.left--;
    } else {
      slot.named = answeredBy;
      slot.learn(dialect.learn(bytes, start, end));
      // The first dialogs have different lengths, lest all clients begin theirs at once.
      const { dialogMessages } = load.order;
      const isFirst = sequence < this.#slots.length;
      slot.left = isFirst ? (this.#number + sequence) % dialogMessages : dialogMessages - 1;
    }
    slot.sequence += this.#slots.length;
    if (load.held) return;
    const dueMs = slot.sentAtMs + load.intervalMs;
    if (dueMs <= now) this.ask(slot, now);
    else load.waiting.push({ caller: this, slot, dueMs });
  }
}

async function run(order: Order): Promise<Measured> {
  const load = new Load(dialectOf(protocol, order.messageBytes), order);
  const callers: Caller[] = [];
  const outstanding = () => callers.reduce((sum, caller) => sum + caller.outstanding, 0);
  const settled = async () => {
    for (const deadline = performance.now() + drainMs; outstanding() > 0 && performance.now() < deadline; )
      await sleep(5);
  };
  // Each client has had an answer before the load begins: a busy event loop accepts one connection in a turn.
  for (let number = 0; number < order.clients; number += connectedAtOnce) {
    const some = Math.min(connectedAtOnce, order.clients - number);
    for (let i = 0; i < some; i++) callers.push(new Caller(load, number + i));
    await Promise.all(callers.slice(number).map((caller) => caller.greet()));
    await settled();
  }
  load.held = false;
  for (const caller of callers) caller.start();
  if (load.intervalMs > 0) load.pace();
  await sleep(1000 * order.warmSeconds);
  for (const deadline = performance.now() + longestWarmMs; load.pairs < warmPairs && performance.now() < deadline; )
    await sleep(10);

  const pids = treeOf(order.pid);
  load.latencies = new Latencies();
  const pairsBefore = load.pairs;
  const cpuBefore = cpuMicroseconds(pids);
  const startMs = performance.now();
  await sleep(1000 * order.seconds);
  const cpu = cpuMicroseconds(pids) - cpuBefore;
  const pairs = load.pairs - pairsBefore;
  const elapsedMs = performance.now() - startMs;
  const { latencies } = load;
  const resident = residentKibibytes(pids);

  load.held = true;
  await settled();
  load.faults.lost = outstanding();
  for (const caller of callers) caller.close();
  return {
    pairs,
    cpuMicrosecondsPerPair: cpu / pairs,
    pairsPerSecond: (1000 * pairs) / elapsedMs,
    p50Milliseconds: latencies.quantile(0.5),
    p99Milliseconds: latencies.quantile(0.99),
    p999Milliseconds: latencies.quantile(0.999),
    residentKibibytes: resident,
    faults: load.faults,
  };
}

const protocol = process.argv[2] as Protocol;
process.on('message', (order: Order) => {
  run(order).then((measured) => process.send!(measured));
});
