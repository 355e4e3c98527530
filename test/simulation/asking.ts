/** A check that sends a request as clients do, over the links that carry theirs, and wants the answer to that. */
import { type Attempt, definePlugin, Type } from 'pointsman';
import type { PluginDefinition } from '../../core/plugin.ts';
import type { Dialect } from './dialects.ts';
import { balancerId, type Ledger, Violation } from './ledger.ts';
import type { Note } from './peers.ts';

/** @param ledgerOf for the pool of that name */
export function asking(dialect: Dialect, ledgerOf: (pool: string) => Ledger, note: Note): PluginDefinition {
  let number = 0;
  return definePlugin({
    name: 'asking',
    summary: 'Asks what clients ask.',
    pointsman: '^1',
    options: Type.Object({}),
    check: (_options, { pool }) => {
      const asked = new WeakMap<Attempt, string>();
      return {
        onOpen: (attempt) => {
          const label = `c${balancerId}.${++number}`;
          asked.set(attempt, label);
          const { name: backend } = attempt.backend;
          ledgerOf(pool.name).send(label, { client: balancerId, number, backend, forged: false });
          note(`a check asks ${backend} ${label}`);
          attempt.send(dialect.request(label, number, undefined));
        },
        onBytes: (attempt, received) => {
          const read = dialect.read(received.subarray(0, dialect.frame(received)));
          if (read.kind !== 'answer') throw new Violation(`a check got what is no answer: ${received}`);
          const request = ledgerOf(pool.name).arrive(read, balancerId);
          if (request !== asked.get(attempt)) throw new Violation(`${request} was not asked by who got the answer`);
          attempt.pass();
        },
      };
    },
  });
}
