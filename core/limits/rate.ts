/** How many messages may come: so many a second in the long run, and so many at once. */
export class TokenBucket {
  /** How many messages it lets through at once when it is full. */
  readonly burst: number;
  readonly #perMs: number;
  #tokens: number;
  #atMs: number;

  /** @param nowMs when it is full, in milliseconds of the runtime's clock */
  constructor(perSecond: number, burst: number, nowMs: number) {
    this.burst = burst;
    this.#perMs = perSecond / 1000;
    this.#tokens = burst;
    this.#atMs = nowMs;
  }

  /** Whether one more message may come that leaves so many tokens to others. */
  has(nowMs: number, reserved: number): boolean {
    return this.#fill(nowMs) >= 1 + reserved;
  }

  /** Whether it is as a new one would be. */
  isFull(nowMs: number): boolean {
    return this.#fill(nowMs) === this.burst;
  }

  /** A message has come. Call `has` before. */
  take(): void {
    this.#tokens--;
  }

  #fill(nowMs: number): number {
    if (nowMs > this.#atMs) {
      this.#tokens = Math.min(this.burst, this.#tokens + (nowMs - this.#atMs) * this.#perMs);
      this.#atMs = nowMs;
    }
    return this.#tokens;
  }
}

/** A bucket as the settings have it; undefined: the rate is not limited. */
export function bucketOf(perSecond = 0, burst = 0, nowMs = 0): TokenBucket | undefined {
  return perSecond > 0 ? new TokenBucket(perSecond, burst > 0 ? burst : Math.max(1, perSecond), nowMs) : undefined;
}
