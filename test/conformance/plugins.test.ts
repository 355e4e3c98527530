/** The plugins that come with pointsman, and those of the examples, pass the conformance kit. */
import { describe, it } from 'vitest';
import { conformance } from '../../core/conformance/suite.ts';
import message from '../../plugins/checks/message.ts';
import { builtinPlugins } from '../../plugins/index.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed/index.ts';
import hashing from '../../plugins/strategies/hashing.ts';
import leastLoaded from '../../plugins/strategies/least-loaded.ts';
import diameter from '../examples/plugins/diameter.ts';
import mllp from '../examples/plugins/mllp.ts';

for (const plugin of [...builtinPlugins, diameter, mllp]) {
  const options = plugin === message ? { form: 'json-ping' } : {};
  describe(plugin.name, () => conformance({ plugin, options, test: it }));
}

describe('length-prefixed with tokens in a field of bytes', () => {
  const id = { offset: 4, size: 200, encoding: 'bytes' };
  const bytes = Buffer.alloc(220);
  bytes.writeUInt32BE(216);
  const samples = [
    { name: 'a field that is there', bytes, options: { id } },
    { name: 'a field that is inserted', bytes, options: { id: { ...id, insert: { marker: 'feed' } } } },
    { name: 'a field at the end', bytes, options: { id: { ...id, insert: { marker: 'feed', at: 'end' } } } },
  ];
  conformance({ plugin: lengthPrefixed, samples, test: it });
});

describe.each(['connections', 'latency'])('least-loaded by %s', (metric) => {
  conformance({ plugin: leastLoaded, options: { metric }, test: it });
});

describe('hashing by client address', () => {
  conformance({ plugin: hashing, options: { key: 'client-address' }, test: it });
});
