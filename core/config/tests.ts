/** Turns the tests of a config into scripts that can be played: reads bytes and durations, resolves names. */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { Action, Copy, Expectation, Place, Script, StatsPart, Step, Template } from '../rehearsal/script.ts';
import type { Draft } from './build.ts';
import { whyUnreadable } from './parse.ts';
import { type Path, valueAt } from './path.ts';
import type { Config } from './schema.ts';
import { among, listed } from './suggest.ts';

type TestConfig = NonNullable<Config['tests']>[number];
type StepConfig = TestConfig['steps'][number];
type ExpectConfig = NonNullable<StepConfig['expect']>;
type MessageConfig = NonNullable<StepConfig['send']>;

/** The sender, if a test does not say. */
const defaultClient = 'client';
const longestAdvanceMs = 24 * 3_600_000;
const unitMs = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 } as const;

const actions = ['send', 'reply', 'advance', 'down', 'up', 'drain'] as const;
const extensions = ['.yaml', '.yml', '.json'];
/** RFC 4648 section 4, with the padding or without. */
const base64 = /^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}(==)?|[A-Za-z0-9+/]{3}=?)?$/;
const waysToWrite = ['text', 'hex', 'base64', 'file'] as const;

/** Adds to each file of a config the `NAME.test.yaml` beside it, and to each of those the config that it tests. */
export function withTestFiles(paths: readonly string[]): string[] {
  const files = new Set<string>();
  for (const path of paths) {
    const [, stem, isTest] = /^(.*?)(\.test)?\.(?:ya?ml|json)$/s.exec(path) ?? [];
    const beside = (kind: string) =>
      stem === undefined ? [] : extensions.map((extension) => `${stem}${kind}${extension}`).filter(existsSync);
    if (isTest !== undefined) for (const file of beside('')) files.add(file);
    files.add(path);
    if (isTest === undefined) for (const file of beside('.test')) files.add(file);
  }
  return [...files];
}

/** Scripts of the tests that are in order; the rest is in the findings. */
export function buildTests(draft: Draft): Script[] {
  const { tests } = draft.config;
  if (!Array.isArray(tests)) return [];
  return tests.flatMap((test, index) => new TestReader(draft, ['tests', index], test).read() ?? []);
}

class TestReader {
  readonly #draft: Draft;
  readonly #path: Path;
  readonly #test: TestConfig;
  /** The backends of the listener's pool; undefined if that is not known. */
  readonly #backends: readonly string[] | undefined;
  /** The names given so far. */
  readonly #clients = new Set<string>();
  readonly #steps = new Map<string, number>();

  constructor(draft: Draft, path: Path, test: TestConfig) {
    this.#draft = draft;
    this.#path = path;
    this.#test = test;
    const pool = valueAt(draft.config, ['listeners', test?.listener, 'pool']);
    const backends = typeof pool === 'string' ? valueAt(draft.config, ['pools', pool, 'backends']) : undefined;
    this.#backends = typeof backends === 'object' && backends !== null ? Object.keys(backends) : undefined;
  }

  read(): Script | undefined {
    const { findings } = this.#draft;
    const steps = valueAt(this.#test, ['steps']);
    if (!Array.isArray(steps)) return undefined;
    const read = steps.map((step, index) => {
      const path = [...this.#path, 'steps', index];
      return findings.isSound(path) ? this.#step(path, step, index) : this.#broken(step, index);
    });
    if (!findings.isSound(this.#path)) return undefined;
    const { name, listener } = this.#test;
    return { name, listener, place: this.#place(this.#path), steps: read as Step[] };
  }

  /** Names of steps that are not in order, which later steps may refer to all the same. */
  #broken(step: unknown, index: number): undefined {
    const [as, from] = [valueAt(step, ['as']), valueAt(step, ['send', 'from'])];
    this.#clients.add(typeof from === 'string' ? from : defaultClient);
    if (typeof as === 'string') this.#steps.set(as, index);
  }

  #step(path: Path, step: StepConfig, index: number): Step | undefined {
    const action = this.#action(path, step);
    const { as, expect = {} } = step;
    const expectations = this.#expectations([...path, 'expect'], expect, index);
    if (as !== undefined) {
      if (this.#steps.has(as)) this.#complain([...path, 'as'], (name) => `an earlier step is named "${name}" already`);
      this.#steps.set(as, index);
    }
    return action && { place: this.#place(path), as, action, expectations };
  }

  #action(path: Path, step: StepConfig): Action | undefined {
    const [kind, second] = actions.filter((action) => step[action] !== undefined);
    if (kind === undefined) {
      this.#complain(path, () => `this step does nothing; it needs one of ${listed(actions, 'and')}`);
      return undefined;
    }
    const at = [...path, kind];
    if (second !== undefined) {
      this.#complain([...path, second], () => `this step does ${kind} already; begin another step`, true);
      return undefined;
    }
    switch (kind) {
      case 'send': {
        const { from = defaultClient, split } = step.send!;
        this.#clients.add(from);
        const bytes = this.#bytes(at, step.send!);
        return { kind, from, bytes, byteByByte: split !== undefined };
      }
      case 'reply': {
        const { from, split } = step.reply!;
        if (from !== undefined) this.#checkBackend([...at, 'from'], from);
        return { kind, from, bytes: this.#bytes(at, step.reply!), byteByByte: split !== undefined };
      }
      case 'advance': {
        const [, count, unit] = /^(\d+)(ms|s|m|h)$/.exec(step.advance!)!;
        const milliseconds = Number(count) * unitMs[unit as keyof typeof unitMs];
        if (milliseconds > longestAdvanceMs) this.#complain(at, (written) => `${written} is more than 24h`);
        return { kind, milliseconds };
      }
      case 'down':
      case 'up':
      case 'drain':
        for (const [index, name] of step[kind]!.entries()) this.#checkBackend([...at, index], name);
        return { kind, backends: step[kind]! };
    }
  }

  #bytes(path: Path, message: MessageConfig): Template {
    const [way, second] = waysToWrite.filter((way) => message[way] !== undefined);
    if (way === undefined) {
      this.#complain(path, () => `${path.at(-1)} has no bytes; write one of ${listed(waysToWrite, 'and')}`, true);
      return [];
    }
    if (second !== undefined) {
      this.#complain([...path, second], () => `the bytes stand in "${way}" already`, true);
      return [];
    }
    const at = [...path, way];
    const written = message[way]!;
    switch (way) {
      case 'text':
        return this.#template(at, written, (text) => Buffer.from(text));
      case 'hex':
        return this.#template(at, written, (text) => this.#hex(at, text));
      case 'base64':
        if (!base64.test(written.replaceAll(/\s/g, ''))) this.#complain(at, (text) => `${quote(text)} is not base64`);
        return [Buffer.from(written, 'base64')];
      case 'file':
        return [this.#file(at, written)];
    }
  }

  /** Text with `{{…}}` in it. */
  #template(path: Path, text: string, decode: (text: string) => Buffer): Template {
    // Every second piece stood in braces: the inner ones, where there are more than two.
    return text
      .split(/\{\{(?!\{)(.+?)\}\}/s)
      .map((piece, index) => (index % 2 === 0 ? decode(piece) : this.#copy(path, piece)));
  }

  #copy(path: Path, inside: string): Copy {
    const written = `{{${inside}}}`;
    const [, offset, length] = /^\s*(\d{1,9})\s*:\s*(\d{1,9})\s*$/.exec(inside) ?? [];
    if (offset !== undefined) return { written, offset: Number(offset), length: Number(length) };
    try {
      // Received bytes are searched as latin1, so the pattern's characters are their bytes in UTF-8, too.
      return { written, pattern: new RegExp(Buffer.from(inside).toString('latin1'), 'gm') };
    } catch (error) {
      const [, why] = /: ([^:]*)$/.exec((error as Error).message) ?? [];
      this.#complain(
        path,
        () => `"${written}" is neither offset:length nor a regular expression: ${why?.toLowerCase()}`,
      );
      return { written, offset: 0, length: 0 };
    }
  }

  #hex(path: Path, text: string): Buffer {
    const digits = text.replaceAll(/\s/g, '');
    const wrong = /[^0-9a-f]/i.exec(digits);
    if (wrong !== null) this.#complain(path, () => `"${wrong[0]}" is no hexadecimal digit`);
    else if (digits.length % 2 > 0)
      this.#complain(path, () => `${digits.length} hexadecimal digits are no whole bytes`);
    return Buffer.from(digits, 'hex');
  }

  #file(path: Path, file: string): Buffer {
    try {
      return readFileSync(resolve(dirname(this.#place(path).file), file));
    } catch (error) {
      this.#complain(path, (written) => `cannot read ${written}: ${whyUnreadable(error)}`);
      return Buffer.alloc(0);
    }
  }

  #expectations(path: Path, expect: ExpectConfig, index: number): Expectation[] {
    const kinds = Object.keys(expect) as (keyof ExpectConfig)[];
    return kinds.map((kind) => this.#expectation([...path, kind], kind, expect, index));
  }

  #expectation(at: Path, kind: keyof ExpectConfig, expect: ExpectConfig, index: number): Expectation {
    const place = this.#place(at, true);
    switch (kind) {
      case 'backend':
        this.#checkBackend(at, expect[kind]!);
        return { kind, place, name: expect[kind]! };
      case 'client':
        this.#checkClient(at, expect[kind]!);
        return { kind, place, name: expect[kind]! };
      case 'sameBackendAs':
        return { kind, place, other: this.#earlier(at, expect[kind]!, index) };
      case 'notBackend': {
        const names = [expect[kind]!].flat();
        const each = (index: number) => (Array.isArray(expect[kind]) ? [...at, index] : at);
        for (const [index, name] of names.entries()) this.#checkBackend(each(index), name);
        return { kind, place, names };
      }
      case 'contains':
        return { kind, place, texts: [expect[kind]!].flat() };
      case 'bytes':
        return { kind, place, bytes: Buffer.from(expect[kind]!) };
      case 'hex':
        return { kind, place, bytes: this.#hex(at, expect[kind]!) };
      case 'identifier':
        if (expect[kind] !== false) this.#checkBackend(at, expect[kind]!);
        return { kind, place, name: expect[kind]! };
      case 'refused':
      case 'discarded':
        return { kind, place, what: expect[kind]! };
      case 'closed': {
        const isClosed = expect[kind]!;
        if (typeof isClosed === 'boolean') return { kind, place, client: undefined, isClosed };
        this.#checkClient(at, isClosed);
        return { kind, place, client: isClosed, isClosed: true };
      }
      case 'stats':
        for (const name of Object.keys(expect[kind]!.backends ?? {}))
          this.#checkBackend([...at, 'backends', name], name, true);
        return { kind, place, part: expect[kind]! as StatsPart };
    }
  }

  #earlier(path: Path, other: string | number, index: number): { step: number } | { client: string } {
    if (typeof other === 'number') {
      if (other > index) this.#complain(path, () => `step ${other} is not an earlier one; this is step ${index + 1}`);
      return { step: other - 1 };
    }
    const step = this.#steps.get(other);
    if (step !== undefined) return { step };
    if (this.#clients.has(other)) return { client: other };
    const known = [...this.#steps.keys(), ...this.#clients];
    this.#complain(path, (written) => `no earlier step or client is named "${written}"${among(written, known)}`);
    return { client: other };
  }

  #checkBackend(path: Path, name: string, atKey = false): void {
    const known = this.#backends;
    if (known === undefined || known.includes(name)) return;
    const pool = valueAt(this.#draft.config, ['listeners', this.#test.listener, 'pool']);
    this.#complain(path, (written) => `the pool "${pool}" has no backend "${written}"${among(written, known)}`, atKey);
  }

  #checkClient(path: Path, name: string): void {
    if (this.#clients.has(name)) return;
    this.#complain(
      path,
      (written) => `no client "${written}" has sent anything yet${among(written, [...this.#clients])}`,
    );
  }

  /** Remarks on what is shown as it was written: what came from outside is not for others to see. */
  #complain(path: Path, message: (written: string) => string, atKey = false): void {
    const { findings, written } = this.#draft;
    const shown = atKey ? path.at(-1) : valueAt(written, path);
    findings.add(path, { rule: 'bad-test', stage: 'lint', message: message(String(shown)), atKey });
  }

  #place(path: Path, atKey = false): Place {
    const { source, keyOffset, valueOffset } = this.#draft.locator.find(path);
    const { line, col: column } = source.lines.linePos(atKey ? keyOffset : valueOffset);
    return { file: source.file, line, column };
  }
}

const quote = (text: string) => JSON.stringify(text.length > 60 ? `${text.slice(0, 59)}…` : text);
