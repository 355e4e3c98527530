/** What the taps in each pipeline measure because the core does not count it, and the sums over all pipelines. */
import type { Side } from 'pointsman';

/** Upper bounds of the buckets of response times, in seconds. */
export const responseBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30];
const responseBoundsMs = Float64Array.from(responseBounds, (seconds) => seconds * 1000);

/** What one pipeline has measured since its last report. */
export interface Measured {
  readonly listener: string;
  readonly bytes: Readonly<Record<Side, number>>;
  readonly backends: readonly OfBackend[];
  readonly hooks: readonly (readonly [hook: string, plugin: string, seconds: number, calls: number])[];
}

/** Counts of the messages to and from one backend. */
export interface OfBackend {
  readonly name: string;
  readonly forwarded: Record<Side, number>;
  readonly refused: Record<Side, number>;
  readonly discarded: Record<Side, number>;
  readonly responses: Durations;
}

/** In typed arrays, whose numbers are incremented in place. */
interface Durations {
  /** One number: the sum. */
  readonly seconds: Float64Array;
  /** By bucket; the last one has no bound. */
  readonly counts: Float64Array;
}

export const outcomes = ['forwarded', 'refused', 'discarded'] as const;

export const newBackend = (name: string): OfBackend => ({
  name,
  forwarded: { client: 0, backend: 0 },
  refused: { client: 0, backend: 0 },
  discarded: { client: 0, backend: 0 },
  responses: { seconds: new Float64Array(1), counts: new Float64Array(responseBounds.length + 1) },
});

export function addDuration({ seconds, counts }: Durations, milliseconds: number): void {
  let bucket = 0;
  while (bucket < responseBoundsMs.length && milliseconds > responseBoundsMs[bucket]!) bucket++;
  counts[bucket]!++;
  seconds[0]! += milliseconds / 1000;
}

/** What all pipelines have measured. */
export class Gathered {
  readonly bytes = new Map<string, Record<Side, number>>();
  readonly backends = new Map<string, { listener: string; of: OfBackend }>();
  readonly hooks = new Map<string, { hook: string; plugin: string; seconds: number; calls: number }>();

  add({ listener, bytes, backends, hooks }: Measured): void {
    const before = this.bytes.get(listener) ?? { client: 0, backend: 0 };
    this.bytes.set(listener, { client: before.client + bytes.client, backend: before.backend + bytes.backend });
    for (const each of backends) {
      const key = `${listener} ${each.name}`;
      const known = this.backends.get(key) ?? { listener, of: newBackend(each.name) };
      this.backends.set(key, known);
      for (const side of ['client', 'backend'] as const) {
        for (const outcome of outcomes) known.of[outcome][side] += each[outcome][side];
      }
      known.of.responses.seconds[0]! += each.responses.seconds[0]!;
      for (const [bucket, count] of each.responses.counts.entries()) known.of.responses.counts[bucket]! += count;
    }
    for (const [hook, plugin, seconds, calls] of hooks) {
      const key = `${hook} ${plugin}`;
      const known = this.hooks.get(key) ?? { hook, plugin, seconds: 0, calls: 0 };
      this.hooks.set(key, known);
      known.seconds += seconds;
      known.calls += calls;
    }
  }
}
