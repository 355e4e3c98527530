/**
 * The balancer without the kernel: npm run bench:micro -- [pairs|streaming|steps|hooks|observers] [protocol…]. Of a kind that no word
 * names, everything is measured, each in a process of its own: code that has seen other types before is slower.
 */
import { spawnSync } from 'node:child_process';
import { type Protocol, protocols } from '../dialects.ts';
import { measureObservers } from './observers.ts';
import { measurePairs } from './pairs.ts';
import { measureHooks, measureSteps } from './steps.ts';
import { measureStreaming } from './streaming.ts';

const parts: Readonly<Record<string, (protocol: Protocol) => Promise<void>>> = {
  pairs: measurePairs,
  streaming: measureStreaming,
  steps: measureSteps,
  hooks: measureHooks, // of no protocol
  observers: measureObservers,
};

const words = process.argv.slice(2);
const known: readonly string[] = [...Object.keys(parts), ...protocols];
const unknown = words.find((word) => !known.includes(word));
if (unknown !== undefined) throw new Error(`there is no ${unknown}; there are ${known.join(', ')}`);

function named<Word extends string>(all: readonly Word[]): readonly Word[] {
  const found = all.filter((word) => words.includes(word));
  return found.length > 0 ? found : all;
}

const jobs = named(Object.keys(parts)).flatMap((part) =>
  (part === 'hooks' ? protocols.slice(0, 1) : named(protocols)).map((protocol) => ({ part, protocol })),
);
for (const { part, protocol } of jobs) {
  if (jobs.length === 1) await parts[part]!(protocol);
  else {
    const again = [...process.execArgv, process.argv[1]!, part, protocol];
    const { status } = spawnSync(process.execPath, again, { stdio: 'inherit' });
    if (status !== 0) process.exitCode = 1;
  }
}
