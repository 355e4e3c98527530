/** The demo's binary protocol: 2 bytes length of what follows, 2 bytes backend number, 4 bytes sequence number, text. */
import { anyAnswer, type DemoProtocol } from './protocol.ts';

const headerBytes = 8;
/** How much of a text the backends repeat. */
const repeatedBytes = 1024;
const servedBy = ' served by ';

function frame(backend: Buffer, sequence: Buffer, text: string): Buffer {
  const body = Buffer.concat([backend, sequence, Buffer.from(text)]);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(body.length);
  return Buffer.concat([length, body]);
}

const numberOf = (message: Buffer) => message.subarray(2, 4);
const sequenceOf = (message: Buffer) => message.subarray(4, headerBytes);
const textOf = (message: Buffer) => message.toString('latin1', headerBytes);

export const lengthPrefixed: DemoProtocol = {
  name: 'length-prefixed',
  port: 7200,
  backends: 'frame',
  numbersBackends: true,
  pipeline: [
    {
      plugin: 'length-prefixed',
      options: '{ length: { size: 2 }, id: { offset: 2, size: 2 }, correlation: { offset: 4, size: 4 } }',
    },
    { plugin: 'least-loaded', options: '{ metric: in-flight }' },
  ],

  lengthOf(bytes) {
    const length = bytes.length < 2 ? Number.POSITIVE_INFINITY : 2 + bytes.readUInt16BE();
    return length <= bytes.length ? length : 0;
  },
  sessionOf: (message) => textOf(message).split(' ', 1)[0]!,
  answer: (request, { name }) => [
    frame(numberOf(request), sequenceOf(request), `${textOf(request).slice(0, repeatedBytes)}${servedBy}${name}`),
  ],
  servedBy: (answer) => textOf(answer).split(servedBy).at(-1)!,

  *converse(session, number) {
    const sequence = Buffer.alloc(4);
    let backend = Buffer.alloc(2); // 0: it names none
    for (let n = 1; n <= 4 + (number % 3); n++) {
      sequence.writeUInt32BE(n);
      const answer = yield { bytes: frame(backend, sequence, `${session} step ${n}`), until: anyAnswer };
      backend = Buffer.from(numberOf(answer));
    }
  },

  tell(message) {
    const backend = numberOf(message);
    const hasBackend = backend.some((byte) => byte !== 0);
    const length = message.toString('hex', 0, 2);
    const rest = ` ${sequenceOf(message).toString('hex')} "${textOf(message)}"`;
    if (!hasBackend) return [`${length} ${backend.toString('hex')}${rest}`, '', ''];
    return [`${length} `, backend.toString('hex'), rest];
  },

  tryIt: (port) => `echo 00080000000000016869 | xxd -r -p | nc -w1 127.0.0.1 ${port} | xxd`,
};
