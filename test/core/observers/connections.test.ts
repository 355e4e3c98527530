import { expect, it } from 'vitest';
import { embed } from '../../support/embedded.ts';
import { lines, turns } from '../../support/lines.ts';

const pipeline = [
  [lines, { shared: true }],
  [turns, {}],
] as const;

it('client connections are listed page by page, and those of one address', async () => {
  const rig = await embed({ pipeline: [...pipeline] });
  for (let index = 0; index < 5; index++) rig.client(index === 3 ? '198.51.100.9' : '198.51.100.1');
  const first = await rig.balancer.connections({ limit: 2 });
  const second = await rig.balancer.connections({ limit: 2, from: first.next });
  const last = await rig.balancer.connections({ limit: 2, from: second.next });
  expect([first, second, last].map(({ connections, next }) => [connections.length, next])).toEqual([
    [2, '2'],
    [2, '4'],
    [1, undefined],
  ]);
  const { connections } = await rig.balancer.connections({ limit: 9, address: '198.51.100.9' });
  expect(connections).toEqual([second.connections[1]]);
  expect(await rig.balancer.connections({ limit: 9, listener: 'other' })).toEqual({ connections: [], next: undefined });
  await rig.stop();
});

it('a connection says what it has sent, and since when', async () => {
  const rig = await embed({ pipeline: [...pipeline] });
  const alice = rig.client('198.51.100.1', 4000);
  alice.send('one\ntwo\n');
  rig.advance(1500);
  const { connections } = await rig.balancer.connections({ limit: 9 });
  expect(connections).toEqual([
    {
      id: expect.stringMatching(/^[0-9a-f]{8}-0-1$/),
      listener: 'edge',
      address: '198.51.100.1',
      port: 4000,
      openSeconds: 1.5,
      idleSeconds: 1.5,
      messages: 2,
      bytes: 8,
      outstanding: expect.any(Number),
      queueBytes: 0,
      links: [],
    },
  ]);
  await rig.stop();
});

it('one is closed by its id, and never the one that has its place now', async () => {
  const rig = await embed({ pipeline: [...pipeline] });
  const alice = rig.client();
  const [before] = (await rig.balancer.connections({ limit: 1 })).connections;
  expect(await rig.balancer.closeConnection(before!.id)).toBe(true);
  await rig.settle();
  expect(alice.closed).toBe(true);
  const bob = rig.client();
  expect(await rig.balancer.closeConnection(before!.id)).toBe(false);
  expect(await rig.balancer.closeConnection('nonsense')).toBe(false);
  await rig.settle();
  expect(bob.closed).toBe(false);
  await rig.stop();
});
