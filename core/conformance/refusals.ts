/** What plugins that tap `refuse` must do: answer in the words of their protocol. */
import { fail } from 'node:assert';
import { type CoreReason, Refusal } from '../outcome.ts';
import { show } from './bytes.ts';
import type { Rig, Wire } from './rig.ts';
import { type Case, rigFor, type Setting, type Subject } from './subject.ts';

const reasons: readonly CoreReason[] = [
  'forged-identifier',
  'unknown-backend',
  'backend-down',
  'no-backend',
  'client-gone',
  'no-destination',
  'overloaded',
  'plugin-error',
  'stopping',
];

export const refusalCases: readonly Case[] = [
  {
    name: 'refuse: the reply is one whole message',
    applies: ({ taps, samples }: Subject) => taps.has('frame') && taps.has('refuse') && samples.length > 0,
    async run(subject) {
      for (const setting of subject.settings) {
        const samples = setting.samples.filter(({ from }) => from !== 'backend');
        if (samples.length === 0) continue;
        const rig = await rigFor(setting);
        const wire = await rig.client();
        for (const { name, bytes } of samples) {
          for (const reason of [...reasons, 'a-reason-of-a-plugin']) {
            rig.doing = `"${name}", refused for ${reason}`;
            rig.refusal = new Refusal(reason);
            rig.within(subject.patienceMs, () => wire.send(bytes));
            const reply = wire.take();
            if (reply.length > 0) await expectOneMessage(subject, setting, rig.doing, reply);
          }
        }
      }
    },
  },
];

async function expectOneMessage(subject: Subject, setting: Setting, doing: string, reply: Buffer): Promise<void> {
  const { rig, wire } = await readerOf(setting);
  rig.doing = `the reply to ${doing}`;
  rig.within(subject.patienceMs, () => wire.send(reply));
  const seen = rig.take();
  if (seen.length === 1 && !seen[0]!.isLost && seen[0]!.bytes.equals(reply)) return;
  const came = seen.map(({ bytes, isLost }) => `${show(bytes)}${isLost ? ' (broken)' : ''}`).join(' and ');
  fail(`${rig.doing} is not one whole message of the protocol: of ${show(reply, 400)} came ${came || 'nothing'}`);
}

/** Replies read like what backends send, where that is seen by a hook. */
async function readerOf(setting: Setting): Promise<{ rig: Rig; wire: Wire }> {
  const { correlates, relaysAnswers } = setting.facts;
  const rig = await rigFor(setting);
  return { rig, wire: await (!correlates && relaysAnswers ? rig.client() : rig.link()) };
}
