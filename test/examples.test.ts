/** The files for CI among the examples: what they call is there. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { createProgram } from '../core/cli/program.ts';

const folder = 'test/examples/ci';
const verbs = new Map(
  createProgram({ stdout: process.stdout, stderr: process.stderr }, () => {}).commands.map((command) => [
    command.name(),
    command,
  ]),
);

describe.each(readdirSync(folder))('%s', (file) => {
  const text = readFileSync(join(folder, file), 'utf8');

  it('is YAML', () => {
    expect(parse(text)).toBeTypeOf('object');
  });

  it('calls verbs and options that there are', () => {
    const calls = [...text.matchAll(/\bpointsman (?!plugins?\b)([a-z]+) ([^\n>]*)/g)];
    expect(calls.length).toBeGreaterThan(0);
    for (const [call, verb, rest] of calls) {
      const options = verbs.get(verb!)?.options.flatMap(({ long }) => long ?? []);
      expect(options, call).toBeDefined();
      for (const [option] of rest!.matchAll(/--[a-z-]+/g)) expect(options, call).toContain(option);
    }
  });
});
