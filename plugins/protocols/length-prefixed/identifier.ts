/** The option `id`: finds the identifier in a field, and writes it there or inserts it. */
import type { Message, Refusal, Span, Token } from 'pointsman';
import { bytesOf } from './bytes.ts';
import type { Layout } from './layout.ts';
import type { LengthField } from './length-field.ts';
import { numberCodec } from './numbers.ts';
import type { Options } from './options.ts';

export function identify(id: NonNullable<Options['id']>, length: LengthField, layout: Layout) {
  const codec = id.encoding === 'number' ? numberCodec(id.size, id.endian) : undefined;
  const marker = id.insert && bytesOf(id.insert.marker);
  const markerBytes = marker?.length ?? 0;
  const inserted = Buffer.concat([marker ?? Buffer.alloc(0), Buffer.alloc(id.size)]);
  const field = inserted.subarray(markerBytes);
  const none = Buffer.alloc(id.size);
  const stampsRequests = id.stamp.includes('request');
  const stampsResponses = id.stamp.includes('response');

  const find = (): number => {
    if (marker === undefined) return layout.find(id);
    return layout.insertedBytes > 0 ? layout.insertion + markerBytes : -1;
  };

  const strip = (message: Message): Refusal | undefined => {
    const at = find();
    if (at < 0) return undefined;
    if (marker === undefined) {
      message.splice(at, id.size, none);
      return undefined;
    }
    message.splice(at - markerBytes, inserted.length);
    return length.resize(message, -inserted.length);
  };

  return {
    detect(message: Message): number | Span | undefined {
      if (message.from === 'backend') return undefined;
      const at = find();
      if (at < 0) return undefined;
      if (codec !== undefined) return codec.read(message.bytes, message.start + at);
      let zeros = 0;
      while (zeros < id.size && message.bytes[message.start + at + zeros] === 0) zeros++;
      return zeros < id.size ? message.span(at + zeros, id.size - zeros) : undefined;
    },

    insert(message: Message, token: Token | undefined): Refusal | undefined {
      const toBackend = message.from === 'client';
      if (toBackend && id.strip) return strip(message);
      if (token === undefined || !(toBackend ? stampsRequests : stampsResponses)) return undefined;
      if (codec !== undefined) codec.write(token.number, field);
      else field.fill(0, 0, id.size - token.raw.length).set(token.raw, id.size - token.raw.length);
      const at = find();
      if (at >= 0) {
        message.splice(at, id.size, field);
        return undefined;
      }
      if (marker === undefined || layout.insertion > message.length) return undefined;
      message.splice(layout.insertion, 0, inserted);
      return length.resize(message, inserted.length);
    },
  };
}
