/** What single fields tell: keys for hashing and observers, failures, and which requests may be replayed. */
import type { Message, Span } from 'pointsman';
import type { Field, Layout } from './layout.ts';
import { numberCodec } from './numbers.ts';
import type { Options } from './options.ts';

/** One of the option `keys`. */
export function spanOf(field: Field, layout: Layout): () => Span | undefined {
  const span = { offset: 0, length: field.size };
  return () => {
    span.offset = layout.find(field);
    return span.offset < 0 ? undefined : span;
  };
}

/** The option `failure`: whether the answer at hand is one; undefined if it is none, or ends before the field does. */
export function failureIn(field: NonNullable<Options['failure']>, layout: Layout) {
  const codec = numberCodec(field.size, field.endian);
  return (message: Message): boolean | undefined => {
    const at = layout.find(field);
    if (at < 0 || !layout.isAnswer) return undefined;
    return field.values.includes(codec.read(message.bytes, message.start + at));
  };
}

/** The option `replayable`. */
export function replaysOf(field: NonNullable<Options['replayable']>, layout: Layout) {
  const codec = numberCodec(field.size, field.endian);
  const marked = Buffer.alloc(1);
  const { mark, values } = field;
  return {
    mayReplay(message: Message): boolean {
      const at = layout.find(field);
      return at >= 0 && values.includes(codec.read(message.bytes, message.start + at));
    },

    mark(message: Message): void {
      const at = mark === undefined ? -1 : layout.find({ offset: mark.offset, size: 1 });
      if (at < 0) return;
      marked[0] = message.bytes[message.start + at]! | mark!.bits;
      message.splice(at, 1, marked);
    },
  };
}
