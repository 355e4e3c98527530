/** Where a verb writes. */
export interface Stream {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  /** Why nothing can be written any more, such as that whoever read along has gone. */
  readonly errored?: Error | null;
  /** What waits for whoever reads. */
  readonly writableLength?: number;
  /** Told when what was written could not be, or that nothing waits any more. */
  on?(event: 'error' | 'drain', listener: () => void): unknown;
}

export interface Output {
  /** What was asked for. */
  readonly stdout: Stream;
  /** What went wrong. */
  readonly stderr: Stream;
}

/** Exit codes of all verbs. */
export const exitCodes = { clean: 0, findings: 1, couldNotRun: 2 } as const;

/** Colours are for people at terminals who have not declined them (no-color.org). */
export function wantsColours(stream: Stream): boolean {
  return stream.isTTY === true && (process.env.NO_COLOR ?? '') === '';
}

/** How wide a line may be there. A terminal that does not know says 0. */
export const widthOf = ({ isTTY, columns }: Stream) => (isTTY === true ? columns || 80 : Number.POSITIVE_INFINITY);

/** `1 pool`, `2 pools` */
export const counted = (count: number, noun: string) => `${count} ${noun}${count === 1 ? '' : 's'}`;

/** How findings can be printed. */
export const findingsFormats = ['text', 'json', 'sarif', 'github'] as const;
export type FindingsFormat = (typeof findingsFormats)[number];

export const logLevels = ['debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof logLevels)[number];

/** What `create plugin` can make. */
export const pluginKinds = ['protocol', 'strategy', 'check', 'observer'] as const;
export type PluginKind = (typeof pluginKinds)[number];

/** What `completion` can write scripts for. */
export const shells = ['bash', 'zsh', 'fish'] as const;
export type Shell = (typeof shells)[number];
