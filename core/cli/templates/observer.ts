/** Adds up what each client sends, and logs it when the client leaves. */
import { definePlugin, Type } from 'pointsman';

export default definePlugin({
  name: 'my-observer',
  summary: 'Logs how many messages and bytes each client has sent.',
  pointsman: '^1',
  options: Type.Object({
    leastBytes: Type.Integer({ minimum: 0, default: 1, description: 'Clients that have sent less are not logged.' }),
  }),

  apply(hooks, { leastBytes }, scope) {
    // Made when first asked for, and dropped when the client has left.
    const totalsOf = scope.perClient(() => ({ messages: 0, bytes: 0 }));

    hooks.forward.tap('my-observer', (message) => {
      if (message.from !== 'client' || message.client === undefined) return;
      const totals = totalsOf(message.client);
      totals.messages++;
      totals.bytes += message.length;
    });

    hooks.onDisconnect.tap('my-observer', (client) => {
      const totals = totalsOf(client);
      if (totals.bytes >= leastBytes) scope.log.info({ client: client.address, ...totals }, 'client has left');
    });
  },
});
