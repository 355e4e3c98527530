/**
 * A message is a line. The identifier is its first word, if that begins with `@`; no other byte changes:
 *
 *     client → balancer    hello⏎
 *     balancer → backend   @uas-1 hello⏎
 */
import { definePlugin, refusal, Type } from 'pointsman';

const at = 0x40;
const space = 0x20;

const noText = refusal('no-text');

export default definePlugin({
  name: 'my-protocol',
  summary: 'Carries lines of text; the identifier is a word in front.',
  pointsman: '^1',
  options: Type.Object({
    delimiter: Type.Enum(['lf', 'nul'], { default: 'lf', description: 'What ends a message: LF, or the byte 0.' }),
  }),
  samples: [
    { name: 'a text', bytes: Buffer.from('hello, world\n') },
    { name: 'a text for the backend "a"', bytes: Buffer.from('@a hello\n') },
    { name: 'a text ended by a zero byte', bytes: Buffer.from('hello,\nworld\0'), options: { delimiter: 'nul' } },
  ],

  apply(hooks, options, scope) {
    const delimiter = options.delimiter === 'lf' ? 0x0a : 0x00;
    scope.protocol({ identifiers: 'text' });

    // Where does the message end? What stands in `bytes` from `end` on has not been received.
    hooks.frame.tap('my-protocol', (bytes, start, end, scan) => {
      const found = bytes.subarray(0, end).indexOf(delimiter, start + scan.resume);
      if (found >= 0) return found + 1 - start;
      scan.resume = end - start;
      return 'more';
    });

    // Whom does it name? Only the place of the token is asked for; the core verifies it.
    hooks.detectId.tap('my-protocol', (message) => {
      if (message.from === 'backend' || message.bytes[message.start] !== at) return undefined;
      const length = message.view(1).indexOf(space);
      return length > 0 ? message.span(1, length) : noText;
    });

    // Writes the token of the chosen backend, over the one that was there.
    hooks.insertId.tap('my-protocol', (message, token) => {
      if (message.from === 'backend' || token === undefined) return undefined;
      const { offset, length } = message.identifier;
      if (length > 0) message.splice(offset, length, token.text);
      else message.splice(0, 0, Buffer.concat([Buffer.from('@'), token.text, Buffer.from(' ')]));
      return undefined;
    });

    // An answer of our own to what is refused.
    hooks.refuse.tap('my-protocol', (message, { reason }) =>
      message.from === 'client' ? Buffer.from([...Buffer.from(`refused: ${reason}`), delimiter]) : undefined,
    );
  },
});
