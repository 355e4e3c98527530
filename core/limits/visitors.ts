/**
 * Keeps track of a listener's clients by address: who may connect, from which networks, how many at once and how often. It also
 * keeps the counts of each address that admission.ts checks messages against.
 */
import type { Limits, ListenerSettings } from '../settings.ts';
import { networks } from './networks.ts';
import { bucketOf, type TokenBucket } from './rate.ts';

/** How many addresses are remembered although nobody is connected from there. */
const addressesKept = 65_536;

/** The counts and limits of one address. */
export class AddressLoad {
  /** Clients connected from there. */
  clients = 0;
  /** Outstanding requests, including those of clients that have left. */
  outstanding = 0;
  /** Undefined: new connections are not limited. */
  connects: TokenBucket | undefined;
  /** Undefined: messages are not limited. */
  messages: TokenBucket | undefined;

  constructor(limits: Limits) {
    this.follow(limits);
  }

  /** @param former limits that have held so far: what of them stays counts on */
  follow(limits: Limits, former?: Limits): void {
    const stays = (...names: (keyof Limits)[]) => names.every((name) => limits[name] === former?.[name]);
    if (!stays('connectionsPerSecondPerAddress')) this.connects = bucketOf(limits.connectionsPerSecondPerAddress);
    if (!stays('messagesPerSecondPerAddress', 'burstMessagesPerAddress')) {
      this.messages = bucketOf(limits.messagesPerSecondPerAddress, limits.burstMessagesPerAddress);
    }
  }

  /** Whether there is nothing left to remember about it. */
  isAsNew(nowMs: number): boolean {
    if (this.clients > 0 || this.outstanding > 0) return false;
    return this.connects?.isFull(nowMs) !== false && this.messages?.isFull(nowMs) !== false;
  }
}

export class Visitors {
  #limits: Limits;
  /** How many may be connected at once. */
  #most = 0;
  #count = 0;
  #isAllowed!: (address: string) => boolean;
  #isDenied!: (address: string) => boolean;
  readonly #loads = new Map<string, AddressLoad>();

  constructor(settings: ListenerSettings) {
    this.#limits = settings.limits;
    this.follow(settings);
  }

  /** Applies other settings. */
  follow({ listen, allow, deny, limits }: ListenerSettings): void {
    // Of datagrams anybody can make up the sender; their listener makes room itself (datagram.ts).
    this.#most = listen.transport === 'udp' ? Number.POSITIVE_INFINITY : limits.connections;
    this.#isAllowed = allow === undefined ? () => true : networks(allow);
    this.#isDenied = deny === undefined ? () => false : networks(deny);
    for (const load of this.#loads.values()) load.follow(limits, this.#limits);
    this.#limits = limits;
  }

  /**
   * Somebody connects.
   * @param address empty on unix sockets: those are let in, and not counted by address
   * @returns why it is to be turned away; undefined: it may come in, and `leave` is to be called when it has gone
   */
  enter(address: string, nowMs: number): string | undefined {
    const { connectionsPerAddress } = this.#limits;
    if (address !== '' && (!this.#isAllowed(address) || this.#isDenied(address))) return 'not allowed';
    if (this.#count >= this.#most) return 'too many connections';
    const load = this.loadOf(address);
    if (load !== undefined) {
      if (connectionsPerAddress > 0 && load.clients >= connectionsPerAddress) return 'too many connections';
      if (load.connects?.has(nowMs, 0) === false) return 'connects too often';
      load.connects?.take();
      load.clients++;
    }
    this.#count++;
    return undefined;
  }

  leave(address: string): void {
    this.#count--;
    const load = this.#loads.get(address);
    if (load !== undefined) load.clients--;
  }

  /** The counts of an address; undefined: there is no address. */
  loadOf(address: string): AddressLoad | undefined {
    if (address === '') return undefined;
    let load = this.#loads.get(address);
    if (load === undefined) this.#loads.set(address, (load = new AddressLoad(this.#limits)));
    return load;
  }

  /** Forgets addresses about which there is nothing left to remember. To be called about once a second. */
  sweep(nowMs: number): void {
    let surplus = this.#loads.size - addressesKept;
    for (const [address, load] of this.#loads) {
      if (load.isAsNew(nowMs) || (load.clients === 0 && surplus-- > 0)) this.#loads.delete(address);
    }
  }

  /** How many addresses are remembered. */
  get addresses(): number {
    return this.#loads.size;
  }
}
