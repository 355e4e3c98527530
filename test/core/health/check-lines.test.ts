import { type Check, definePlugin, Type } from 'pointsman';
import { describe, expect, it } from 'vitest';
import message from '../../../plugins/checks/message.ts';
import tcpConnect from '../../../plugins/checks/tcp-connect.ts';
import lengthPrefixed from '../../../plugins/protocols/length-prefixed/index.ts';
import ndjson from '../../../plugins/protocols/ndjson.ts';
import sip from '../../../plugins/protocols/sip/index.ts';
import leastLoaded from '../../../plugins/strategies/least-loaded.ts';
import { checked } from '../../support/checks.ts';
import { embed, optionsOf, type RigOptions } from '../../support/embedded.ts';
import { guest, lines, turns } from '../../support/lines.ts';

/** Asks "ping" in a line, and wants one that ends in "pong". */
const ping = (send = 'ping\n') =>
  definePlugin({
    name: 'ping',
    summary: 'A line for a line.',
    pointsman: '^1',
    options: Type.Object({}),
    check: (): Check => ({
      onOpen: (attempt) => attempt.send(Buffer.from(send)),
      onBytes(attempt, received) {
        const text = received.toString();
        if (text.endsWith('pong\n')) attempt.pass();
        else if (text.endsWith('\n')) attempt.fail('no pong');
      },
    }),
  });

/** A balancer whose backends are asked over their links: every second, for half a second. */
async function balance(
  // biome-ignore lint/suspicious/noExplicitAny: plugins of any options
  plugin: any = ping(),
  { options = {}, pool, ...more }: Partial<RigOptions> & { options?: object } = {},
) {
  const given = optionsOf(plugin, {
    over: 'link',
    intervalSeconds: 1,
    timeoutSeconds: 0.5,
    jitterPercent: 0,
    fall: 1,
    rise: 1,
    ...options,
  });
  const rig = await embed({
    pipeline: [[lines], [turns]],
    backends: ['a', 'b'],
    ...more,
    pool: { links: 'shared', checks: [{ plugin, options: given, timing: given as never }], ...pool },
  });
  return Object.assign(rig, {
    /** The passing ones. */
    passing: () => rig.balancer.pools[0]!.backends.filter(({ passing }) => passing).map(({ name }) => name),
    last: (backend: string) => rig.stats().backends[backend]!.checks.last,
  });
}

type Rig = Awaited<ReturnType<typeof balance>>;

/** What a backend has been asked since, answered by that text. */
function answer(rig: Rig, backend: string, text: string): string {
  const asked = rig.backend(backend).text();
  for (const line of asked.split('\n').slice(0, -1))
    rig.backend(backend).link.send(`${/#\d+ /.exec(line)![0]}${text}\n`);
  return asked;
}

describe('a check over a link', () => {
  it('goes through the pipeline to the backend that it asks, and gets its answer', async () => {
    const rig = await balance();
    rig.advance(1);
    expect(answer(rig, 'a', 'pong')).toBe('@a #1 ping\n');
    expect(answer(rig, 'b', 'no')).toBe('@b #2 ping\n');
    expect([rig.last('a'), rig.last('b')]).toEqual([
      'ping: passed in 1 ms',
      'ping: over the link of listener edge: no pong, but "no"',
    ]);
    expect(rig.passing()).toEqual(['a']);
    expect([rig.backend('a').wires.length, rig.backend('b').wires.length]).toEqual([1, 1]);
  });

  it('lets a backend that it has found wanting rise again', async () => {
    const rig = await balance();
    rig.advance(600);
    expect([rig.passing(), rig.last('a')]).toEqual([
      [],
      'ping: over the link of listener edge: no answer within 0.5 s',
    ]);
    rig.backend('a').text();
    rig.advance(500);
    answer(rig, 'a', 'pong');
    expect(rig.passing()).toEqual(['a']);
  });

  it('is not given an answer that comes too late', async () => {
    const rig = await balance();
    rig.advance(600);
    const [late] = /#\d+ /.exec(rig.backend('a').text())!;
    rig.advance(500);
    rig.backend('a').link.send(`${late}pong\n`);
    expect(rig.passing()).toEqual([]);
  });

  it('is counted on its own, and leaves no trace in what is known of clients', async () => {
    const rig = await balance(ping(), {
      pipeline: [
        [lines, { replayable: true }],
        [leastLoaded, { metric: 'latency' }],
      ],
      pool: {
        replay: 'once',
        outliers: {
          consecutiveFailures: 1,
          baseEjectionSeconds: 30,
          maxEjectionSeconds: 30,
          maxEjectedPercent: 100,
        },
      },
      limits: { messagesPerSecond: 1, burstMessages: 1, reservedPercent: 0, replySeconds: 1 },
    });
    for (let round = 0; round < 5; round++) {
      rig.advance(round === 0 ? 0 : 1);
      answer(rig, 'a', 'pong');
      rig.advance(999);
    }
    expect(rig.stats()).toMatchObject({
      fromClients: { received: 0 },
      fromBackends: { received: 5, forwarded: 5 },
      checks: { received: 10, forwarded: 10 },
      routes: { check: 15, strategy: 0, correlation: 0 },
      connections: { open: 0, accepted: 0 },
      exchanges: { open: 0, expired: 0, abandoned: 0 },
      backends: {
        a: { messages: 0, latencyMs: 0, latencyCounts: {}, idleSeconds: undefined, ejections: 0, inFlight: 0 },
        b: { messages: 0, ejections: 0, inFlight: 0, passing: false },
      },
    });
    expect((await rig.balancer.connections({ limit: 10 })).connections).toEqual([]);
    const client = rig.client();
    client.send('first\n');
    expect(rig.backend('a').text()).toMatch(/#\d+ first/);
  });

  it('does not keep a backend from having drained', async () => {
    const rig = await balance(ping(), { pool: { drainedSeconds: 3 } });
    rig.balancer.setBackend('pool', 'a', { state: 'drain' });
    for (let round = 0; round < 8; round++) {
      rig.advance(1);
      answer(rig, 'a', 'pong');
      rig.advance(499);
    }
    expect(rig.balancer.pools[0]!.byName('a')!.drain).toMatchObject({ isOver: true });
  });

  it('names whom it likes: it asks the backend that is checked', async () => {
    const rig = await balance(ping('@a ping\n'));
    rig.advance(1);
    expect([rig.backend('a').text(), rig.backend('b').text()]).toEqual(['@a #1 ping\n', '@b #2 ping\n']);
  });

  it('fails at once while the link is closed, and does not open it', async () => {
    const rig = await balance();
    rig.advance(1);
    answer(rig, 'a', 'pong');
    let connects = 0;
    rig.runtime.servers.set('tcp://10.0.0.1:7000', () => {
      connects++;
      return 'refuse';
    });
    rig.backend('a').link.reset();
    rig.advance(60_000);
    expect(rig.last('a')).toBe('ping: over the link of listener edge: it is closed');
    // As often as the back-off says: 0.2 s, 0.4 s, …, 10 s.
    expect(connects).toBeLessThan(20);
  });

  it('waits for a link that is about to open, and fails with it', async () => {
    const rig = await balance();
    rig.advance(1);
    rig.backend('a').link.reset();
    rig.backend('a').hang();
    rig.advance(998);
    rig.advance(600);
    expect(rig.last('a')).toBe('ping: over the link of listener edge: no answer within 0.5 s');
    expect(rig.stats().checks.held).toBe(1);
    rig.advance(20_000);
    expect(rig.stats().checks).toMatchObject({ refused: 0, discardedFor: { 'client-gone': expect.any(Number) } });
  });

  it('fails when its link breaks', async () => {
    const rig = await balance();
    rig.advance(1);
    rig.backend('a').link.reset();
    rig.advance(1);
    expect(rig.last('a')).toBe('ping: over the link of listener edge: it broke');
    expect(rig.stats()).toMatchObject({ exchanges: { open: 1, abandoned: 0 } });
  });

  it.each([
    ['?ping\n', 'the pipeline refuses what is sent: question'],
    ['bye\n', 'the pipeline refuses what is sent: bye'],
    ['\0\n', 'the pipeline refuses what is sent: nul'],
    ['boom\n', 'the pipeline refuses what is sent: plugin-error'],
    ['ping', 'what is sent is no whole message'],
    ['+\n', 'what is sent is no whole message'],
    ['ping\npi', 'what is sent is no whole message'],
  ])('fails when it sends %j, which the pipeline does not forward', async (sent, why) => {
    const rig = await balance(ping(sent));
    rig.advance(1);
    expect(rig.last('a')).toBe(`ping: over the link of listener edge: ${why}`);
    expect(rig.passing()).toEqual([]);
  });

  it.each([
    ['?ping\n', 'the pipeline refuses what is sent: question'],
    ['+\nping\n', 'no answer within 0.5 s'],
  ])('takes no reply of the balancer for an answer: to %j', async (sent, why) => {
    const gullible = definePlugin({
      ...ping(),
      check: () => ({
        onOpen: (attempt) => attempt.send(Buffer.from(sent)),
        onBytes: (attempt) => attempt.pass(),
      }),
    });
    const rig = await balance(gullible, { limits: { queueBytes: 1 } });
    rig.advance(600);
    expect(rig.last('a')).toBe(`ping: over the link of listener edge: ${why}`);
    expect(rig.stats().checks).toMatchObject({ received: 2, refused: 0 });
    expect(rig.logged.map((line) => (line as { text: string }).text)).not.toContain('message refused');
  });

  it('says nothing of a backend when it is the balancer that has no room', async () => {
    const rig = await balance(ping(), { limits: { inFlight: 1 } });
    rig.client().send('one\n');
    rig.advance(5000);
    expect([rig.passing(), rig.last('a')]).toEqual([['a', 'b'], undefined]);
  });

  it('fails when the backend does not read', async () => {
    const rig = await balance(ping(), { pool: { queueBytes: 100 } });
    rig.backend('a').link.pause();
    rig.advance(1);
    for (let count = 0; count < 3; count++) rig.client().send(`@a ${'x'.repeat(80)}\n`);
    rig.advance(1000);
    expect(rig.last('a')).toBe('ping: over the link of listener edge: its queue is full');
  });

  it('is asked over the links of each listener of the pool, and must be answered on all of them', async () => {
    const rig = await balance();
    const [edge] = rig.settings.listeners;
    const other = { ...edge!, name: 'other', listen: { ...edge!.listen, port: 5061 } };
    await rig.runtime.until(rig.balancer.reload({ ...rig.settings, listeners: [edge!, other] }));
    rig.advance(1);
    const [one, two] = rig.backend('a').wires;
    one!.send(`${/#\d+ /.exec(one!.text())![0]}pong\n`);
    expect(rig.last('a')).toBe(undefined);
    two!.send(`${/#\d+ /.exec(two!.text())![0]}no\n`);
    expect(rig.last('a')).toBe('ping: over the link of listener other: no pong, but "no"');
    // The listener that has gone asks no more.
    await rig.runtime.until(rig.balancer.reload(rig.settings));
    rig.advance(1000);
    expect([one!.text() === '', two!.text()]).toEqual([false, '']);
  });

  it('finishes on the pipeline that it began with when another one takes over', async () => {
    const rig = await balance();
    rig.advance(1);
    const [listener] = rig.settings.listeners;
    const pipeline = [...listener!.pipeline, { plugin: guest(() => {}), options: {} }];
    await rig.runtime.until(rig.balancer.reload({ ...rig.settings, listeners: [{ ...listener!, pipeline }] }));
    answer(rig, 'a', 'pong');
    expect(rig.last('a')).toBe('ping: passed in 1 ms');
  });

  it('leaves nothing behind when the balancer stops', async () => {
    const rig = await balance();
    rig.advance(1);
    await rig.stop();
    expect(rig.runtime.timers).toBe(0);
    expect(rig.stats()).toMatchObject({ exchanges: { open: 0 }, checks: { received: 2, forwarded: 2 }, queued: 0 });
  });
});

describe('over a link, the check by message works with', () => {
  const ask = { over: 'link' };
  it('ndjson, whose ping comes back with its id', async () => {
    const rig = await balance(message, {
      options: { form: 'json-ping' },
      pipeline: [[ndjson, { correlation: 'id' }], [turns]],
    });
    rig.advance(1);
    const [, id] = /"id":(\d+)/.exec(rig.backend('a').text())!;
    rig.backend('a').link.send(`{"jsonrpc":"2.0","result":null,"id":${id}}\n`);
    expect(rig.last('a')).toBe('message: passed in 1 ms');
  });

  it('length-prefixed', async () => {
    const pipeline: RigOptions['pipeline'] = [
      [lengthPrefixed, { length: { offset: 0, size: 2 }, correlation: { offset: 2, size: 4 } }],
      [turns],
    ];
    const options = { send: { hex: '0006 00000007 0102' }, expect: { hex: '0006 00000007 ff' } };
    const rig = await balance(message, { options, pipeline });
    rig.advance(1);
    const asked = rig.backend('a').take();
    rig.backend('a').link.send(Buffer.concat([asked.subarray(0, 6), Buffer.from([0xff, 0])]));
    expect(rig.last('a')).toBe('message: passed in 1 ms');
  });

  it.each([
    ['tcp', 'tcp'],
    ['udp', 'udp'],
    ['wss', 'tls'],
  ] as const)('sip from %s to %s, whose Via brings the answer back', async (transport, backendTransport) => {
    const options = { form: 'sip-options' };
    const rig = await balance(message, { options, pipeline: [[sip], [turns]], transport, backendTransport });
    rig.advance(1);
    const asked = rig.backend('a').text();
    expect(asked).toMatch(/^OPTIONS sip:10\.0\.0\.1:7000 SIP\/2\.0\r\nVia: SIP\/2\.0\/[A-Z]+ 192\.0\.2\.1/);
    const headers = asked.split('\r\n').filter((line) => /^(Via|From|To|Call-ID|CSeq|Content-Length)/.test(line));
    rig.backend('a').link.send(`SIP/2.0 200 OK\r\n${headers.join('\r\n')}\r\n\r\n`);
    expect(rig.last('a')).toBe('message: passed in 1 ms');
    expect(rig.stats()).toMatchObject({ checks: { received: 2, forwarded: 2 }, routes: { check: 3 } });
  });

  it('no check that expects no answer', () => {
    expect(() => checked([[tcpConnect, ask]])).toThrow(
      '[tcp-connect] check: over: it asks for no answer, so that there is nothing to send over a link',
    );
  });
});
