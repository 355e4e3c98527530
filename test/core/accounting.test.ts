/**
 * Whatever clients, backends and the network do, in any order: every message has exactly one outcome, reaches one backend
 * at most, in order where it is pinned, and its answer reaches whoever sent it.
 */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { balances } from '../../core/accounting.ts';
import type { ListenerSettings } from '../../core/settings.ts';
import { arrival, request, sipRig, value } from '../plugins/protocols/sip/ua.ts';
import { embed, type Rig, type RigOptions, type Wire } from '../support/embedded.ts';
import { lines, turns } from '../support/lines.ts';

type Action =
  | { do: 'send'; client: number; text: string }
  | { do: 'end' | 'reset' | 'pause' | 'resume'; client: number }
  | { do: 'answer' | 'endLink' | 'resetLink' | 'pauseLink' | 'resumeLink' | 'garbage'; backend: number }
  | { do: 'down' | 'up' | 'hang'; backend: number }
  | { do: 'advance'; milliseconds: number };

// Each `x` stands for a text of its own.
const text = fc.constantFrom(
  'x\n',
  '@a x\n',
  '@b x\n',
  '@z x\n',
  '!g x\n',
  '?no\n',
  'bye\n',
  'boom\n',
  '+\n',
  'par',
  'tial\n',
  'x\nx\n@a x\n',
  '@a x\n@a x\n@a x\n?no\n@a x\n',
  '\0',
);
const client = fc.nat(3);
const backend = fc.nat(2);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ do: fc.constant('send' as const), client, text }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('end', 'reset', 'pause', 'resume'), client }) },
  { weight: 5, arbitrary: fc.record({ do: fc.constant('answer' as const), backend }) },
  {
    weight: 2,
    arbitrary: fc.record({
      do: fc.constantFrom('endLink', 'resetLink', 'pauseLink', 'resumeLink', 'garbage'),
      backend,
    }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constantFrom('down', 'up', 'hang'), backend }) },
  {
    weight: 2,
    arbitrary: fc.record({ do: fc.constant('advance' as const), milliseconds: fc.constantFrom(1, 300, 5000, 70_000) }),
  },
);

/** Answers every request that arrived at a backend since the last time, the last one first. */
function answerAll(links: readonly Wire[]): void {
  for (const link of links) {
    const requests = link.text().split('\n').slice(0, -1);
    const answers = requests.map((line) => `${/#\d+/.exec(line)?.[0] ?? ''} ok ${textIn(line)}\n`);
    if (answers.length > 0) link.send(answers.reverse().join(''));
  }
}

const textIn = (line: string) => /m\d+\.\d+/.exec(line)?.[0] ?? '';

/** What happened, seen from the peers. */
class Trial {
  readonly rig: Rig;
  /** The connections of clients, all there have been; a text says by its first number who sent it. */
  readonly wires: Wire[] = [];
  /** All links there have been, by backend. */
  readonly links: Set<Wire>[];
  /** A client connection was closed, so replies may have been lost. */
  closed = false;
  readonly #current: number[] = [];
  #texts = 0;

  constructor(rig: Rig) {
    this.rig = rig;
    this.links = rig.backends.map(() => new Set());
  }

  act(next: Action): void {
    const { rig } = this;
    if (next.do === 'advance') rig.advance(next.milliseconds);
    else if ('client' in next) this.#actAs(next);
    else {
      const backend = rig.backends[next.backend]!;
      if (next.do === 'down' || next.do === 'up' || next.do === 'hang') backend[next.do]();
      else if (next.do === 'answer') answerAll(backend.links);
      else disturb(backend.links, next.do);
    }
    for (const [index, { links }] of rig.backends.entries()) for (const link of links) this.links[index]!.add(link);
    this.closed ||= this.wires.some((wire) => wire.closed || wire.ended);
    rig.stats(); // throws if the identity does not hold
  }

  #actAs(next: Extract<Action, { client: number }>): void {
    let index = this.#current[next.client];
    if (index === undefined || this.wires[index]!.closed) {
      index = this.#current[next.client] = this.wires.push(this.rig.client()) - 1;
    }
    const wire = this.wires[index]!;
    if (next.do === 'send') wire.send(next.text.replace(/x/g, () => `m${index}.${this.#texts++}`));
    else wire[next.do]();
  }

  /** Lets everybody read what is left. */
  catchUp(): void {
    for (const links of this.links) for (const link of links) link.resume();
    for (const wire of this.wires) wire.resume();
  }

  check(refused: number, pinnedStayInOrder: boolean): void {
    const delivered = new Set<string>();
    for (const links of this.links) {
      const last = new Map<string, number>();
      for (const line of [...links].flatMap((link) => link.received.toString().split('\n'))) {
        const text = textIn(line);
        if (text === '') continue;
        expect(delivered).not.toContain(text);
        delivered.add(text);
        if (!pinnedStayInOrder) continue;
        const [client, count] = text.split('.') as [string, string];
        expect(Number(count)).toBeGreaterThan(last.get(client) ?? -1);
        last.set(client, Number(count));
      }
    }
    const answered = new Set<string>();
    let replies = 0;
    for (const [index, wire] of this.wires.entries()) {
      for (const line of wire.received.toString().split('\n')) {
        if (line.startsWith('error')) replies++;
        const text = textIn(line);
        if (text === '') continue;
        expect(text).toMatch(new RegExp(`^m${index}\\.`));
        expect(answered).not.toContain(text);
        answered.add(text);
      }
    }
    if (this.closed) expect(replies).toBeLessThanOrEqual(refused);
    else expect(replies).toBe(refused);
  }
}

function disturb(links: readonly Wire[], how: 'garbage' | 'endLink' | 'resetLink' | 'pauseLink' | 'resumeLink'): void {
  for (const link of links) {
    if (how === 'garbage') link.send('#99 nobody asked\n');
    else if (how === 'endLink') link.end();
    else if (how === 'resetLink') link.reset();
    else if (how === 'pauseLink') link.pause();
    else link.resume();
  }
}

describe.each([
  ['shared links', { pipeline: [[lines], [turns]], links: 'shared' }],
  ['dedicated links', { pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated' }],
  [
    'a policy that chooses anew',
    { pipeline: [[lines], [turns]], links: 'shared', identifiers: { whenDown: 'rechoose' } },
  ],
  ['one backend', { pipeline: [[lines], [turns]], links: 'shared', backends: ['a'] }],
  [
    'one backend on dedicated links',
    { pipeline: [[lines, { shared: false }], [turns]], links: 'dedicated', backends: ['a'] },
  ],
] satisfies [string, RigOptions][])('with %s', (_name, options) => {
  it('received = forwarded + refused + discarded + held, at every instant, and nothing is left in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        const rig = await embed({ ...options, linkQueueBytes: 40, limits: { queueBytes: 40 } });
        const trial = new Trial(rig);
        for (const next of actions) if (!('backend' in next) || next.backend < rig.backends.length) trial.act(next);
        trial.catchUp();
        const { fromClients, exchanges } = rig.stats();
        trial.check(fromClients.refused + exchanges.refused, 'backends' in options);

        await rig.stop();
        const stats = rig.balancer.stats().listeners.edge!;
        expect(balances(stats)).toBe(true);
        expect(stats).toMatchObject({
          queued: 0,
          connections: { open: 0 },
          exchanges: { open: 0 },
          fromClients: { held: 0 },
        });
        expect(rig.runtime.timers).toBe(0);
        for (const { name } of rig.backends) expect(stats.backends[name]).toMatchObject({ links: 0 });
      }),
      { numRuns: 100 },
    );
  });
});

it('counts what waits for a client of another listener where it was received, and in the queue where it waits', async () => {
  const rig = await sipRig({ backends: ['a'] });
  const [edge] = rig.settings.listeners as [ListenerSettings];
  const second = { ...edge, name: 'second', listen: { ...edge.listen, port: 6000 } };
  await rig.runtime.until(rig.balancer.reload({ ...rig.settings, listeners: [edge, second] }));
  const alice = rig.client();
  alice.send(request('REGISTER'));
  const { message } = arrival(rig);
  alice.pause();
  const [, ofSecond] = rig.backend('a').links;
  for (let i = 0; i < 3; i++) ofSecond!.send(request('INFO', { extra: [`Route: ${value(message, 'Path')}`] }));
  const { listeners } = rig.balancer.stats();
  expect(listeners.edge).toMatchObject({ queued: 2, fromBackends: { held: 0 } });
  expect(listeners.second).toMatchObject({ queued: 0, fromBackends: { received: 3, held: 2 } });
  expect(balances(...Object.values(listeners))).toBe(true);
});
