import fc from 'fast-check';
import { expect, it } from 'vitest';
import { KnownBytes } from '../../core/known-bytes.ts';

const few = fc.uint8Array({ maxLength: 11, min: 0x61, max: 0x62 });

it('stand where they stand, whole and before the end, and nowhere else', () => {
  fc.assert(
    fc.property(few, fc.uint8Array({ maxLength: 30, min: 0x61, max: 0x62 }), fc.nat(30), (known, around, place) => {
      const at = Math.min(place, around.length);
      const bytes = Buffer.concat([around.subarray(0, at), known, around.subarray(at)]);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
      const literal = new KnownBytes(known);
      for (let from = 0; from <= bytes.length; from++) {
        for (let end = from; end <= bytes.length; end++) {
          const isThere = end - from >= known.length && bytes.subarray(from, from + known.length).equals(known);
          expect(literal.isAt(view, from, end)).toBe(isThere);
        }
      }
      expect(literal.isAt(view, at, at + known.length)).toBe(true);
    }),
  );
});

it.each([1, 3, 4, 5, 8, 70])('tell %i bytes from those with any one bit flipped', (length) => {
  const bytes = Buffer.from(Array.from({ length }, (_, i) => i));
  const known = new KnownBytes(Buffer.from(bytes));
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  for (let bit = 0; bit < 8 * length; bit++) {
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    expect(known.isAt(view, 0, length)).toBe(false);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
  }
  expect(known.isAt(view, 0, length)).toBe(true);
});
