/** What has happened in the demo so far: the one state that the views show and the summary adds up. */
import type { DemoProtocol, Told } from './protocol.ts';

/** How many of the last messages are kept for each protocol. */
const mostRecent = 50;

/** A message of a client, and what became of it. */
export interface Entry {
  readonly at: Date;
  /** Undefined: it is not of the built-in client, so it must be yours. */
  readonly session: string | undefined;
  readonly told: Told;
  /** Undefined: it was refused. */
  readonly backend: string | undefined;
  /** Why it went there, or why it was refused. */
  readonly reason: string;
}

export interface Session {
  readonly name: string;
  messages: number;
  /** Where its messages went, and who answered them: one and the same, if all is well. */
  readonly backends: Set<string>;
}

/** All about one protocol. */
export class Lane {
  readonly protocol: DemoProtocol;
  readonly port: number;
  /** Messages routed to each backend. */
  readonly backends: Map<string, number>;
  /** Messages routed, by why they went where they went. */
  readonly reasons = new Map<string, number>();
  /** The latest comes last. */
  readonly recent: Entry[] = [];
  /** Sessions that are not over. */
  readonly sessions = new Map<string, Session>();
  /** Sessions that have sent something. */
  sessionsBegun = 0;
  /** Sessions of which more than one backend has seen a message. */
  sessionsMoved = 0;
  messages = 0;

  constructor(protocol: DemoProtocol, port: number, backends: readonly string[]) {
    this.protocol = protocol;
    this.port = port;
    this.backends = new Map(backends.map((name) => [name, 0]));
  }
}

export class Journal {
  /** Is told of every entry. */
  onEntry: (lane: Lane, entry: Entry) => void = () => {};

  begin(lane: Lane, session: string): void {
    lane.sessions.set(session, { name: session, messages: 0, backends: new Set() });
  }

  finish(lane: Lane, session: string): void {
    lane.sessions.delete(session);
  }

  /** The balancer has decided about a message of a client. */
  enter(lane: Lane, entry: Entry): void {
    lane.recent.push(entry);
    if (lane.recent.length > mostRecent) lane.recent.shift();
    if (entry.backend !== undefined) {
      lane.messages++;
      increment(lane.backends, entry.backend);
      increment(lane.reasons, entry.reason);
      const session = entry.session === undefined ? undefined : lane.sessions.get(entry.session);
      if (session !== undefined) {
        if (session.messages++ === 0) lane.sessionsBegun++;
        this.#seenAt(lane, session, entry.backend);
      }
    }
    this.onEntry(lane, entry);
  }

  /** The built-in client has got an answer. */
  answered(lane: Lane, session: string, backend: string): void {
    const open = lane.sessions.get(session);
    if (open !== undefined) this.#seenAt(lane, open, backend);
  }

  #seenAt(lane: Lane, session: Session, backend: string): void {
    session.backends.add(backend);
    if (session.backends.size === 2) lane.sessionsMoved++;
  }
}

function increment(counts: Map<string, number>, key: string): void {
  counts.set(key, (counts.get(key) ?? 0) + 1);
}
