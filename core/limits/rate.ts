/** A token bucket: limits how many messages may come a second on average, and how many at once. */
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

  /** Whether one more message may come, leaving `reserved` tokens to others. */
  has(nowMs: number, reserved: number): boolean {
    return this.#fill(nowMs) >= 1 + reserved;
  }

  /** Whether it is as full as a new one. */
  isFull(nowMs: number): boolean {
    return this.#fill(nowMs) === this.burst;
  }

  /** Counts a message. Call `has` first. */
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

/** The bucket that the settings ask for; undefined: the rate is not limited. */
export function bucketOf(perSecond = 0, burst = 0, nowMs = 0): TokenBucket | undefined {
  return perSecond > 0 ? new TokenBucket(perSecond, burst > 0 ? burst : Math.max(1, perSecond), nowMs) : undefined;
}
