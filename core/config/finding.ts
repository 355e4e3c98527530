/** What validation finds: one sentence at one place of a config. */
import { isDeepStrictEqual } from 'node:util';
import type { Locator, Source } from './locate.ts';
import type { Path } from './path.ts';
import type { Rule } from './rules.ts';

/** The stages in which a config is examined, in this order. */
export type Stage =
  /** It is YAML or JSON, and what it refers to outside is there. */
  | 'syntax'
  /** It has the members a config has. */
  | 'shape'
  /** Its plugins load. */
  | 'plugins'
  /** Their options are what they ask for. */
  | 'options'
  /** They fit into pipelines. */
  | 'apply'
  /** It makes sense as a whole. */
  | 'lint'
  /** Its backends can be reached; only where that is asked for. */
  | 'connect';

export interface Finding {
  /** As it was given on the command line. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 code units. */
  readonly column: number;
  readonly severity: 'error' | 'warning';
  readonly stage: Stage;
  readonly rule: Rule;
  /** One sentence without a full stop. It holds no value that came from the environment or from a file. */
  readonly message: string;
}

/** Whether the finding may mean that some plugins are unknown. */
export const isAboutPlugins = ({ rule, stage }: Finding): boolean => rule === 'syntax' || stage === 'plugins';

export interface Remark {
  readonly rule: Rule;
  readonly stage: Stage;
  readonly message: string;
  readonly severity?: Finding['severity'];
  /** The finding is about the member's name, not its value. */
  readonly atKey?: boolean;
}

/** Collects the findings about one config. */
export class Findings {
  readonly #locator: Locator;
  readonly #list: Finding[] = [];
  readonly #wrong: Path[] = [];

  constructor(locator: Locator) {
    this.#locator = locator;
  }

  /** Adds a finding about what is at `path`. */
  add(path: Path, { atKey = false, ...remark }: Remark): void {
    const { source, keyOffset, valueOffset } = this.#locator.find(path);
    this.addAt(source, atKey ? keyOffset : valueOffset, remark);
    if (remark.severity !== 'warning') this.#wrong.push(path);
  }

  /** Adds a warning about a member that is allowed but makes no sense. */
  warn(rule: Rule, path: Path, message: string): void {
    this.add(path, { rule, stage: 'lint', severity: 'warning', message, atKey: true });
  }

  /** Adds a finding about a character of a file. */
  addAt(source: Source, offset: number, { rule, stage, message, severity = 'error' }: Remark): void {
    const { line, col: column } = source.lines.linePos(offset);
    const finding = { file: source.file, line, column, severity, stage, rule, message };
    // What stands behind an anchor is looked at wherever an alias repeats it.
    if (!this.#list.some((known) => isDeepStrictEqual(known, finding))) this.#list.push(finding);
  }

  get errors(): number {
    return this.#list.filter(({ severity }) => severity === 'error').length;
  }

  /** There is no error at `path`, within it, or around it. */
  isSound(path: Path): boolean {
    return this.#wrong.every((wrong) =>
      wrong.some((segment, index) => index < path.length && String(segment) !== String(path[index])),
    );
  }

  /** The findings ordered by their places; files in the order given. */
  inOrder(files: readonly string[]): Finding[] {
    return this.#list.sort(
      (one, other) =>
        files.indexOf(one.file) - files.indexOf(other.file) || one.line - other.line || one.column - other.column,
    );
  }
}
