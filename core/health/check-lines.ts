/**
 * The lines over which checks ask a backend: a connection of their own, or a link that carries clients' messages. Over a link, a
 * check's message goes through the listener's pipeline like a client's, but always to the backend that is checked; the answer comes
 * back by the protocol's own means. The asker there is a stand-in: a client without a connection.
 */

import { Client, type Question } from '../client.ts';
import type { Clients } from '../clients.ts';
import type { Link } from '../link.ts';
import type { Turn } from '../outbox.ts';
import type { Reason } from '../outcome.ts';
import type { Pipeline } from '../pipeline.ts';
import type { Backend } from '../pool.ts';
import type { Address } from '../runtime/address.ts';
import { writeProxyHeader } from '../runtime/proxy-protocol.ts';
import type { Runtime } from '../runtime/runtime.ts';
import { StandInSocket } from '../stand-in-socket.ts';

/** The asker. Nothing is called before `open` has returned, or after it has closed the line. */
export interface Asker {
  onOpen(): void;
  /** `bytes[start, end)` have come. The memory is reused by the line once this returns. */
  onBytes(bytes: Buffer, start: number, end: number): void;
  onFailed(why: string): void;
  /** The backend could not be asked, through no fault of its own. */
  onUnasked(): void;
}

/** A line that is open or being opened. */
export interface Line {
  send(bytes: Uint8Array): void;
  /** Closes the line; the asker is called no more. */
  close(): void;
}

/** Opens a line to each backend. */
export interface Lines {
  /** What the line goes over, for error messages; undefined: there is only one way. */
  readonly via: string | undefined;
  open(backend: Backend, asker: Asker): Line;
}

/** Connections of the check's own. */
export class OwnConnections implements Lines {
  readonly via = undefined;
  readonly #runtime: Runtime;
  readonly #security: 'plain' | 'tls' | undefined;
  readonly #port: number | undefined;

  /**
   * @param security whether TLS is spoken; undefined: as the backend's address says
   * @param port undefined: that of the backend's address
   */
  constructor(runtime: Runtime, security: 'plain' | 'tls' | undefined, port: number | undefined) {
    this.#runtime = runtime;
    this.#security = security;
    this.#port = port;
  }

  open({ address, pool }: Backend, asker: Asker): Line {
    const { proxyProtocol, tls } = pool.settings;
    const port = this.#port;
    // What listens on another port knows nothing of the PROXY protocol.
    const preface =
      port === undefined && proxyProtocol !== undefined ? writeProxyHeader(proxyProtocol, undefined) : undefined;
    let isClosed = false;
    const failed = (why: string) => void (isClosed || asker.onFailed(why));
    const socket = this.#runtime.connect(
      {
        address: { ...secured(address, this.#security), port: port ?? address.port },
        preface,
        tls,
        keepaliveSeconds: 0,
      },
      {
        onOpen: () => void (isClosed || asker.onOpen()),
        onBytes: (bytes, start, end) => void (isClosed || asker.onBytes(bytes, start, end)),
        onEnd: () => failed('closed before it had answered'),
        onWritten: () => {},
        onClose: (error) => failed(error?.message ?? 'closed before it had answered'),
      },
    );
    return {
      send: (bytes) => void (socket.writable && socket.write(Buffer.from(bytes), [bytes.length])),
      close() {
        isClosed = true;
        socket.destroy();
      },
    };
  }
}

function secured(address: Address, security: 'plain' | 'tls' | undefined): Address {
  if (security === undefined || address.transport === 'udp') return address;
  if (address.transport === 'unix') return address;
  return { ...address, transport: security === 'tls' ? 'tls' : 'tcp' };
}

interface Services {
  readonly runtime: Runtime;
  readonly turn: Turn;
  readonly clients: Clients;
  /** The listener's current pipeline. A request under way finishes on the one it began with. */
  readonly pipeline: () => Pipeline;
}

/** The shared links of one listener. */
export class LinkLines implements Lines {
  readonly via: string;
  /** The current asker. */
  readonly standIns = new Set<Client>();
  readonly #services: Services;

  constructor(listener: string, services: Services) {
    this.via = `over the link of listener ${listener}`;
    this.#services = services;
  }

  open(backend: Backend, asker: Asker): Line {
    return new StandIn(backend, asker, this.#services, this.standIns);
  }
}

/** Plays the client: whatever it is sent goes to the asker. */
class StandIn extends StandInSocket implements Line, Question {
  readonly delimits = false;
  readonly backend: Backend;
  readonly #asker: Asker;
  readonly #services: Services;
  readonly #others: Set<Client>;
  readonly #pipeline: Pipeline;
  #client: Client | undefined;
  #link: Link | undefined;

  constructor(backend: Backend, asker: Asker, services: Services, others: Set<Client>) {
    super(services.runtime);
    this.backend = backend;
    this.#asker = asker;
    this.#services = services;
    this.#others = others;
    this.#pipeline = services.pipeline();
    services.runtime.atTurnEnd(() => this.#open());
  }

  #open(): void {
    if (!this.writable) return;
    const { turn, clients } = this.#services;
    const client = new Client(this.#pipeline, turn, this, (closed) => this.#forget(closed), this);
    this.#client = client;
    this.#others.add(client);
    clients.add(client);
    const link = this.#pipeline.forwarding.links.sharedFor(client, this.backend);
    this.#link = link;
    // It is opened again by whoever looks after it: a check that did so too would multiply the attempts.
    if (link === undefined || link.state === 'closed') this.#asker.onFailed('it is closed');
    else if (!this.#pipeline.forwarding.hasRoomOn(link)) this.#asker.onFailed('its queue is full');
    else this.#asker.onOpen();
  }

  send(bytes: Uint8Array): void {
    const client = this.#client!;
    const before = client.receivedMessages;
    client.onBytes(Buffer.from(bytes), 0, bytes.length);
    if (!this.writable || client.stalled) return;
    if (client.heldBytes > 0 || client.receivedMessages === before) {
      this.#asker.onFailed('what is sent is no whole message');
    }
  }

  lost(reason: Reason): void {
    if (!this.writable) return;
    if (reason === 'overloaded' || reason === 'stopping') this.#asker.onUnasked();
    else this.#asker.onFailed(reason === 'backend-lost' ? 'it broke' : `the pipeline refuses what is sent: ${reason}`);
  }

  close(): void {
    if (this.#client === undefined) this.writable = false;
    else {
      if (this.#link !== undefined) this.#pipeline.abandoned.forget(this.#client, this.#link);
      this.#client.destroy();
    }
  }

  write(bytes: Buffer): boolean {
    this.#asker.onBytes(bytes, 0, bytes.length);
    return true;
  }

  protected onClosed(): void {
    this.#client!.onClose(undefined);
  }

  #forget(client: Client): void {
    this.#others.delete(client);
    this.#services.clients.remove(client);
    client.states.length = 0;
  }
}
