/** Sends what a capture holds through one config, or through two side by side. */
import { type CaptureFacts, type ClientEvent, Clients, type Connection, type Endpoint } from '../../capture/clients.ts';
import { CaptureError, openCapture, packetsOf } from '../../capture/file.ts';
import { whyUnreadable } from '../../config/parse.ts';
import { type Pair, Pairing } from '../../rehearsal/compare.ts';
import { type Placed, Replay } from '../../rehearsal/replay.ts';
import type { Settings } from '../../settings.ts';
import { Misuse } from './asked.ts';

export interface Capture {
  /** `-`: standard input. */
  readonly file: string;
  readonly transport: 'tcp' | 'udp';
  readonly endpoints: readonly Endpoint[];
  /** Clients are expected to speak TLS. */
  readonly isSecure: boolean;
}

/** One of the configs that a capture goes through. */
export interface Side {
  readonly settings: Settings;
  readonly listener: string;
}

/** A message, or what one of two configs takes for one. */
export interface Captured {
  readonly connection: Connection;
  /** When the last of its bytes that has come was sent, in microseconds since 1970. */
  readonly timeMicros: number;
  /** Of the second config, if there is one, `second`. */
  readonly pair: Pair;
}

/** What is known of a connection at its end. */
export interface ConnectionFacts {
  readonly connection: Connection;
  /** Not in the capture, in the midst of what is. */
  readonly missingBytes: number;
  /** At the end of the connection, of a message whose end is not in the capture. */
  readonly incompleteBytes: number;
  /** Not looked at, as the first config had closed the connection. */
  readonly unreadBytes: number;
}

export interface CaptureEnd {
  readonly facts: CaptureFacts;
  readonly connections: number;
  /** The capture is broken from there on. */
  readonly fault: string | undefined;
}

interface Live {
  /** What the replays call it: bytes that are missing make another connection of the rest. */
  key: number;
  pairing: Pairing;
  timeMicros: number;
  missingBytes: number;
  /** Where the part at hand begins, among the bytes that are in the capture. */
  base: number;
  sentBytes: number;
  incompleteBytes: number;
  unreadBytes: number;
}

/**
 * @param sides one config, or two
 * @param onMessage called for each message
 * @param onEnd called for each connection
 * @throws Misuse (rejects with) if the file is no capture or has nothing that was sent to the listener
 */
export async function replayCapture(
  { file, transport, endpoints, isSecure }: Capture,
  sides: readonly Side[],
  onMessage: (message: Captured) => void,
  onEnd: (connection: ConnectionFacts) => void,
): Promise<CaptureEnd> {
  const source = open(file);
  const replays: Replay[] = [];
  const clients = new Clients(transport, endpoints);
  const run = new Run(replays, onMessage, onEnd);
  let fault: string | undefined;
  try {
    for (const { settings, listener } of sides) replays.push(await Replay.start(settings, listener));
    try {
      for (const event of clients.events(packetsOf(source.read))) {
        if (isSecure && event.kind === 'bytes' && isHandshake(event.bytes)) {
          throw new Misuse(`what clients send in ${file} is encrypted with TLS, so there are no messages to be seen`);
        }
        await run.on(event);
      }
    } catch (error) {
      if (!(error instanceof CaptureError)) throw error;
      fault = error.message;
    }
    run.end();
  } finally {
    source.close();
    for (const replay of replays) await replay.stop();
  }
  if (fault !== undefined && clients.facts.packets === 0) throw new Misuse(`cannot read ${file}: ${fault}`);
  if (run.connections === 0) throw new Misuse(whyNothing(file, transport, endpoints, clients.facts));
  return { facts: clients.facts, connections: run.connections, fault };
}

/** The record that a TLS connection begins with (RFC 8446, section 5.1). */
const isHandshake = (bytes: Buffer) => bytes[0] === 0x16 && bytes[1] === 0x03 && bytes[5] === 0x01;

function open(file: string) {
  try {
    return openCapture(file);
  } catch (error) {
    throw new Misuse(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
}

const mostPortsNamed = 5;

function whyNothing(
  file: string,
  transport: string,
  endpoints: readonly Endpoint[],
  { packets, ports }: CaptureFacts,
): string {
  const where = endpoints
    .map(({ address, port }) => `${address === undefined ? 'port ' : `${address}, port `}${port}`)
    .join(' or ');
  const busiest = [...ports].sort(([, one], [, other]) => other - one).slice(0, mostPortsNamed);
  const others = busiest.map(([port]) => port).join(', ');
  const hint = others === '' ? `none of its packets is ${transport}` : `its ${transport} packets go to ports ${others}`;
  const count = packets === 0 ? 'it is empty' : hint;
  return `in ${file} nothing was sent to ${where} over ${transport}: ${count}`;
}

class Run {
  connections = 0;
  readonly #replays: readonly Replay[];
  readonly #onMessage: (message: Captured) => void;
  readonly #onEnd: (connection: ConnectionFacts) => void;
  readonly #live = new Map<Connection, Live>();
  #keys = 0;

  constructor(
    replays: readonly Replay[],
    onMessage: (message: Captured) => void,
    onEnd: (connection: ConnectionFacts) => void,
  ) {
    this.#replays = replays;
    this.#onMessage = onMessage;
    this.#onEnd = onEnd;
  }

  async on(event: ClientEvent): Promise<void> {
    const { connection } = event;
    const live = this.#of(connection);
    if (event.kind === 'missing') {
      live.missingBytes += event.missingBytes;
      // What follows begins anew: nobody can tell where in a message it is.
      this.#finish(connection, live);
      live.base = live.sentBytes;
      live.key = this.#keys++;
      live.pairing = new Pairing();
    } else if (event.kind === 'end') {
      this.#finish(connection, live);
      this.#forget(connection, live);
    } else {
      await this.#send(connection, live, event.timeMicros, event.bytes);
    }
  }

  /** The capture has no more. */
  end(): void {
    for (const [connection, live] of this.#live) {
      this.#finish(connection, live);
      this.#forget(connection, live);
    }
  }

  #of(connection: Connection): Live {
    let live = this.#live.get(connection);
    if (live === undefined) {
      live = {
        key: this.#keys++,
        pairing: new Pairing(),
        timeMicros: 0,
        missingBytes: 0,
        base: 0,
        sentBytes: 0,
        incompleteBytes: 0,
        unreadBytes: 0,
      };
      this.#live.set(connection, live);
      this.connections++;
    }
    return live;
  }

  async #send(connection: Connection, live: Live, timeMicros: number, bytes: Buffer): Promise<void> {
    const client = { address: connection.clientAddress, port: connection.clientPort };
    live.timeMicros = timeMicros;
    live.sentBytes += bytes.length;
    const placed: (readonly Placed[])[] = [];
    for (const replay of this.#replays) {
      replay.at(timeMicros);
      placed.push(await replay.send(live.key, client, bytes));
    }
    const isClosed = this.#replays.map((replay) => replay.isClosed(live.key));
    this.#report(connection, live, placed, isClosed);
  }

  /** The part of the connection that is at hand is over. */
  #finish(connection: Connection, live: Live): void {
    const ends = this.#replays.map((replay) => replay.end(live.key));
    const placed = ends.map(({ last }) => (last === undefined ? [] : [last]));
    live.incompleteBytes += placed[0]?.[0]?.record.received.length ?? 0;
    live.unreadBytes += ends[0]?.unreadBytes ?? 0;
    this.#report(connection, live, placed, [true, true]);
  }

  #forget(connection: Connection, { missingBytes, incompleteBytes, unreadBytes }: Live): void {
    this.#live.delete(connection);
    this.#onEnd({ connection, missingBytes, incompleteBytes, unreadBytes });
  }

  #report(
    connection: Connection,
    { pairing, base, timeMicros }: Live,
    [first = [], second]: readonly (readonly Placed[])[],
    [firstEnded = false, secondEnded = false]: readonly boolean[],
  ): void {
    if (second === undefined) {
      for (const { offset, record } of first) {
        this.#onMessage({ connection, timeMicros, pair: { offset: base + offset, first: record, second: undefined } });
      }
      return;
    }
    for (const pair of pairing.add(first, second, { first: firstEnded, second: secondEnded })) {
      this.#onMessage({ connection, timeMicros, pair: { ...pair, offset: base + pair.offset } });
    }
  }
}
