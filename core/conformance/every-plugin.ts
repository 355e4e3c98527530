/** What every plugin must do: describe itself, open nothing, share nothing, and let go of clients that have gone. */
import { fail } from 'node:assert';
import { faultOf } from '../config/plugins.ts';
import { optionFaults, schemaFault, withDefaults } from '../config/validate.ts';
import { VirtualRuntime } from '../runtime/virtual.ts';
import { dryServices } from '../services.ts';
import { show } from './bytes.ts';
import { openedBy } from './opened.ts';
import type { Rig, Wire } from './rig.ts';
import { collectGarbage } from './runaway.ts';
import { answerLines } from './stand-ins.ts';
import { applyAlone, type Case, checkAlone, observeAlone, rigFor, type Setting, type Subject } from './subject.ts';

/** Clients that come and go. */
const visitors = 40;
/** Whoever handled the last message may still hold it. */
const remembered = 3;
/** How often it is looked whether they have gone. */
const trials = 4;
const lettersInSummary = 200;

export const everyPluginCases: readonly Case[] = [
  {
    name: 'plugin: its definition is well-formed',
    applies: always,
    run({ plugin }) {
      const fault = faultOf(plugin);
      if (fault !== undefined) fail(`the plugin ${fault}`);
      const { summary } = plugin;
      if (!/^\S.*[.]$/.test(summary) || /[.!?]\s+\p{Lu}/u.test(summary) || summary.length > lettersInSummary) {
        fail(`the summary is to be one sentence of up to ${lettersInSummary} letters, not ${JSON.stringify(summary)}`);
      }
    },
  },
  {
    name: 'plugin: its options schema is strict and describes every option',
    applies: always,
    run({ plugin }) {
      const fault = schemaFault(plugin);
      if (fault !== undefined) fail(`the options schema is not valid: ${fault}`);
      const silent = undescribed(plugin.options, '');
      if (silent.length > 0) fail(`these options have no description: ${silent.join(', ')}`);
    },
  },
  {
    name: 'plugin: its defaults, and the options of its samples, are valid and can be applied',
    applies: always,
    run({ plugin, samples, options }) {
      const fault = schemaFault(plugin);
      if (fault !== undefined) fail(`nobody can tell, as the options schema is not valid: ${fault}`);
      const sets = samples.map(({ name, options: own }) => [`the options of the sample "${name}"`, own ?? options]);
      if (samples.length === 0) sets.push(['the defaults', options]);
      for (const [what, given] of sets) {
        const { options: complete, faults } = optionFaults(plugin, given);
        const remedy = given === options ? '. Give the kit options (--options), for what has no default' : '';
        if (faults.length > 0) fail(`${what} are not valid: ${faults.join('; ')}${remedy}`);
        try {
          const use = { plugin, options: complete };
          if (plugin.check !== undefined) checkAlone(use);
          if (plugin.observe !== undefined) observeAlone(use);
          if (plugin.apply !== undefined) applyAlone(use);
        } catch (error) {
          fail(`${what} cannot be applied: ${(error as Error).message}`);
        }
      }
    },
  },
  {
    name: 'plugin: apply opens nothing',
    applies: isApplied,
    run({ settings }) {
      for (const { use } of settings) {
        const runtime = new VirtualRuntime();
        let opened: readonly string[] = [];
        const apply = (...args: Parameters<NonNullable<typeof use.plugin.apply>>): void => {
          opened = openedBy(() => use.plugin.apply?.(...args));
        };
        applyAlone({ ...use, plugin: { ...use.plugin, apply } }, { ...dryServices([]), runtime });
        if (runtime.timers > 0) fail('apply set a timer with clock.after: do that in scope.onStart');
        if (opened.length > 0) fail(`apply used ${[...new Set(opened)].join(', ')}: do that in scope.onStart`);
      }
    },
  },
  {
    name: 'plugin: check opens nothing',
    applies: ({ plugin }) => plugin.check !== undefined,
    run({ plugin, options }) {
      const runtime = new VirtualRuntime();
      const use = { plugin, options: withDefaults(plugin, options) };
      const opened = openedBy(() => checkAlone(use, { ...dryServices([]), runtime }));
      if (runtime.timers > 0) fail('check set a timer with clock.after: the core says when backends are asked');
      if (opened.length > 0) fail(`check used ${[...new Set(opened)].join(', ')}: the core connects`);
    },
  },
  {
    name: 'plugin: observe opens nothing',
    applies: ({ plugin }) => plugin.observe !== undefined,
    run({ plugin, options }) {
      const runtime = new VirtualRuntime();
      const use = { plugin, options: withDefaults(plugin, options) };
      const opened = openedBy(() => observeAlone(use, { ...dryServices([]), runtime }));
      if (runtime.timers > 0) fail('observe set a timer with clock.after: do that in scope.onStart');
      if (opened.length > 0) fail(`observe used ${[...new Set(opened)].join(', ')}: do that in scope.onStart`);
    },
  },
  {
    name: 'plugin: instances share nothing',
    applies: isApplied,
    async run(subject) {
      for (const setting of subject.settings) {
        const [alone, one] = [await Play.inHalves(subject, setting), await Play.inHalves(subject, setting)];
        const [otherAlone, other] = [await Play.reversed(subject, setting), await Play.reversed(subject, setting)];
        for (const play of [alone, otherAlone]) while (play.step());
        // One is always in the middle of a message when the other one gets a whole one.
        one.step();
        for (let more = true; more; ) {
          more = [other, one, one].map((play) => play.step()).includes(true);
        }
        expectSame(one, alone);
        expectSame(other, otherAlone);
      }
    },
  },
  {
    name: 'plugin: no tap throws, or answers a promise where none is allowed',
    applies: isApplied,
    async run(subject) {
      for (const setting of subject.settings) {
        const play = await Play.inHalves(subject, setting);
        while (play.step());
        await play.finish();
      }
    },
  },
  {
    name: 'plugin: what it keeps for a client goes with the client',
    applies: isApplied,
    async run(subject) {
      for (const setting of subject.settings) {
        const rig = await rigFor(setting, setting.taps.has('frame') ? {} : { answer: answerLines });
        const clients: WeakRef<object>[] = [];
        for (let count = 0; count < visitors; count++) clients.push(await visit(rig, setting));
        let kept = visitors;
        // The engine itself may hold on to some for a while; only what a plugin keeps stays through further visits.
        for (let trial = 0; trial < trials && kept > remembered; trial++) {
          if (trial > 0) await visit(rig, setting);
          rig.forget();
          rig.runtime.advance(4_000_000); // longer than anything may be remembered
          await collectGarbage();
          kept = clients.filter((client) => client.deref() !== undefined).length;
        }
        if (kept > remembered) {
          fail(
            `${kept} of ${visitors} clients that have gone are still kept: use scope.perClient, or tap onDisconnect`,
          );
        }
      }
    },
  },
];

function always(): boolean {
  return true;
}

function isApplied({ settings }: Subject): boolean {
  return settings.length > 0;
}

/** The paths of the options that a schema says nothing about. */
function undescribed(schema: unknown, path: string): string[] {
  if (typeof schema !== 'object' || schema === null) return [];
  const { properties, items, anyOf, additionalProperties } = schema as Record<string, unknown>;
  const members = Object.entries((properties ?? {}) as Record<string, { description?: unknown }>);
  return [
    ...members.flatMap(([name, member]) => {
      const at = path === '' ? name : `${path}.${name}`;
      return [...(typeof member.description === 'string' ? [] : [at]), ...undescribed(member, at)];
    }),
    ...undescribed(items, `${path}[]`),
    ...undescribed(additionalProperties, `${path}.*`),
    ...(Array.isArray(anyOf) ? anyOf.flatMap((branch) => undescribed(branch, path)) : []),
  ];
}

/** What a client sends: the samples, or lines if it is not the plugin that frames. */
function script(setting: Setting): readonly Uint8Array[] {
  if (!setting.taps.has('frame')) return Array.from({ length: 30 }, (_, index) => Buffer.from(`message ${index}\n`));
  return setting.samples.filter(({ from }) => from !== 'backend').map(({ bytes }) => bytes);
}

/** One client and what it sends, and a log of all that came of it. */
class Play {
  readonly log: string[] = [];
  readonly #subject: Subject;
  readonly #rig: Rig;
  readonly #wire: Wire;
  readonly #pieces: readonly Uint8Array[];
  #next = 0;

  /** Each message in two pieces. */
  static inHalves(subject: Subject, setting: Setting): Promise<Play> {
    const pieces = script(setting).flatMap((bytes) => {
      const half = Math.ceil(bytes.length / 2);
      return [bytes.subarray(0, half), bytes.subarray(half)];
    });
    return Play.#with(subject, setting, pieces);
  }

  /** Each message in one piece, the last one first. */
  static reversed(subject: Subject, setting: Setting): Promise<Play> {
    return Play.#with(subject, setting, script(setting).toReversed());
  }

  static async #with(subject: Subject, setting: Setting, pieces: readonly Uint8Array[]): Promise<Play> {
    const rig = await rigFor(setting, setting.taps.has('frame') ? {} : { answer: answerLines });
    return new Play(subject, pieces, rig, await rig.client());
  }

  constructor(subject: Subject, pieces: readonly Uint8Array[], rig: Rig, wire: Wire) {
    this.#subject = subject;
    this.#pieces = pieces;
    this.#rig = rig;
    this.#wire = wire;
  }

  /** Sends the next piece; false: there is none. */
  step(): boolean {
    const piece = this.#pieces[this.#next++];
    if (piece === undefined) return false;
    this.#rig.doing = show(piece);
    this.#rig.within(this.#subject.patienceMs, () => this.#wire.send(piece));
    // With the number of the piece, since to come later is a difference as well.
    const note = (text: string) => void this.log.push(`after piece ${this.#next}, ${text}`);
    for (const { bytes, to, sent, refusal } of this.#rig.take()) {
      const fate =
        to === undefined ? `refused for ${refusal?.reason}` : `sent to ${'name' in to ? to.name : 'a client'}`;
      note(`${show(bytes)} was ${fate}${sent === undefined ? '' : ` as ${show(sent, sent.length)}`}`);
    }
    const answer = this.#wire.take();
    if (answer.length > 0) note(`the client got ${show(answer, answer.length)}`);
    return true;
  }

  /** The client leaves, and the balancer stops. */
  async finish(): Promise<void> {
    this.#rig.doing = 'when the client has left';
    this.#wire.reset();
    this.#rig.check();
    this.#rig.doing = 'when the balancer has stopped';
    await this.#rig.stop();
    this.#rig.check();
  }
}

function expectSame(beside: Play, alone: Play): void {
  const difference = beside.log.findIndex((entry, index) => entry !== alone.log[index]);
  if (difference < 0 && beside.log.length === alone.log.length) return;
  const place = difference < 0 ? beside.log.length : difference;
  fail(
    `beside another instance: ${beside.log[place] ?? 'nothing more'}; alone: ${alone.log[place] ?? 'nothing more'}. ` +
      'Keep state within apply or in scope.perClient, and take time and random numbers from scope.clock',
  );
}

/** A client sends all there is, and leaves. */
async function visit(rig: Rig, setting: Setting): Promise<WeakRef<object>> {
  const wire = await rig.client();
  for (const bytes of script(setting)) wire.send(bytes);
  const client = new WeakRef(wire.peer.socket.handler);
  wire.reset();
  return client;
}
