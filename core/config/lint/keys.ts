/** Checks the keys that sign identifiers: ids that tell them apart, secrets that are long enough and come from outside. */
import type { KeySettings } from '../../settings.ts';
import type { Draft } from '../build.ts';
import { membersOf, valueAt } from '../path.ts';

/** A MAC is no harder to guess than its key. */
const leastSecretBytes = 16;

/** Stands in for keys that are not in order. */
export const someKey: KeySettings = { id: 'some', secret: Buffer.alloc(leastSecretBytes) };

export function lintKeys({ config, written, findings }: Draft): void {
  const ids = new Set<string>();
  for (const index of membersOf(config.keys)) {
    if (!findings.isSound(['keys', index])) continue;
    const { id, secret } = config.keys![Number(index)]!;
    const secretBytes = Buffer.byteLength(secret);
    if (ids.has(id)) {
      const message = `the key "${id}" is there twice; ids tell keys apart`;
      findings.add(['keys', index, 'id'], { rule: 'duplicate-key-id', stage: 'lint', message });
    }
    ids.add(id);
    const path = ['keys', index, 'secret'];
    if (secretBytes < leastSecretBytes) {
      const message = `the secret has ${secretBytes} bytes; it needs at least ${leastSecretBytes}`;
      findings.add(path, { rule: 'weak-secret', stage: 'lint', message });
    } else if (!String(valueAt(written, path)).includes('${')) {
      const message = 'the secret stands in the config; take it from outside with "${env:NAME}" or "${file:PATH}"';
      findings.add(path, { rule: 'secret-in-config', stage: 'lint', severity: 'warning', message });
    }
  }
}
