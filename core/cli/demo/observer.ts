/** A plugin that writes into the journal what the balancer decides. It changes nothing. */
import { definePlugin, type Message, type PluginDefinition, Type } from 'pointsman';
import type { Journal, Lane } from './journal.ts';

const name = 'demo-observer';
/** How much of a message is looked at; no view has room for more. */
const shownBytes = 2048;

/** @param isOurs whether the built-in client has a connection from that port */
export function observer(journal: Journal, lane: Lane, isOurs: (port: number) => boolean): PluginDefinition {
  const { protocol } = lane;
  const enter = (message: Message, backend: string | undefined, reason: string): void => {
    const bytes = message.view(0, Math.min(shownBytes, message.length));
    const session = isOurs(message.client?.port ?? 0) ? protocol.sessionOf(bytes) : undefined;
    journal.enter(lane, { at: new Date(), session, told: protocol.tell(bytes), backend, reason });
  };
  return definePlugin({
    name,
    summary: 'Shows the demo what the balancer decides.',
    pointsman: '^1',
    options: Type.Object({}),
    apply(hooks) {
      hooks.forward.tap(name, (message) => {
        if (message.from === 'client' && message.backend !== undefined) {
          enter(message, message.backend.name, message.reason ?? '');
        }
      });
      // In front of the protocol plugin, whose answer ends the hook.
      hooks.refuse.tap({ name, stage: -1 }, (message, { reason }) => {
        if (message.from === 'client') enter(message, undefined, reason);
        return undefined;
      });
    },
  });
}
