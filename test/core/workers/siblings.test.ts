/** Two balancers that hand over to each other what is for a client of the other, as workers do over the primary. */
import { definePlugin, type Scope, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import { balances } from '../../../core/accounting.ts';
import { Balancer } from '../../../core/balancer.ts';
import type { Client } from '../../../core/client.ts';
import { Wire } from '../../../core/rehearsal/rig.ts';
import { VirtualRuntime } from '../../../core/runtime/virtual.ts';
import { defaultLimits } from '../../../core/settings.ts';
import { turns } from '../../support/lines.ts';
import { backendAt, edgeAddress, settingsWith } from '../../support/settings.ts';

/** Lines. One that begins with a token and a blank is for the client of that token; a client is told its own when it says `?`. */
const named = definePlugin({
  name: 'named',
  summary: 'Lines that name clients.',
  pointsman: '^1',
  options: Type.Object({}),
  apply(hooks, _options, scope: Scope) {
    scope.protocol({ identifiers: 'text', namesClients: true, correlates: true });
    hooks.frame.tap('named', (bytes, start, end, scan) => {
      const newline = bytes.subarray(0, end).indexOf('\n', start);
      if (newline < 0) return 'more';
      const isQuestion = bytes[start] === 0x3f;
      const { text } = isQuestion ? scope.identifiers.ofClient(scan.source as never) : { text: Buffer.alloc(0) };
      return isQuestion
        ? scan.skip(newline + 1 - start, Buffer.concat([text, Buffer.from('\n')]))
        : newline + 1 - start;
    });
    hooks.detectId.tap('named', (message) => message.span(0, message.view().indexOf(' ')));
    hooks.refuse.tap('named', (_message, { reason }) => Buffer.from(`${reason}\n`));
  },
});

const settings = (queueBytes: number) =>
  settingsWith({
    keys: [{ id: 'k1', secret: Buffer.from('a secret of the tests') }],
    pool: { backends: [backendAt('a', 1)] },
    listener: {
      limits: { ...defaultLimits, queueBytes },
      pipeline: [
        { plugin: named as never, options: {} },
        { plugin: turns as never, options: {} },
      ],
    },
  });

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const instances = ['0101010101010101', '0202020202020202'];

/** @param isReachable whether what is handed over leaves at once */
async function two({ queueBytes = 4096, isReachable = () => true as boolean } = {}) {
  const runtime = instances.map(() => new VirtualRuntime());
  const both: Balancer[] = [];
  for (const [index, instance] of instances.entries()) {
    const balancer = new Balancer(settings(queueBytes), {
      runtime: runtime[index]!,
      log: silent,
      identity: { instance: Buffer.from(instance, 'hex') },
      handOver(handover, then) {
        if (!isReachable()) return;
        const copy = structuredClone(handover);
        const other = both[instances.indexOf(copy.to.instance)]!;
        if (!other.receive({ ...copy, messages: copy.messages.map((bytes) => Buffer.from(bytes)) })) {
          balancer.siblings!.gone(copy.to);
        }
        runtime[1 - index]!.settle();
        runtime[index]!.enqueue(then);
      },
    });
    both.push(balancer);
    await balancer.start();
    balancer.siblings!.set(instances);
  }
  const connect = (index: number) => {
    const peer = runtime[index]!.dial(edgeAddress, '198.51.100.1', 40_000 + index);
    return new Wire(runtime[index]!, peer!);
  };
  const token = (wire: Wire) => {
    wire.send('?\n');
    return wire.take().toString().trim();
  };
  const stats = (index: number) => both[index]!.stats().listeners.edge!;
  return { connect, token, stats, both, runtime };
}

describe('a message for a client of another process', () => {
  it('reaches it as it is, in order, and is counted where it came in', async () => {
    const { connect, token, stats } = await two();
    const [alice, bob] = [connect(0), connect(1)];
    const name = token(alice);
    bob.send(`${name} one\n${name} two\n`);
    bob.send(`${name} three\n`);
    expect(alice.take().toString()).toBe(`${name} one\n${name} two\n${name} three\n`);
    expect(stats(1).fromClients).toMatchObject({ received: 3, forwarded: 3 });
    expect(stats(0).fromClients.received).toBe(0);
    expect([0, 1].every((index) => balances(stats(index)))).toBe(true);
  });

  it('is refused if that process is not there any more', async () => {
    const { connect, token, both } = await two();
    const [alice, bob] = [connect(0), connect(1)];
    both[1]!.siblings!.set([instances[1]!]);
    bob.send(`${token(alice)} one\n`);
    expect(bob.take().toString()).toBe('client-gone\n');
  });

  it('is lost once if the client has gone meanwhile, and refused from then on', async () => {
    const { connect, token, stats } = await two();
    const [alice, bob] = [connect(0), connect(1)];
    const name = token(alice);
    alice.reset();
    bob.send(`${name} one\n`);
    expect(bob.take().toString()).toBe('');
    bob.send(`${name} two\n`);
    expect(bob.take().toString()).toBe('client-gone\n');
    expect(balances(stats(1))).toBe(true);
  });

  it('is lost alone if it is too long for that client', async () => {
    const { connect, token } = await two();
    const [alice, bob] = [connect(0), connect(1)];
    const name = token(alice);
    (alice.peer.socket.handler as Client).longestMessageBytes = 200;
    bob.send(`${name} ${'x'.repeat(200)}\n${name} one\n`);
    bob.send(`${name} two\n`);
    expect(alice.take().toString()).toBe(`${name} one\n${name} two\n`);
  });

  it('is discarded when too much waits for that process, or for that client', async () => {
    const { connect, token, stats } = await two({ queueBytes: 256, isReachable: () => false });
    const [alice, bob] = [connect(0), connect(1)];
    const line = `${token(alice)} ${'x'.repeat(100)}\n`;
    for (let count = 0; count < 9; count++) bob.send(line);
    expect(stats(1).fromClients.discardedFor).toHaveProperty('slow-client');
    expect(balances(stats(1))).toBe(true);

    const slow = await two({ queueBytes: 256 });
    const [carol, dave] = [slow.connect(0), slow.connect(1)];
    const name = slow.token(carol);
    carol.peer.pause();
    for (let count = 0; count < 9; count++) dave.send(`${name} ${'x'.repeat(100)}\n`);
    expect(carol.closed).toBe(true);
    dave.send(`${name} two\n`);
    expect(dave.take().toString()).toContain('client-gone\n');
  });
});
