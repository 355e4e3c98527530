/** HL7 over MLLP: messages between 0x0b and 0x1c 0x0d, made of segments that end in CR. The identifier is a segment of its own. */
import { definePlugin, refusal, Type } from 'pointsman';

const noStartBlock = refusal('no-start-block');

export default definePlugin({
  name: 'mllp',
  summary: 'Carries HL7 messages in MLLP blocks; the identifier is a Z segment at their end.',
  pointsman: '^1',
  options: Type.Object({
    segment: Type.String({
      pattern: '^Z[A-Z0-9]{2}$',
      default: 'ZPM',
      description: 'The segment that carries the identifier: ZPM|uas-1.',
    }),
  }),
  samples: [
    { name: 'an admission', bytes: Buffer.from('\x0bMSH|^~\\&|ADT|A|LAB|B|20261123||ADT^A01|1|P|2.5\r\x1c\r') },
  ],

  apply(hooks, { segment }, scope) {
    const tag = Buffer.from(`\r${segment}|`);
    scope.protocol({ identifiers: 'text' });

    hooks.frame.tap('mllp', (bytes, start, end, scan) => {
      if (bytes[start] !== 0x0b) return noStartBlock;
      const at = bytes.indexOf('\x1c\r', start + scan.resume, 'latin1');
      if (at >= 0 && at + 2 <= end) return at + 2 - start;
      scan.resume = Math.max(0, end - start - 1); // 0x1c may be the last byte so far
      return 'more';
    });

    hooks.detectId.tap('mllp', (message) => {
      const at = message.view().indexOf(tag);
      if (at < 0) return undefined;
      const from = at + tag.length;
      return message.span(from, message.view().indexOf('\r', from) - from);
    });

    hooks.insertId.tap('mllp', (message, token) => {
      const { offset, length } = message.identifier;
      if (token === undefined) return undefined;
      if (length > 0) message.splice(offset, length, token.text);
      else message.splice(message.length - 2, 0, Buffer.from(`${segment}|${token.text}\r`));
      return undefined;
    });
  },
});
