/**
 * How the two halves of an observer talk to each other: the one in every pipeline, in whatever process, and the one that looks at
 * the whole. Values that go to another process are copied as by `structuredClone`.
 */

export interface Channel {
  /**
   * Sends a value to the other half. What is sent to pipelines is an order that holds until the next one: pipelines that begin
   * later receive the last order. What pipelines send is dropped if another process does not keep up, so send little, and seldom.
   */
  send(value: unknown): void;
  /** Receives what the other half sends. Call it in `apply` or `observe`. */
  onMessage(hear: (value: unknown) => void): void;
}

/** The end of an observer's channel where its pipelines are. */
export class PipelineEnd {
  readonly #send: (value: unknown) => void;
  readonly #hearers = new Set<(value: unknown) => void>();
  #last: { readonly value: unknown } | undefined;

  /** @param send takes what pipelines send to the other end */
  constructor(send: (value: unknown) => void) {
    this.#send = send;
  }

  /** What one pipeline gets: it hears nothing before `begin`, nor after `end`. */
  open(): Channel & { begin(): void; end(): void } {
    const own: ((value: unknown) => void)[] = [];
    return {
      send: this.#send,
      onMessage: (hear) => void own.push(hear),
      begin: () => {
        for (const hear of own) {
          this.#hearers.add(hear);
          if (this.#last !== undefined) hear(this.#last.value);
        }
      },
      end: () => {
        for (const hear of own) this.#hearers.delete(hear);
      },
    };
  }

  /** Passes on what the other end sends. */
  hear(value: unknown): void {
    this.#last = { value };
    for (const hear of this.#hearers) hear(value);
  }
}
