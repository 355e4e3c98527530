/** A backend that is drained, and taken out, in the midst of traffic. */
import { expect, it } from 'vitest';
import { embed, type Rig } from '../support/embedded.ts';
import { lines, turns } from '../support/lines.ts';

/** Backends answer all that has come. Answers who got which texts. */
function answerAll(rig: Rig): Map<string, string[]> {
  const got = new Map<string, string[]>();
  for (const { name, link } of rig.backends) {
    const requests = [...link.text().matchAll(/^@\S+ (#\d+) (.*)\n/gm)].map(([, id, text]) => ({ id, text: text! }));
    got.set(
      name,
      requests.map(({ text }) => text),
    );
    for (const { id, text } of requests) link.send(`${id} ${text} done\n`);
  }
  return got;
}

it('a backend that drains under load loses no message, keeps its sessions and gets no new ones', async () => {
  const rig = await embed({ pipeline: [[lines], [turns]], links: 'shared', backends: ['a', 'b', 'c'] });
  const clients = Array.from({ length: 30 }, () => rig.client());
  const homes = ['a', 'b', 'c'];
  const round = (number: number) => {
    for (const [index, client] of clients.entries()) {
      client.send(`@${homes[index % 3]} session ${index}.${number}\nnew ${index}.${number}\n`);
    }
  };

  round(1);
  rig.balancer.setBackend('pool', 'a', { state: 'drain' });
  // What it had already been given it answers.
  const before = answerAll(rig);
  expect(before.get('a')!.some((text) => text.startsWith('new'))).toBe(true);
  for (let number = 2; number <= 20; number++) {
    round(number);
    const got = answerAll(rig);
    expect(got.get('a')!.every((text) => text.startsWith('session'))).toBe(true);
    expect(got.get('a')).toHaveLength(10);
  }
  for (const [index, client] of clients.entries()) {
    const answers = client.text().match(/\S+ \S+ done\n/g);
    expect(answers).toHaveLength(40);
    expect(answers!.every((answer) => answer.includes(` ${index}.`))).toBe(true);
  }
  const { fromClients, exchanges } = rig.stats();
  expect(fromClients).toMatchObject({ received: 1200, forwarded: 1200 });
  expect(exchanges).toMatchObject({ open: 0, abandoned: 0 });

  // In maintenance it is as if it were down: sessions are refused, in so many words, and nothing is lost.
  rig.balancer.setBackend('pool', 'a', { state: 'maint' });
  round(21);
  expect(answerAll(rig).get('a')).toEqual([]);
  expect(clients[0]!.text()).toBe('error backend-down\nnew 0.21 done\n');
  rig.balancer.setBackend('pool', 'a', { state: 'ready' });
  round(22);
  expect(answerAll(rig).get('a')!.length).toBeGreaterThan(10);
  expect(rig.stats().fromClients).toMatchObject({
    received: 1320,
    forwarded: 1310,
    refusedFor: { 'backend-down': 10 },
  });
});
