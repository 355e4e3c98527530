import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { embed } from '../support/embedded.ts';
import { lines, turns } from '../support/lines.ts';

const onePool = { backends: ['a'], links: 'shared' as const };

describe('what arrives in pieces', () => {
  it('is the same messages wherever it is cut', async () => {
    const words = fc.array(fc.string({ unit: fc.constantFrom('a', 'b', '7'), minLength: 1, maxLength: 3000 }), {
      minLength: 1,
      maxLength: 8,
    });
    await fc.assert(
      fc.asyncProperty(words, fc.array(fc.nat(4000), { maxLength: 12 }), async (texts, cuts) => {
        const rig = await embed({ ...onePool, pipeline: [[lines, { shared: true }], [turns]] });
        const client = rig.client();
        const stream = texts.map((text) => `${text}\n`).join('');
        let from = 0;
        for (const length of [...cuts, stream.length]) {
          client.send(stream.slice(from, from + length));
          from += length;
        }
        const expected = texts.map((text, i) => `@a #${i + 1} ${text}\n`).join('');
        expect(rig.backend('a').text()).toBe(expected);
        rig.stats();
      }),
      { numRuns: 200 },
    );
  });

  it('is the same messages if it is longer than what is read at once', async () => {
    const rig = await embed({ ...onePool, pipeline: [[lines, { shared: true }], [turns]] });
    const client = rig.client();
    const long = 'x'.repeat(200_000);
    client.send(`one\n${long}\ntwo\nthr`);
    client.send('ee\n');
    expect(rig.backend('a').text()).toBe(`@a #1 one\n@a #2 ${long}\n@a #3 two\n@a #4 three\n`);
  });
});

describe('a transport that delimits messages', () => {
  const overWebSocket = () =>
    embed({
      ...onePool,
      transport: 'ws',
      pipeline: [[lines, { shared: true }], [turns]],
      limits: { messageBytes: 1000 },
    });

  it('brings a message that does not say where it ends, and takes each answer on its own', async () => {
    const rig = await overWebSocket();
    const client = rig.client();
    client.send('one');
    client.send('two');
    expect(rig.backend('a').text()).toBe('@a #1 one\n@a #2 two\n');
    rig.backend('a').link.send('#1 got one\n#2 got two\n');
    expect(client.writes.map(String)).toEqual(['got one\n', 'got two\n']);
    rig.stats();
  });

  it('may bring several messages at once', async () => {
    const rig = await overWebSocket();
    rig.client().send('one\ntwo\n');
    expect(rig.backend('a').text()).toBe('@a #1 one\n@a #2 two\n');
    rig.stats();
  });

  it('says where the next message begins, so that a broken one does not end the connection', async () => {
    const rig = await overWebSocket();
    const client = rig.client();
    client.send('bro\0ken');
    client.send('x'.repeat(1001));
    client.send('sound');
    expect(rig.backend('a').text()).toBe('@a #1 sound\n');
    expect(client.writes.map(String)).toEqual(['error nul\n', 'error too-large\n']);
    expect(client.ended).toBe(false);
    const { fromClients } = rig.stats();
    expect(fromClients).toMatchObject({ received: 3, refused: 2, forwarded: 1 });
  });

  it('is paused between two messages, and in the midst of several, while a link is full', async () => {
    const rig = await embed({
      ...onePool,
      transport: 'ws',
      linkQueueBytes: 20,
      pipeline: [[lines, { shared: true }], [turns]],
    });
    const client = rig.client();
    rig.backend('a').link.pause();
    client.send('one\ntwo\nthree\nfour\n');
    client.send('five');
    client.send('six');
    expect(rig.backend('a').text()).toBe('');
    rig.backend('a').link.resume();
    for (let i = 0; i < 5; i++) rig.runtime.settle();
    const texts = ['one', 'two', 'three', 'four', 'five', 'six'];
    expect(rig.backend('a').text()).toBe(texts.map((text, i) => `@a #${i + 1} ${text}\n`).join(''));
    rig.stats();
  });

  it('takes a reply that has to wait for the client on its own as well', async () => {
    const rig = await overWebSocket();
    const client = rig.client();
    client.pause();
    for (const text of ['one', '?two', '?three']) client.send(text);
    rig.backend('a').link.send('#1 got one\n');
    client.resume();
    expect(client.writes.map(String)).toEqual(['error question\n', 'error question\n', 'got one\n']);
    rig.stats();
  });
});
