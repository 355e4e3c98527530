/** The demo's client of one listener: several sessions on one connection. */
import { once } from 'node:events';
import net from 'node:net';
import { host, onMessages } from './backend.ts';
import type { Journal, Lane } from './journal.ts';
import type { Conversation, Turn } from './protocol.ts';

/** How many sessions it holds at a time. */
const sessionsAtOnce = 3;

interface OpenSession {
  readonly name: string;
  readonly conversation: Conversation;
  /** What it waits for. */
  until: Turn['until'];
  answer: Buffer;
}

export class DemoClient {
  readonly #journal: Journal;
  readonly #lane: Lane;
  readonly #stream: net.Socket;
  /** Whose turn it is comes first. */
  readonly #sessions: OpenSession[] = [];
  #opened = 0;

  /** Why its connection is closed, if it is. */
  #lost: Error | undefined;

  /** Connects to the lane's listener. */
  static async connect(journal: Journal, lane: Lane): Promise<DemoClient> {
    const stream = net.connect({ host, port: lane.port, noDelay: true });
    await once(stream, 'connect');
    return new DemoClient(journal, lane, stream);
  }

  private constructor(journal: Journal, lane: Lane, stream: net.Socket) {
    this.#journal = journal;
    this.#lane = lane;
    this.#stream = stream;
    const { protocol } = lane;
    onMessages(stream, protocol, (answer) => {
      const name = protocol.sessionOf(answer);
      journal.answered(lane, name, protocol.servedBy(answer));
      const session = this.#sessions.find((session) => session.name === name);
      if (session?.until?.(answer) !== true) return;
      session.until = undefined;
      session.answer = answer;
    });
    stream.on('error', () => {}); // followed by 'close'
    stream.on('close', () => {
      this.#lost = new Error(`the ${protocol.name} listener has closed the client's connection`);
    });
    for (let i = 0; i < sessionsAtOnce; i++) this.#open();
  }

  /** The port it connects from. */
  get localPort(): number | undefined {
    return this.#stream.localPort;
  }

  /** It waits for no answer. */
  get isSettled(): boolean {
    return this.#lost !== undefined || this.#sessions.every(({ until }) => until === undefined);
  }

  #open(): void {
    const number = ++this.#opened;
    const name = `s${number}`;
    this.#journal.begin(this.#lane, name);
    const conversation = this.#lane.protocol.converse(name, number);
    this.#sessions.push({ name, conversation, until: undefined, answer: Buffer.alloc(0) });
  }

  /**
   * Sends the next message of a session that can go on; answers whether there was one.
   * @throws Error if the connection is closed
   */
  send(): boolean {
    if (this.#lost !== undefined) throw this.#lost;
    for (;;) {
      const next = this.#sessions.findIndex(({ until }) => until === undefined);
      if (next < 0) return false;
      const [session] = this.#sessions.splice(next, 1) as [OpenSession];
      const { done, value: turn } = session.conversation.next(session.answer);
      if (done) {
        this.#journal.finish(this.#lane, session.name);
        this.#open();
        continue;
      }
      session.until = turn.until;
      // A session that waits for nothing goes on at once.
      if (turn.until === undefined) this.#sessions.unshift(session);
      else this.#sessions.push(session);
      this.#stream.write(turn.bytes);
      return true;
    }
  }

  close(): void {
    this.#stream.destroy();
  }
}
