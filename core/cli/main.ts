#!/usr/bin/env node
/** The command line: runs the program, and tells how it went. */
import { inspect } from 'node:util';
import { PointsmanError } from '../errors.ts';
import { CommanderError } from '../vendor/commander.ts';
import { exitCodes, type Output } from './output.ts';
import { createProgram } from './program.ts';

const output: Output = process;

/** Sets the exit code; what a plugin has left open does not keep the process. */
function finish(code: number): void {
  process.exitCode = code;
  setTimeout(() => process.exit(), 1000).unref();
}

// That nobody reads any more, or that a disk is full, is no reason to end.
for (const stream of [process.stdout, process.stderr]) stream.on('error', () => {});

// Node.js ends, and does not say why, when nothing is left that could bring what is awaited.
let isOver = false;
process.on('exit', (code) => {
  if (isOver || code !== 0) return;
  output.stderr.write('pointsman: it waits for what never comes, most likely in a plugin, outside of its functions\n');
  process.exitCode = exitCodes.couldNotRun;
});

async function main(): Promise<void> {
  try {
    await createProgram(output, finish).parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      process.exitCode = error.exitCode === 0 ? exitCodes.clean : exitCodes.couldNotRun;
    } else {
      // Our own errors say all there is to say; any other is a defect, and its stack helps to find it.
      const text = error instanceof PointsmanError ? error.message : inspect(error);
      output.stderr.write(`pointsman: ${text}\n`);
      finish(exitCodes.couldNotRun);
    }
  } finally {
    isOver = true;
  }
}

void main(); // not awaited: Node.js has words of its own for a module that never ends
