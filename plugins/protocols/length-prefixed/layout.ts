/** Where the fields of a message are, whatever the width of its length and wherever an identifier was inserted. */
import type { Message } from 'pointsman';
import { bytesOf, startsWith } from './bytes.ts';
import type { LengthField } from './length-field.ts';
import type { Correlation, Options } from './options.ts';

export interface Field {
  readonly offset: number;
  readonly answerOffset?: number;
  readonly size: number;
}

/** The offsets of the fields of the current message. */
export class Layout {
  /** The current message is an answer. */
  isAnswer = false;
  /** How many bytes its inserted identifier takes, including the marker; 0: it has none. */
  insertedBytes = 0;
  /** Where the identifier is, or would be (which may be beyond the message's end). */
  insertion = 0;
  /** Where the message ends, not counting an inserted identifier. */
  #end = 0;
  readonly #length: LengthField;
  readonly #answers: Correlation['answers'];
  readonly #marker: Buffer | undefined;
  readonly #idBytes: number;
  readonly #idOffset: number;

  constructor(length: LengthField, id: Options['id'], answers: Correlation['answers']) {
    this.#length = length;
    this.#answers = answers;
    this.#marker = id?.insert && bytesOf(id.insert.marker);
    this.#idBytes = (this.#marker?.length ?? 0) + (id?.size ?? 0);
    this.#idOffset = id?.insert?.at === 'offset' ? id.offset : Infinity;
  }

  /** Makes `message` the current one. */
  look(message: Message): void {
    this.insertedBytes = 0;
    this.#end = message.length;
    if (this.#marker !== undefined) {
      const atEnd = this.#idOffset === Infinity;
      const at = atEnd ? message.length - this.#idBytes : this.#place(this.#idOffset);
      const fits = at >= this.#length.end && at + this.#idBytes <= message.length;
      if (fits && startsWith(message.bytes, message.start + at, this.#marker)) {
        this.insertedBytes = this.#idBytes;
        if (atEnd) this.#end = at;
      }
      this.insertion = atEnd ? this.#end : at;
    }
    this.isAnswer = message.from === 'backend';
    if (this.#answers !== undefined) {
      const { offset, mask, value } = this.#answers;
      const at = this.#place(offset);
      if (at < this.#end) this.isAnswer = (message.bytes[message.start + at]! & mask) === value;
    }
  }

  /** Where the field starts; -1 if the message ends before the field does. */
  find(field: Field): number {
    const at = this.#place((this.isAnswer ? field.answerOffset : undefined) ?? field.offset);
    return at + field.size <= this.#end ? at : -1;
  }

  /** The real offset for `offset`, which is given as if varints had one byte and no identifier had been inserted. */
  #place(offset: number): number {
    let at = offset;
    if (this.#length.isVarint && offset > this.#length.offset) at += this.#length.width - 1;
    if (offset >= this.#idOffset) at += this.insertedBytes;
    return at;
  }
}
