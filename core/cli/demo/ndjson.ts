/** The demo's newline-delimited JSON: `{"session":"s1","n":1}`, answered by the same object with `servedBy` in front. */
import { anyAnswer, type DemoProtocol } from './protocol.ts';

const member = (name: string, bytes: Buffer) =>
  new RegExp(`"${name}":"([^"]*)"`).exec(bytes.toString('utf8'))?.[1] ?? '';
const line = (members: object) => Buffer.from(`${JSON.stringify(members)}\n`);

export const ndjson: DemoProtocol = {
  name: 'ndjson',
  port: 7100,
  backends: 'json',
  numbersBackends: false,
  pipeline: [
    { plugin: 'ndjson', options: '{ id: backend, correlation: id, affinity: session }' },
    { plugin: 'round-robin', options: '{}' },
  ],

  lengthOf: (bytes) => bytes.indexOf(0x0a) + 1,
  sessionOf: (message) => member('session', message),
  // Never an empty object: the balancer has put the identifier and the correlation id into it.
  answer: (request, { name }) => [Buffer.from(request.toString('utf8').replace('{', `{"servedBy":"${name}",`))],
  servedBy: (answer) => member('servedBy', answer),

  *converse(session, number) {
    let n = 1;
    // The second follows before the first is answered, so that it cannot name a backend yet.
    yield { bytes: line({ session, n: n++ }) };
    let answer = yield { bytes: line({ session, n: n++ }), until: anyAnswer };
    for (const last = 5 + (number % 3); n <= last; n++) {
      answer = yield { bytes: line({ backend: member('backend', answer), session, n }), until: anyAnswer };
    }
  },

  tell(message) {
    const text = message.toString('utf8').trimEnd();
    const match = /"backend"\s*:\s*"/.exec(text);
    if (match === null) return [text, '', ''];
    const start = match.index + match[0].length;
    const end = text.indexOf('"', start);
    return [text.slice(0, start), text.slice(start, end), text.slice(end)];
  },

  tryIt: (port) => `printf '{"hello":"world"}\\n' | nc -w1 127.0.0.1 ${port}`,
};
