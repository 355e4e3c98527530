import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Affinity } from '../../core/affinity.ts';
import type { Message } from '../../core/message.ts';
import type { RelatedIds } from '../../core/plugin.ts';
import { clientAt, messageFrom, poolOf } from '../support/pool.ts';

const client = clientAt('192.0.2.1');

/** A table in which the words of a message are its ids, the most specific one first. */
class Bench {
  now = 0;
  seconds = 32;
  awaitsAnswer = true;
  readonly pool = poolOf('a', 'b', 'c');
  readonly table: Affinity;
  readonly #message = messageFrom(client, '');
  readonly #bytes = Buffer.alloc(256);

  constructor({ entries = 1000, countsInFlight = false } = {}) {
    this.table = new Affinity({
      entries,
      countsInFlight,
      relate: (message, ids) => this.#relate(message, ids),
      key: Buffer.from('8 bytes!'),
    });
  }

  remember(text: string, backend: string): void {
    this.table.remember(this.#of(text), this.pool.byName(backend)!);
  }

  find(text: string): string | undefined {
    return this.table.find(this.#of(text))?.name;
  }

  /** A message leaves for where it is found to belong. */
  follow(text: string): void {
    const message = this.#of(text);
    this.table.rememberFound(message, this.table.find(message)!);
  }

  settle(id: string, seconds: number): void {
    this.table.settle(this.#of(id), 0, id.length, 0, seconds);
  }

  inFlight(backend: string): number {
    return this.pool.byName(backend)!.inFlight;
  }

  /** One message serves all, as in the pipeline. */
  #of(text: string): Message {
    const length = this.#bytes.write(text, 3);
    this.#message.open(this.#bytes, 3, 3 + length, 'client', client);
    this.#message.atMs = this.now;
    return this.#message;
  }

  #relate(message: Message, ids: RelatedIds): void {
    ids.seconds = this.seconds;
    ids.awaitsAnswer = this.awaitsAnswer;
    let from = 0;
    for (let at = 0; at <= message.length; at++) {
      if (at < message.length && message.bytes[message.start + at] !== 0x20) continue;
      if (at > from) ids.add(from, at - from);
      from = at + 1;
    }
  }
}

describe('Affinity', () => {
  it('knows where a related message went, by any id they share', () => {
    const bench = new Bench();
    bench.remember('branch-1 call-1', 'b');
    expect(bench.find('branch-1')).toBe('b');
    expect(bench.find('branch-2 call-1')).toBe('b');
    expect(bench.find('branch-2')).toBeUndefined();
    bench.follow('branch-2 call-1');
    expect(bench.find('branch-2')).toBe('b');
    expect(bench.find('branch-3 call-2')).toBeUndefined();
    expect(bench.find('')).toBeUndefined();
  });

  it('remembers a message that awaits no answer by its last id only, and finds it by all', () => {
    const bench = new Bench();
    bench.remember('branch-1 call-1', 'a');
    bench.remember('branch-2 call-2', 'b');
    bench.awaitsAnswer = false;
    bench.remember('branch-3 call-3', 'c');
    bench.follow('branch-3 call-1');
    expect(bench.find('branch-3 call-2')).toBe('b');
    expect(bench.find('branch-1 call-2')).toBe('a');
    expect(bench.find('call-3')).toBe('c');
  });

  it('goes by the most specific id', () => {
    const bench = new Bench();
    bench.remember('call-1', 'a');
    bench.remember('branch-1', 'b');
    expect(bench.find('branch-1 call-1')).toBe('b');
  });

  it('tells equal ids of different kinds apart', () => {
    const bench = new Bench();
    const table = new Affinity({
      entries: 10,
      countsInFlight: false,
      relate: (message, ids) => ids.add(1, message.length - 1, message.bytes[message.start]),
      key: Buffer.alloc(8),
    });
    table.remember(messageFrom(client, '1same'), bench.pool.byName('a')!);
    table.remember(messageFrom(client, '2same'), bench.pool.byName('b')!);
    expect(table.find(messageFrom(client, '1same'))?.name).toBe('a');
    expect(table.find(messageFrom(client, '2same'))?.name).toBe('b');
    expect(table.find(messageFrom(client, '3same'))).toBeUndefined();
  });

  it('remembers the backend whatever its health', () => {
    const bench = new Bench();
    bench.remember('call-1', 'b');
    bench.pool.setUp(bench.pool.byName('b')!, false);
    expect(bench.find('call-1')).toBe('b');
  });

  it('goes by where the last one went', () => {
    const bench = new Bench();
    bench.remember('call-1', 'a');
    bench.remember('call-1', 'b');
    expect(bench.find('call-1')).toBe('b');
    expect(bench.table.size).toBe(1);
  });

  describe('expiry', () => {
    it('forgets an id when its time has passed', () => {
      const bench = new Bench();
      bench.remember('call-1', 'a');
      bench.remember('call-2', 'a');
      bench.now = 31_999;
      expect(bench.find('call-1')).toBe('a');
      bench.now = 32_000;
      expect(bench.find('call-2')).toBeUndefined();
    });

    it('remembers an id for as long as there are related messages', () => {
      const bench = new Bench();
      bench.remember('call-1', 'a');
      for (; bench.now < 100_000; bench.now += 31_000) expect(bench.find('call-1')).toBe('a');
      bench.now += 1000;
      expect(bench.find('call-1')).toBeUndefined();
    });

    it('keeps an id for as long as the protocol says, counted from the last message, and never for less than before', () => {
      const bench = new Bench();
      bench.seconds = 300;
      bench.remember('call-1', 'a');
      bench.seconds = 32;
      bench.now = 10_000;
      bench.remember('call-1', 'a');
      bench.now = 299_999;
      expect(bench.find('call-1')).toBe('a');
      bench.now = 331_999;
      expect(bench.find('call-1')).toBeUndefined();
    });

    it('lets an expired id be remembered anew', () => {
      const bench = new Bench();
      bench.remember('call-1', 'a');
      bench.now = 40_000;
      bench.remember('call-1', 'b');
      expect(bench.find('call-1')).toBe('b');
      expect(bench.table.evicted).toBe(0);
    });

    it('keeps a settled id for as long as it is told, and knows nothing of others', () => {
      const bench = new Bench();
      bench.seconds = 300;
      bench.remember('call-1', 'a');
      bench.settle('call-1', 32);
      bench.settle('call-2', 32);
      expect(bench.find('call-2')).toBeUndefined();
      bench.now = 31_999;
      expect(bench.find('call-1')).toBe('a');
      bench.now = 32_000;
      expect(bench.find('call-1')).toBeUndefined();
    });
  });

  describe('bounds', () => {
    it('pushes out the oldest id when full, and counts those that were still alive', () => {
      const bench = new Bench({ entries: 3 });
      for (const id of ['1', '2', '3', '4']) bench.remember(id, 'a');
      expect(['1', '2', '3', '4'].map((id) => bench.find(id))).toEqual([undefined, 'a', 'a', 'a']);
      expect([bench.table.size, bench.table.evicted]).toEqual([3, 1]);
      bench.now = 40_000;
      bench.remember('5', 'b');
      expect([bench.table.size, bench.table.evicted]).toEqual([3, 1]);
    });

    it('of one message keeps the most specific id longest', () => {
      const bench = new Bench({ entries: 1 });
      bench.remember('branch-1 call-1', 'a');
      expect(bench.find('branch-1')).toBe('a');
      expect(bench.find('call-1')).toBeUndefined();
    });

    it('stands a flood of ids in fixed memory, the newest all found', () => {
      const entries = 4096;
      const bench = new Bench({ entries });
      for (let i = 0; i < entries; i++) bench.remember(`id-${i}`, 'a');
      const before = process.memoryUsage().arrayBuffers;
      for (let i = entries; i < 300_000; i++) bench.remember(`id-${i}`, i % 2 === 0 ? 'a' : 'b');
      expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 * 1024);
      expect(bench.table.size).toBe(entries);
      expect(bench.table.evicted).toBe(300_000 - entries);
      for (let i = 300_000 - entries; i < 300_000; i++) expect(bench.find(`id-${i}`)).toBe(i % 2 === 0 ? 'a' : 'b');
      expect(bench.find(`id-${300_000 - entries - 1}`)).toBeUndefined();
    });

    it('grows as ids come, and finds all of them at every size', () => {
      const bench = new Bench({ entries: 3000 });
      for (let i = 0; i < 3000; i++) {
        bench.remember(`id-${i}`, 'a');
        expect(bench.find(`id-${Math.floor(i / 2)}`)).toBe('a');
      }
      expect(bench.table.evicted).toBe(0);
    });
  });

  describe('where it counts requests in flight', () => {
    it('counts a message once, whatever the number of its ids, until it settles', () => {
      const bench = new Bench({ countsInFlight: true });
      bench.remember('branch-1 call-1', 'a');
      bench.remember('branch-2 call-2', 'a');
      expect(bench.inFlight('a')).toBe(2);
      bench.settle('branch-1', 32);
      bench.settle('branch-1', 32);
      bench.settle('call-2', 32);
      expect(bench.inFlight('a')).toBe(1);
    });

    it('counts a message that is found when it leaves, once for its most specific id', () => {
      const bench = new Bench({ countsInFlight: true });
      bench.remember('branch-1 call-1', 'a');
      bench.find('branch-2 call-1');
      expect(bench.inFlight('a')).toBe(1);
      bench.follow('branch-2 call-1');
      bench.follow('branch-2 call-1');
      expect(bench.inFlight('a')).toBe(2);
      bench.settle('branch-2', 32);
      expect(bench.inFlight('a')).toBe(1);
    });

    it('counts a message that goes elsewhere at its new backend only', () => {
      const bench = new Bench({ countsInFlight: true });
      bench.remember('branch-1 call-1', 'a');
      bench.remember('branch-1 call-1', 'b');
      expect([bench.inFlight('a'), bench.inFlight('b')]).toEqual([0, 1]);
    });

    it('counts a message once also if it names an id twice', () => {
      const bench = new Bench({ countsInFlight: true });
      bench.remember('call-1 call-1', 'a');
      expect(bench.inFlight('a')).toBe(1);
    });

    it('stops counting what has expired or was pushed out', () => {
      const bench = new Bench({ countsInFlight: true, entries: 2 });
      for (const id of ['1', '2', '3']) bench.remember(id, 'a');
      expect(bench.inFlight('a')).toBe(2);
      bench.now = 31_999;
      bench.table.expire(bench.now);
      expect(bench.inFlight('a')).toBe(2);
      bench.now = 32_000;
      bench.table.expire(bench.now);
      expect(bench.inFlight('a')).toBe(0);
    });

    it('comes back to 0 whatever happened', () => {
      const ids = fc.array(fc.constantFrom('1', '2', '3', '4', '5', '6', '7', '8'), { minLength: 1, maxLength: 3 });
      const events = fc.array(
        fc.oneof(
          fc.record({ ids, backend: fc.constantFrom('a', 'b', 'c') }),
          fc.record({ settle: fc.constantFrom('1', '2', '3') }),
          fc.record({ milliseconds: fc.nat(20_000) }),
        ),
        { maxLength: 200 },
      );
      fc.assert(
        fc.property(events, fc.integer({ min: 1, max: 10 }), (list, entries) => {
          const bench = new Bench({ countsInFlight: true, entries });
          for (const event of list) {
            if ('ids' in event) {
              bench.remember(event.ids.join(' '), event.backend);
              expect(bench.find(event.ids[0]!)).toBe(event.backend);
            } else if ('settle' in event) {
              bench.settle(event.settle, 5);
            } else {
              bench.now += event.milliseconds;
              bench.table.expire(bench.now);
            }
            const inFlight = bench.pool.backends.map((backend) => backend.inFlight);
            expect(Math.min(...inFlight)).toBeGreaterThanOrEqual(0);
            expect(bench.table.inFlight).toBe(inFlight.reduce((sum, count) => sum + count, 0));
            expect(bench.table.size).toBeLessThanOrEqual(entries);
          }
          bench.now += 32_000;
          bench.table.expire(bench.now);
          expect(bench.pool.backends.map((backend) => backend.inFlight)).toEqual([0, 0, 0]);
        }),
      );
    });
  });
});
