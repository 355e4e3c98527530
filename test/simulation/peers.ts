/** The clients and backends of the simulation: they write, read, and report everything to the ledger. */
import type { Peer } from '../../core/peer.ts';
import type { VirtualPeer } from '../../core/runtime/virtual.ts';
import type { Dialect, Handle, Read } from './dialects.ts';
import { balancerId, type Ledger, type Sent, Violation } from './ledger.ts';

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

/** Of answers (RFC 3261 section 21). */
const ringing = 180;
const unauthorized = 401;
const noSuchTransaction = 481;
const terminated = 487;
const lastAnswers = [200, 200, 200, unauthorized, 486];

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

/** A request that begins a call, as a client has sent it, and what has come of it. */
export interface Call {
  readonly label: string;
  readonly number: number;
  readonly bytes: Buffer;
  isTakenBack: boolean;
}

/** How many calls a client has in mind, and how many requests a backend. */
const callsKept = 8;

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
  /** What else it has sent: nobody need answer that. */
  readonly remarks: string[] = [];
  /** Calls that have no answer yet. */
  readonly calls: Call[] = [];
  /** What it has to say to answers that refuse its calls. */
  readonly #owed: (() => Buffer)[] = [];
  /** What backends have asked it, and wait for. */
  #asked: { readonly label: string; readonly bytes: Buffer }[] = [];
  #answers = 0;

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
    const bytes = this.dialect.request(label, number, forged ?? known?.handle);
    this.#begin({ label, number, bytes, isTakenBack: false });
    return bytes;
  }

  #begin(call: Call): void {
    if (!this.dialect.calls?.begins(call.bytes)) return;
    if (this.calls.length === callsKept) this.calls.shift();
    this.calls.push(call);
  }

  /** What it has to say next to an answer that has refused a call of its own; undefined: nothing. */
  owed(): Buffer | undefined {
    return this.#owed.shift()?.();
  }

  /** Takes back a call, maybe one of another connection of the same user; undefined: there is none. */
  takeBack(calls: readonly Call[], chance: Chance): Buffer | undefined {
    const open = calls.filter(({ isTakenBack }) => !isTakenBack);
    if (open.length === 0) return undefined;
    const call = chance.pick(open);
    call.isTakenBack = true;
    const { label, bytes } = this.dialect.calls!.takeBack(call.bytes);
    this.#follow(label, call);
    this.requests.push(label);
    return bytes;
  }

  #follow(label: string, { label: follows, number }: Call, own: { forged?: boolean; number?: number } = {}): void {
    this.ledger.send(label, { client: this.id, number, backend: undefined, forged: false, follows, ...own });
    this.#note(`client ${this.id} sends ${label}, which follows ${follows}`);
  }

  /** A call has got its last answer: a refusal must be acknowledged, and what was not let in is tried anew. */
  #end(request: string, { status }: Read, answer: Buffer, by: 'backend' | 'balancer'): void {
    const index = this.calls.findIndex(({ label }) => label === request);
    if (index < 0 || status! < 200) return;
    const [call] = this.calls.splice(index, 1);
    if (status! < 300) return;
    const refusal = Buffer.from(answer);
    this.#owed.push(() => {
      const { label, bytes } = this.dialect.calls!.acknowledge(call!.bytes, refusal);
      this.#follow(label, call!, { forged: by === 'balancer' });
      if (by === 'backend') this.remarks.push(label);
      return bytes;
    });
    if (status === unauthorized) this.#owed.push(() => this.#tryAgain(call!));
  }

  #tryAgain(call: Call): Buffer {
    const number = ++this.#numbers;
    const label = `c${this.id}.${number}`;
    this.#follow(label, call, { number });
    this.requests.push(label);
    const bytes = this.dialect.calls!.tryAgain(call.bytes, label, number);
    this.#begin({ label, number, bytes, isTakenBack: false });
    return bytes;
  }

  /** Answers some of what backends have asked. */
  answerSome(count: number): void {
    for (const { label: asked, bytes } of this.#asked.splice(0, count)) {
      const label = `${asked}/${this.#answers++}`;
      this.ledger.answer(label);
      this.#note(`client ${this.id} answers ${label}`);
      this.remarks.push(label);
      this.finish();
      this.peer.send(this.dialect.answer(bytes, label));
    }
  }

  /** How many backends wait for its answers. */
  get asked(): number {
    return this.ended ? 0 : this.#asked.length;
  }

  forgetAsked(): void {
    this.#asked = [];
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

  /** It is connected, and the balancer does not close it. */
  get isThere(): boolean {
    return this.open && !(this.peer.socket.handler as Peer).closing;
  }

  /** Its requests that have neither reached a backend nor been refused. */
  get missing(): number {
    const { ledger } = this;
    return this.requests.filter((request) => ledger.whereIs(request) === undefined && !ledger.isRefused(request))
      .length;
  }

  /** What else it has sent, and has not arrived. */
  get missingRemarks(): number {
    return this.remarks.filter((remark) => !this.ledger.hasArrived(remark)).length;
  }

  protected override onMessage(message: Buffer): void {
    const read = this.dialect.read(message);
    if (read.kind === 'garbage') return;
    if (read.kind === 'request') {
      this.ledger.arriveAsked(read, this.id);
      this.#note(`client ${this.id} gets ${read.label}`);
      this.#asked.push({ label: read.label, bytes: Buffer.from(message) });
      return;
    }
    if (read.kind === 'refusal') {
      const request = read.label || `c${this.id}.${read.number}`;
      // What was malformed has no number.
      if (read.number !== undefined && read.number > 0) this.ledger.refuse(request, this.id, read.status);
      else this.ledger.refusals++;
      this.#note(`client ${this.id} is refused ${request}`);
      this.#end(request, read, message, 'balancer');
      return;
    }
    const request = this.ledger.arrive(read, this.id);
    this.#note(`client ${this.id} gets ${read.label}`);
    this.#end(request, read, message, 'backend');
    const backend = this.ledger.whereIs(request)!;
    if (read.handle !== undefined) {
      if (this.handles.length === 8) this.handles.shift();
      this.handles.push({ backend, handle: read.handle });
    }
  }
}

/** A request that a backend has got. */
interface Got {
  readonly label: string;
  readonly client: number;
  readonly bytes: Buffer;
  readonly opened: number;
  /** It is not answered until it is taken back. */
  readonly rings: boolean;
  /** With what it must be answered; undefined: as the backend likes. */
  status: number | undefined;
}

/** A link, as its backend sees it. */
export class SimulatedLink extends End {
  readonly backend: SimulatedBackend;
  readonly address: string;
  /** Requests that it has not answered yet. */
  readonly waiting: Got[] = [];
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
    const { backend, ledger, dialect } = this;
    const read = dialect.read(message);
    if (read.kind === 'garbage') {
      // What clients send as such must have been refused.
      throw new Violation(`${backend.name} got what is no request: ${message.toString('latin1')}`);
    }
    backend.note(`${backend.name} gets ${read.label}`);
    if (read.kind === 'answer') ledger.arriveBack(read, backend.name);
    else if (read.kind === 'refusal') ledger.refuseAsked(read, backend.name);
    else this.#onRequest(read, Buffer.from(message));
  }

  #onRequest(read: Read, bytes: Buffer): void {
    const { backend, dialect } = this;
    const { label } = read;
    const sent = this.ledger.deliver(read, backend.name, this);
    this.#checkOrder(label, sent);
    const { client } = sent;
    const got = { label, client, bytes, opened: this.#openedThen, rings: backend.rings(bytes), status: undefined };
    if (dialect.calls !== undefined) backend.remember(got, sent);
    if (dialect.calls?.isAnswered(bytes) === false) return;
    this.waiting.push(got);
    if (backend.isEager) this.answer(this.waiting.length - 1, 1);
  }

  #checkOrder(label: string, sent: Sent): void {
    if (sent.follows !== undefined) return; // others may wait for a backend, and it need not
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

  /** Answers one of the waiting requests, that many times, or says that it will. */
  answer(index: number, times: number): void {
    const { rings, status: due } = this.waiting[index]!;
    if (rings && due === undefined) {
      this.#answer(this.waiting[index]!, ringing);
      return;
    }
    const [request] = this.waiting.splice(index, 1);
    if (this.ledger.isTooLate(request!)) return;
    const status = this.backend.statusOf(request!);
    for (let i = 0; i < times; i++) this.#answer(request!, status);
  }

  #answer({ label: request, bytes }: Got, status: number | undefined): void {
    const label = `${request}/${this.backend.serial++}`;
    this.ledger.answer(label, status);
    this.backend.note(`${this.backend.name} answers ${label}${status === undefined ? '' : ` with ${status}`}`);
    this.#send(this.dialect.answer(bytes, label, status));
  }

  /** Maybe not all at once. */
  #send(bytes: Buffer): void {
    const { backend, peer } = this;
    for (const piece of peer.socket.delimits ? [bytes] : backend.cut(bytes)) peer.send(piece);
  }

  /** Asks a client something. */
  inquire({ client, bytes }: Got, forged: boolean): string {
    const { backend, dialect } = this;
    const label = `${backend.name}.${++backend.serial}`;
    const inquiry = dialect.calls!.inquiry(bytes, label);
    this.ledger.inquire(label, { backend: backend.name, client, forged, way: this });
    backend.note(`${backend.name} asks client ${client} ${label}${forged ? ', forged' : ''}`);
    this.#send(forged ? Buffer.from(dialect.forge(inquiry.toString('latin1'))!) : inquiry);
    return label;
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
  /** It lets no call ring. */
  isPrompt = false;
  serial = 0;
  /** Requests whose clients it may ask something. */
  readonly callers: Got[] = [];
  readonly #calls = new Map<string, Got>();
  readonly #chance: Chance;
  #links: SimulatedLink[] = [];

  constructor(name: string, dialect: Dialect, ledger: Ledger, note: Note, chance: Chance) {
    this.name = name;
    this.dialect = dialect;
    this.ledger = ledger;
    this.note = note;
    this.#chance = chance;
  }

  /** Keeps in mind what a request begins, and finds what one is about that follows another. */
  remember(got: Got, { follows }: Sent): void {
    const calls = this.dialect.calls!;
    const transaction = calls.transaction(got.bytes);
    if (calls.begins(got.bytes)) this.#calls.set(transaction, got);
    else if (follows !== undefined) {
      const call = this.#calls.get(transaction);
      this.ledger.match(got.label, this.name, call?.label);
      if (calls.takesBack(got.bytes)) {
        got.status = call === undefined ? noSuchTransaction : 200;
        if (call !== undefined) call.status ??= terminated;
      }
    }
    if (!calls.namesClient(got.bytes) || got.client === balancerId) return;
    if (this.callers.length === callsKept) this.callers.shift();
    this.callers.push(got);
  }

  /** The pieces in which it sends something. */
  cut(bytes: Buffer): readonly Buffer[] {
    return this.#chance.percent(30) ? pieces(bytes, this.#chance) : [bytes];
  }

  /** Whether it lets a call ring. */
  rings(request: Buffer): boolean {
    return this.dialect.calls?.begins(request) === true && !this.isPrompt && this.#chance.percent(20);
  }

  /** What to answer a request with; undefined: the protocol has no such thing. */
  statusOf({ status, bytes }: Got): number | undefined {
    const { calls } = this.dialect;
    if (calls === undefined || status !== undefined) return status;
    return calls.begins(bytes) ? this.#chance.pick(lastAnswers) : 200;
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
