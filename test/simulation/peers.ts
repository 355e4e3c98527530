/** The clients and backends of the simulation: they write, read, and report everything to the ledger. */
import type { VirtualPeer } from '../../core/runtime/virtual.ts';
import type { Dialect, Handle } from './dialects.ts';
import { type Ledger, type Sent, Violation } from './ledger.ts';

/** One seeded source for all that is left to chance. */
export class Chance {
  readonly next: () => number;

  constructor(next: () => number) {
    this.next = next;
  }

  /** A whole number from 0 up to `limit`, without it. */
  below(limit: number): number {
    return Math.floor(this.next() * limit);
  }

  percent(percent: number): boolean {
    return this.next() * 100 < percent;
  }

  pick<Item>(items: readonly Item[]): Item {
    return items[this.below(items.length)]!;
  }
}

export type Note = (what: string) => void;

/** Cuts bytes into pieces, anywhere. */
function pieces(bytes: Buffer, chance: Chance): Buffer[] {
  const cuts = Array.from({ length: chance.below(4) }, () => chance.below(bytes.length + 1)).sort((a, b) => a - b);
  return [0, ...cuts].map((from, index) => bytes.subarray(from, cuts[index] ?? bytes.length));
}

/** One end of a connection: takes whole messages out of what arrives. */
abstract class End {
  readonly peer: VirtualPeer;
  readonly dialect: Dialect;
  readonly ledger: Ledger;
  /** It has reset the connection, so nothing that arrives counts. */
  gone = false;
  ended = false;

  constructor(peer: VirtualPeer, dialect: Dialect, ledger: Ledger) {
    this.peer = peer;
    this.dialect = dialect;
    this.ledger = ledger;
    peer.onBytes = (bytes) => this.#onBytes(bytes);
  }

  get open(): boolean {
    return !this.gone && !this.peer.closed;
  }

  /** Half-closes. */
  end(): void {
    this.ended = true;
    this.peer.end();
  }

  reset(): void {
    this.gone = true;
    this.peer.reset();
  }

  #onBytes(bytes: Buffer): void {
    this.peer.chunks.length = 0;
    if (this.gone) return;
    let rest = bytes;
    for (let length = this.#frame(rest); length > 0; length = this.#frame(rest)) {
      this.onMessage(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
    // The balancer writes whole messages only.
    if (rest.length > 0) throw new Violation(`part of a message: ${JSON.stringify(rest.toString('latin1'))}`);
  }

  /** What the transport has delimited need not say where it ends. */
  #frame(bytes: Buffer): number {
    return this.dialect.frame(bytes) || (this.peer.socket.delimits ? bytes.length : 0);
  }

  /** @param message whole, and of the memory of somebody else */
  protected abstract onMessage(message: Buffer): void;
}

export class SimulatedClient extends End {
  readonly id: number;
  readonly #note: Note;
  readonly #delimits: boolean;
  /** What names backends, by their names. */
  readonly handles: { readonly backend: string; readonly handle: Handle }[] = [];
  /** The rest of a message that has begun. */
  tail: Buffer = Buffer.alloc(0);
  #numbers = 0;
  /** Its requests that were sent in whole. */
  readonly requests: string[] = [];

  constructor(id: number, peer: VirtualPeer, dialect: Dialect, ledger: Ledger, note: Note) {
    super(peer, dialect, ledger);
    this.id = id;
    this.#note = note;
    this.#delimits = peer.socket.delimits;
  }

  /** A new request; answers its bytes. */
  compose(how: 'free' | 'named' | 'forged', chance: Chance): Buffer {
    const number = ++this.#numbers;
    const label = `c${this.id}.${number}`;
    const known = how === 'free' || this.handles.length === 0 ? undefined : chance.pick(this.handles);
    const forged = how === 'forged' && known !== undefined ? this.dialect.forge(known.handle) : undefined;
    this.ledger.send(label, {
      client: this.id,
      number,
      backend: forged === undefined ? known?.backend : undefined,
      forged: forged !== undefined,
    });
    this.requests.push(label);
    this.#note(`client ${this.id} sends ${label}${known ? ` for ${known.backend}` : ''}${forged ? ', forged' : ''}`);
    return this.dialect.request(label, number, forged ?? known?.handle);
  }

  /** Sends what is left of a message that has begun, and these messages; maybe not the end of the last one. */
  write(messages: readonly Buffer[], chance: Chance): void {
    if (this.#delimits) {
      for (const message of messages) this.peer.send(message);
      return;
    }
    const bytes = Buffer.concat([this.tail, ...messages]);
    const kept = chance.percent(15) ? chance.below(bytes.length + 1) : 0;
    this.tail = bytes.subarray(bytes.length - kept);
    for (const piece of pieces(bytes.subarray(0, bytes.length - kept), chance)) this.peer.send(piece);
  }

  /** Half-closes, with nothing left to say: who has half-closed can say no more, and what it had begun is lost when it resets. */
  override end(): void {
    if (!this.ended) this.finish();
    super.end();
  }

  /** Ends what it has begun. */
  finish(): void {
    if (this.tail.length > 0 && !this.ended) this.peer.send(this.tail);
    this.tail = Buffer.alloc(0);
  }

  /** It reads, and the balancer has not closed its side. */
  get reads(): boolean {
    return this.open && !this.peer.paused && !this.peer.ended;
  }

  /** Its requests that have neither reached a backend nor been refused. */
  get missing(): number {
    const { ledger } = this;
    return this.requests.filter((request) => ledger.whereIs(request) === undefined && !ledger.isRefused(request))
      .length;
  }

  protected override onMessage(message: Buffer): void {
    const read = this.dialect.read(message);
    if (read.kind === 'garbage') return;
    if (read.kind === 'request') throw new Violation(`client ${this.id} got the request ${read.label}`);
    if (read.kind === 'refusal') {
      // What was malformed has no number.
      if (read.number !== undefined && read.number > 0) this.ledger.refuse(`c${this.id}.${read.number}`);
      else this.ledger.refusals++;
      this.#note(`client ${this.id} is refused ${read.number ?? ''}`);
      return;
    }
    const request = this.ledger.arrive(read, this.id);
    this.#note(`client ${this.id} gets ${read.label}`);
    const backend = this.ledger.whereIs(request)!;
    if (read.handle !== undefined) {
      if (this.handles.length === 8) this.handles.shift();
      this.handles.push({ backend, handle: read.handle });
    }
  }
}

/** A link, as its backend sees it. */
export class SimulatedLink extends End {
  readonly backend: SimulatedBackend;
  readonly address: string;
  /** Requests that it has not answered yet. */
  readonly waiting: { readonly label: string; readonly bytes: Buffer; readonly opened: number }[] = [];
  /** By client: the last of its requests that named this backend, and of those that named none. */
  readonly #lastNamed = new Map<number, number>();
  readonly #lastFree = new Map<number, number>();
  /** For each write on its way: how many requests had got ids of the balancer's own by then. */
  readonly #opened: number[] = [];
  #openedThen = 0;

  constructor(backend: SimulatedBackend, address: string, peer: VirtualPeer) {
    super(peer, backend.dialect, backend.ledger);
    this.backend = backend;
    this.address = address;
    const { socket, onBytes } = peer;
    const { write } = socket;
    socket.write = (bytes, ends) => {
      for (let writes = socket.delimits ? ends.length : 1; writes > 0; writes--) this.#opened.push(this.ledger.opened);
      return write.call(socket, bytes, ends);
    };
    peer.onBytes = (bytes) => {
      this.#openedThen = this.#opened.shift()!;
      onBytes!(bytes);
    };
  }

  get works(): boolean {
    return this.open && !this.ended && !this.peer.ended;
  }

  protected override onMessage(message: Buffer): void {
    const read = this.dialect.read(message);
    if (read.kind !== 'request') {
      // Nobody but clients sends such; what they send as garbage must have been refused.
      throw new Violation(`${this.backend.name} got what is no request: ${message.toString('latin1')}`);
    }
    const sent = this.ledger.deliver(read, this.backend.name, this);
    this.backend.note(`${this.backend.name} gets ${read.label}`);
    this.#checkOrder(read.label, sent);
    this.waiting.push({ label: read.label, bytes: Buffer.from(message), opened: this.#openedThen });
    if (this.backend.isEager) this.answer(this.waiting.length - 1, 1);
  }

  #checkOrder(label: string, sent: Sent): void {
    const { name } = this.backend;
    const isNamed = sent.backend === name;
    const lasts = isNamed ? this.#lastNamed : this.#lastFree;
    const last = lasts.get(sent.client) ?? 0;
    lasts.set(sent.client, Math.max(last, sent.number));
    if (sent.number > last) return;
    // Others may have waited for another backend first, and come here when that could not be reached, or this one has moved.
    const mayBeLate = !isNamed || this.ledger.rechooses || this.ledger.mayReplay(label);
    if (!mayBeLate || this.ledger.isMisplaced(sent)) {
      throw new Violation(`${label} has reached ${name} after number ${last} of its client`);
    }
  }

  /** Answers one of the waiting requests, that many times. */
  answer(index: number, times: number): void {
    const [request] = this.waiting.splice(index, 1);
    if (this.ledger.isTooLate(request!)) return;
    for (let i = 0; i < times; i++) {
      const label = `${request!.label}/${this.backend.serial++}`;
      this.ledger.answer(label);
      this.backend.note(`${this.backend.name} answers ${label}`);
      this.peer.send(this.dialect.answer(request!.bytes, label));
    }
  }

  /** Sends a piece of an answer only. */
  answerInPart(chance: Chance): void {
    const request = this.waiting.shift();
    if (request === undefined) return;
    const bytes = this.dialect.answer(request.bytes, `${request.label}/cut`);
    // What the transport has delimited may be whole without the byte that ends it on a stream.
    const shorterThan = this.peer.socket.delimits ? bytes.length - 1 : bytes.length;
    this.peer.send(bytes.subarray(0, chance.below(shorterThan)));
  }
}

export class SimulatedBackend {
  readonly name: string;
  readonly dialect: Dialect;
  readonly ledger: Ledger;
  readonly note: Note;
  verdict: 'accept' | 'refuse' | 'hang' = 'accept';
  /** What becomes of the connections that checks open. */
  checkVerdict: 'accept' | 'refuse' | 'hang' = 'accept';
  /** It answers at once. */
  isEager = false;
  serial = 0;
  #links: SimulatedLink[] = [];

  constructor(name: string, dialect: Dialect, ledger: Ledger, note: Note) {
    this.name = name;
    this.dialect = dialect;
    this.ledger = ledger;
    this.note = note;
  }

  /** @param address the one of its addresses that was connected to */
  accept(address: string, peer: VirtualPeer): 'accept' | 'refuse' | 'hang' {
    if (this.verdict === 'accept') this.#links.push(new SimulatedLink(this, address, peer));
    return this.verdict;
  }

  /** Those that are open. */
  get links(): readonly SimulatedLink[] {
    if (this.#links.some(({ open }) => !open)) this.#links = this.#links.filter(({ open }) => open);
    return this.#links;
  }
}
