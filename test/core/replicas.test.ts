/** Balancers with the same config, side by side or one after the other: they share nothing, and do the same. */
import { expect, it } from 'vitest';
import { Rig } from '../../core/rehearsal/rig.ts';
import type { Settings } from '../../core/settings.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import sip from '../../plugins/protocols/sip/index.ts';
import hashing from '../../plugins/strategies/hashing.ts';
import { request } from '../plugins/protocols/sip/ua.ts';
import { embed } from '../support/embedded.ts';

const keys = [{ id: 'k1', secret: Buffer.alloc(32, 7) }];
const quiet = () => {};
const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };

const frame = Buffer.from('0000000c00000001000000076162636465', 'hex');
frame.writeUInt32BE(frame.length - 4, 0);

it.each([
  ['ndjson', ndjson, { affinity: 'user' }, '{"user":"alice","text":"hello"}\n'],
  [
    'length-prefixed',
    lengthPrefixed,
    { length: { offset: 0, size: 4, endian: 'big' }, id: { offset: 4, size: 2 } },
    frame,
  ],
  ['sip', sip, {}, request('INVITE', { branch: 'z9hG4bKsame' })],
] as const)(
  '%s: the same request 100 times, through two instances and a restart, is the same bytes for the same backend',
  async (_name, plugin, options, message) => {
    const { settings } = await embed({
      pipeline: [
        [plugin as typeof ndjson, options],
        [hashing, { key: 'message' }],
      ],
      keys,
      backends: ['a', 'b', 'c', 'd', 'e'],
    });
    const seen = new Map<string, number>();
    const ask = (rig: Rig, times: number) => {
      for (let n = 0; n < times; n++) {
        rig.client(`198.51.100.1`, 40_000).send(message);
        for (const backend of rig.backends) {
          const text = backend.text();
          if (text === '') continue;
          // The name of the connection is of one process only.
          const bytes = `${backend.name} ${text.replace(/;pm=[a-z2-7]{40,}/g, ';pm=connection')}`;
          seen.set(bytes, (seen.get(bytes) ?? 0) + 1);
        }
      }
    };
    const start = (seed: number) => Rig.start(settings as Settings, { log, seed });
    const [one, other] = [await start(1), await start(2)];
    ask(one, 25);
    ask(other, 25);
    await one.stop();
    const again = await start(3);
    ask(again, 25);
    ask(other, 25);
    expect([...seen.values()]).toEqual([100]);
  },
);
