import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'tls',
  summary: 'Checks that a TLS handshake with a backend succeeds, as the `tls` of its pool asks for.',
  pointsman: '^1',
  options: Type.Object({}, { additionalProperties: false }),

  check(_options, { pool }) {
    const other = pool.backends.find(({ address: { transport } }) => transport === 'udp' || transport === 'unix');
    if (other !== undefined) {
      throw new Error(`backend "${other.name}" is reached over ${other.address.transport}, where TLS is not spoken`);
    }
    return { security: 'tls', onOpen: (attempt) => attempt.pass() };
  },
});
