import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Slab } from '../../core/memory.ts';
import { Message } from '../../core/message.ts';
import { clientAt, messageFrom } from '../support/pool.ts';

const client = clientAt('192.0.2.1');

/** A message in the middle of a buffer: what is around it must never show. */
function messageOf(text: string): Message {
  const message = new Message();
  const bytes = Buffer.from(`~~~${text}~~~`);
  message.open(bytes, 3, bytes.length - 3, 'client', client);
  return message;
}

const edited = (message: Message): string => message.edited().toString();
const bytes = (text: string): Buffer => Buffer.from(text);

describe('Message', () => {
  it('leaves as it came while nobody edits it', () => {
    const message = messageOf('one two three');
    expect(edited(message)).toBe('one two three');
    expect(message.growth).toBe(0);
  });

  it('inserts, replaces and removes, counting offsets in the message as received', () => {
    const message = messageOf('one two three');
    message.splice(4, 3, bytes('2'));
    message.splice(0, 0, bytes('<'));
    message.splice(13, 0, bytes('>'));
    message.splice(7, 1);
    expect(edited(message)).toBe('<one 2three>');
    expect(message.growth).toBe(-1);
    expect(message.length).toBe(13);
  });

  it('keeps edits at one offset in the order they were made in', () => {
    const message = messageOf('ab');
    message.splice(1, 0, bytes('1'));
    message.splice(1, 0, bytes('2'));
    message.splice(0, 0, bytes('0'));
    message.splice(1, 1, bytes('3'));
    expect(edited(message)).toBe('0a123');
  });

  it('lets edits touch', () => {
    const message = messageOf('abcdef');
    message.splice(2, 2, bytes('X'));
    message.splice(4, 2, bytes('Y'));
    message.splice(0, 2, bytes('W'));
    expect(edited(message)).toBe('WXY');
  });

  it.each([
    [0, 3],
    [3, 2],
    [2, 0],
    [1, 3],
    [2, 1],
    [0, 6],
  ])('refuses an edit (%i, %i) that overlaps an earlier one, and stays as it was', (offset, remove) => {
    const message = messageOf('abcdef');
    message.splice(1, 3, bytes('-'));
    expect(() => message.splice(offset, remove, bytes('!'))).toThrow(
      new RangeError(`splice(${offset}, ${remove}) overlaps an earlier edit of the message`),
    );
    expect(edited(message)).toBe('a-ef');
  });

  it.each([
    [7, 0],
    [5, 2],
    [-1, 1],
    [0, -1],
    [0, 7],
    [Number.NaN, 0],
    [0, Number.NaN],
  ])('refuses an edit (%d, %d) beyond its 6 bytes', (offset, remove) => {
    const message = messageOf('abcdef');
    expect(() => message.splice(offset, remove)).toThrow(
      new RangeError(`splice(${offset}, ${remove}) reaches beyond the message, which has 6 bytes`),
    );
    expect(edited(message)).toBe('abcdef');
  });

  it('copies to any place of a target, touches nothing around, and says where it ends', () => {
    const message = messageOf('abc');
    message.splice(1, 1, bytes('BB'));
    const target = Buffer.from('........');
    expect(message.copyTo(new Slab(target), 2)).toBe(6);
    expect(target.toString()).toBe('..aBBc..');
  });

  it('shows views on the bytes as received, without copying them', () => {
    const message = messageOf('abcdef');
    message.splice(0, 6);
    expect(message.view().toString()).toBe('abcdef');
    expect(message.view(2).toString()).toBe('cdef');
    expect(message.view(2, 3).toString()).toBe('cde');
    expect(message.view().buffer).toBe(message.bytes.buffer);
  });

  it('forgets all about the message before', () => {
    const message = messageFrom(client, 'first');
    message.splice(0, 1, bytes('long long'));
    message.identifier.length = 3;
    message.reason = 'affinity';
    const next = bytes('second');
    message.open(next, 0, next.length, 'backend', client);
    expect(edited(message)).toBe('second');
    expect(message).toMatchObject({ from: 'backend', growth: 0, editCount: 0, identifier: { length: 0 } });
    for (const gone of ['client', 'backend', 'reason', 'exchange'] as const) expect(message[gone]).toBeUndefined();
  });

  it('inserts bytes only', () => {
    expect(() => messageOf('abc').splice(0, 0, 'text' as never)).toThrow(
      new TypeError('splice() inserts bytes, not text'),
    );
  });

  it('agrees with the obvious model, whatever the edits and their order', () => {
    const edits = fc.array(fc.record({ skip: fc.nat(5), remove: fc.nat(5), insert: fc.uint8Array({ maxLength: 5 }) }), {
      maxLength: 12,
    });
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 120 }),
        edits,
        fc.infiniteStream(fc.nat(1_000_000)),
        (content, list, shuffle) => {
          // Edits from left to right that do not overlap …
          let next = 0;
          const placed = list.flatMap(({ skip, remove, insert }) => {
            // … and two never start at one offset, as then their order matters.
            const offset = next + skip;
            if (offset + remove > content.length) return [];
            next = offset + remove + 1;
            return [{ offset, remove, insert }];
          });
          let expected = [...content];
          for (const { offset, remove, insert } of placed.toReversed()) {
            expected = [...expected.slice(0, offset), ...insert, ...expected.slice(offset + remove)];
          }
          // … are made in any order.
          const message = messageOf('');
          const around = Buffer.concat([bytes('~~'), content, bytes('~~')]);
          message.open(around, 2, 2 + content.length, 'client', client);
          for (const edit of placed
            .map((placedEdit) => ({ ...placedEdit, rank: shuffle.next().value }))
            .sort((one, other) => one.rank - other.rank)) {
            message.splice(edit.offset, edit.remove, edit.insert);
          }
          expect([...message.edited()]).toEqual(expected);
          expect(message.length + message.growth).toBe(expected.length);
        },
      ),
    );
  });
});
