/**
 * Frames that say how long they are, with fields at fixed offsets: ISO 8583, SMPP, Diameter, Kafka, DNS over TCP, …
 * A frame has `value + adjust + offset + size` bytes, where `value` is what its length field says:
 *
 *     bytes on the wire              length                                 value   frame
 *     000c "HELLO, WORLD"            { size: 2 }                               12      14
 *     000e "HELLO, WORLD"            { size: 2, adjust: -2 }                   14      14
 *     cafe 00000c "HELLO, WORLD"     { offset: 2, size: 3 }                    12      17
 *     00000c cafe "HELLO, WORLD"     { size: 3, adjust: 2 }                    12      17
 *     ca 000c fe "HELLO, WORLD"      { offset: 1, size: 2, adjust: 1 }         12      16
 *     ca 0010 fe "HELLO, WORLD"      { offset: 1, size: 2, adjust: -3 }        16      16
 *     "0012HELLO, WORLD"             { size: 4, encoding: ascii }              12      16
 *     0012 "HELLO, WORLD"            { size: 2, encoding: bcd }                12      14
 *     0c "HELLO, WORLD"              { size: 5, encoding: varint }             12      13
 *
 * All offsets count from the frame's first byte. A frame that ends before a field does passes without that field.
 */
import { definePlugin } from 'pointsman';
import { check } from './check.ts';
import { correlate, idBits } from './correlation.ts';
import { errorReplies } from './error-replies.ts';
import { failureIn, replaysOf, spanOf } from './fields.ts';
import { keepHandshakes } from './handshakes.ts';
import { identify } from './identifier.ts';
import { Layout } from './layout.ts';
import { LengthField } from './length-field.ts';
import { Options } from './options.ts';

const name = 'length-prefixed';

export default definePlugin({
  name,
  summary:
    'Frames with a length field, and identifiers and correlation numbers in fields at fixed offsets: ISO 8583, ' +
    'SMPP, Diameter.',
  pointsman: '^1',
  options: Options,
  samples: [
    { name: 'four bytes of length', bytes: Buffer.from('0000000548454c4c4f', 'hex') },
    {
      name: 'SMPP submit_sm',
      bytes: Buffer.from(
        '00000035000000040000000000000007000000313030000000343437373030393030313233000000000000000001000568656c6c6f',
        'hex',
      ),
      options: {
        length: { size: 4, adjust: -4 },
        correlation: { offset: 12, size: 4, answers: { offset: 4, mask: 128, value: 128 } },
        replay: { offset: 4, values: [1, 2, 9], answers: [0x80000001, 0x80000002, 0x80000009, 0x80000000] },
      },
    },
    {
      name: 'ISO 8583 network management request behind a TPDU',
      bytes: Buffer.from('0015600000012308002020000000000000990000000001', 'hex'),
      options: {
        length: { size: 2 },
        id: { offset: 3, answerOffset: 5, size: 2 },
        correlation: { offset: 5, answerOffset: 3, size: 2 },
      },
    },
    {
      name: 'protobuf, delimited',
      bytes: Buffer.from('090807120568656c6c6f', 'hex'),
      options: { length: { size: 5, encoding: 'varint' } },
    },
  ],
  apply(hooks, options, scope) {
    check(options, scope);
    const { length, id, affinity, keys, replay, error } = options;
    // What a backend sends on a dedicated link need not be an answer: where `answers` does not tell, it passes as is.
    const dedicated = replay !== undefined || scope.pool.settings.links === 'dedicated';
    const correlation = dedicated && options.correlation?.answers === undefined ? undefined : options.correlation;

    const lengthField = new LengthField(length);
    const layout = new Layout(lengthField, id, correlation?.answers);
    const identifiers = id && identify(id, lengthField, layout);
    const errors = error && errorReplies(error, layout, correlation);
    const correlations = correlation && correlate(correlation, layout, scope, errors);
    const replays = correlation && options.replayable && replaysOf(options.replayable, layout);
    const handshakes = replay && keepHandshakes(replay, layout, scope);

    const failure = scope.pool.settings.outliers && options.failure;

    scope.protocol({
      identifiers: id?.encoding === 'number' ? 'number' : 'raw',
      correlates: correlation !== undefined && !dedicated,
      ...(correlation && { correlationBits: idBits(correlation.size) }),
      ...(errors && { refuseAbandoned: errors.late }),
      relaysAnswers:
        correlation === undefined &&
        replay === undefined &&
        failure === undefined &&
        id?.stamp.includes('response') !== true,
      ...(correlation?.answers && { isAnswer: () => layout.find(correlation) >= 0 && layout.isAnswer }),
      ...(failure && { isFailure: failureIn(failure, layout) }),
      ...(replays && { mayReplay: replays.mayReplay }),
      keys: Object.fromEntries(Object.entries(keys).map(([key, field]) => [key, spanOf(field, layout)])),
      ...(affinity && {
        relatedIds(_message, ids) {
          const at = layout.find(affinity);
          if (at < 0) return;
          ids.seconds = affinity.seconds;
          ids.add(at, affinity.size);
        },
      }),
    });
    const longest = scope.identifiers.longest.raw;
    if (id?.encoding === 'bytes' && longest > id.size) {
      throw new Error(`id.size: ${id.size} bytes cannot hold the tokens of this listener, which have up to ${longest}`);
    }

    hooks.frame.tap(name, (bytes, start, end) => lengthField.frame(bytes, start, end));
    hooks.detectId.tap(name, (message) => {
      layout.look(message);
      return handshakes?.detect(message) ?? correlations?.detect(message) ?? identifiers?.detect(message);
    });
    hooks.insertId.tap(name, (message, token) => {
      if (message.reason === 'replayed') replays?.mark(message);
      return identifiers?.insert(message, token) ?? correlations?.insert(message);
    });
    if (handshakes !== undefined) {
      hooks.forward.tap(name, (message, destination) => handshakes.keep(message, destination));
      hooks.onLink.tap(name, (link) => handshakes.replay(link));
    }
    if (errors !== undefined) hooks.refuse.tap(name, errors.refuse);
  },
});
