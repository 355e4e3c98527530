/** The option `replay`: keeps a client's handshakes, and replays them on each further link that it needs. */
import {
  type Client,
  type Discard,
  discard,
  type Link,
  type Message,
  type Refusal,
  refusal,
  type Scope,
} from 'pointsman';
import type { Layout } from './layout.ts';
import { numberCodec } from './numbers.ts';
import type { Options } from './options.ts';

const handshakeTooLong = refusal('handshake-too-long');
const handshakeAnswer = discard('handshake-answer', { ordinary: true });

/** The longest frame that is kept for replay. */
const handshakeBytes = 4096;

export function keepHandshakes(field: NonNullable<Options['replay']>, layout: Layout, scope: Scope) {
  const codec = numberCodec(field.size, field.endian);
  const { values, answers } = field;
  /** By the field's value, so that their number is bounded; with the link that each was sent on, which needs no replay. */
  const handshakes = scope.perClient(() => new Map<number, { readonly frame: Buffer; readonly link: Link }>());
  /** How many answers a link still owes to replayed frames. */
  const owed = new WeakMap<Link | Client, number>();

  const kindOf = (message: Message): number => {
    const at = layout.find(field);
    return at < 0 ? -1 : codec.read(message.bytes, message.start + at);
  };

  return {
    detect(message: Message): Refusal | Discard | undefined {
      if (message.from === 'client') {
        return message.length > handshakeBytes && values.includes(kindOf(message)) ? handshakeTooLong : undefined;
      }
      const count = owed.get(message.source);
      if (count === undefined || !answers.includes(kindOf(message))) return undefined;
      if (count > 1) {
        owed.set(message.source, count - 1);
      } else {
        owed.delete(message.source);
        (message.source as Link).release();
      }
      return handshakeAnswer;
    },

    keep(message: Message, destination: Client | Link): void {
      if (message.from === 'backend' || message.backend === undefined) return;
      const kind = kindOf(message);
      if (!values.includes(kind)) return;
      handshakes(message.client!).set(kind, { frame: Buffer.from(message.view()), link: destination as Link });
    },

    replay(link: Link): void {
      let count = 0;
      for (const handshake of handshakes(link.client!).values()) {
        if (handshake.link === link) continue;
        link.send(handshake.frame);
        count++;
      }
      if (count === 0) return;
      owed.set(link, count);
      link.hold();
    },
  };
}
