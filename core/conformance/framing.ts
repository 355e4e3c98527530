/** What plugins that tap `frame` must do: find the same messages however the bytes come. */
import { fail } from 'node:assert';
import type { Side } from '../message.ts';
import type { Sample } from '../plugin.ts';
import { show } from './bytes.ts';
import { Random } from './random.ts';
import type { Rig, Wire } from './rig.ts';
import { collectGarbage, usedBytes } from './runaway.ts';
import { type Case, rigFor, type Setting, type Subject } from './subject.ts';

const splits = 500;
/** For all sets of options together, but for each so many at least. */
const garbageInputs = 500;
const leastGarbageInputs = 100;
/** A client that is still connected after so many is closed, since it may be in the middle of an endless message. */
const inputsPerClient = 20;
/** Long samples are cut at so many places, evenly spread. */
const mostCuts = 1000;
/** Memory that one message of a few kilobytes may cost while it is read, whatever it promises. */
const messageMemoryBytes = 8 * 1024 * 1024;
/** Memory that may stay in use after many messages. */
const keptMemoryBytes = 1024 * 1024;
const manyMessages = 10_000;
const manyBytes = 16 * 1024 * 1024;
const roundsPerClient = 256;
/** Length fields stand in front. */
const headBytes = 32;
/** How many bytes are overwritten, by what, to make a large number where one is written in binary or in digits. */
const largeNumbers = [
  [1, 0xff],
  [2, 0x7f],
  [4, 0x7f],
  [4, 0x39],
] as const;

const frames = ({ taps, samples }: Subject) => taps.has('frame') && samples.length > 0;

export const framingCases: readonly Case[] = [
  {
    name: 'frame: each sample is one whole message',
    applies: ({ taps }) => taps.has('frame'),
    async run(subject) {
      if (subject.samples.length === 0) fail('the plugin has no samples: give it some, or hand them to the kit');
      await eachSample(subject, (sample, rig, wire) => {
        wire.send(sample.bytes);
        expectMessages(rig, [sample]);
      });
    },
  },
  {
    name: 'frame: the same message wherever it is cut in two',
    applies: frames,
    run: (subject) =>
      eachSample(subject, (sample, rig, wire) => {
        for (const cut of cuts(sample.bytes)) {
          rig.doing = `"${sample.name}", cut after ${cut} bytes`;
          wire.send(sample.bytes.subarray(0, cut));
          wire.send(sample.bytes.subarray(cut));
          expectMessages(rig, [sample]);
        }
      }),
  },
  {
    name: 'frame: the same message byte by byte',
    applies: frames,
    run: (subject) =>
      eachSample(subject, (sample, rig, wire) => {
        rig.doing += ', byte by byte';
        for (let at = 0; at < sample.bytes.length; at++) wire.send(sample.bytes.subarray(at, at + 1));
        expectMessages(rig, [sample]);
      }),
  },
  {
    name: 'frame: the same messages back to back',
    applies: frames,
    run: (subject) =>
      eachStream(subject, (samples, rig, wire) => {
        const stream = [...samples, ...samples.toReversed(), ...samples];
        rig.doing = `${stream.length} messages back to back`;
        wire.send(joined(stream));
        expectMessages(rig, stream);
      }),
  },
  {
    name: `frame: the same messages in ${splits} random splits`,
    applies: frames,
    run: (subject) =>
      eachStream(subject, (samples, rig, wire) => {
        for (let seed = 1; seed <= splits; seed++) {
          rig.doing = `random split ${seed}`;
          const random = new Random(seed);
          const stream = Array.from({ length: 3 }, () => random.pick(samples));
          for (const piece of random.split(joined(stream))) wire.send(piece);
          expectMessages(rig, stream);
        }
      }),
  },
  {
    name: 'frame: what stands beyond the received bytes does not count',
    applies: frames,
    run: (subject) =>
      eachSample(subject, (sample, rig, wire) => {
        const { bytes } = sample;
        const tails = [1, 2, 4].map((length) => bytes.subarray(-length));
        for (const around of [...tails, bytes, Buffer.alloc(64), Buffer.alloc(64, 0xff)]) {
          for (const cut of [...cuts(bytes), bytes.length]) {
            rig.doing = `the first ${cut} bytes of "${sample.name}", with ${show(around, 16)} in front and behind`;
            wire.send(bytes.subarray(0, cut), around);
            if (cut < bytes.length) {
              expectMessages(rig, []);
              rig.doing = `"${sample.name}", cut after ${cut} bytes, with ${show(around, 16)} around both parts`;
              wire.send(bytes.subarray(cut), around);
            }
            expectMessages(rig, [sample]);
          }
        }
      }),
  },
  {
    name: 'frame: garbage ends in an answer',
    applies: frames,
    async run(subject) {
      const streams = subject.settings.filter(({ samples }) => samples.length > 0).length;
      const inputs = Math.max(leastGarbageInputs, Math.ceil(garbageInputs / streams));
      for await (const connection of connections(subject)) await throwGarbage(subject, connection, inputs);
    },
  },
  {
    name: 'frame: memory stays bounded',
    applies: frames,
    async run(subject) {
      for await (const { setting, side, samples } of connections(subject)) {
        if (side === 'backend') continue;
        await expectNoRoomForPromises(subject, setting, samples);
        await expectNothingKept(subject, setting, samples);
      }
    },
  },
];

/** What one peer sends under one set of options, and how. */
interface Connection {
  readonly setting: Setting;
  readonly side: Side;
  readonly samples: readonly Sample[];
  readonly rig: Rig;
  readonly wire: Wire;
  reconnect(): Promise<Wire>;
}

async function* connections(subject: Subject): AsyncGenerator<Connection> {
  for (const setting of subject.settings) {
    if (!setting.taps.has('frame')) continue;
    for (const side of ['client', 'backend'] as const) {
      const samples = setting.samples.filter(({ from = 'client' }) => from === side);
      if (samples.length === 0) continue;
      if (side === 'client') {
        const rig = await rigFor(setting);
        const reconnect = () => rig.client();
        yield { setting, side, samples, rig, wire: await reconnect(), reconnect };
        continue;
      }
      const { correlates, relaysAnswers } = setting.facts;
      if (!correlates && relaysAnswers) continue; // what backends send passes no other hook, so nobody sees it
      const rig = await rigFor(setting);
      const reconnect = async () => {
        rig.runtime.advance(60_000); // a shared link opens again after a while
        return rig.link();
      };
      yield { setting, side, samples, rig, wire: await rig.link(), reconnect };
    }
  }
}

/** Runs `body` for all samples that one peer sends under one set of options. */
async function eachStream(
  subject: Subject,
  body: (samples: readonly Sample[], rig: Rig, wire: Wire) => void,
): Promise<void> {
  for await (const { samples, rig, wire } of connections(subject)) {
    rig.within(subject.patienceMs, () => body(samples, rig, wire));
  }
}

/** Runs `body` for each sample. */
function eachSample(subject: Subject, body: (sample: Sample, rig: Rig, wire: Wire) => void): Promise<void> {
  return eachStream(subject, (samples, rig, wire) => {
    for (const sample of samples) {
      rig.doing = `"${sample.name}"`;
      body(sample, rig, wire);
    }
  });
}

function joined(samples: readonly Sample[]): Buffer {
  return Buffer.concat(samples.map(({ bytes }) => bytes));
}

function cuts(bytes: Uint8Array): number[] {
  const count = Math.min(bytes.length - 1, mostCuts);
  return Array.from({ length: count }, (_, index) => 1 + Math.floor((index * (bytes.length - 1)) / count));
}

function expectMessages(rig: Rig, samples: readonly Sample[]): void {
  rig.check();
  const seen = rig.take();
  const wrong = seen.findIndex(({ bytes, isLost }, i) => isLost || !bytes.equals(samples[i]?.bytes ?? noBytes));
  if (wrong < 0 && seen.length === samples.length) return;
  const place = wrong < 0 ? seen.length : wrong;
  const due = samples[place];
  const found = seen[place];
  if (found?.isLost) fail(`${rig.doing}: ${show(found.bytes)} was refused for ${found.refusal!.reason}`);
  if (due === undefined) fail(`${rig.doing}: there is a message ${show(found!.bytes)}`);
  if (found === undefined) fail(`${rig.doing}: there is no message ${show(due.bytes)}`);
  fail(`${rig.doing}: there is a message ${show(found.bytes)} instead of ${show(due.bytes)}`);
}

const noBytes = Buffer.alloc(0);

/** Random bytes, and samples that are not quite right any more, in pieces. */
async function throwGarbage(subject: Subject, connection: Connection, inputs: number): Promise<void> {
  const { samples, rig, reconnect } = connection;
  let { wire } = connection;
  let seed = 0;
  const throwSome = () => {
    for (let count = 0; count < inputsPerClient && seed < inputs && !wire.isClosed; count++) {
      const random = new Random(++seed);
      const almost = () => random.mutate(Buffer.from(random.pick(samples).bytes));
      const garbage =
        seed % 4 === 0
          ? random.bytes(1 + random.below(300))
          : Buffer.concat([almost(), random.below(2) === 0 ? almost() : noBytes]);
      rig.doing = `garbage ${seed}: ${show(garbage)}`;
      for (const piece of random.split(garbage)) wire.send(piece);
      rig.check();
      rig.forget();
    }
  };
  while (seed < inputs) {
    rig.within(subject.patienceMs, throwSome);
    wire.reset();
    wire = await reconnect();
  }
}

/** A length that a message promises is no reason to make room for it. */
async function expectNoRoomForPromises(subject: Subject, setting: Setting, samples: readonly Sample[]): Promise<void> {
  const rig = await rigFor(setting);
  for (const { name, bytes } of samples) {
    for (let at = 0; at < Math.min(bytes.length, headBytes); at++) {
      for (const [length, value] of largeNumbers) {
        const promising = Buffer.from(bytes);
        promising.subarray(at, at + length).fill(value);
        rig.doing = `"${name}" with larger numbers at ${at}: ${show(promising)}`;
        const wire = await rig.client();
        const before = usedBytes();
        rig.within(subject.patienceMs, () => wire.send(promising));
        const grown = usedBytes() - before;
        wire.reset();
        rig.forget();
        if (grown > messageMemoryBytes) fail(`${rig.doing}: ${Math.round(grown / 2 ** 20)} MiB were allocated`);
      }
    }
  }
}

async function expectNothingKept(subject: Subject, setting: Setting, samples: readonly Sample[]): Promise<void> {
  const rig = await rigFor(setting);
  const stream = joined(samples);
  const rounds = Math.ceil(Math.min(manyMessages / samples.length, manyBytes / stream.length));
  rig.doing = 'many messages';
  const send = async (count: number): Promise<void> => {
    for (let sent = 0; sent < count; ) {
      const wire = await rig.client();
      const until = Math.min(count, sent + roundsPerClient);
      rig.within(subject.patienceMs, () => {
        for (; sent < until; sent++) {
          wire.send(stream);
          rig.forget();
        }
      });
      wire.reset();
      rig.runtime.advance(400_000); // what may be remembered for some time is forgotten
    }
    await collectGarbage();
  };
  await send(Math.min(rounds, 2048)); // fills the tables
  let kept = keptMemoryBytes + 1;
  // What was busy beside us may have left something, too; only what a plugin keeps grows each time.
  for (let trial = 0; trial < 2 && kept > keptMemoryBytes; trial++) {
    const before = usedBytes();
    await send(rounds);
    kept = usedBytes() - before;
  }
  if (kept > keptMemoryBytes) {
    const count = rounds * samples.length;
    fail(`${Math.round(kept / 1024)} KiB more are in use after ${count} messages: the plugin keeps what it has seen`);
  }
}
