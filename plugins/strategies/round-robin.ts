import { definePlugin, Type } from 'pointsman';
import { Turns } from './turns.ts';

export default definePlugin({
  name: 'round-robin',
  summary: 'Gives new work to each backend in turn, in proportion to the weights and evenly mixed.',
  pointsman: '^1',
  alwaysChooses: true,
  options: Type.Object({}, { additionalProperties: false }),

  apply(hooks) {
    const turns = new Turns();

    hooks.chooseBackend.tap('round-robin', (_message, pool) => {
      for (const backend of pool.available) turns.offer(backend);
      return turns.take();
    });
  },
});
