/** What checks must do: judge an answer alike however it arrives, and keep attempts apart. */
import { fail } from 'node:assert';
import { withDefaults } from '../config/validate.ts';
import type { Attempt, Check } from '../health/checks.ts';
import { type Backend, Pool } from '../pool.ts';
import { dryServices } from '../services.ts';
import { show } from './bytes.ts';
import { Random } from './random.ts';
import { settingsWith } from './rig.ts';
import { within } from './runaway.ts';
import type { Case, Subject } from './subject.ts';

const garbageAnswers = 100;
const splits = 20;

const checks = ({ plugin }: Subject) => plugin.check !== undefined;

export const checkCases: readonly Case[] = [
  {
    name: 'check: it throws at no answer, and comes back from all',
    applies: checks,
    run(subject) {
      const { begin, answers } = made(subject);
      for (const answer of answers) {
        const attempt = begin();
        within(
          subject.patienceMs,
          () => `asked about ${show(answer)}`,
          () => {
            for (const byte of answer) attempt.hear(Buffer.of(byte));
          },
        );
        if (attempt.thrown !== undefined) fail(`it threw at ${show(answer)}: ${attempt.thrown}`);
      }
    },
  },
  {
    name: 'check: the verdict is the same wherever the answer is cut',
    applies: checks,
    run(subject) {
      const { begin, answers } = made(subject);
      const random = new Random(1);
      for (const answer of answers) {
        const whole = begin().hear(answer).verdict;
        const cuts: Buffer[][] = [[...answer].map((byte) => Buffer.of(byte))];
        for (let count = 0; count < splits; count++) cuts.push(random.split(answer));
        for (const pieces of cuts) {
          const attempt = begin();
          for (const piece of pieces) attempt.hear(piece);
          if (attempt.verdict === whole) continue;
          fail(`${show(answer)} ${whole} in one piece, but ${attempt.verdict} in ${pieces.length}`);
        }
      }
    },
  },
  {
    name: 'check: attempts do not disturb each other',
    applies: checks,
    run(subject) {
      const { answers } = made(subject);
      for (const answer of answers) {
        const half = Math.ceil(answer.length / 2);
        const [first, second] = [answer.subarray(0, half), answer.subarray(half)];
        const alone = made(subject).begin().hear(first).hear(second).verdict;
        const { begin, backends } = made(subject);
        const [one, other] = [begin(backends[0]), begin(backends[1])];
        for (const piece of [first, second]) for (const attempt of [one, other]) attempt.hear(piece);
        for (const { verdict } of [one, other, begin(backends[0]).hear(first).hear(second)]) {
          if (verdict !== alone) fail(`${show(answer)} ${alone} alone, but ${verdict} beside or after other attempts`);
        }
      }
    },
  },
];

/** One time that a backend is asked, by someone who gives the answer. */
class Asking implements Attempt {
  readonly backend: Backend;
  readonly sent: Buffer[] = [];
  verdict: 'passes' | 'fails' | 'waits' = 'waits';
  /** What the check threw, which is a failure. */
  thrown: string | undefined;
  readonly #check: Check;
  #received: Buffer = Buffer.alloc(0);

  constructor(check: Check, backend: Backend) {
    this.#check = check;
    this.backend = backend;
    this.#call(() => check.onOpen(this));
  }

  send(bytes: Uint8Array): void {
    this.sent.push(Buffer.from(bytes));
  }

  pass(): void {
    if (this.verdict === 'waits') this.verdict = 'passes';
  }

  fail(): void {
    if (this.verdict === 'waits') this.verdict = 'fails';
  }

  /** Some more of the answer comes; once there is a verdict, nobody listens. */
  hear(piece: Buffer): this {
    if (this.verdict !== 'waits' || piece.length === 0) return this;
    this.#received = Buffer.concat([this.#received, piece]);
    this.#call(() => this.#check.onBytes?.(this, this.#received));
    return this;
  }

  #call(callback: () => void): void {
    try {
      callback();
    } catch (error) {
      this.thrown = (error as Error).message;
      this.fail();
    }
  }
}

/** The check, made anew, and what backends may answer: the samples, what they were sent, and garbage made of both. */
function made({ plugin, samples, options }: Subject) {
  const { runtime, log } = dryServices([]);
  const pool = new Pool(settingsWith([]).pools[0]!);
  const check = plugin.check!(withDefaults(plugin, options) as never, { pool, clock: runtime, log });
  const begin = (backend = pool.backends[0]!) => new Asking(check, backend);
  const known = [...samples.map(({ bytes }) => Buffer.from(bytes)), ...begin().sent, Buffer.from('\r\n')];
  const random = new Random(1);
  const garbage = Array.from({ length: garbageAnswers }, () => random.mutate(random.pick(known)));
  return { begin, backends: pool.backends, answers: [...known, ...garbage] };
}
