/** The option `error`: replies to refused requests, made from a template. */
import type { Exchange, Message, Refusal } from 'pointsman';
import { bytesOf } from './bytes.ts';
import type { Layout } from './layout.ts';
import type { Correlation, Options } from './options.ts';

export function errorReplies(
  { hex, copy, reasons }: NonNullable<Options['error']>,
  layout: Layout,
  correlation: Correlation | undefined,
) {
  const template = bytesOf(hex);
  const templates = new Map(
    Object.entries(reasons).map(([reason, { to, hex: bytes }]) => {
      const changed = Buffer.from(template);
      changed.set(bytesOf(bytes), to);
      return [reason, changed];
    }),
  );
  const { offset: kept = 0, size: keptSize = 0 } = correlation ?? {};

  /** @param message the current one */
  const write = (message: Message, reason: string): Buffer => {
    const reply = Buffer.from(templates.get(reason) ?? template);
    for (const { from, to, size } of copy) {
      const at = layout.find({ offset: from, size });
      if (at >= 0) message.bytes.copy(reply, to, message.start + at, message.start + at + size);
    }
    return reply;
  };

  return {
    /** Whether a reply takes more from the request than its correlation field, so that it must be written while that is there. */
    needsMore: copy.some(({ from, size }) => from < kept || from + size > kept + keptSize),
    write,

    refuse(message: Message, { reason }: Refusal): Uint8Array | undefined {
      layout.look(message);
      return message.from === 'backend' || layout.isAnswer ? undefined : write(message, reason);
    },

    late({ original, note }: Exchange, { reason }: Refusal): Uint8Array {
      if (note instanceof Uint8Array) return note;
      const reply = Buffer.from(templates.get(reason) ?? template);
      for (const { from, to, size } of copy) original.copy(reply, to, from - kept, from - kept + size);
      return reply;
    },
  };
}
export type ErrorReplies = ReturnType<typeof errorReplies>;
