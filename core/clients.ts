/** All client connections of the process, by slot and generation. A token for a client connection is looked up here. */
import type { Client } from './client.ts';
import type { Clock } from './plugin.ts';

/** The identity of a process. Undefined members are drawn at random when it starts. */
export interface Identity {
  /** 8 random bytes that tell this process from its replicas and from its earlier runs. */
  readonly instance?: Buffer;
  /** Signs the tokens of client connections where the config has no keys. 32 random bytes, the same in all workers. */
  readonly processSecret?: Buffer;
}

/** The beginning of all ids of connections. */
export const instanceName = (instance: Buffer): string => instance.toString('hex', 0, 4);

export class Clients {
  readonly instance: Buffer;
  readonly processSecret: Buffer;
  readonly #instanceName: string;
  readonly #slots: (Client | undefined)[] = [];
  readonly #generations: number[] = [];
  readonly #free: number[] = [];

  constructor(clock: Pick<Clock, 'randomBytes'>, identity: Identity = {}) {
    this.instance = identity.instance ?? clock.randomBytes(8);
    this.processSecret = identity.processSecret ?? clock.randomBytes(32);
    this.#instanceName = instanceName(this.instance);
  }

  /** Gives the client its slot and generation. */
  add(client: Client): void {
    const slot = this.#free.pop() ?? this.#slots.length;
    this.#slots[slot] = client;
    client.slot = slot;
    client.instance = this.#instanceName;
    client.generation = this.#generations[slot] = ((this.#generations[slot] ?? 0) + 1) >>> 0;
  }

  remove(client: Client): void {
    if (this.#slots[client.slot] !== client) return;
    this.#slots[client.slot] = undefined;
    this.#free.push(client.slot);
  }

  /** How many slots there are, taken or free. */
  get slots(): number {
    return this.#slots.length;
  }

  /** The client in that slot now. */
  inSlot(slot: number): Client | undefined {
    return slot >= 0 && slot < this.#slots.length ? this.#slots[slot] : undefined;
  }

  at(slot: number, generation: number): Client | undefined {
    const client = this.#slots[slot];
    return client !== undefined && client.generation === generation ? client : undefined;
  }
}
