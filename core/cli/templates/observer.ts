/** Logs, every so often, how many messages clients have sent, and how long the longest was. */
import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'my-observer',
  summary: 'Logs how many messages clients have sent, and how long the longest was.',
  pointsman: '^1',
  options: Type.Object({
    everySeconds: Type.Number({ minimum: 1, maximum: 86_400, default: 60, description: 'How often, in seconds.' }),
  }),

  // Runs once, however many pipelines there are, and processes that share the work.
  observe(balancer, { everySeconds }, scope) {
    let longestBytes = 0;
    let cancel = () => {};
    const report = () => {
      const listeners = Object.values(balancer.stats().listeners);
      const received = listeners.reduce((sum, { fromClients }) => sum + fromClients.received, 0);
      scope.log.info({ received, longestBytes }, 'messages of clients');
      cancel = scope.clock.after(everySeconds * 1000, report);
    };

    // What the taps below say, in whatever process.
    scope.channel.onMessage((length) => {
      longestBytes = Math.max(longestBytes, length as number);
    });
    // Nothing is opened before: no timer, no socket, no file.
    scope.onStart(report);
    scope.onStop(() => cancel());
  },

  // Runs for every pipeline. These taps only watch: what they answer is ignored.
  apply(hooks, _options, scope) {
    let longestBytes = 0;
    hooks.forward.tap('my-observer', (message) => {
      if (message.from !== 'client' || message.length <= longestBytes) return;
      longestBytes = message.length;
      scope.channel.send(longestBytes); // seldom, as it goes to another process
    });
  },
});
