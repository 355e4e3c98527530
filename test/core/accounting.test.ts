/** Whatever clients, backends and the network do, in any order: every message has exactly one outcome. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { balances } from '../../core/accounting.ts';
import { embed, type Rig, type RigOptions, type Wire } from '../support/embedded.ts';
import { lines, turns } from '../support/lines.ts';

type Action =
  | { do: 'send'; client: number; text: string }
  | { do: 'end' | 'reset' | 'pause' | 'resume'; client: number }
  | { do: 'answer' | 'endLink' | 'resetLink' | 'pauseLink' | 'resumeLink' | 'garbage'; backend: number }
  | { do: 'down' | 'up' | 'hang'; backend: number }
  | { do: 'advance'; milliseconds: number };

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
  'x\ny\n@a z\n',
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

/** Answers every request that arrived at a backend since the last time. */
function answerAll(links: readonly Wire[]): void {
  for (const link of links) {
    const answers = link
      .text()
      .split('\n')
      .flatMap((line) => (line === '' ? [] : [`${/#\d+/.exec(line)?.[0] ?? ''} ok\n`]));
    if (answers.length > 0) link.send(answers.join(''));
  }
}

function act(rig: Rig, wires: Wire[], next: Action): void {
  if (next.do === 'advance') rig.advance(next.milliseconds);
  else if ('client' in next) {
    if (wires[next.client]?.closed ?? true) wires[next.client] = rig.client();
    const wire = wires[next.client]!;
    if (next.do === 'send') wire.send(next.text);
    else wire[next.do]();
  } else {
    const backend = rig.backends[next.backend]!;
    if (next.do === 'down' || next.do === 'up' || next.do === 'hang') backend[next.do]();
    else if (next.do === 'answer') answerAll(backend.links);
    else disturb(backend.links, next.do);
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
] satisfies [string, RigOptions][])('with %s', (_name, options) => {
  it('received = forwarded + refused + discarded + held, at every instant, and nothing is left in the end', async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 60 }), async (actions) => {
        const rig = await embed({ ...options, linkQueueBytes: 40, limits: { queueBytes: 40 } });
        const wires: Wire[] = [];
        for (const next of actions) {
          act(rig, wires, next);
          rig.stats(); // throws if the identity does not hold
        }
        await rig.stop();
        const stats = rig.balancer.stats().listeners.edge!;
        expect(balances(stats)).toBe(true);
        expect(stats).toMatchObject({ queued: 0, connections: { open: 0 }, fromClients: { held: 0 } });
        expect(rig.runtime.timers).toBe(0);
        for (const { name } of rig.backends) expect(stats.backends[name]).toMatchObject({ links: 0 });
      }),
      { numRuns: 100 },
    );
  });
});
