/**
 * A toy protocol for tests of the core: a message is a line, `[@token ][!group ]text`. On shared links the balancer puts
 * `#id ` before the text, and the backend's answer begins with it. `?text` is refused, `bye` discarded, `boom` makes the
 * plugin throw, NUL breaks the framing, and `+` alone is a keepalive that is answered by `-`.
 */
import {
  definePlugin,
  discard,
  type Exchange,
  type Hooks,
  type Message,
  type Refusal,
  refusal,
  type Scope,
  Type,
} from 'pointsman';

const bang = refusal('question', 'no questions');
const bye = discard('bye', { reply: Buffer.from('ciao\n'), ordinary: true });
const nul = refusal('nul');

const space = 0x20;
const at = 0x40;
const hash = 0x23;

/** What begins with `%` may be sent twice. */
const mayReplay = (message: Message) => message.bytes[message.start + bodyOf(message)] === 0x25;

/** What begins with `=` answers what the backend that it names has asked. */
const isAnswer = (message: Message) => message.bytes[message.start + bodyOf(message)] === 0x3d;

/** With the original text of the request, which the balancer keeps none of but what `insertId` has left. */
const refuseAbandoned = ({ note }: Exchange, { reason }: Refusal) => Buffer.from(`error ${reason} ${note}\n`);

export const lines = definePlugin({
  name: 'lines',
  summary: 'Lines of text.',
  pointsman: '^1',
  options: Type.Object({
    shared: Type.Boolean({ default: true }),
    relays: Type.Boolean({ default: false }),
    replayable: Type.Optional(Type.Boolean()),
  }),
  apply(hooks, options, scope) {
    scope.protocol({
      identifiers: 'text',
      correlates: options.shared,
      ...(options.shared ? { correlationBits: 31, refuseAbandoned } : {}),
      ...(options.replayable ? { mayReplay } : {}),
      isAnswer,
      relaysAnswers: options.relays,
      relatedIds(message, ids) {
        const text = bodyOf(message);
        if (message.bytes[message.start + text] === 0x21) ids.add(text, wordLength(message, text));
      },
    });

    hooks.frame.tap('lines', (bytes, start, end, scan) => {
      if (bytes[start] === 0x2b && start + 1 < end && bytes[start + 1] === 0x0a)
        return scan.skip(2, Buffer.from('-\n'));
      const newline = bytes.indexOf(0x0a, start + scan.resume);
      const until = newline < 0 || newline >= end ? end : newline;
      if (bytes.subarray(start, until).includes(0)) return nul;
      if (until < end) return until + 1 - start;
      if (scan.isWhole) return end - start;
      scan.resume = end - start;
      return 'more';
    });

    hooks.detectId.tap('lines', (message) => {
      const first = message.bytes[message.start];
      if (message.from === 'backend') {
        if (first !== hash) return undefined;
        const exchange = scope.exchanges.find(message, Number(message.view(1, wordLength(message, 0) - 1)));
        if (exchange === undefined) return undefined;
        message.splice(0, wordLength(message, 0) + 1, exchange.original);
        return exchange;
      }
      const text = message.view().toString('latin1');
      if (text === 'boom\n') throw new Error('boom');
      if (text === 'later\n') return Promise.reject(new Error('later')) as never;
      if (text === 'bye\n') return bye;
      if (text.startsWith('?')) return bang;
      if (first !== at) return undefined;
      return message.span(1, wordLength(message, 0) - 1);
    });

    hooks.insertId.tap('lines', (message, token) => {
      if (message.from === 'backend' || token === undefined) return undefined;
      const text = bodyOf(message);
      message.splice(0, text, Buffer.concat([Buffer.from('@'), token.text, Buffer.from(' ')]));
      if (scope.links === 'shared') {
        const exchange = scope.exchanges.open(message, 0, 0);
        if (exchange === undefined) return refusal('overloaded');
        exchange.note = message.view(text).toString().trimEnd();
        message.splice(text, 0, Buffer.from(`#${exchange.id} `));
      }
      if (message.bytes[message.end - 1] !== 0x0a) message.splice(message.length, 0, Buffer.from('\n'));
      return undefined;
    });

    hooks.refuse.tap('lines', (message, { reason }) =>
      message.from === 'client' ? Buffer.from(`error ${reason}\n`) : undefined,
    );
  },
});

function wordLength(message: Message, from: number): number {
  let length = 0;
  while (from + length < message.length && message.bytes[message.start + from + length]! > space) length++;
  return length;
}

/** Where the text begins, after the identifier. */
function bodyOf(message: Message): number {
  return message.bytes[message.start] === at ? wordLength(message, 0) + 1 : 0;
}

/** Chooses the available backends in turn. */
export const turns = definePlugin({
  name: 'turns',
  summary: 'One after the other.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks) {
    let next = 0;
    hooks.chooseBackend.tap('turns', (_message, { available }) => available[next++ % available.length]);
  },
});

/** A plugin for one test. */
export const guest = (apply: (hooks: Hooks, scope: Scope) => void) =>
  definePlugin({
    name: 'guest',
    summary: 'For one test.',
    pointsman: '^1',
    options: Type.Object({}),
    apply: (hooks, _options, scope) => apply(hooks, scope),
  });
