import { type Backend, definePlugin, Type } from 'pointsman';
import { Rotation } from './turns.ts';

export default definePlugin({
  name: 'round-robin',
  summary: 'Gives new work to each backend in turn, in proportion to the weights and evenly mixed.',
  pointsman: '^1',
  alwaysChooses: true,
  options: Type.Object({}, { additionalProperties: false }),

  apply(hooks) {
    const rotation = new Rotation();
    let available: readonly Backend[] = [];

    hooks.chooseBackend.tap('round-robin', (_message, pool) => {
      if (pool.available !== available) {
        available = pool.available;
        rotation.enter(available);
      }
      return rotation.next();
    });
  },
});
