/** Draws a backend for each message. */
import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'my-strategy',
  summary: 'Gives new work to a backend drawn at random, in proportion to the weights.',
  pointsman: '^1',
  options: Type.Object({}),

  apply(hooks, _options, scope) {
    // `available` holds the backends that new work may go to; where there is none, there is nobody to choose.
    hooks.chooseBackend.tap('my-strategy', (_message, { available }) => {
      const total = available.reduce((sum, { weight }) => sum + weight, 0);
      // From the scope's clock, so that tests and simulations can repeat what happened.
      let drawn = scope.clock.random() * total;
      return available.find(({ weight }) => (drawn -= weight) < 0);
    });
  },
});
