/**
 * Reconstructs from the packets of a capture what clients sent to a listener: who connected, what arrived in which order, who left.
 */
import type { Packets } from './file.ts';
import { type Segment, segmentIn } from './segment.ts';
import { type Piece, Stream } from './stream.ts';

/** The listener's address when the capture was made. */
export interface Endpoint {
  /** Undefined: at any address. */
  readonly address: string | undefined;
  readonly port: number;
}

/** One client. Over UDP, everything from one address and port. */
export interface Connection {
  /** From 1, in the order in which they sent something. */
  readonly number: number;
  readonly clientAddress: string;
  readonly clientPort: number;
  readonly listenerAddress: string;
  readonly listenerPort: number;
  /** Its beginning is not in the capture. */
  readonly startsMidStream: boolean;
}

export type ClientEvent = { readonly connection: Connection } & (
  | { readonly kind: 'bytes'; readonly timeMicros: number; readonly bytes: Buffer }
  /** Bytes that are not in the capture; `bytes` that follow come after them. */
  | { readonly kind: 'missing'; readonly missingBytes: number }
  /** The connection was closed, or forgotten because there were too many. */
  | { readonly kind: 'end' }
);

export interface CaptureFacts {
  packets: number;
  /** Packets to and from the listener by what they carry: those of the other transport are ignored. */
  listenerPackets: number;
  /** Fragments of IP packets; they may or may not be for the listener. */
  fragments: number;
  /** Packets cut short by the capture, so that bytes are missing. */
  cutPackets: number;
  /** Connections that were forgotten because there were too many at once. */
  forgottenConnections: number;
  /** Ports that packets went to, and how many: the busiest may be the one that was meant. */
  readonly ports: Map<number, number>;
  /** False: the file ends in the middle of a packet. */
  endsWhole: boolean;
}

/** How many connections are kept at once, including closed ones that late packets may belong to. */
const mostConnections = 65_536;
/** How many bytes of all connections may wait for earlier ones. */
const mostWaitingBytes = 67_108_864;

interface Entry {
  readonly stream: Stream;
  /** The number of its first byte; undefined: its beginning was not seen. */
  readonly first: number | undefined;
  connection: Connection | undefined;
  isClosed: boolean;
}

/** For one capture. */
export class Clients {
  readonly facts: CaptureFacts = {
    packets: 0,
    listenerPackets: 0,
    fragments: 0,
    cutPackets: 0,
    forgottenConnections: 0,
    ports: new Map(),
    endsWhole: true,
  };
  readonly #transport: 'tcp' | 'udp';
  readonly #endpoints: readonly Endpoint[];
  /** By both addresses and ports, the longest silent first. */
  readonly #entries = new Map<string, Entry>();
  #connections = 0;
  #waitingBytes = 0;

  /** @param endpoints where the listener was */
  constructor(transport: 'tcp' | 'udp', endpoints: readonly Endpoint[]) {
    this.#transport = transport;
    this.#endpoints = endpoints;
  }

  /** @throws CaptureError if the capture is broken */
  *events(packets: Packets): Generator<ClientEvent> {
    const { facts } = this;
    for (;;) {
      const { done, value } = packets.next();
      if (done) {
        facts.endsWhole = value;
        break;
      }
      facts.packets++;
      const segment = segmentIn(value);
      if (segment === 'fragment') facts.fragments++;
      if (typeof segment === 'string' || segment.transport !== this.#transport) continue;
      facts.ports.set(segment.toPort, (facts.ports.get(segment.toPort) ?? 0) + 1);
      const isFromClient = this.#isAt(segment.toAddress, segment.toPort);
      if (isFromClient || this.#isAt(segment.fromAddress, segment.fromPort)) facts.listenerPackets++;
      if (isFromClient) {
        if (segment.cutBytes > 0) facts.cutPackets++;
        yield* segment.transport === 'tcp'
          ? this.#segment(segment, value.timeMicros)
          : this.#datagram(segment, value.timeMicros);
      } else if (segment.rst) {
        const entry = this.#entries.get(
          keyOf(segment.toAddress, segment.toPort, segment.fromAddress, segment.fromPort),
        );
        if (entry !== undefined) yield* this.#close(entry);
      }
    }
    for (const entry of this.#entries.values()) if (!entry.isClosed) yield* this.#pieces(entry, entry.stream.rest());
  }

  #isAt(address: string, port: number): boolean {
    return this.#endpoints.some((one) => one.port === port && (one.address ?? address) === address);
  }

  /** An incomplete datagram is ignored. */
  *#datagram(segment: Segment, timeMicros: number): Generator<ClientEvent> {
    if (segment.cutBytes > 0 || segment.payload.length === 0) return;
    const key = keyOfSegment(segment);
    const entry = this.#entries.get(key) ?? this.#entry(undefined);
    entry.connection ??= this.#connect(segment, false);
    yield* this.#keep(key, entry);
    yield { kind: 'bytes', connection: entry.connection, timeMicros, bytes: segment.payload };
  }

  *#segment(segment: Segment, timeMicros: number): Generator<ClientEvent> {
    const { syn, ack, fin, rst, payload } = segment;
    const key = keyOfSegment(segment);
    const first = syn ? (segment.sequence + 1) >>> 0 : undefined;
    let entry = this.#entries.get(key);
    if (syn && ack) {
      // Whoever answers a SYN is no client.
      entry ??= this.#entry(undefined);
      entry.isClosed = true;
    } else if (entry === undefined || (syn && entry.first !== first)) {
      // The port is used again.
      if (entry !== undefined) yield* this.#close(entry);
      entry = this.#entry(first);
    }
    yield* this.#keep(key, entry);
    if (entry.isClosed) return;
    const sequence = first ?? segment.sequence;
    if (payload.length > 0) {
      entry.connection ??= this.#connect(segment, entry.first === undefined);
      yield* this.#pieces(entry, entry.stream.add(sequence, payload, timeMicros));
      while (this.#waitingBytes > mostWaitingBytes) yield* this.#pieces(entry, entry.stream.skip());
    }
    if (fin) entry.stream.end(sequence + payload.length + segment.cutBytes);
    if (rst || entry.stream.isComplete) yield* this.#close(entry);
  }

  #entry(first: number | undefined): Entry {
    const stream = new Stream((bytes) => {
      this.#waitingBytes += bytes;
    });
    if (first !== undefined) stream.begin(first);
    return { stream, first, connection: undefined, isClosed: false };
  }

  #connect(segment: Segment, startsMidStream: boolean): Connection {
    return {
      number: ++this.#connections,
      clientAddress: segment.fromAddress,
      clientPort: segment.fromPort,
      listenerAddress: segment.toAddress,
      listenerPort: segment.toPort,
      startsMidStream,
    };
  }

  /** Moves an entry to the end, as the last active one; the longest silent makes room. */
  *#keep(key: string, entry: Entry): Generator<ClientEvent> {
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    if (this.#entries.size <= mostConnections) return;
    const [oldestKey, oldest] = this.#entries.entries().next().value!;
    this.#entries.delete(oldestKey);
    if (oldest.connection !== undefined && !oldest.isClosed) this.facts.forgottenConnections++;
    yield* this.#close(oldest);
  }

  *#close(entry: Entry): Generator<ClientEvent> {
    if (entry.isClosed) return;
    entry.isClosed = true;
    yield* this.#pieces(entry, entry.stream.rest());
    if (entry.connection !== undefined) yield { kind: 'end', connection: entry.connection };
  }

  *#pieces({ connection }: Entry, pieces: Iterable<Piece>): Generator<ClientEvent> {
    if (connection === undefined) return; // it has sent nothing
    for (const piece of pieces) {
      yield 'bytes' in piece ? { kind: 'bytes', connection, ...piece } : { kind: 'missing', connection, ...piece };
    }
  }
}

const keyOf = (address: string, port: number, toAddress: string, toPort: number) =>
  `${address} ${port} ${toAddress} ${toPort}`;
const keyOfSegment = ({ fromAddress, fromPort, toAddress, toPort }: Segment) =>
  keyOf(fromAddress, fromPort, toAddress, toPort);
