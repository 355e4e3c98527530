/**
 * What an observer's two halves say to each other: the one in every pipeline, in whatever process, and the one that looks at
 * the whole. Between processes, values are copied as by `structuredClone`.
 */

export interface Channel {
  /**
   * Says something to the other half. What is sent to pipelines is an order that holds until the next one: pipelines that begin
   * later hear the last. What pipelines say is dropped where another process does not keep up: let it be little, and seldom.
   */
  send(value: unknown): void;
  /** Hears what the other half says. To call in `apply` or `observe`. */
  onMessage(hear: (value: unknown) => void): void;
}

/** The end of a line where one observer's pipelines are. */
export class PipelineEnd {
  readonly #send: (value: unknown) => void;
  readonly #hearers = new Set<(value: unknown) => void>();
  #last: { readonly value: unknown } | undefined;

  /** @param send takes what pipelines say to the other end */
  constructor(send: (value: unknown) => void) {
    this.#send = send;
  }

  /** What one pipeline gets; `close` when it ends. */
  open(): Channel & { close(): void } {
    const own: ((value: unknown) => void)[] = [];
    return {
      send: this.#send,
      onMessage: (hear) => {
        own.push(hear);
        this.#hearers.add(hear);
        if (this.#last !== undefined) hear(this.#last.value);
      },
      close: () => {
        for (const hear of own) this.#hearers.delete(hear);
      },
    };
  }

  /** Hands on what the other end says. */
  hear(value: unknown): void {
    this.#last = { value };
    for (const hear of this.#hearers) hear(value);
  }
}
