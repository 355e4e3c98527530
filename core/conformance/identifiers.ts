/** What plugins that tap `detectId` and `insertId` must do: find again what they have written, and nothing that is forged. */
import { fail } from 'node:assert';
import { Client } from '../client.ts';
import type { Sample, Token } from '../plugin.ts';
import { Backend } from '../pool.ts';
import type { IdentifierMode } from '../settings.ts';
import { show } from './bytes.ts';
import type { BackendChoice, Rig, Seen, Wire } from './rig.ts';
import { type Case, rigFor, type Setting, type Subject } from './subject.ts';

const modes: readonly IdentifierMode[] = ['plain', 'signed', 'sealed'];

/** Names and numbers as different as configs allow, and tame ones for fields that cannot hold those. */
const pools: readonly (readonly BackendChoice[])[] = [
  [
    { name: 'a', number: 1 },
    { name: 'Z.9_-', number: 255 },
    { name: '0', number: 256 },
    { name: `longest-${'x'.repeat(55)}`, number: 65_535 },
  ],
  ['a', 'b', 'c'].map((name, index) => ({ name, number: index + 1 })),
];

const identifies = ({ taps, samples }: Subject) =>
  taps.has('frame') && taps.has('detectId') && taps.has('insertId') && samples.length > 0;

export const identifierCases: readonly Case[] = [
  {
    name: 'identifier: detectId finds the backend that insertId wrote',
    applies: identifies,
    async run(subject) {
      let found = 0;
      for await (const stamped of stampedMessages(subject)) {
        const { backend, echo, about } = stamped;
        const [seen] = await receive(subject, stamped, echo);
        found++;
        if (seen?.to instanceof Backend && seen.to.name === backend && seen.reason === 'identifier') continue;
        const hint = stamped.isEchoed ? '' : '. If peers send the identifier back elsewhere, give the sample an echo';
        fail(`${about}: ${show(echo, 400)} ${fate(seen)}${hint}`);
      }
      if (found > 0) return;
      const hint = '. If it writes them into answers, give a sample of a client an answer';
      fail(`insertId writes no identifier into any of the samples${subject.samples.some(isAnswered) ? '' : hint}`);
    },
  },
  {
    name: 'identifier: a message with an identifier is one message',
    applies: identifies,
    async run(subject) {
      for await (const stamped of stampedMessages(subject)) {
        const seen = await receive(subject, stamped, stamped.sent);
        if (seen.length === 1 && seen[0]!.bytes.equals(stamped.sent)) continue;
        const came = seen.map(({ bytes }) => show(bytes)).join(' and ') || 'nothing';
        fail(`${stamped.about}: it is no longer one message. Of ${show(stamped.sent, 400)} came ${came}`);
      }
    },
  },
  {
    name: 'identifier: bytes and tokens are edited through splice only',
    applies: identifies,
    async run(subject) {
      for await (const { about, rig, tokens } of stampings(subject)) {
        rig.doing = about;
        rig.check();
        for (const backend of rig.scope.pool.backends) {
          const { text, raw } = rig.scope.identifiers.ofBackend(backend);
          const before = tokens[backend.index]!;
          if (!text.equals(before.text) || !raw.equals(before.raw)) {
            fail(`${about}: the plugin wrote into the token of ${backend.name}`);
          }
        }
      }
    },
  },
  {
    name: 'identifier: a forged one is refused',
    applies: (subject) => identifies(subject) && subject.settings.some(({ facts }) => facts.identifiers !== 'number'),
    async run(subject) {
      for await (const stamped of stampedMessages(subject)) {
        if (stamped.mode !== 'plain') await expectRefusals(subject, stamped);
      }
    },
  },
  {
    name: 'identifier: writing it again changes nothing',
    applies: identifies,
    async run(subject) {
      for await (const stamped of stampedMessages(subject)) {
        // Where peers move the identifier, a message that comes twice has gone round, and may say so.
        if (stamped.isEchoed || isAnswered(stamped.sample)) continue;
        const [seen] = await receive(subject, stamped, stamped.sent);
        if (seen?.sent === undefined || seen.sent.equals(stamped.sent)) continue;
        fail(`${stamped.about}: ${show(stamped.sent, 400)}, sent once more, becomes ${show(seen.sent, 400)}`);
      }
    },
  },
];

const isAnswered = ({ answer }: Sample) => answer !== undefined;

/** A sample on its way to a backend, or the answer to it on its way back. */
interface Stamping {
  readonly setting: Setting;
  readonly mode: IdentifierMode;
  readonly pool: readonly BackendChoice[];
  readonly sample: Sample;
  /** The name of the backend that the sample was to go to. */
  readonly backend: string;
  /** What came of what may carry the identifier, if it was let through. */
  readonly seen: Seen | undefined;
  readonly rig: Rig;
  /** The tokens of the backends, by index, before anything was sent. */
  readonly tokens: readonly Pick<Token, 'text' | 'raw'>[];
  /** For what fails. */
  readonly about: string;
}

/** A message that left with an identifier in it. */
interface Stamped extends Stamping {
  readonly sent: Buffer;
  /** A later message of the client. */
  readonly echo: Buffer;
  readonly isEchoed: boolean;
}

/** Each sample to each backend in each mode, always as the first message in a pipeline of its own. */
async function* stampings(subject: Subject): AsyncGenerator<Stamping> {
  for (const setting of subject.settings) {
    const samples = setting.samples.filter(({ from }) => from !== 'backend');
    for (const mode of setting.facts.identifiers === 'number' ? (['plain'] as const) : modes) {
      const pool = await poolFor(setting, mode);
      if (pool === undefined) continue;
      for (const sample of samples) {
        for (const { name: backend } of pool) {
          const rig = await rigFor(setting, { mode, backends: pool, answer: sample.answer });
          const tokens = rig.scope.pool.backends.map((backend) => {
            const { text, raw } = rig.scope.identifiers.ofBackend(backend);
            return { text: Buffer.from(text), raw: Buffer.from(raw) };
          });
          const about = `"${sample.name}" to ${backend}, ${mode}`;
          const wire = await rig.client();
          rig.doing = about;
          rig.chosen = backend;
          rig.within(subject.patienceMs, () => wire.send(sample.bytes));
          const came = rig.take();
          const seen = isAnswered(sample) ? came.find(({ to }) => to instanceof Client) : came[0];
          yield { setting, mode, pool, sample, backend, seen, rig, tokens, about };
        }
      }
    }
  }
}

/** Of `stampings`, those that carry an identifier: where it goes shows in the message. */
async function* stampedMessages(subject: Subject): AsyncGenerator<Stamped> {
  let siblings: Stamping[] = [];
  for await (const stamping of stampings(subject)) {
    siblings.push(stamping);
    if (siblings.length < stamping.pool.length) continue;
    const texts = new Set(siblings.map(({ seen }) => seen?.sent?.toString('latin1')));
    if (texts.size > 1) {
      for (const sibling of siblings) {
        const sent = sibling.seen?.sent;
        if (sent === undefined) continue;
        const { sample } = sibling;
        yield { ...sibling, sent, echo: Buffer.from(sample.echo?.(sent) ?? sent), isEchoed: sample.echo !== undefined };
      }
    }
    siblings = [];
  }
}

/** The wildest pool whose identifiers the plugin can carry under these options; undefined: it can carry none in this mode. */
async function poolFor(setting: Setting, mode: IdentifierMode): Promise<readonly BackendChoice[] | undefined> {
  for (const pool of pools) {
    try {
      await rigFor(setting, { mode, backends: pool });
      return pool;
    } catch {}
  }
  return undefined;
}

/** What comes of bytes that a client sends to another balancer of the same config, as its first ones. */
async function receive(subject: Subject, stamped: Stamped, bytes: Buffer): Promise<Seen[]> {
  const { rig, wire } = await another(stamped);
  rig.within(subject.patienceMs, () => wire.send(bytes));
  return rig.take();
}

/** A balancer of the same config, whose strategy would choose another backend. */
async function another({ setting, mode, pool, backend, about }: Stamped): Promise<{ rig: Rig; wire: Wire }> {
  const rig = await rigFor(setting, { mode, backends: pool });
  rig.doing = about;
  rig.chosen = pool.find(({ name }) => name !== backend)!.name;
  return { rig, wire: await rig.client() };
}

/** Changes each byte of the token in turn. */
async function expectRefusals(subject: Subject, stamped: Stamped): Promise<void> {
  const { setting, echo, pool, backend, tokens, about } = stamped;
  const form = setting.facts.identifiers === 'text' ? 'text' : 'raw';
  const token = tokens[pool.findIndex(({ name }) => name === backend)]![form];
  let { rig, wire } = await another(stamped);
  for (let i = 0; i < token.length; i++) {
    const forged = Buffer.from(echo);
    for (let at = forged.indexOf(token); at >= 0; at = forged.indexOf(token, at + 1)) {
      forged[at + i] = form === 'text' ? otherLetter(token[i]!) : token[i]! ^ (1 << (i % 8));
    }
    if (forged.equals(echo)) continue;
    rig.within(subject.patienceMs, () => wire.send(forged));
    const routed = rig.take().find(({ to }) => to !== undefined);
    if (routed !== undefined) {
      fail(`${about}: with byte ${i} of the token changed, ${show(forged, 400)} ${fate(routed)}`);
    }
    if (wire.isClosed) ({ rig, wire } = await another(stamped));
  }
}

/** The next letter of base32. */
function otherLetter(letter: number): number {
  const letters = 'abcdefghijklmnopqrstuvwxyz234567';
  return letters.charCodeAt((letters.indexOf(String.fromCharCode(letter)) + 1) % letters.length);
}

/** What became of a message: the end of a sentence. */
function fate(seen: Seen | undefined): string {
  if (seen === undefined) return 'is no message';
  if (seen.refusal !== undefined) return `is refused for ${seen.refusal.reason}`;
  if (seen.to === undefined) return 'is discarded';
  const where = seen.to instanceof Backend ? seen.to.name : 'a client';
  return seen.reason === 'identifier' ? `goes to ${where}` : `names nobody: the ${seen.reason} sends it to ${where}`;
}
