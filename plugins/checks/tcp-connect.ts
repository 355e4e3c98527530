import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'tcp-connect',
  summary: 'Checks that a backend accepts connections.',
  pointsman: '^1',
  options: Type.Object({}, { additionalProperties: false }),

  check(_options, { pool }) {
    const datagrams = pool.backends.find(({ address }) => address.transport === 'udp');
    if (datagrams !== undefined) {
      throw new Error(`backend "${datagrams.name}" is reached over udp, which has no connections; use "message"`);
    }
    return { security: 'plain', onOpen: (attempt) => attempt.pass() };
  },
});
