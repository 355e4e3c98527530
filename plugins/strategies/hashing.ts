import { type Backend, definePlugin, KeyedHash, type Message, type Scope, Type } from 'pointsman';

export default definePlugin({
  name: 'hashing',
  summary:
    'Gives all work of one key to one backend; a backend that joins or leaves moves its own share of the keys only.',
  pointsman: '^1',
  alwaysChooses: true,
  options: Type.Object(
    {
      key: Type.String({
        default: 'message',
        description:
          'What is hashed: `message` (the id that related messages share, else the whole message), `client-address`, or a key that the protocol plugin names.',
      }),
    },
    { additionalProperties: false },
  ),

  apply(hooks, { key }, scope) {
    const hashOf = key === 'client-address' ? clientAddressHash(scope) : messageKeyHash(scope, key);
    let available: readonly Backend[] = [];
    let lanes: readonly Lane[] = [];

    // Weighted rendezvous: every backend draws a number from the key and its own name, and the highest for its weight gets the message.
    hooks.chooseBackend.tap('hashing', (message, pool) => {
      if (pool.available !== available) {
        available = pool.available;
        lanes = lanesOf(available);
      }
      const { high, low } = hashOf(message);
      let chosen: Backend | undefined;
      let bestScore = Number.NEGATIVE_INFINITY;
      for (const { weight, candidates } of lanes) {
        let highest = -1;
        let first: Backend | undefined;
        for (const { backend, seed } of candidates) {
          const drawn = mix(mix(low ^ seed.low) ^ high ^ seed.high);
          if (drawn > highest) {
            highest = drawn;
            first = backend;
          }
        }
        // ln(u) / weight makes the chance to be highest proportional to the weight; among equals its order is that of u.
        const score = Math.log((highest + 0.5) / 2 ** 32) / weight;
        if (score > bestScore) {
          bestScore = score;
          chosen = first;
        }
      }
      return chosen;
    });
  },
});

/** The backends of one weight. One logarithm does for all of them: of 1000 backends in three lanes it takes 6 µs, not 20. */
interface Lane {
  readonly weight: number;
  readonly candidates: Candidate[];
}

interface Candidate {
  readonly backend: Backend;
  /** Made from the name alone, so that replicas and restarts agree whatever the order of the list. */
  readonly seed: KeyedHash;
}

/** In the order of the names, which settles ties. */
function lanesOf(backends: readonly Backend[]): Lane[] {
  const lanes = new Map<number, Lane>();
  for (const backend of backends.toSorted((one, other) => (one.name < other.name ? -1 : 1))) {
    const { name, weight } = backend;
    const lane = lanes.get(weight) ?? { weight, candidates: [] };
    lanes.set(weight, lane);
    lane.candidates.push({ backend, seed: hashOfText(name) });
  }
  return [...lanes.values()];
}

function messageKeyHash(scope: Scope, key: string): (message: Message) => KeyedHash {
  const spanOf = scope.messageKey(key);
  const hash = new KeyedHash();
  return (message) => {
    const { offset, length } = spanOf(message);
    const start = message.start + offset;
    hash.hash(message.bytes, start, start + length);
    return hash;
  };
}

function clientAddressHash(scope: Scope): (message: Message) => KeyedHash {
  const hashOf = scope.perClient((client) => hashOfText(client.address));
  return (message) => hashOf(message.client!);
}

function hashOfText(text: string): KeyedHash {
  const hash = new KeyedHash();
  hash.hash(Buffer.from(text));
  return hash;
}

/** Makes every bit of a 32-bit word depend on all others (the finalizer of MurmurHash3); answers it unsigned. */
function mix(word: number): number {
  let mixed = Math.imul(word ^ (word >>> 16), 0x85ebca6b);
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
