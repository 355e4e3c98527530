/** Sends a text to a backend, which is well if its answer begins as it should. */
import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'my-check',
  summary: 'Checks that a backend answers a text.',
  pointsman: '^1',
  options: Type.Object({
    send: Type.String({ minLength: 1, default: 'PING\r\n', description: 'What is sent.' }),
    expect: Type.String({ minLength: 1, default: 'PONG', description: 'What the answer begins with.' }),
  }),
  samples: [{ name: 'an answer', from: 'backend', bytes: Buffer.from('PONG\r\n') }],

  // When backends are asked, and how long they may take, is the core's business; here is what to ask, and what they must answer.
  check({ send, expect }) {
    const question = Buffer.from(send);
    const answer = Buffer.from(expect);
    return {
      onOpen: (attempt) => attempt.send(question),
      // `received` is all that has come so far: it may be cut anywhere.
      onBytes(attempt, received) {
        const arrived = received.subarray(0, answer.length);
        if (!arrived.equals(answer.subarray(0, arrived.length))) attempt.fail('another answer');
        else if (arrived.length === answer.length) attempt.pass();
      },
    };
  },
});
