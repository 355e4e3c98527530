/**
 * Client connections as operators see them: listed page by page, so that a process with a hundred thousand of them can be asked,
 * and closed one by one.
 */
import type { Client } from '../client.ts';
import type { Clients } from '../clients.ts';

export interface ConnectionFacts {
  /** Identifies the connection, and no other one before or after it. */
  readonly id: string;
  readonly listener: string;
  /** The client's IP address; empty for unix sockets. */
  readonly address: string;
  readonly port: number;
  readonly openSeconds: number;
  /** Seconds since it last sent something. */
  readonly idleSeconds: number;
  /** Messages and bytes that it has sent. */
  readonly messages: number;
  readonly bytes: number;
  /** Its requests that are waiting for an answer. */
  readonly outstanding: number;
  /** Bytes that are waiting to be sent to it. */
  readonly queueBytes: number;
  /** The backends that it has a dedicated link to. */
  readonly links: readonly string[];
}

export interface ConnectionQuery {
  /** The most connections to list, from 1. */
  readonly limit: number;
  /** The `next` of the page before; undefined: start at the beginning. */
  readonly from?: string | undefined;
  /** Only connections of this listener, or from this IP address. */
  readonly listener?: string | undefined;
  readonly address?: string | undefined;
}

export interface ConnectionPage {
  readonly connections: readonly ConnectionFacts[];
  /** Where the next page begins; undefined: this is the last page. */
  readonly next?: string | undefined;
}

/** How many slots are looked at for one page, so that a filter that matches nothing does not hold up traffic. */
const mostLookedAt = 10_000;

/** @param nowMs the time of the clock that connections are measured by */
export function connectionsOf(clients: Clients, query: ConnectionQuery, nowMs: number): ConnectionPage {
  const connections: ConnectionFacts[] = [];
  const first = Number(query.from ?? 0);
  let slot = Number.isSafeInteger(first) && first > 0 ? first : 0;
  const end = Math.min(clients.slots, slot + mostLookedAt);
  for (; slot < end && connections.length < query.limit; slot++) {
    const client = clients.inSlot(slot);
    if (client !== undefined && client.question === undefined && isAsked(client, query))
      connections.push(factsOf(client, nowMs));
  }
  return { connections, next: slot < clients.slots ? String(slot) : undefined };
}

const isAsked = (client: Client, { listener, address }: ConnectionQuery) =>
  (listener === undefined || client.listener.name === listener) &&
  (address === undefined || client.address === address);

const seconds = (milliseconds: number) => Math.round(milliseconds) / 1000;

function factsOf(client: Client, nowMs: number): ConnectionFacts {
  return {
    id: client.id,
    listener: client.listener.name,
    address: client.address,
    port: client.port,
    openSeconds: seconds(nowMs - client.openedAtMs),
    idleSeconds: seconds(nowMs - client.lastActivityMs),
    messages: client.receivedMessages,
    bytes: client.receivedBytes,
    outstanding: client.outstanding,
    queueBytes: client.outbox.waitingBytes,
    links: [...client.links.keys()].map(({ name }) => name),
  };
}

/** The connection with that id; undefined if there is none, or no longer one. */
export function connectionAt(clients: Clients, id: string): Client | undefined {
  const [, slot, generation] = /^[0-9a-f]+-(\d+)-(\d+)$/.exec(id) ?? [];
  const client = clients.at(Number(slot), Number(generation));
  return client?.id === id ? client : undefined;
}
