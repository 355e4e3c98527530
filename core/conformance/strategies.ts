/** What plugins that tap `chooseBackend` must do: choose whom they may, and as the weights say. */
import { fail } from 'node:assert';
import { Backend } from '../pool.ts';
import { Random } from './random.ts';
import { type BackendChoice, Rig, type Wire } from './rig.ts';
import type { Case, Setting, Subject } from './subject.ts';

const weights: readonly BackendChoice[] = [
  { name: 'one', weight: 1, number: 1 },
  { name: 'two', weight: 2, number: 2 },
  { name: 'five', weight: 5, number: 3 },
];
const fairMessages = 2000;
/** What chance may do: more than five standard deviations happen once in two million times. */
const deviations = 5;
const keys = 300;

const chooses = ({ taps }: Subject) => taps.has('chooseBackend');
const takesKeys = ({ settings }: Subject) => settings.some(({ takesKeys }) => takesKeys);

export const strategyCases: readonly Case[] = [
  {
    name: 'strategy: it chooses available backends of its own pool only',
    applies: chooses,
    run: (subject) =>
      eachStrategy(subject, async (setting) => {
        const backends = [...weights, { name: 'none', weight: 0, number: 4 }];
        const rig = await rigOf(setting, backends);
        const goesAndComes = rig.scope.pool.byName('two')!;
        const messages = numbered('message', 120);
        await ask(subject, rig, messages, (to, next) => {
          if (to === undefined) fail(`${rig.doing}: it chose nobody of ${names(rig.available)}`);
          if (!rig.available.includes(to)) fail(`${rig.doing}: it chose ${to.name} instead of ${names(rig.available)}`);
          if (next % 10 === 0) rig.scope.pool.setUp(goesAndComes, next % 20 === 0);
        });
      }),
  },
  {
    name: 'strategy: where no backend is available it chooses none',
    applies: chooses,
    run: (subject) =>
      eachStrategy(subject, async (setting) => {
        const weightless = await rigOf(
          setting,
          weights.map((backend) => ({ ...backend, weight: 0 })),
        );
        const down = await rigOf(setting, weights);
        for (const backend of down.scope.pool.backends) down.scope.pool.setUp(backend, false);
        for (const [rig, what] of [
          [weightless, 'all weights are 0'],
          [down, 'all are down'],
        ] as const) {
          await ask(subject, rig, numbered('message', 3), (to) => {
            if (to !== undefined) fail(`${what}, but it chose ${to.name}`);
          });
        }
      }),
  },
  {
    name: 'strategy: shares are in proportion to the weights',
    applies: chooses,
    run: (subject) =>
      eachStrategy(subject, async (setting) => {
        const rig = await rigOf(setting, weights);
        const random = new Random(1);
        const messages = Array.from({ length: fairMessages }, () => random.bytes(12).toString('hex'));
        const counts = new Map<string | undefined, number>();
        await ask(subject, rig, messages, (to) => counts.set(to?.name, (counts.get(to?.name) ?? 0) + 1));
        const total = weights.reduce((sum, { weight }) => sum + weight!, 0);
        for (const { name, weight } of weights) {
          const share = weight! / total;
          const due = fairMessages * share;
          const most = deviations * Math.sqrt(fairMessages * share * (1 - share));
          const got = counts.get(name) ?? 0;
          if (Math.abs(got - due) > most) {
            fail(
              `"${name}", of weight ${weight} in ${total}, got ${got} of ${fairMessages} messages of as many clients, which ` +
                `wait for their answers; due are ${due}, give or take ${Math.round(most)}`,
            );
          }
        }
      }),
  },
  {
    name: 'strategy: one key has one backend, in all replicas',
    applies: takesKeys,
    run: (subject) =>
      eachStrategy(subject, async (setting) => {
        if (!setting.takesKeys) return;
        const homes = await homesOf(subject, setting, weights);
        const again = await homesOf(subject, setting, weights.toReversed());
        const moved = homes.findIndex((home, key) => home !== again[key]);
        if (moved >= 0) {
          fail(`key ${moved} is at ${homes[moved]}, in a replica whose list has another order at ${again[moved]}`);
        }
      }),
  },
  {
    name: 'strategy: a backend that leaves moves its own keys only',
    applies: takesKeys,
    run: (subject) =>
      eachStrategy(subject, async (setting) => {
        if (!setting.takesKeys) return;
        const homes = await homesOf(subject, setting, weights);
        for (const leaver of weights) {
          const after = await homesOf(
            subject,
            setting,
            weights.filter((backend) => backend !== leaver),
          );
          const moved = homes.findIndex((home, key) => home !== leaver.name && home !== after[key]);
          if (moved >= 0) fail(`"${leaver.name}" left, but key ${moved} moved from ${homes[moved]} to ${after[moved]}`);
        }
      }),
  },
];

async function eachStrategy(subject: Subject, body: (setting: Setting) => Promise<void>): Promise<void> {
  for (const setting of subject.settings) if (setting.taps.has('chooseBackend')) await body(setting);
}

/** Links are dedicated, so that their number can count as load; requests stay unanswered, so that theirs can. */
function rigOf({ use }: Setting, backends: readonly BackendChoice[]): Promise<Rig> {
  return Rig.open({ use, frames: false, chooses: true, backends, links: 'dedicated' });
}

/**
 * Asks for a backend for each message, which all come from different clients.
 * @param hear is told whom the strategy chose, and the number of the next message
 */
async function ask(
  subject: Subject,
  rig: Rig,
  messages: readonly string[],
  hear: (to: Backend | undefined, next: number) => void,
): Promise<void> {
  const wires: Wire[] = [];
  for (const index of messages.keys()) wires.push(await rig.client(`10.${index >> 8}.${index & 255}.1`));
  rig.within(subject.patienceMs, () => {
    for (const [index, wire] of wires.entries()) {
      rig.doing = `asked for one of ${names(rig.scope.pool.available)}`;
      wire.send(Buffer.from(`${messages[index]}\n`));
      rig.check();
      const [seen] = rig.take();
      hear(seen?.to instanceof Backend ? seen.to : undefined, index + 1);
    }
  });
}

/** Where each key goes. */
async function homesOf(subject: Subject, setting: Setting, backends: readonly BackendChoice[]): Promise<string[]> {
  const homes: string[] = [];
  const rig = await rigOf(setting, backends);
  await ask(subject, rig, numbered('key', keys), (to) => homes.push(to?.name ?? 'nobody'));
  return homes;
}

const numbered = (word: string, count: number) => Array.from({ length: count }, (_, index) => `${word} ${index}`);

function names(backends: readonly Backend[]): string {
  return backends.map(({ name }) => name).join(', ') || 'nobody';
}
