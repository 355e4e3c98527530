/** What the demo needs to know of a protocol: how its backends and its client speak, and how to show its messages. */

export interface DemoProtocol {
  /** Its plugin's name; the listener and the pool are called that too. */
  readonly name: string;
  /** Where its listener listens if that port is free. */
  readonly port: number;
  /** Backends are called that with -1, -2, -3 behind. */
  readonly backends: string;
  /** Its identifiers are numbers, which the config gives to the backends. */
  readonly numbersBackends: boolean;
  /** The listener's pipeline, each plugin as a config writes it. */
  readonly pipeline: readonly { readonly plugin: string; readonly options: string }[];
  /** The length in bytes of the message that `bytes` begin with; 0: more must come. */
  lengthOf(bytes: Buffer): number;
  /** The session that a message or answer of the built-in client belongs to. */
  sessionOf(message: Buffer): string;
  /** What the backend sends when it gets `request`. */
  answer(request: Buffer, backend: BackendAddress): readonly Buffer[];
  /** The name that a backend has put into its answer. */
  servedBy(answer: Buffer): string;
  /** What the client says in one session. */
  converse(session: string, number: number): Conversation;
  /** One line about a message that came from a client. */
  tell(message: Buffer): Told;
  /** A command that sends a message by hand. */
  tryIt(port: number): string;
}

export interface BackendAddress {
  readonly name: string;
  readonly port: number;
}

/** Yields what is to be sent, is given the answer, and returns when the session is over. */
export type Conversation = Generator<Turn, void, Buffer>;

export interface Turn {
  readonly bytes: Buffer;
  /** Which answer is waited for; undefined: none. */
  readonly until?: (answer: Buffer) => boolean;
}

/** A message in a few words: the identifier that it carries (empty if none), and what stands before and behind it. */
export type Told = readonly [before: string, identifier: string, behind: string];

export const anyAnswer = (): boolean => true;
