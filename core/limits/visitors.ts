/** Who may connect to a listener: from which networks, how many at once, and how often from one address. */

import type { ListenerSettings } from '../settings.ts';
import { networks } from './networks.ts';
import { bucketOf, type TokenBucket } from './rate.ts';

/** Addresses that are remembered although nobody is connected from there. */
const addressesKept = 65_536;

interface Visitor {
  /** Clients that are connected from there. */
  clients: number;
  /** Undefined: it may connect as often as it likes. */
  readonly bucket: TokenBucket | undefined;
}

export class Visitors {
  readonly #settings: ListenerSettings;
  readonly #isAllowed: (address: string) => boolean;
  readonly #isDenied: (address: string) => boolean;
  readonly #visitors = new Map<string, Visitor>();

  /** @param former whose clients stay when the settings change */
  constructor(settings: ListenerSettings, former?: Visitors) {
    const { allow, deny } = settings;
    this.#settings = settings;
    this.#isAllowed = allow === undefined ? () => true : networks(allow);
    this.#isDenied = deny === undefined ? () => false : networks(deny);
    if (former === undefined) return;
    const rateStays = former.#rate === this.#rate;
    for (const [address, { clients, bucket }] of former.#visitors) {
      if (clients > 0 || rateStays)
        this.#visitors.set(address, rateStays ? { clients, bucket } : this.#visitor(clients, 0));
    }
  }

  get #rate(): number {
    return this.#settings.limits.connectionsPerSecondPerAddress;
  }

  #visitor(clients: number, nowMs: number): Visitor {
    return { clients, bucket: bucketOf(this.#rate, 0, nowMs) };
  }

  /**
   * A client has connected. `leave` has to be called when it has gone, also if it is turned away.
   * @param address empty on unix sockets: those are let in, and not counted by address
   * @param clients how many there are, with this one
   * @returns why it is to be turned away; undefined: it is not
   */
  enter(address: string, clients: number, nowMs: number): string | undefined {
    const { connections, connectionsPerAddress } = this.#settings.limits;
    if (address === '') return clients > connections ? 'too many connections' : undefined;
    let visitor = this.#visitors.get(address);
    if (visitor === undefined) this.#visitors.set(address, (visitor = this.#visitor(0, nowMs)));
    visitor.clients++;
    if (!this.#isAllowed(address) || this.#isDenied(address)) return 'not allowed';
    if (clients > connections || (connectionsPerAddress > 0 && visitor.clients > connectionsPerAddress)) {
      return 'too many connections';
    }
    if (visitor.bucket?.has(nowMs, 0) === false) return 'connects too often';
    visitor.bucket?.take();
    return undefined;
  }

  leave(address: string): void {
    const visitor = this.#visitors.get(address);
    if (visitor === undefined) return;
    visitor.clients--;
    if (visitor.clients === 0 && visitor.bucket === undefined) this.#visitors.delete(address);
  }

  /** Forgets addresses of which nothing is left to know. To be called about once a second. */
  sweep(nowMs: number): void {
    let surplus = this.#visitors.size - addressesKept;
    for (const [address, { clients, bucket }] of this.#visitors) {
      if (clients === 0 && (surplus-- > 0 || bucket?.isFull(nowMs) !== false)) this.#visitors.delete(address);
    }
  }

  /** How many addresses are remembered. */
  get addresses(): number {
    return this.#visitors.size;
  }
}
