/**
 * Clients whose connections are in other processes of the same balancer, since a message may name any of them. Messages for such a
 * client go to a stand-in here, and by way of the primary to the process that has the connection, which sends them on unchanged.
 */

import { Client } from '../client.ts';
import { Turn } from '../outbox.ts';
import type { Pipeline } from '../pipeline.ts';
import type { Token } from '../plugin.ts';
import type { Runtime, SocketHandler } from '../runtime/runtime.ts';
import { StandInSocket } from '../stand-in-socket.ts';

/** A client connection of some process. */
export interface ClientPlace {
  /** The instance of the process, in hexadecimal digits. */
  readonly instance: string;
  readonly slot: number;
  readonly generation: number;
}

/** Whole messages for one client connection. */
export interface Handover {
  readonly to: ClientPlace;
  readonly messages: readonly Uint8Array[];
}

/** How many stand-ins, and clients that have turned out to be gone, are remembered. */
const mostRemembered = 4096;

export class Siblings {
  readonly #runtime: Runtime;
  readonly #turn: Turn;
  readonly #send: (handover: Handover, then: () => void) => void;
  #instances: ReadonlySet<string> = new Set();
  /** By place, the least recently needed first; undefined: the client is gone. */
  readonly #standIns = new Map<string, Client | undefined>();

  /** @param send takes messages to the process that has the client; calls back when they have left */
  constructor(runtime: Runtime, send: (handover: Handover, then: () => void) => void) {
    this.#runtime = runtime;
    this.#turn = new Turn(runtime);
    this.#send = send;
  }

  /** Tells it which processes there are. */
  set(instances: Iterable<string>): void {
    this.#instances = new Set(instances);
  }

  /**
   * The stand-in for a client; undefined if no process is known to have its connection.
   * @param token the client's
   */
  client(place: ClientPlace, token: Token, pipeline: Pipeline): Client | undefined {
    if (!this.#instances.has(place.instance)) return undefined;
    const key = keyOf(place);
    const isKnown = this.#standIns.has(key);
    const client = isKnown ? this.#standIns.get(key) : this.#standIn(place, token, pipeline);
    this.#remember(key, client);
    return client;
  }

  /** The process that should have the client does not have it. */
  gone(place: ClientPlace): void {
    const key = keyOf(place);
    this.#standIns.get(key)?.destroy();
    this.#remember(key, undefined);
  }

  #standIn(place: ClientPlace, token: Token, pipeline: Pipeline): Client {
    const socket = new HandoverSocket(this.#runtime, (messages, then) => this.#send({ to: place, messages }, then));
    const client = new Client(pipeline, this.#turn, socket, () => {
      if (this.#standIns.get(keyOf(place)) === client) this.#standIns.delete(keyOf(place));
    });
    socket.handler = client;
    client.token = token;
    return client;
  }

  #remember(key: string, client: Client | undefined): void {
    this.#standIns.delete(key);
    this.#standIns.set(key, client);
    if (this.#standIns.size <= mostRemembered) return;
    const [oldest = ''] = this.#standIns.keys();
    this.#standIns.delete(oldest);
  }
}

const keyOf = ({ instance, slot, generation }: ClientPlace) => `${instance} ${slot} ${generation}`;

/** What is written leaves message by message; nothing ever comes. */
class HandoverSocket extends StandInSocket {
  readonly delimits = true;
  handler!: SocketHandler;
  readonly #send: (messages: Uint8Array[], then: () => void) => void;

  constructor(runtime: Runtime, send: (messages: Uint8Array[], then: () => void) => void) {
    super(runtime);
    this.#send = send;
  }

  write(bytes: Buffer, ends: readonly number[]): boolean {
    const messages = ends.map((end, index) => bytes.subarray(ends[index - 1] ?? 0, end));
    this.#send(messages, () => {
      if (this.writable) this.handler.onWritten();
    });
    return false;
  }

  protected onClosed(): void {
    this.handler.onClose(undefined);
  }
}
