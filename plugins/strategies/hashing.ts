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
    let candidates: readonly Candidate[] = [];
    let even = true;

    // Weighted rendezvous: every backend draws a number from the key and its own name, and the highest gets the message.
    hooks.chooseBackend.tap('hashing', (message, pool) => {
      if (pool.available !== available) {
        available = pool.available;
        candidates = rank(available);
        even = available.every(({ weight }) => weight === available[0]!.weight);
      }
      const { high, low } = hashOf(message);
      let chosen: Backend | undefined;
      let highest = Number.NEGATIVE_INFINITY;
      for (const { backend, seed } of candidates) {
        const drawn = mix(mix(low ^ seed.low) ^ high ^ seed.high);
        // ln(u) / weight makes the chance to be highest proportional to the weight; among equals its order is that of u.
        const score = even ? drawn : Math.log((drawn + 0.5) / 2 ** 32) / backend.weight;
        if (score > highest) {
          highest = score;
          chosen = backend;
        }
      }
      return chosen;
    });
  },
});

interface Candidate {
  readonly backend: Backend;
  /** Made from the name alone, so that replicas and restarts agree whatever the order of the list. */
  readonly seed: KeyedHash;
}

/** In the order of the names, which settles ties. */
function rank(backends: readonly Backend[]): Candidate[] {
  return backends
    .map((backend) => ({ backend, seed: hashOfText(backend.name) }))
    .sort((one, other) => (one.backend.name < other.backend.name ? -1 : 1));
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
