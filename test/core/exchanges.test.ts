import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Client } from '../../core/client.ts';
import { Carried, type Exchange, Exchanges } from '../../core/exchanges.ts';
import type { Link } from '../../core/link.ts';
import type { Message } from '../../core/message.ts';
import { clientAt, messageFrom, poolOf } from '../support/pool.ts';

class Bench {
  now = 0;
  readonly link = { carried: new Carried(), outbox: { firstExchange: undefined } } as Link;
  readonly otherLink = { carried: new Carried(), outbox: { firstExchange: undefined } } as Link;
  readonly client = clientAt('192.0.2.1');
  readonly backend = poolOf('a').backends[0]!;
  readonly table: Exchanges;

  constructor({ limit = 100, bits = 32, expirySeconds = 60 } = {}) {
    this.table = new Exchanges(limit, bits, expirySeconds, () => this.now);
  }

  request(text = 'request', client: Client = this.client): Message {
    const message = messageFrom(client, text);
    message.backend = this.backend;
    message.atMs = this.now;
    return message;
  }

  /** Opens an exchange and lets its request leave. */
  open(on: Link = this.link): Exchange | undefined {
    const exchange = this.table.open(this.request(), 0, 1);
    if (exchange !== undefined) this.table.carry(exchange, on);
    return exchange;
  }

  /** How many were lost with the link. */
  abandon(on: Link): number {
    let count = 0;
    this.table.abandon(on, () => count++);
    return count;
  }

  /** The links that had overdue ones. */
  expire(): Link[] {
    const links: Link[] = [];
    this.table.expire(
      () => {},
      (link) => void links.push(link),
    );
    return links;
  }

  find(id: number, on: Link = this.link): Exchange | undefined {
    const answer = this.request();
    answer.from = 'backend';
    answer.source = on;
    return this.table.find(answer, id);
  }
}

describe('Exchanges', () => {
  it('remembers whose request it is and what stood in it', () => {
    const bench = new Bench();
    bench.now = 1234;
    const message = bench.request('{"id":"x-1"}');
    const exchange = bench.table.open(message, 6, 5)!;
    expect(Buffer.from(exchange.original).toString()).toBe('"x-1"');
    expect(exchange.client).toBe(bench.client);
    expect(exchange.backend).toBe(bench.backend);
    expect(exchange.openedAtMs).toBe(1234);
    expect(message.exchange).toBe(exchange);
  });

  it('keeps its own copy of what stood there, also in objects that are used again', () => {
    const bench = new Bench();
    for (const text of ['four', 'a', '', 'x'.repeat(300), 'four', 'four']) {
      const message = bench.request(`<${text}>`);
      const exchange = bench.table.open(message, 1, text.length)!;
      message.bytes.fill(0);
      expect(Buffer.from(exchange.original).toString()).toBe(text);
      bench.table.close(exchange);
    }
  });

  it('finds an exchange by its id on the link that carried the request only', () => {
    const bench = new Bench();
    const exchange = bench.open()!;
    expect(bench.find(exchange.id)).toBe(exchange);
    expect(bench.find(exchange.id, bench.otherLink)).toBeUndefined();
  });

  it('finds none before the request has left', () => {
    const bench = new Bench();
    const { id } = bench.table.open(bench.request(), 0, 1)!;
    expect(bench.find(id)).toBeUndefined();
  });

  it('finds nothing by an id that was never given, is closed, or is no id at all', () => {
    const bench = new Bench();
    const exchange = bench.open()!;
    const { id } = exchange;
    for (const wrong of [
      0,
      -1,
      -id,
      id + 1,
      id + 0.5,
      id + 200,
      2 ** 32,
      2 ** 60,
      Number.NaN,
      Number.POSITIVE_INFINITY,
    ]) {
      expect(bench.find(wrong)).toBeUndefined();
    }
    bench.table.close(exchange);
    expect(bench.find(id)).toBeUndefined();
    expect(bench.find(0)).toBeUndefined();
  });

  it('gives a late answer to nobody else: an id comes back only when all others have had their turn', () => {
    const bench = new Bench({ bits: 8, limit: 10 });
    const first = bench.open()!;
    const { id } = first;
    bench.table.close(first);
    for (let i = 0; i < 254; i++) {
      const exchange = bench.open()!;
      expect(exchange.id).not.toBe(id);
      bench.table.close(exchange);
    }
    expect(bench.open()!.id).toBe(id);
  });

  it('opens no more than the limit, and goes on when one is closed', () => {
    const bench = new Bench({ limit: 3 });
    const exchanges = [bench.open()!, bench.open()!, bench.open()!];
    expect(bench.open()).toBeUndefined();
    expect(bench.table.size).toBe(3);
    bench.table.close(exchanges[1]!);
    expect(bench.open()).toBeDefined();
    expect(bench.open()).toBeUndefined();
  });

  it('remembers at most 16 MiB of requests', () => {
    const bench = new Bench({ limit: 10_000 });
    const page = bench.request('x'.repeat(4096));
    const open = () => {
      page.exchange = undefined; // each time it is another message
      return bench.table.open(page, 0, page.length);
    };
    const opened = Array.from({ length: 4097 }, open);
    expect(opened[4095]).toBeDefined();
    expect(opened[4096]).toBeUndefined();
    bench.table.close(opened[0]!);
    expect(open()).toBeDefined();
  });

  it('remembers no more than 4 KiB of one request', () => {
    const bench = new Bench();
    const long = bench.request('x'.repeat(4097));
    expect(bench.table.open(long, 0, long.length)).toBeUndefined();
  });

  it('opens none for a message that has no client or no backend', () => {
    const bench = new Bench();
    const message = bench.request();
    message.backend = undefined;
    expect(bench.table.open(message, 0, 1)).toBeUndefined();
    message.backend = bench.backend;
    message.client = undefined;
    expect(bench.table.open(message, 0, 1)).toBeUndefined();
    expect(bench.table.size).toBe(0);
  });

  it('uses every id of a narrow field but 0, each once at a time', () => {
    const bench = new Bench({ bits: 3, limit: 1000 });
    const ids = Array.from({ length: 7 }, () => bench.open()!.id);
    expect(ids.sort()).toEqual([1, 2, 3, 4, 5, 6, 7]);
    expect(bench.open()).toBeUndefined();
    const closed = bench.find(4)!;
    bench.table.close(closed);
    expect(bench.open()!.id).toBe(4);
  });

  it('goes round past requests that stay outstanding', () => {
    const bench = new Bench({ limit: 1000, bits: 16 });
    const stuck = new Set(Array.from({ length: 999 }, () => bench.open()!.id));
    for (let i = 0; i < 20_000; i++) {
      const exchange = bench.open()!;
      expect(stuck.has(exchange.id)).toBe(false);
      bench.table.close(exchange);
    }
    for (const id of stuck) expect(bench.find(id)?.id).toBe(id);
  });

  it('counts what is outstanding at its client and backend, and tells a client when it has nothing left', () => {
    const bench = new Bench();
    let settled = 0;
    bench.client.onSettled = () => settled++;
    const one = bench.open()!;
    const two = bench.open()!;
    expect([bench.client.outstanding, bench.backend.inFlight]).toEqual([2, 2]);
    bench.table.close(one);
    expect(settled).toBe(0);
    bench.table.close(two);
    expect([bench.client.outstanding, bench.backend.inFlight, settled]).toEqual([0, 0, 1]);
  });

  it('opens one for a message, however often it is asked to', () => {
    const bench = new Bench();
    const message = bench.request();
    bench.table.open(message, 0, 1);
    const second = bench.table.open(message, 0, 1)!;
    expect(message.exchange).toBe(second);
    expect([bench.table.size, bench.client.outstanding]).toEqual([1, 1]);
  });

  it('closes an exchange once, however often it is told to', () => {
    const bench = new Bench();
    const exchange = bench.open()!;
    const other = bench.open()!;
    bench.table.close(exchange);
    bench.table.close(exchange);
    expect(bench.table.size).toBe(1);
    expect(bench.find(other.id)).toBe(other);
  });

  it('keeps no closed client alive in objects kept for reuse', () => {
    const bench = new Bench();
    const exchange = bench.open()!;
    exchange.note = 'of the plugin';
    bench.table.close(exchange);
    expect(exchange.client).toBeUndefined();
    expect(exchange.link).toBeUndefined();
    expect(exchange.note).toBeUndefined();
  });

  it('gives up on what is overdue, oldest first, and counts it', () => {
    const bench = new Bench({ expirySeconds: 60 });
    const { id: first } = bench.open()!;
    bench.now = 1000;
    const { id: second } = bench.open()!;
    bench.now = 59_999;
    expect(bench.expire()).toEqual([]);
    expect(bench.table.size).toBe(2);
    bench.now = 60_000;
    expect(bench.expire()).toEqual([bench.link]);
    expect(bench.find(first)).toBeUndefined();
    expect(bench.find(second)?.id).toBe(second);
    expect([bench.table.size, bench.table.expired, bench.backend.inFlight]).toEqual([1, 1, 1]);
  });

  it('gives up in time also where ids have gone round many times', () => {
    const bench = new Bench({ bits: 8, limit: 200, expirySeconds: 10 });
    const { id } = bench.open()!;
    for (; bench.now < 10_000; bench.now += 10) {
      bench.table.close(bench.open()!);
      bench.expire();
    }
    expect(bench.find(id)?.id).toBe(id);
    bench.open();
    bench.expire();
    expect(bench.find(id)).toBeUndefined();
    expect(bench.table.size).toBe(1);
  });

  it('abandons all requests of a link, and no others', () => {
    const bench = new Bench();
    for (let i = 0; i < 10; i++) bench.open(i % 2 === 0 ? bench.link : bench.otherLink);
    bench.table.open(bench.request(), 0, 1);
    expect(bench.abandon(bench.link)).toBe(5);
    expect(bench.table.size).toBe(6);
    expect(bench.backend.inFlight).toBe(6);
    expect(bench.abandon(bench.link)).toBe(0);
    expect(bench.abandon(bench.otherLink)).toBe(5);
  });

  it('abandons on, also when a client that has nothing left closes others of the same link', () => {
    const bench = new Bench();
    const impatient = clientAt('192.0.2.2');
    bench.table.carry(bench.table.open(bench.request('x', impatient), 0, 1)!, bench.link);
    const mine = [bench.open()!, bench.open()!];
    impatient.onSettled = () => bench.table.close(mine[0]!);
    expect(bench.abandon(bench.link)).toBe(2);
    expect(bench.table.size).toBe(0);
  });

  it('behaves as a plain map of what is outstanding, whatever the order of events', () => {
    const events = fc.array(
      fc.oneof(
        fc.constant({ do: 'open' as const }),
        fc.record({ do: fc.constant('close' as const), pick: fc.nat(1000) }),
        fc.record({ do: fc.constant('wait' as const), milliseconds: fc.nat(3000) }),
        fc.constant({ do: 'abandon' as const }),
      ),
      { maxLength: 300 },
    );
    fc.assert(
      fc.property(events, fc.integer({ min: 2, max: 6 }), (list, bits) => {
        const bench = new Bench({ bits, limit: 20, expirySeconds: 10 });
        const most = Math.min(20, 2 ** bits - 1);
        const model = new Map<number, { openedAt: number; link: Link }>();
        for (const event of list) {
          if (event.do === 'open') {
            const on = model.size % 3 === 0 ? bench.otherLink : bench.link;
            const exchange = bench.open(on);
            expect(exchange === undefined).toBe(model.size === most);
            if (exchange === undefined) continue;
            expect(model.has(exchange.id)).toBe(false);
            expect(exchange.id).toBeGreaterThan(0);
            expect(exchange.id).toBeLessThan(2 ** bits);
            model.set(exchange.id, { openedAt: bench.now, link: on });
          } else if (event.do === 'close') {
            const ids = [...model.keys()];
            const id = ids[event.pick % Math.max(1, ids.length)];
            if (id === undefined) continue;
            bench.table.close(bench.find(id, model.get(id)!.link)!);
            model.delete(id);
          } else if (event.do === 'wait') {
            bench.now += event.milliseconds;
            bench.expire();
            for (const [id, { openedAt }] of model) if (openedAt <= bench.now - 10_000) model.delete(id);
          } else {
            bench.abandon(bench.otherLink);
            for (const [id, entry] of model) if (entry.link === bench.otherLink) model.delete(id);
          }
          expect(bench.table.size).toBe(model.size);
          expect(bench.backend.inFlight).toBe(model.size);
          expect(bench.client.outstanding).toBe(model.size);
        }
        for (const [id, entry] of model) expect(bench.find(id, entry.link)?.id).toBe(id);
      }),
    );
  });
});
