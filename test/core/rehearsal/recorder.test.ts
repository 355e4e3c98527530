import { describe, expect, it } from 'vitest';
import { Recorder } from '../../../core/rehearsal/recorder.ts';
import { Rig } from '../../../core/rehearsal/rig.ts';
import type { Settings } from '../../../core/settings.ts';
import { guest } from '../../support/lines.ts';
import { check } from '../config/check.ts';

const log = { debug() {}, info() {}, warn() {}, error() {} };

async function settings(lines = '{ lines: }'): Promise<Settings> {
  const loaded = await check(`pools: { calls: { backends: { a: tcp://127.0.0.1:1, b: tcp://127.0.0.1:2 } } }
listeners: { edge: { listen: tcp://127.0.0.1:3, pool: calls, pipeline: [${lines}, { turns: }] } }
keys: [{ id: k1, secret: a secret of some length }]
`);
  return loaded.settings!;
}

async function recorded(bytes: string | readonly string[], its?: Settings): Promise<Recorder> {
  const recorder = new Recorder();
  const { listeners, ...rest } = its ?? (await settings());
  const rig = await Rig.start({ ...rest, listeners: listeners.map((one) => recorder.record(one)) }, { log });
  const client = rig.client();
  await rig.settle();
  for (const piece of [bytes].flat()) client.send(piece);
  await rig.stop();
  return recorder;
}

/** What each hook answered, in short. */
const brief = ({ messages }: Recorder) =>
  messages.map(({ answers, outcome }) => [
    ...answers.map(({ hook, answer, edits }) => `${hook} ${answer.kind}${edits.length > 0 ? ` ${edits.length}` : ''}`),
    outcome?.kind,
  ]);

describe('the recorder', () => {
  it('keeps what each hook answers of each message, and what becomes of it', async () => {
    expect(brief(await recorded('hi\n?\nbye\n+\n@x hi\nboom\nha'))).toEqual([
      ['frame length', 'detectId nothing', 'chooseBackend backend', 'insertId nothing 2', 'forwarded'],
      ['frame length', 'detectId refusal', 'refuse reply', 'refused'],
      ['frame length', 'detectId discard', 'discarded'],
      ['frame skip', 'skipped'],
      ['frame length', 'detectId token', 'refuse reply', 'refused'],
      ['frame length', 'detectId error', 'refuse reply', 'refused'],
      ['frame more', 'incomplete'],
    ]);
  });

  it('takes the pieces of a message for one', async () => {
    const { messages } = await recorded([...'hi\nho\n']);
    expect(messages.map(({ received }) => received.toString())).toEqual(['hi\n', 'ho\n']);
  });

  it('keeps all that came where the end of a message cannot be told', async () => {
    const { messages } = await recorded('hi\nno\0no\n');
    expect(messages[1]).toMatchObject({
      received: Buffer.from('no\0no\n'),
      outcome: { kind: 'refused', reason: 'nul', reply: Buffer.from('error nul\n') },
      sent: undefined,
    });
  });

  it('keeps edits with what they removed, and the bytes that left', async () => {
    const [first] = (await recorded('hi\n')).messages;
    const token = first!.token!.text.toString();
    expect(first!.answers.at(-1)!.edits).toEqual([
      { offset: 0, removed: Buffer.from(''), inserted: Buffer.from(`@${token} `) },
      { offset: 0, removed: Buffer.from(''), inserted: Buffer.from('#1 ') },
    ]);
    expect(first!.sent!.toString()).toBe(`@${token} #1 hi\n`);
    expect(first!.available).toEqual(['a', 'b']);
  });

  it('keeps what onConnect and onLink answer', async () => {
    const its = await settings();
    const plugin = guest((hooks) => {
      hooks.onConnect.tap('guest', async () => undefined);
      hooks.onLink.tap('guest', (link) => {
        if (link.backend.name === 'b') throw new Error('not this one');
      });
    });
    const listeners = its.listeners.map((one) => ({ ...one, pipeline: [...one.pipeline, { plugin, options: {} }] }));
    const { greetings } = await recorded('hi\n', { ...its, listeners });
    expect(greetings.map(({ hook, answer }) => [hook, answer])).toEqual([
      ['onLink', { kind: 'nothing' }],
      ['onLink', { kind: 'error', message: 'not this one' }],
      ['onConnect', { kind: 'nothing' }],
    ]);
  });

  it('changes nothing', async () => {
    const its = await settings();
    const arrives = async (listeners: Settings['listeners']) => {
      const rig = await Rig.start({ ...its, listeners }, { log });
      const client = rig.client();
      client.send('hi\n!g group\n?\nbye\n+\nboom\nlater\nhi\n!g again\nno\0');
      const bytes = [...rig.backends.map((backend) => backend.text()), client.text()];
      const stats = rig.stats();
      await rig.stop();
      return { bytes, stats };
    };
    const recorder = new Recorder();
    expect(await arrives(its.listeners.map((one) => recorder.record(one)))).toEqual(await arrives(its.listeners));
    expect(recorder.messages.length).toBe(10);
  });
});
