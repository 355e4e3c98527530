/** The listeners to events: each with what it wants to hear, and a bounded queue. */
import type { ObserverScope } from 'pointsman';
import { type Decision, type Filter, matches, type Order, type Report } from './decisions.ts';

export const eventTypes = ['decision', 'left-out', 'state', 'stats'] as const;
export type EventType = (typeof eventTypes)[number];

export interface Wanted extends Filter {
  readonly types: readonly EventType[];
}

/** How many events may wait for a listener that reads slowly; it misses further ones, and is told how many. */
const mostWaiting = 1000;
/** How often something is sent to listeners that hear nothing else, so that broken connections are noticed. */
const heartbeatMs = 15_000;
/** A listener that has not read for this long is dropped. */
const mostIdleMs = 60_000;
export const mostListeners = 64;

export class Hub {
  readonly #scope: ObserverScope;
  readonly #listeners = new Set<EventListener>();
  #cancelHeartbeat: () => void;

  constructor(scope: ObserverScope) {
    this.#scope = scope;
    scope.channel.onMessage((value) => this.#hear(value as Report));
    const beat = () => {
      for (const listener of this.#listeners) listener.beat();
      this.#cancelHeartbeat = scope.clock.after(heartbeatMs, beat);
    };
    this.#cancelHeartbeat = scope.clock.after(heartbeatMs, beat);
  }

  get isFull(): boolean {
    return this.#listeners.size >= mostListeners;
  }

  /** Whether somebody wants to hear about this. */
  hears(type: EventType): boolean {
    for (const { wanted } of this.#listeners) if (wanted.types.includes(type)) return true;
    return false;
  }

  /** The events that are wanted, as `text/event-stream`, from now on. */
  listen(wanted: Wanted): ReadableStream<Uint8Array> {
    const listener = new EventListener(wanted, this.#scope.clock.now, () => {
      this.#listeners.delete(listener);
      this.#order();
    });
    this.#listeners.add(listener);
    this.#order();
    return listener.stream;
  }

  /** Sends an event to all who want to hear about it. */
  tell(type: EventType, value: object): void {
    let text: string | undefined;
    for (const listener of this.#listeners) {
      if (!listener.wanted.types.includes(type)) continue;
      listener.push((text ??= frame(type, value)));
    }
  }

  close(): void {
    this.#cancelHeartbeat();
    for (const listener of this.#listeners) listener.close();
  }

  #hear({ decisions, leftOut }: Report): void {
    const at = new Date().toISOString();
    for (const decision of decisions) this.#tellDecision({ at, ...decision });
    if (leftOut > 0) this.tell('left-out', { at, count: leftOut });
  }

  #tellDecision(decision: Decision & { readonly at: string }): void {
    let text: string | undefined;
    for (const listener of this.#listeners) {
      if (listener.wanted.types.includes('decision') && matches(decision, listener.wanted)) {
        listener.push((text ??= frame('decision', decision)));
      }
    }
  }

  #order(): void {
    const filters = [...this.#listeners]
      .filter(({ wanted }) => wanted.types.includes('decision'))
      .map(({ wanted }) => filterOf(wanted));
    const order: Order = { filters };
    this.#scope.channel.send(order);
  }
}

const filterOf = ({ listener, backend, client, reason, outcome }: Wanted): Filter => {
  return { listener, backend, client, reason, outcome };
};

const frame = (type: string, value: object) => `event: ${type}\ndata: ${JSON.stringify(value)}\n\n`;

const encoder = new TextEncoder();

class EventListener {
  readonly wanted: Wanted;
  readonly stream: ReadableStream<Uint8Array>;
  readonly #now: () => number;
  readonly #onGone: () => void;
  #controller!: ReadableStreamDefaultController<Uint8Array>;
  #waiting: string[] = [];
  #missed = 0;
  #readAtMs: number;

  constructor(wanted: Wanted, now: () => number, onGone: () => void) {
    this.wanted = wanted;
    this.#now = now;
    this.#onGone = onGone;
    this.#readAtMs = now();
    this.stream = new ReadableStream<Uint8Array>(
      {
        start: (controller) => {
          this.#controller = controller;
          this.push(': listening\n\n');
        },
        pull: () => {
          this.#readAtMs = this.#now();
          this.#flush();
        },
        cancel: () => this.#onGone(),
      },
      { highWaterMark: 1 },
    );
  }

  push(text: string): void {
    if (this.#waiting.length >= mostWaiting) this.#missed++;
    else this.#waiting.push(text);
    this.#flush();
  }

  beat(): void {
    if (this.#waiting.length === 0) this.push(': still here\n\n');
    else if (this.#now() - this.#readAtMs > mostIdleMs) this.close();
  }

  close(): void {
    this.#onGone();
    try {
      this.#controller.close();
    } catch {} // it has been cancelled already
  }

  /** Passes on what is waiting if the last part of it has been read. */
  #flush(): void {
    if (this.#waiting.length === 0 || (this.#controller.desiredSize ?? 0) <= 0) return;
    const missed = this.#missed > 0 ? frame('missed', { count: this.#missed }) : '';
    const text = this.#waiting.join('') + missed;
    this.#waiting = [];
    this.#missed = 0;
    this.#controller.enqueue(encoder.encode(text));
  }
}
