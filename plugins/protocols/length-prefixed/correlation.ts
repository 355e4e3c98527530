/** The option `correlation`: ids of ours in requests, whose answers bring them back, in both directions. */
import {
  type Backend,
  type Discard,
  discard,
  type Exchange,
  type Message,
  type Refusal,
  refusal,
  type Scope,
} from 'pointsman';
import type { ErrorReplies } from './error-replies.ts';
import type { Layout } from './layout.ts';
import { numberCodec } from './numbers.ts';
import type { Correlation } from './options.ts';

const overloaded = refusal('overloaded');
const unasked = discard('no-destination');

/** How many requests of backends are remembered for one client; when there is one more, the oldest is forgotten. */
const mostBackendRequests = 256;

export function correlate(field: Correlation, layout: Layout, scope: Scope, errors: ErrorReplies | undefined) {
  const { exchanges } = scope;
  const codec = numberCodec(field.size, field.endian);
  const scratch = Buffer.alloc(field.size);
  const backendRequests = scope.perClient(() => new BackendRequests(2 ** idBits(field.size) - 1));
  /** What the current answer, from a client to a backend, gets back. */
  let original: Buffer | undefined;

  return {
    detect(message: Message): Exchange | Backend | Discard | undefined {
      const at = layout.isAnswer ? layout.find(field) : -1;
      if (at < 0) return undefined;
      const id = codec.read(message.bytes, message.start + at);
      if (message.from === 'backend') return exchanges.find(message, id) ?? unasked;
      const request = backendRequests(message.client!).take(id);
      if (request === undefined || !request.backend.isUsable) return unasked;
      original = request.original;
      return request.backend;
    },

    insert(message: Message): Refusal | undefined {
      const at = layout.find(field);
      if (at < 0) return undefined;
      if (layout.isAnswer) {
        message.splice(at, field.size, message.from === 'backend' ? message.exchange!.original : original!);
        return undefined;
      }
      let id: number;
      if (message.from === 'backend') {
        id = backendRequests(message.client!).add(message.backend!, Buffer.from(message.view(at, field.size)));
      } else {
        const exchange = exchanges.open(message, at, field.size);
        if (exchange === undefined) return overloaded;
        if (errors?.needsMore) exchange.note = errors.write(message, 'backend-lost');
        id = exchange.id;
      }
      codec.write(id, scratch);
      message.splice(at, field.size, scratch);
      return undefined;
    },
  };
}

/** How many bits of a field may hold our ids: never the top bit of a wide one (SMPP's numbers end at 0x7fffffff). */
export function idBits(size: number): number {
  return Math.min(8 * size, 31);
}

/** Requests that backends sent to one client and that it has not answered yet. */
class BackendRequests {
  readonly #waiting = new Map<number, { readonly backend: Backend; readonly original: Buffer }>();
  readonly #lastId: number;
  #next = 1;

  constructor(lastId: number) {
    this.#lastId = lastId;
  }

  /** Remembers whose request it is and what stood in its correlation field; answers the id to write there. */
  add(backend: Backend, original: Buffer): number {
    const id = this.#next;
    this.#next = id === this.#lastId ? 1 : id + 1;
    if (this.#waiting.size === mostBackendRequests) this.#waiting.delete(this.#waiting.keys().next().value!);
    this.#waiting.set(id, { backend, original });
    return id;
  }

  take(id: number) {
    const request = this.#waiting.get(id);
    this.#waiting.delete(id);
    return request;
  }
}
