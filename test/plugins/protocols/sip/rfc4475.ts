/** The messages of RFC 4475, as the npm package `sip` has them. */
import { readdirSync, readFileSync } from 'node:fs';

const folder = new URL('../../../../node_modules/sip/test/messages/', import.meta.url);

/** Their names. The end of the header of `baddn` is in a file of its own, which is none of them. */
export function tortureNames(): string[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith('.dat') && file !== 'baddn_sep.dat')
    .map((file) => file.slice(0, -'.dat'.length));
}

export function tortureMessage(name: string): Buffer {
  const files = name === 'baddn' ? ['baddn', 'baddn_sep'] : [name];
  return Buffer.concat(files.map((file) => readFileSync(new URL(`${file}.dat`, folder))));
}
