/** A test of a config, ready to be played: names resolved, bytes decoded, durations in milliseconds. */

/** A place in a config file. */
export interface Place {
  /** As it was given on the command line. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
}

export interface Script {
  readonly name: string;
  readonly listener: string;
  readonly place: Place;
  readonly steps: readonly Step[];
}

export interface Step {
  readonly place: Place;
  /** The name by which later steps refer to it. */
  readonly as: string | undefined;
  readonly action: Action;
  readonly expectations: readonly Expectation[];
}

export type Action =
  | { readonly kind: 'send'; readonly from: string; readonly bytes: Template; readonly byteByByte: boolean }
  /** `from` undefined: the backend that last received something. */
  | {
      readonly kind: 'reply';
      readonly from: string | undefined;
      readonly bytes: Template;
      readonly byteByByte: boolean;
    }
  | { readonly kind: 'advance'; readonly milliseconds: number }
  | { readonly kind: 'down' | 'up' | 'drain'; readonly backends: readonly string[] };

/** Bytes, some of which are copied from what the sender received last. */
export type Template = readonly (Buffer | Copy)[];

export type Copy =
  /** All matches are copied, one after the other; of each its first group, if it has one. */
  | { readonly written: string; readonly pattern: RegExp }
  | { readonly written: string; readonly offset: number; readonly length: number };

/** A number or flag at each leaf. */
export interface StatsPart {
  readonly [member: string]: number | boolean | StatsPart;
}

export type Expectation = { readonly place: Place } & (
  | { readonly kind: 'backend' | 'client'; readonly name: string }
  | { readonly kind: 'sameBackendAs'; readonly other: { readonly step: number } | { readonly client: string } }
  | { readonly kind: 'notBackend'; readonly names: readonly string[] }
  | { readonly kind: 'contains'; readonly texts: readonly string[] }
  | { readonly kind: 'bytes' | 'hex'; readonly bytes: Buffer }
  /** False: there is no identifier. */
  | { readonly kind: 'identifier'; readonly name: string | false }
  /** True: for whatever reason; false: not at all. */
  | { readonly kind: 'refused' | 'discarded'; readonly what: string | boolean }
  /** `client` undefined: the one that last sent something. */
  | { readonly kind: 'closed'; readonly client: string | undefined; readonly isClosed: boolean }
  | { readonly kind: 'stats'; readonly part: StatsPart }
);
