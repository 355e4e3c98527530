/** The header fields that carry a W3C trace context. No standard names them for SIP, so options do. */
import type { Message, TraceContext } from 'pointsman';
import { ascii } from './characters.ts';
import type { Header } from './header.ts';
import type { NamedField } from './header-lines.ts';
import { field, fieldOf } from './names.ts';

const emptyLineBytes = 2;

export class TraceFields {
  /** The fields that the header reader has to note. */
  readonly named: readonly NamedField[];
  readonly #traceparent: string | undefined;
  readonly #tracestate: string | undefined;

  /**
   * @param traceparent the field's name; undefined: there is none
   * @throws Error if they are one, or a field that is read anyway
   */
  constructor(traceparent: string | undefined, tracestate: string | undefined) {
    if (tracestate !== undefined && traceparent === undefined) {
      throw new Error('tracestate: it says nothing without traceparent');
    }
    this.#traceparent = traceparent;
    this.#tracestate = tracestate;
    const named: NamedField[] = [];
    for (const [option, given] of Object.entries({ traceparent, tracestate })) {
      if (given === undefined) continue;
      const name = ascii(given.toLowerCase());
      if (fieldOf(name, 0, name.length) !== field.other || named.some((each) => each.name.equals(name))) {
        throw new Error(`${option}: the field ${given} has another meaning already`);
      }
      named.push({ name, field: option === 'traceparent' ? field.traceparent : field.tracestate });
    }
    this.named = named;
  }

  write(message: Message, header: Header, { traceparent, tracestate }: TraceContext): void {
    if (this.#traceparent === undefined) return;
    this.#put(message, header, field.traceparent, this.#traceparent, traceparent);
    if (this.#tracestate !== undefined) this.#put(message, header, field.tracestate, this.#tracestate, tracestate);
  }

  /** Replaces all lines of the field; no value: removes them. */
  #put(message: Message, header: Header, id: number, name: string, value: string): void {
    for (let line = header.first[id]!; line >= 0; line = header.nextLine(line)) {
      const start = header.lineStarts[line]!;
      message.splice(start - message.start, header.lineEnds[line]! - start);
    }
    const emptyLine = header.bodyStart - emptyLineBytes - message.start;
    if (value !== '') message.splice(emptyLine, 0, ascii(`${name}: ${value}\r\n`));
  }
}
