import { type Backend, definePlugin, Type } from 'pointsman';
import { Turns } from './turns.ts';

/** In larger pools two backends are drawn at random and compared: nearly as even, at a fixed cost (Mitzenmacher, 1996). */
const comparesAllUpTo = 16;

/** By latency, a backend that has never answered passes for one this slow as long as its first request waits. */
const presumedMs = 1000;

/** By latency, a backend that has been idle for this long is tried again, or one slow answer would exclude it for ever. */
const retryMs = 10_000;

const metrics = {
  'in-flight': (backend: Backend) => backend.inFlight,
  connections: (backend: Backend) => backend.connections,
  // How long a new request would take if the backend answered one after another, as Finagle's peak EWMA balancer reckons.
  latency: ({ latencyMs, inFlight }: Backend, idleMs: number) => {
    if (inFlight === 0 && idleMs >= retryMs) return 0;
    return (latencyMs || presumedMs) * (inFlight + 1);
  },
};

export default definePlugin({
  name: 'least-loaded',
  summary: 'Gives new work to the backend that has least to do for its weight; those that tie take turns.',
  pointsman: '^1',
  alwaysChooses: true,
  options: Type.Object(
    {
      metric: Type.Enum(['in-flight', 'connections', 'latency'], {
        default: 'in-flight',
        description:
          'What counts as load: requests in flight, open links, or the average time to answer multiplied by the requests in flight.',
      }),
    },
    { additionalProperties: false },
  ),

  apply(hooks, { metric }, { clock }) {
    const loadOf = metrics[metric];
    const turns = new Turns();
    const chosenAt: number[] = [];
    let now = 0;
    let drawnFrom: readonly Backend[] = [];
    let ends: number[] = [];

    function load(backend: Backend): number {
      const idleMs = now - (chosenAt[backend.index] ?? Number.NEGATIVE_INFINITY);
      return loadOf(backend, idleMs) / backend.weight;
    }

    function leastOfAll(backends: readonly Backend[]): Backend | undefined {
      let least = Number.POSITIVE_INFINITY;
      for (const backend of backends) least = Math.min(least, load(backend));
      for (const backend of backends) if (load(backend) === least) turns.offer(backend);
      return turns.take();
    }

    function lesserOfTwo(backends: readonly Backend[]): Backend {
      if (backends !== drawnFrom) {
        drawnFrom = backends;
        let end = 0;
        ends = backends.map((backend) => (end += backend.weight));
      }
      const first = draw(ends, clock.random());
      const second = draw(ends, clock.random());
      const one = backends[first]!;
      const other = backends[second === first ? (first + 1) % backends.length : second]!;
      return load(one) <= load(other) ? one : other;
    }

    hooks.chooseBackend.tap('least-loaded', (_message, { available }) => {
      now = clock.now();
      const chosen = available.length > comparesAllUpTo ? lesserOfTwo(available) : leastOfAll(available);
      if (chosen !== undefined) chosenAt[chosen.index] = now;
      return chosen;
    });
  },
});

/**
 * Draws a place in proportion to the weights.
 * @param ends where each place's stretch ends on a line on which it is as long as its weight
 * @param random from 0 up to 1
 */
function draw(ends: readonly number[], random: number): number {
  const point = random * ends.at(-1)!;
  let low = 0;
  let high = ends.length - 1;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (point < ends[middle]!) high = middle;
    else low = middle + 1;
  }
  return low;
}
