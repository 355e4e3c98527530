/** Clients that mean no good, or know no better, beside others that work over the same backends. */
import { describe, expect, it } from 'vitest';
import { Random } from '../../core/conformance/random.ts';
import lengthPrefixed from '../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../plugins/protocols/ndjson.ts';
import roundRobin from '../../plugins/strategies/round-robin.ts';
import { type Dialect, dialects } from '../simulation/dialects.ts';
import { embed, type Rig, type Wire } from '../support/embedded.ts';

const keys = [{ id: 'k1', secret: Buffer.alloc(32, 7) }];
/** Those of the simulation whose links are shared by all clients. */
const shared = dialects.filter(({ links, name }) => links === 'shared' && !name.endsWith('ids of 1 bytes'));

/** What a backend makes of what has come: it would close the link if anything else than whole messages had. */
function messagesIn(bytes: Buffer, dialect: Dialect): Buffer[] {
  const messages: Buffer[] = [];
  for (let rest = bytes; rest.length > 0; rest = rest.subarray(messages.at(-1)!.length)) {
    const length = dialect.frame(rest);
    if (length === 0) throw new Error(`a backend would close its link: ${rest.toString('latin1')}`);
    messages.push(rest.subarray(0, length));
  }
  return messages;
}

describe.each(shared.map((dialect) => [dialect.name, dialect] as const))('malformed input, %s', (_name, dialect) => {
  it('from one client leaves another one all its answers, and every link open', async () => {
    const rig = await embed({ pipeline: [[dialect.plugin, dialect.options], [roundRobin]], keys });
    const random = new Random(1);
    const works = rig.client();
    let [answered, refused] = [0, 0];
    let spoils: Wire | undefined;
    const rounds = 1500;
    for (let number = 1; number <= rounds; number++) {
      spoils = spoils === undefined || spoils.ended ? rig.client() : spoils;
      const evil = dialect.request(`evil-${number}`, number, undefined);
      spoils.send(Buffer.concat([random.mutate(evil.subarray(0, 12)), evil.subarray(12)]));
      works.send(dialect.request(`good-${number}`, number, undefined));
      for (const { link } of rig.backends) {
        for (const message of messagesIn(link.take(), dialect)) {
          if (message.includes(`<good-${number}|`)) link.send(dialect.answer(message, `good-${number}/1`));
        }
      }
      for (const message of messagesIn(works.take(), dialect)) {
        const { kind, label } = dialect.read(message);
        if (kind === 'answer' && label === `good-${number}/1`) answered++;
        else refused++;
      }
    }
    expect([answered, refused]).toEqual([rounds, 0]);
    expect(rig.backends.map(({ wires }) => wires.length)).toEqual([1, 1, 1]);
    const { fromClients, connections } = rig.stats();
    expect(fromClients.refused + fromClients.discarded).toBeGreaterThan(20);
    expect(connections.accepted).toBeLessThanOrEqual(rounds + 1);
  }, 60_000);
});

describe('clients that promise or hold more than they send', () => {
  const promising = (rig: Rig, bytes: number) => {
    const header = Buffer.alloc(8);
    header.writeUInt32BE(bytes, 0);
    const wires = Array.from({ length: 1000 }, () => rig.client());
    for (const wire of wires) wire.send(header);
    return wires;
  };
  const options = { length: { offset: 0, size: 4, endian: 'big' }, id: { offset: 4, size: 2 } };
  const frames = () => embed({ pipeline: [[lengthPrefixed, options], [roundRobin]] });

  it('are refused at once where they promise 4 GiB, and cost no memory where they promise what is allowed', async () => {
    const rig = await frames();
    const before = process.memoryUsage().arrayBuffers;
    expect(promising(rig, 0xffff_ffff).every(({ ended }) => ended)).toBe(true);
    expect(promising(rig, 1_000_000).some(({ ended }) => ended)).toBe(false);
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(10_000_000);
    expect(rig.stats().fromClients).toMatchObject({ received: 1000, discardedFor: { 'too-large': 1000 } });
  });

  it('are closed at the deadline, byte by byte, and keep nobody out meanwhile', async () => {
    const rig = await embed({ pipeline: [[ndjson], [roundRobin]], limits: { connections: 20_000, headerSeconds: 10 } });
    const idle = Array.from({ length: 10_000 }, () => rig.client());
    const slow = idle.slice(0, 100);
    for (let second = 0; second < 12; second++) {
      for (const wire of slow) if (!wire.ended) wire.send('{');
      rig.advance(1000);
    }
    expect(slow.every(({ ended }) => ended)).toBe(true);
    expect(idle.slice(100).some(({ ended }) => ended)).toBe(false);
    expect(rig.stats().fromClients.discardedFor).toEqual({ 'header-timeout': 100 });
    const late = rig.client();
    late.send('{"late":1}\n');
    expect(rig.backends.map((backend) => backend.text()).join('')).toContain('"late":1');
  }, 60_000);
});
