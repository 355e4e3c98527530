/**
 * The conformance kit, which plugin authors import as `pointsman/conformance`: what holds for every plugin of a kind, as test
 * cases for any test runner. Each runs the plugin in the real core, on virtual sockets and a virtual clock.
 *
 *     import { test } from 'node:test';
 *     import { conformance } from 'pointsman/conformance';
 *     import acme from './acme.ts';
 *
 *     conformance({ plugin: acme, test });
 */
import type { PluginDefinition, Sample } from '../plugin.ts';
import { checkCases } from './checks.ts';
import { everyPluginCases } from './every-plugin.ts';
import { framingCases } from './framing.ts';
import { identifierCases } from './identifiers.ts';
import { observerCases } from './observers.ts';
import { refusalCases } from './refusals.ts';
import { strategyCases } from './strategies.ts';
import { type Case, examine } from './subject.ts';

export interface ConformanceOptions {
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  readonly plugin: PluginDefinition<any>;
  /** Example messages. Undefined: the plugin's own. */
  readonly samples?: readonly Sample[];
  /** The plugin's options where a sample has none. Undefined: the defaults. */
  readonly options?: unknown;
  /** Names of cases that the plugin does not claim to pass. Say beside it why. */
  readonly except?: readonly string[];
  /** How long the plugin may be busy with one piece of work before it passes for one that never comes back. */
  readonly patienceSeconds?: number;
}

/** A case that applies to the plugin. */
export interface ConformanceCase {
  readonly name: string;
  /** Throws (rejects with) an AssertionError that says in one sentence what is wrong. */
  run(): Promise<void>;
}

const cases: readonly Case[] = [
  ...everyPluginCases,
  ...framingCases,
  ...identifierCases,
  ...refusalCases,
  ...strategyCases,
  ...checkCases,
  ...observerCases,
];

/**
 * Hands the cases that apply to the plugin to a test runner: `test` of node:test, `it` of vitest or jest, …
 * @throws TypeError if `except` names a case that does not apply
 */
export function conformance({
  test,
  ...options
}: ConformanceOptions & { readonly test: (name: string, body: () => Promise<void>) => unknown }): void {
  for (const { name, run } of conformanceCases(options)) test(name, run);
}

/**
 * The cases that apply to the plugin: which do follows from the hooks it taps.
 * @throws TypeError if `except` names a case that does not apply
 */
export function conformanceCases(options: ConformanceOptions): ConformanceCase[] {
  const { plugin, samples = plugin.samples ?? [], except = [], patienceSeconds = 20 } = options;
  const subject = examine(plugin, samples, options.options ?? {}, patienceSeconds * 1000);
  const applying = cases.filter((candidate) => candidate.applies(subject));
  const unknown = except.find((name) => applying.every((candidate) => candidate.name !== name));
  if (unknown !== undefined) throw new TypeError(`there is no case "${unknown}" that applies to ${plugin.name}`);
  return applying
    .filter(({ name }) => !except.includes(name))
    .map(({ name, run }) => ({ name, run: async () => run(subject) }));
}
