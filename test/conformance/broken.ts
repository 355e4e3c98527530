/** Plugins that do one thing wrong each, for the conformance kit to catch: a sound protocol and a sound strategy, with a flaw. */
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import {
  type Backend,
  type Client,
  definePlugin,
  discard,
  type HookSignatures,
  type Hooks,
  KeyedHash,
  type Link,
  type PluginDefinition,
  refusal,
  type Sample,
  type Scope,
  Type,
} from 'pointsman';

export interface Flaw {
  /** What is wrong, as a clause whose subject is the plugin. */
  readonly what: string;
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  readonly plugin: PluginDefinition<any>;
  /** The cases that catch it. */
  readonly caught: readonly string[];
}

const summary = 'Has a flaw.';
const samples: readonly Sample[] = [
  { name: 'a text', bytes: Buffer.from('hello, whole wide world\n') },
  { name: 'a text for a', bytes: Buffer.from('@a hello\n') },
];
const tooHigh = refusal('not-ascii');

type Taps = Partial<Pick<HookSignatures, 'frame' | 'detectId' | 'insertId' | 'refuse'>>;

/** A message is a line, `[@token ]text`. */
function soundTaps(): Required<Taps> {
  return {
    frame(bytes, start, end, scan) {
      const arrived = bytes.subarray(start, end);
      const at = arrived.indexOf('\n', scan.resume);
      if (at >= 0) return at + 1;
      scan.resume = arrived.length;
      return 'more';
    },
    detectId(message) {
      if (message.from === 'backend' || message.view(0, 1)[0] !== 0x40) return undefined;
      const space = message.view().indexOf(' ');
      return space < 0 ? refusal('no-text') : message.span(1, space - 1);
    },
    insertId(message, token) {
      if (message.from === 'backend' || token === undefined) return undefined;
      const { offset, length } = message.identifier;
      if (length > 0) message.splice(offset, length, token.text);
      else message.splice(0, 0, Buffer.concat([Buffer.from('@'), token.text, Buffer.from(' ')]));
      return undefined;
    },
    refuse: (_message, { reason }) => Buffer.from(`! ${reason}\n`),
  };
}

const sound = soundTaps();

interface Make extends Partial<Omit<PluginDefinition, 'apply'>> {
  readonly taps?: (scope: Scope) => Taps;
  readonly apply?: (hooks: Hooks, scope: Scope) => unknown;
}

/** The sound protocol, but for what is given. */
function protocol({ taps = () => ({}), apply, ...definition }: Make = {}) {
  return definePlugin({
    name: 'flawed',
    summary,
    pointsman: '^1',
    options: Type.Object({}),
    samples,
    ...definition,
    apply(hooks, _options, scope) {
      scope.protocol({ identifiers: 'text' });
      for (const [name, tap] of Object.entries({ ...soundTaps(), ...taps(scope) })) {
        hooks[name as 'frame'].tap('flawed', tap as HookSignatures['frame']);
      }
      return apply?.(hooks, scope) as undefined;
    },
  });
}

function strategy(choose: (scope: Scope) => HookSignatures['chooseBackend']) {
  return definePlugin({
    name: 'flawed',
    summary,
    pointsman: '^1',
    options: Type.Object({}),
    apply: (hooks, _options, scope) => hooks.chooseBackend.tap('flawed', choose(scope)),
  });
}

/** What stands in no pipeline. */
const only = (definition: Pick<PluginDefinition, 'check' | 'observe' | 'apply' | 'samples'>) =>
  definePlugin({ name: 'flawed', summary, pointsman: '^1', options: Type.Object({}), ...definition });

/** A check that asks "?" and judges what has been answered so far. */
function check(judge: (received: string) => boolean | undefined) {
  return only({
    samples: [{ name: 'yes', from: 'backend', bytes: Buffer.from('yes\n') }],
    check: () => ({
      onOpen: (attempt) => attempt.send(Buffer.from('?\n')),
      onBytes(attempt, received) {
        const isGood = judge(received.toString('latin1'));
        if (isGood === true) attempt.pass();
        if (isGood === false) attempt.fail('another answer');
      },
    }),
  });
}

/** One that greets backends, and whose identifiers are in answers, where clients find them: backends see none. */
function inAnswers(written: (token: Buffer) => Buffer) {
  return protocol({
    samples: [
      {
        name: 'a text that is answered',
        bytes: Buffer.from('hello\n'),
        answer: (received) => Buffer.from(received.toString() === 'ready?\n' ? 'ready\n' : 'fine\n'),
        echo: (received) => Buffer.from(`${received.toString().split(' ', 1)[0]} more\n`),
      },
    ],
    apply(hooks) {
      hooks.onLink.tap('flawed', (link) => {
        link.send(Buffer.from('ready?\n'));
        link.hold();
      });
    },
    taps: () => ({
      detectId(message) {
        if (message.from === 'client') return sound.detectId(message);
        if (message.view().toString() !== 'ready\n') return undefined;
        (message.source as Link).release();
        return discard('ready');
      },
      insertId(message, token) {
        if (message.from === 'client')
          message.splice(0, message.identifier.length > 0 ? message.identifier.length + 2 : 0);
        else message.splice(0, 0, Buffer.from(`@${written(token!.text).toString()} `));
        return undefined;
      },
    }),
  });
}

/** In turn, each as often as it weighs. */
function weighted(backends: readonly Backend[], turn: number): Backend | undefined {
  const slots = backends.flatMap((backend) => Array.from({ length: backend.weight }, () => backend));
  return slots[turn % slots.length];
}

function hashOf(bytes: Uint8Array): number {
  const hash = new KeyedHash();
  hash.hash(bytes);
  return hash.low >>> 0;
}

/** What stands outside of `apply` is shared by all instances. */
let sharedTurn = 0;
let sharedSearch = 0;

/** A length in four bytes, then so many bytes. */
const lengthSample = { name: 'five letters', bytes: Buffer.from('\0\0\0\x05hello') };

export const soundPlugins = [
  protocol(),
  strategy(() => {
    let turn = 0;
    return (_message, { available }) => weighted(available, turn++);
  }),
  check((received) => (received.includes('\n') ? received.startsWith('yes\n') : undefined)),
  only({
    observe: (_balancer, _options, { channel }) => channel.onMessage(() => {}),
    apply: (hooks, _options, { channel }) =>
      hooks.forward.tap('flawed', ({ length }) => channel.send({ bytes: length })),
  }),
  inAnswers((token) => token),
];

const definition = 'plugin: its definition is well-formed';
const schema = 'plugin: its options schema is strict and describes every option';
const defaults = 'plugin: its defaults, and the options of its samples, are valid and can be applied';
const opensNothing = 'plugin: apply opens nothing';
const checkOpensNothing = 'plugin: check opens nothing';
const observeOpensNothing = 'plugin: observe opens nothing';
const sharesNothing = 'plugin: instances share nothing';
const noFault = 'plugin: no tap throws, or answers a promise where none is allowed';
const letsGo = 'plugin: what it keeps for a client goes with the client';
const whole = 'frame: each sample is one whole message';
const cut = 'frame: the same message wherever it is cut in two';
const byteByByte = 'frame: the same message byte by byte';
const backToBack = 'frame: the same messages back to back';
const split = 'frame: the same messages in 500 random splits';
const beyond = 'frame: what stands beyond the received bytes does not count';
const garbage = 'frame: garbage ends in an answer';
const memory = 'frame: memory stays bounded';
const found = 'identifier: detectId finds the backend that insertId wrote';
const oneMessage = 'identifier: a message with an identifier is one message';
const spliced = 'identifier: bytes and tokens are edited through splice only';
const forged = 'identifier: a forged one is refused';
const again = 'identifier: writing it again changes nothing';
const reply = 'refuse: the reply is one whole message';
const available = 'strategy: it chooses available backends of its own pool only';
const nobody = 'strategy: where no backend is available it chooses none';
const shares = 'strategy: shares are in proportion to the weights';
const replicas = 'strategy: one key has one backend, in all replicas';
const leaver = 'strategy: a backend that leaves moves its own keys only';
const checkReturns = 'check: it throws at no answer, and comes back from all';
const checkCut = 'check: the verdict is the same wherever the answer is cut';
const checksApart = 'check: attempts do not disturb each other';
const observed = 'observer: messages are the same with it and without it';
const observerThrows = 'observer: nothing that it does throws';
const copied = 'observer: what its halves say to each other can be copied to another process';

export const flaws: readonly Flaw[] = [
  { what: 'has a name with capitals', plugin: protocol({ name: 'Flawed' }), caught: [definition] },
  { what: 'has two sentences of summary', plugin: protocol({ summary: 'One. Two.' }), caught: [definition] },
  { what: 'is for another API', plugin: protocol({ pointsman: '^9' }), caught: [definition] },
  {
    what: 'does not describe an option',
    plugin: protocol({ options: Type.Object({ size: Type.Integer({ default: 1 }) }) }),
    caught: [schema],
  },
  {
    what: 'has a keyword in its schema that nobody knows',
    plugin: protocol({ options: Type.Object({ size: Type.Integer({ description: 'A size.', atLeast: 1 }) }) }),
    caught: [schema, defaults],
  },
  {
    what: 'has a default that is not valid',
    plugin: protocol({
      options: Type.Object({ size: Type.Integer({ description: 'A size.', minimum: 2, default: 1 }) }),
    }),
    caught: [defaults],
  },
  {
    what: 'throws when it is applied',
    plugin: protocol({
      apply() {
        throw new Error('no');
      },
    }),
    caught: [defaults],
  },
  {
    what: 'sets a timer of Node.js in apply',
    plugin: protocol({ apply: () => void setTimeout(() => {}, 1).unref() }),
    caught: [opensNothing],
  },
  {
    what: 'sets a timer of the scope in apply',
    plugin: protocol({ apply: (_hooks, { clock }) => void clock.after(1, () => {}) }),
    caught: [opensNothing],
  },
  {
    what: 'reads a file in apply',
    plugin: protocol({ apply: () => void readFileSync(import.meta.filename) }),
    caught: [opensNothing],
  },
  {
    what: 'listens in apply',
    plugin: protocol({
      apply() {
        const server = createServer().listen(0, '127.0.0.1', () => server.close());
      },
    }),
    caught: [opensNothing],
  },
  {
    what: 'sets a timer in check',
    plugin: only({
      check(_options, { clock }) {
        clock.after(1, () => {});
        return { onOpen: (attempt) => attempt.pass() };
      },
    }),
    caught: [checkOpensNothing],
  },
  {
    what: 'listens in observe',
    plugin: only({
      observe() {
        const server = createServer().listen(0, '127.0.0.1', () => server.close());
      },
    }),
    caught: [observeOpensNothing],
  },
  { what: 'has an async apply', plugin: protocol({ apply: async () => {} }), caught: [defaults] },
  {
    what: 'keeps its turn outside of apply',
    plugin: strategy(() => (_message, pool) => weighted(pool.available, sharedTurn++)),
    caught: [sharesNothing],
  },
  {
    what: 'remembers outside of apply how far it has searched',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end) {
          const at = bytes.subarray(start, end).indexOf('\n', sharedSearch);
          sharedSearch = at < 0 ? end - start : 0;
          return at < 0 ? 'more' : at + 1;
        },
      }),
    }),
    caught: [sharesNothing],
  },
  {
    what: 'observes in an async tap',
    plugin: protocol({ apply: (hooks) => hooks.forward.tap('flawed', (async () => {}) as never) }),
    caught: [noFault],
  },
  {
    what: 'throws when a client leaves',
    plugin: protocol({
      apply: (hooks) =>
        hooks.onDisconnect.tap('flawed', () => {
          throw new Error('farewell');
        }),
    }),
    caught: [noFault],
  },
  {
    what: 'keeps a map of clients',
    plugin: protocol({
      apply(hooks) {
        const counts = new Map<Client, number>();
        hooks.forward.tap('flawed', ({ client }) => void counts.set(client!, (counts.get(client!) ?? 0) + 1));
      },
    }),
    caught: [letsGo],
  },
  {
    what: 'has a sample that is not whole',
    plugin: protocol({ samples: [{ name: 'half', bytes: Buffer.from('hello') }] }),
    caught: [whole],
  },
  { what: 'has no samples', plugin: protocol({ samples: [] }), caught: [whole] },
  {
    what: 'takes the beginning of a message for a broken one',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end) {
          const at = bytes.subarray(start, end).indexOf('\n');
          return at < 0 ? 'broken' : at + 1;
        },
      }),
    }),
    caught: [cut],
  },
  {
    what: 'goes on behind what may be the first half of the delimiter',
    plugin: protocol({
      samples: [{ name: 'a text', bytes: Buffer.from('hello\r\n') }],
      taps: () => ({
        frame(bytes, start, end, scan) {
          const at = bytes.subarray(start, end).indexOf('\r\n', scan.resume);
          if (at >= 0) return at + 2;
          scan.resume = end - start;
          return 'more';
        },
      }),
    }),
    caught: [byteByByte],
  },
  {
    what: 'takes all that has arrived for one message',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end) {
          const at = bytes.subarray(start, end).lastIndexOf('\n');
          return at < 0 ? 'more' : at + 1;
        },
      }),
    }),
    caught: [backToBack, split],
  },
  {
    what: 'searches beyond what has arrived',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start) {
          const at = bytes.indexOf('\n', start);
          return at < 0 ? 'more' : at + 1 - start;
        },
      }),
    }),
    caught: [beyond],
  },
  {
    what: 'throws at bytes it does not know',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end, scan) {
          if (bytes.subarray(start, end).some((byte) => byte >= 0x80)) throw new Error('not ASCII');
          return sound.frame(bytes, start, end, scan);
        },
      }),
    }),
    caught: [garbage],
  },
  {
    what: 'answers a length of 0',
    plugin: protocol({
      taps: () => ({
        frame: (bytes, start, end, scan) => (bytes[start] === 0 ? 0 : sound.frame(bytes, start, end, scan)),
      }),
    }),
    caught: [garbage],
  },
  {
    what: 'never comes back from some bytes',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end, scan) {
          while (bytes[start]! >= 0x80);
          return sound.frame(bytes, start, end, scan);
        },
      }),
    }),
    caught: [garbage],
  },
  {
    what: 'makes room for what is promised',
    plugin: protocol({
      samples: [lengthSample],
      taps() {
        let room: Buffer | undefined;
        return {
          frame(bytes, start, end, scan) {
            if (end - start < 4) return 'more';
            const length = bytes.readUInt32BE(start);
            if (length > scan.limits.messageBytes * 64) return tooHigh;
            room = Buffer.alloc(length);
            return room.length + 4;
          },
          detectId: () => undefined,
        };
      },
    }),
    caught: [memory],
  },
  {
    what: 'keeps every message',
    plugin: protocol({
      taps() {
        const kept: Buffer[] = [];
        return {
          detectId(message) {
            kept.push(Buffer.from(message.view()));
            return sound.detectId(message);
          },
        };
      },
    }),
    caught: [memory],
  },
  {
    what: 'writes the token in capitals',
    plugin: protocol({
      taps: () => ({
        insertId: (message, token) =>
          sound.insertId(
            message,
            token && { ...token, text: Buffer.from(token.text.toString('latin1').toUpperCase()) },
          ),
      }),
    }),
    caught: [found],
  },
  {
    what: 'writes the token of an answer in capitals',
    plugin: inAnswers((token) => Buffer.from(token.toString('latin1').toUpperCase())),
    caught: [found],
  },
  { what: 'writes no identifier', plugin: protocol({ taps: () => ({ insertId: () => undefined }) }), caught: [found] },
  {
    what: 'writes a token that ends the message',
    plugin: protocol({
      taps: () => ({
        insertId(message, token) {
          if (message.identifier.length === 0)
            message.splice(0, 0, Buffer.from(`@${token?.text.toString('latin1')} \n`));
          return undefined;
        },
      }),
    }),
    caught: [oneMessage],
  },
  {
    what: 'writes into the received bytes',
    plugin: protocol({
      taps: () => ({
        insertId(message, token) {
          message.bytes[message.end - 2]! ^= 0x20;
          return sound.insertId(message, token);
        },
      }),
    }),
    caught: [spliced],
  },
  {
    what: 'writes into the token',
    plugin: protocol({
      taps: () => ({
        insertId(message, token) {
          sound.insertId(message, token);
          token?.text.fill('x');
          return undefined;
        },
      }),
    }),
    caught: [spliced],
  },
  {
    what: 'lets the strategy choose where the token is forged',
    plugin: protocol({
      taps: ({ identifiers }) => ({
        detectId(message) {
          const span = sound.detectId(message);
          if (span === undefined || typeof span !== 'object' || !('offset' in span)) return span;
          const start = message.start + span.offset;
          const named = identifiers.read(message.bytes, start, start + span.length);
          return typeof named === 'string' ? undefined : span;
        },
      }),
    }),
    caught: [forged],
  },
  {
    what: 'adds a token to the one that is there',
    plugin: protocol({
      taps: () => ({
        insertId(message, token) {
          if (message.from === 'client') message.splice(0, 0, Buffer.from(`@${token?.text.toString('latin1')} `));
          return undefined;
        },
      }),
    }),
    caught: [again],
  },
  {
    what: 'refuses in half a message',
    plugin: protocol({ taps: () => ({ refuse: (_message, { reason }) => Buffer.from(reason) }) }),
    caught: [reply],
  },
  {
    what: 'chooses backends that are down',
    plugin: strategy(() => {
      let turn = 0;
      return (_message, { backends }) => weighted(backends, turn++);
    }),
    caught: [available, nobody],
  },
  {
    what: 'does not expect an empty pool',
    plugin: strategy(() => {
      let turn = 0;
      return (_message, pool) => pool.byName(weighted(pool.available, turn++)!.name);
    }),
    caught: [nobody],
  },
  {
    what: 'ignores weights',
    plugin: strategy(() => {
      let turn = 0;
      return (_message, pool) => pool.available[turn++ % pool.available.length];
    }),
    caught: [shares],
  },
  {
    what: 'hashes to a place in the list',
    plugin: strategy((scope) => {
      const keyOf = scope.messageKey('message');
      return (message, pool) => {
        const { offset, length } = keyOf(message);
        return weighted(pool.available, hashOf(message.view(offset, length)));
      };
    }),
    caught: [replicas, leaver],
  },
  {
    what: 'hashes to a place in the sorted list',
    plugin: strategy((scope) => {
      const keyOf = scope.messageKey('message');
      return (message, pool) => {
        const { offset, length } = keyOf(message);
        const sorted = pool.available.toSorted((one, other) => (one.name < other.name ? -1 : 1));
        return weighted(sorted, hashOf(message.view(offset, length)));
      };
    }),
    caught: [leaver],
  },
  {
    what: 'answers nothing where more is due',
    plugin: protocol({
      taps: () => ({
        frame(bytes, start, end) {
          const at = bytes.subarray(start, end).indexOf('\n');
          return at < 0 ? undefined : at + 1;
        },
      }),
    }),
    caught: [cut],
  },
  {
    what: 'throws at what is no JSON',
    plugin: check((received) => (received.includes('\n') ? JSON.parse(received) === 1 : undefined)),
    caught: [checkReturns],
  },
  {
    what: 'never comes back from some answers',
    plugin: check((received) => {
      while (received.startsWith('yes'));
      return undefined;
    }),
    caught: [checkReturns],
  },
  {
    what: 'judges an answer before it is there',
    plugin: check((received) => received.startsWith('yes')),
    caught: [checkCut],
  },
  {
    what: 'remembers answers to others',
    plugin: only({
      samples: [{ name: 'yes', from: 'backend', bytes: Buffer.from('yes\n') }],
      check() {
        let heard = 0;
        return {
          onOpen() {},
          onBytes(attempt, received) {
            heard++;
            if (!received.includes('\n')) return;
            if (heard <= 2) attempt.pass();
            else attempt.fail('too late');
          },
        };
      },
    }),
    caught: [checksApart],
  },
  {
    what: 'writes into what it observes',
    plugin: only({
      observe() {},
      apply: (hooks) => hooks.forward.tap('flawed', (message) => message.splice(0, 0, Buffer.from('seen '))),
    }),
    caught: [observed],
  },
  {
    what: 'throws in a tap of an observer',
    plugin: only({
      observe() {},
      apply: (hooks) =>
        hooks.forward.tap('flawed', () => {
          throw new Error('no');
        }),
    }),
    caught: [observerThrows],
  },
  {
    what: 'throws at what its taps say',
    plugin: only({
      observe: (_balancer, _options, { channel }) =>
        channel.onMessage(() => {
          throw new Error('no');
        }),
      apply: (hooks, _options, { channel }) => hooks.forward.tap('flawed', () => channel.send(1)),
    }),
    caught: [observerThrows],
  },
  {
    what: 'sends messages over its channel',
    plugin: only({
      observe() {},
      apply: (hooks, _options, { channel }) => hooks.forward.tap('flawed', (message) => channel.send({ message })),
    }),
    caught: [copied],
  },
];
