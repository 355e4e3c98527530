import { describe, expect, it } from 'vitest';
import type { Message } from '../../../core/message.ts';
import type { Backend, Pool } from '../../../core/pool.ts';
import hashing from '../../../plugins/strategies/hashing.ts';
import { embed } from '../../support/embedded.ts';
import { lines } from '../../support/lines.ts';
import { clientAt, messageFrom, poolOf, strategyOn } from '../../support/pool.ts';

const byMessage = { key: 'message' };
const client = clientAt('192.0.2.1');
const keys = Array.from({ length: 100_000 }, (_, index) => messageFrom(client, `call-${index}@example.net`));

/** Where each key goes. */
function place(choose: (message: Message) => Backend | undefined): string[] {
  return keys.map((message) => choose(message)!.name);
}

function placeOn(pool: Pool): string[] {
  return place(strategyOn(pool, hashing, byMessage));
}

function countsOf(places: readonly string[]): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const name of places) counts[name] = (counts[name] ?? 0) + 1;
  return counts;
}

/** Pearson's measure of how far the counts are from the weights. */
function chiSquare(counts: Record<string, number>, pool: Pool): number {
  const weights = pool.backends.reduce((sum, backend) => sum + backend.weight, 0);
  return pool.backends.reduce((sum, { name, weight }) => {
    const expected = (keys.length * weight) / weights;
    return sum + ((counts[name] ?? 0) - expected) ** 2 / expected;
  }, 0);
}

describe('hashing', () => {
  it('gives one key to one backend, in every process', () => {
    const choose = strategyOn(poolOf('uas-1', 'uas-2', 'uas-3'), hashing, byMessage);
    const weighted = strategyOn(poolOf('uas-1', ['uas-2', 2], ['uas-3', 5]), hashing, byMessage);
    const ids = ['a84b4c76e66710@pc33.example.com', '1', '2', '3', '4', '5', '6', ''];
    // If these change, replicas of two versions disagree.
    const names = (ask: typeof choose) => ids.map((id) => ask(messageFrom(client, id))?.name).join(' ');
    expect(names(choose)).toBe('uas-3 uas-3 uas-1 uas-2 uas-1 uas-2 uas-3 uas-3');
    expect(names(weighted)).toBe('uas-3 uas-3 uas-3 uas-2 uas-1 uas-2 uas-3 uas-3');
  });

  it('does not care how the pool is ordered', () => {
    expect(placeOn(poolOf('c', 'a', 'd', 'b'))).toEqual(placeOn(poolOf('a', 'b', 'c', 'd')));
    expect(placeOn(poolOf(['c', 2], 'a', 'b'))).toEqual(placeOn(poolOf('a', 'b', ['c', 2])));
  });

  it('spreads keys evenly', () => {
    const pool = poolOf(...Array.from({ length: 10 }, (_, index) => `uas-${index}`));
    // Of 9 degrees of freedom, beyond 27.9 with a chance of 1 in 1000.
    expect(chiSquare(countsOf(placeOn(pool)), pool)).toBeLessThan(27.9);
  });

  it('spreads keys as the weights say', () => {
    const pool = poolOf(['a', 1], ['b', 2], ['c', 3], ['d', 0.5], ['e', 10]);
    // Of 4 degrees of freedom, beyond 18.5 with a chance of 1 in 1000.
    expect(chiSquare(countsOf(placeOn(pool)), pool)).toBeLessThan(18.5);
  });

  it('moves only the keys of a backend that leaves, about 1 in n, evenly to the others, and back when it returns', () => {
    const pool = poolOf('a', 'b', 'c', 'd', 'e');
    const choose = strategyOn(pool, hashing, byMessage);
    const before = place(choose);
    pool.setUp(pool.byName('c')!, false);
    const without = place(choose);
    const moved = before.flatMap((name, index) =>
      name === without[index] ? [] : [{ from: name, to: without[index]! }],
    );
    expect(new Set(moved.map(({ from }) => from))).toEqual(new Set(['c']));
    expect(moved.length).toBe(countsOf(before).c);
    expect(moved.length / keys.length).toBeCloseTo(1 / 5, 2);
    for (const count of Object.values(countsOf(moved.map(({ to }) => to)))) {
      expect(count / moved.length).toBeCloseTo(1 / 4, 1);
    }
    pool.setUp(pool.byName('c')!, true);
    expect(place(choose)).toEqual(before);
  });

  it('moves about 1 in n keys to a backend that joins, and none between the others', () => {
    const before = placeOn(poolOf('a', 'b', 'c', 'd'));
    const after = placeOn(poolOf('new', 'a', 'b', 'c', 'd'));
    const moved = after.filter((name, index) => name !== before[index]);
    expect(new Set(moved)).toEqual(new Set(['new']));
    expect(moved.length / keys.length).toBeCloseTo(1 / 5, 2);
  });

  it('moves keys only to a backend whose weight grows', () => {
    const before = placeOn(poolOf('a', 'b', 'c'));
    const after = placeOn(poolOf('a', ['b', 2], 'c'));
    const moved = after.filter((name, index) => name !== before[index]);
    expect(new Set(moved)).toEqual(new Set(['b']));
    expect(moved.length / keys.length).toBeCloseTo(1 / 2 - 1 / 3, 2);
  });

  it('takes no backend of weight 0', () => {
    expect(new Set(placeOn(poolOf('a', ['spare', 0])))).toEqual(new Set(['a']));
  });

  it('answers nothing for an empty pool', () => {
    const pool = poolOf('a');
    pool.setUp(pool.byName('a')!, false);
    expect(strategyOn(pool, hashing, byMessage)()).toBeUndefined();
  });

  it('by client address gives all messages of an address to one backend, over any number of connections', () => {
    const choose = strategyOn(poolOf('a', 'b', 'c'), hashing, { key: 'client-address' });
    const chosen = new Set<string>();
    for (let host = 0; host < 50; host++) {
      const backends = new Set<string>();
      for (const text of ['one', 'two', 'three']) {
        backends.add(choose(messageFrom(clientAt(`198.51.100.${host}`), text))!.name);
      }
      expect(backends.size).toBe(1);
      for (const name of backends) chosen.add(name);
    }
    expect(chosen.size).toBe(3);
  });

  it('hashes the field that the protocol plugin names, wherever the message lies', () => {
    const user = (message: Message) => message.span(2, 5);
    const choose = strategyOn(poolOf('a', 'b', 'c', 'd', 'e'), hashing, { key: 'user' }, { keys: { user } });
    const backends = new Set<string>();
    for (let other = 0; other < 50; other++) {
      const text = `${10 + other}alice${other}`;
      const message = messageFrom(client, '');
      message.open(Buffer.from(`before${text}after`), 6, 6 + text.length, 'client', client);
      backends.add(choose(message)!.name);
    }
    expect(backends.size).toBe(1);
  });

  it('sends related messages to one backend through any replica, and elsewhere only while that one is down', async () => {
    const one = await embed({ pipeline: [[lines], [hashing]], backends: ['a', 'b', 'c'] });
    const other = await embed({ pipeline: [[lines], [hashing]], backends: ['c', 'b', 'a'] });
    const placeOf = (rig: typeof one, text: string) => {
      rig.client().send(text);
      return rig.backends.find((backend) => backend.text() !== '')?.name;
    };
    const places = new Set<string>();
    for (let group = 0; group < 20; group++) {
      const place = placeOf(one, `!group-${group} one\n`)!;
      expect(placeOf(other, `!group-${group} two\n`)).toBe(place);
      places.add(place);
    }
    expect(places.size).toBe(3);

    const place = placeOf(one, '!call one\n')!;
    one.backend(place).down();
    expect(placeOf(one, '!call two\n')).not.toBe(place);
    await one.stop();
    await other.stop();
  });

  it('sends all connections from one address to one backend', async () => {
    const rig = await embed({ pipeline: [[lines], [hashing, { key: 'client-address' }]] });
    for (const address of ['198.51.100.1', '198.51.100.2', '2001:db8::1']) {
      for (const text of ['one', 'two', 'three']) rig.client(address).send(`${text}\n`);
      const texts = rig.backends.map((backend) => backend.text()).filter((text) => text !== '');
      expect(texts.length).toBe(1);
    }
    await rig.stop();
  });
});
