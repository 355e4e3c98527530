/** `npm run fuzz`: looks for inputs that a target must not answer as it does. */
import { parseArgs } from 'node:util';
import { show } from '../../core/conformance/bytes.ts';
import { Watchdog } from '../support/watchdog.ts';
import { readCorpus, writeCorpus } from './corpus.ts';
import { Coverage } from './coverage.ts';
import { fuzz } from './engine.ts';
import { targets } from './targets.ts';

const { values } = parseArgs({
  options: {
    seconds: { type: 'string' },
    inputs: { type: 'string' },
    target: { type: 'string', multiple: true },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 2 ** 31)) },
    keep: { type: 'boolean', default: false },
  },
});

/** Coverage slows everything down, so most of the time goes without, and most of the inputs where their number is given. */
const exploringShare = 0.25;
const exploringInputsShare = 0.05;

const chosen = targets.filter(({ name }) => values.target === undefined || values.target.includes(name));
if (chosen.length === 0) {
  process.stderr.write(`there is no such target; there are ${targets.map(({ name }) => name).join(', ')}\n`);
  process.exit(2);
}
const mostInputs = Number(values.inputs ?? Number.POSITIVE_INFINITY);
const seconds = Number(values.seconds ?? (values.inputs === undefined ? 60 : Number.POSITIVE_INFINITY));
const secondsEach = seconds / chosen.length;
// Of failures only the message is told, and traces of errors that are meant to be take a tenth of the time.
Error.stackTraceLimit = 0;
const watchdog = new Watchdog(20, 'base64');
let total = 0;
for (const target of chosen) {
  const began = performance.now();
  const secondsPassed = () => (performance.now() - began) / 1000;
  let inputs = 0;
  const until = (most: number, seconds: number) => (count: number) => {
    inputs = count;
    return count < most && secondsPassed() < seconds;
  };
  const coverage = new Coverage();
  let corpus = readCorpus(target.name);
  const seed = Number(values.seed);
  const explores = until(mostInputs * exploringInputsShare, secondsEach * exploringShare);
  let outcome = await fuzz(target, { seed, corpus, coverage, watchdog, goesOn: explores });
  const explored = inputs;
  const blocks = coverage.size;
  coverage.stop();
  if (outcome.failure === undefined) {
    corpus = [...outcome.corpus];
    if (values.keep) writeCorpus(target.name, corpus);
    outcome = await fuzz(target, {
      seed: seed + 1,
      corpus,
      watchdog,
      goesOn: until(mostInputs - explored, secondsEach),
    });
  }
  total += explored + inputs;
  const { failure } = outcome;
  process.stdout.write(
    `${target.name}: ${explored + inputs} inputs in ${secondsPassed().toFixed(0)} s, ${blocks} blocks, ${corpus.length} inputs worth keeping, ` +
      `${failure === undefined ? 'none fails' : 'one fails'}\n`,
  );
  if (failure === undefined) continue;
  const { input, error, needsOthers } = failure;
  process.stdout.write(
    `  ${error.message}\n  input: ${show(input, input.length)}\n  in base64: ${input.toString('base64')}\n` +
      `  ${needsOthers ? `alone it does not fail; again: npm run fuzz -- --target ${target.name} --seed ${seed}` : 'it fails alone'}\n`,
  );
  process.exitCode = 1;
}
process.stdout.write(`${total} inputs\n`);
