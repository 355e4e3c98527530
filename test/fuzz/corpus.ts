/** The inputs worth keeping: for each target one file of JSON strings, a character for each byte. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** What a corpus may hold: few enough for people to look through. */
const mostInputs = 32;
const mostInputBytes = 800;

const fileOf = (target: string) => new URL(`./corpus/${target}.json`, import.meta.url);

export function readCorpus(target: string): Buffer[] {
  const file = fileOf(target);
  if (!existsSync(file)) return [];
  return (JSON.parse(readFileSync(file, 'utf8')) as string[]).map((text) => Buffer.from(text, 'latin1'));
}

/** @param inputs those that showed most come first */
export function writeCorpus(target: string, inputs: readonly Buffer[]): void {
  const kept = inputs.filter(({ length }) => length <= mostInputBytes).slice(0, mostInputs);
  const texts = kept.map((input) => asJson(input.toString('latin1'))).sort();
  writeFileSync(fileOf(target), `[\n${texts.map((text) => `  ${text}`).join(',\n')}\n]\n`);
}

/** ASCII only, so that no editor or diff makes anything else of it. */
function asJson(text: string): string {
  return JSON.stringify(text).replace(/[\x7f-\xff]/g, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, '0')}`);
}
