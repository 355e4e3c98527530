/** How long answers took, in buckets whose bounds grow by 2 %: memory stays the same however many there are. */
const bucketsPerDoubling = 32;
const shortestMs = 0.001;
const bucketCount = 30 * bucketsPerDoubling;

export class Latencies {
  readonly #counts = new Uint32Array(bucketCount);
  #total = 0;

  add(milliseconds: number): void {
    const bucket = Math.round(Math.log2(Math.max(milliseconds, shortestMs) / shortestMs) * bucketsPerDoubling);
    this.#counts[Math.min(bucket, bucketCount - 1)]!++;
    this.#total++;
  }

  /** In milliseconds; NaN if there are none. */
  quantile(fraction: number): number {
    let left = this.#total * fraction;
    for (let bucket = 0; bucket < bucketCount; bucket++) {
      left -= this.#counts[bucket]!;
      if (this.#total > 0 && left <= 0) return shortestMs * 2 ** (bucket / bucketsPerDoubling);
    }
    return Number.NaN;
  }
}
