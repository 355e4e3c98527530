import { describe, expect, it } from 'vitest';
import { copyBytes, headroomBytes, readMemory, Slab, slabs } from '../../core/memory.ts';

const lengths = [0, 1, 23, 24, 25, 64, 1000];

describe('copyBytes', () => {
  it.each(lengths)('copies %i bytes and touches nothing around them', (length) => {
    const source = Buffer.from(Array.from({ length: length + 2 }, (_, i) => 1 + (i % 200)));
    const target = Buffer.alloc(length + 4);
    copyBytes(source, 1, 1 + length, target, 2);
    expect(target).toEqual(Buffer.concat([Buffer.alloc(2), source.subarray(1, 1 + length), Buffer.alloc(2)]));
  });
});

describe('a slab', () => {
  it.each(lengths)('takes %i bytes from where sockets read into, and from elsewhere', (length) => {
    const bytes = Buffer.from(Array.from({ length }, (_, i) => 1 + (i % 200)));
    bytes.copy(readMemory, headroomBytes);
    for (const slab of [slabs.take(4096), new Slab(Buffer.alloc(4096))]) {
      slab.bytes.fill(0);
      slab.put(readMemory, headroomBytes, headroomBytes + length, 7);
      slab.put(bytes, 0, length, 2000);
      const expected = Buffer.alloc(4096);
      bytes.copy(expected, 7);
      bytes.copy(expected, 2000);
      expect(slab.bytes).toEqual(expected);
    }
  });

  it.each(lengths)('takes the first %i bytes of another one, wherever each of them lies', (length) => {
    const places = () => [slabs.take(4096), new Slab(Buffer.alloc(4096))];
    for (const from of places()) {
      from.bytes.forEach((_, i) => {
        from.bytes[i] = 1 + (i % 200);
      });
      for (const to of places()) {
        to.bytes.fill(0);
        to.putStartOf(from, length);
        expect(to.bytes).toEqual(Buffer.concat([from.bytes.subarray(0, length), Buffer.alloc(4096 - length)]));
      }
    }
  });

  it('has the size that was asked for or more, and none of the memory of another one', () => {
    const taken = [1, 4096, 4097, 65_537, 262_144, 300_000].map((bytes) => ({ bytes, slab: slabs.take(bytes) }));
    for (const [mark, { bytes, slab }] of taken.entries()) {
      expect(slab.bytes.length).toBeGreaterThanOrEqual(bytes);
      slab.bytes.fill(mark + 1);
    }
    for (const [mark, { slab }] of taken.entries()) {
      expect([slab.bytes.indexOf(mark + 1), slab.bytes.lastIndexOf(mark + 1)]).toEqual([0, slab.bytes.length - 1]);
      slabs.give(slab);
    }
  });

  it('that was given back serves the next who asks for its size', () => {
    const slab = slabs.take(16_384);
    slabs.give(slab);
    expect(slabs.take(5000)).toBe(slab);
  });

  it('can be had when the arena is used up', () => {
    const taken = Array.from({ length: 200 }, () => slabs.take(262_144));
    expect(taken.filter(({ isInArena }) => !isInArena).length).toBeGreaterThan(0);
    expect(new Set(taken).size).toBe(taken.length);
    for (const slab of taken) slabs.give(slab);
  });
});
