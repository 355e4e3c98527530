/** What observers must do: watch messages without changing what becomes of them, and let their halves be in different processes. */
import { fail } from 'node:assert';
import { withDefaults } from '../config/validate.ts';
import { Observers } from '../observers/observers.ts';
import type { Logger } from '../plugin.ts';
import { Rig } from '../rehearsal/rig.ts';
import { settingsWith } from './rig.ts';
import { answerLines, chooser, lines } from './stand-ins.ts';
import type { Case, Subject } from './subject.ts';

const messages = Array.from({ length: 30 }, (_, index) => `message ${index}\n`);
/** What taps gather before they tell it is told by then. */
const gatherMs = 600_000;

const observes = ({ plugin }: Subject) => plugin.observe !== undefined;

export const observerCases: readonly Case[] = [
  {
    name: 'observer: messages are the same with it and without it',
    applies: observes,
    async run(subject) {
      const [alone, watched] = [await play(subject, false), await play(subject, true)];
      const changed = watched.travelled.findIndex((text, index) => text !== alone.travelled[index]);
      if (changed >= 0) fail(`with it ${watched.travelled[changed]}, without it ${alone.travelled[changed]}`);
    },
  },
  {
    name: 'observer: nothing that it does throws',
    applies: observes,
    async run(subject) {
      const [fault] = (await play(subject, true)).faults;
      if (fault !== undefined) fail(fault);
    },
  },
  {
    name: 'observer: what its halves say to each other can be copied to another process',
    applies: observes,
    async run(subject) {
      const [fault] = (await play(subject, true)).uncopied;
      if (fault !== undefined) fail(`its channel: ${fault}. Send plain values: no functions, no messages, no clients`);
    },
  },
];

/** Lets clients send, and backends answer. The observer is not started, so that it opens nothing. */
async function play({ plugin, options }: Subject, isWatched: boolean) {
  const travelled: string[] = [];
  const faults: string[] = [];
  const uncopied: string[] = [];
  const quiet = () => {};
  const error = (_fields: object, text = '') => void faults.push(text);
  // What the plugin itself logs is its own affair.
  const log: Logger & { child(fields: object): Logger } = {
    debug: quiet,
    info: quiet,
    warn: quiet,
    error,
    child: (fields) => ({ debug: quiet, info: quiet, warn: quiet, error: 'plugin' in fields ? quiet : error }),
  };
  const copy = (value: unknown): unknown => {
    try {
      return structuredClone(value);
    } catch (error) {
      uncopied.push((error as Error).message);
      return value;
    }
  };

  const use = { plugin, options: withDefaults(plugin, options) };
  const pipeline = [lines, chooser({ chosen: undefined }, { insists: true })].map((each) => ({
    plugin: each,
    options: {},
  }));
  const observers = isWatched ? [use] : [];
  const rig = await Rig.start({ ...settingsWith(pipeline), observers }, { log });
  const { balancer } = rig;
  const order = balancer.order.bind(balancer);
  balancer.order = (observer, value) => order(observer, copy(value));
  new Observers(observers, balancer, { clock: rig.runtime, log });
  const { onReport } = balancer;
  balancer.onReport = (observer, value) => onReport(observer, copy(value));

  const clients = [rig.client('198.51.100.1'), rig.client('198.51.100.2')];
  for (const [index, message] of messages.entries()) {
    const client = clients[index % 2]!;
    client.send(message);
    for (const [name, link] of rig.backends.flatMap(({ name, links }) => links.map((link) => [name, link] as const))) {
      const got = link.take();
      if (got.length === 0) continue;
      travelled.push(`${name} gets ${JSON.stringify(got.toString('latin1'))}`);
      link.send(answerLines(got));
    }
    travelled.push(`a client gets ${JSON.stringify(client.text())}`);
  }
  for (const client of clients) client.end();
  await rig.settle();
  rig.advance(gatherMs);
  await rig.settle();
  await rig.stop();
  return { travelled, faults, uncopied };
}
