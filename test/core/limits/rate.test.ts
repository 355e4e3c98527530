import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bucketOf, TokenBucket } from '../../../core/limits/rate.ts';

/** How many messages it lets through at a time. */
function letThrough(bucket: TokenBucket, nowMs: number, reserved = 0): number {
  let count = 0;
  for (; bucket.has(nowMs, reserved); count++) bucket.take();
  return count;
}

describe('a token bucket', () => {
  it('lets a burst through, then as many as the rate says', () => {
    const bucket = new TokenBucket(100, 20, 1000);
    expect(letThrough(bucket, 1000)).toBe(20);
    expect(letThrough(bucket, 1009)).toBe(0);
    expect(letThrough(bucket, 1010)).toBe(1);
    expect(letThrough(bucket, 1060)).toBe(5);
    expect(letThrough(bucket, 60_000)).toBe(20);
  });

  it('keeps what is reserved for others', () => {
    const bucket = new TokenBucket(100, 20, 0);
    expect(letThrough(bucket, 0, 5)).toBe(15);
    expect(letThrough(bucket, 0)).toBe(5);
  });

  it('is full again when nothing has come for long enough', () => {
    const bucket = new TokenBucket(10, 5, 0);
    expect(bucket.isFull(0)).toBe(true);
    bucket.take();
    expect(bucket.isFull(99)).toBe(false);
    expect(bucket.isFull(100)).toBe(true);
  });

  it('takes no time back: a clock that stands still or comes late gives nothing', () => {
    const bucket = new TokenBucket(1000, 1, 1000);
    bucket.take();
    expect(bucket.has(500, 0)).toBe(false);
    expect(bucket.has(1000, 0)).toBe(false);
    expect(bucket.has(1001, 0)).toBe(true);
  });

  it('never lets through more than burst and rate together, whenever messages come', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 1000 }),
        fc.integer({ min: 1, max: 50 }),
        fc.array(fc.integer({ min: 0, max: 500 })),
        (perSecond, burst, waits) => {
          const bucket = new TokenBucket(perSecond, burst, 0);
          let now = 0;
          let passed = 0;
          for (const wait of waits) {
            now += wait;
            passed += letThrough(bucket, now);
            expect(passed).toBeLessThanOrEqual(burst + (now * perSecond) / 1000 + 1e-6);
          }
        },
      ),
    );
  });

  it('has a burst of a second where none is given, of one message at least, and is not there without a rate', () => {
    expect(bucketOf(7)?.burst).toBe(7);
    expect(bucketOf(0.1)?.burst).toBe(1);
    expect(bucketOf(7, 3)?.burst).toBe(3);
    expect(bucketOf()).toBeUndefined();
  });
});
