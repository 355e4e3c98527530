/** Compares what happened in a step of a test with what the test expects. */
import type { ListenerStats } from '../accounting.ts';
import type { Settings } from '../settings.ts';
import { type MessageRecord, Recorder } from './recorder.ts';
import { Rig } from './rig.ts';
import type { Expectation, Place, StatsPart } from './script.ts';

/** What happened in one step. */
export interface Event {
  /** Who sent or answered something; undefined in steps where nobody does. */
  readonly client?: string;
  readonly backend?: string;
  /** The client that sent something last. */
  readonly lastClient: string | undefined;
  /** What arrived, by the receiver's name. */
  readonly toBackends: ReadonlyMap<string, Buffer>;
  readonly toClients: ReadonlyMap<string, Buffer>;
  readonly before: ListenerStats;
  readonly after: ListenerStats;
  readonly messages: readonly MessageRecord[];
}

export interface Failure {
  /** The expectation that failed; or the step, or part of the test, that is itself at fault. */
  readonly kind: string;
  readonly place: Place;
  /** What was expected, in words; undefined: the test did not get that far. */
  readonly expected: string | undefined;
  /** What happened, in words; or why the step could not be done. */
  readonly got: string;
  /** The bytes that differ. */
  readonly bytes?: { readonly expected: Buffer; readonly got: Buffer };
  /** The bytes in question, if there are none to compare them with. */
  readonly seen?: readonly Seen[];
}

/** Bytes that went somewhere. */
interface Seen {
  readonly to: string;
  readonly bytes: Buffer;
}

/** What expectations are checked against, in addition to the event. */
export interface Circumstances {
  /** All events so far, including the present one. */
  readonly events: readonly Event[];
  readonly settings: Settings;
  readonly seed: number;
  readonly recorder: Recorder;
  readonly isClosed: (client: string) => boolean;
}

export async function failuresOf(
  expectations: readonly Expectation[],
  event: Event,
  circumstances: Circumstances,
): Promise<Failure[]> {
  const failures: Failure[] = [];
  for (const expectation of expectations) {
    const difference = await differenceOf(expectation, event, circumstances);
    if (difference !== undefined) failures.push({ kind: expectation.kind, place: expectation.place, ...difference });
  }
  return failures;
}

type Difference = Omit<Failure, 'kind' | 'place'> | undefined;

async function differenceOf(expectation: Expectation, event: Event, circumstances: Circumstances): Promise<Difference> {
  switch (expectation.kind) {
    case 'backend':
      return compareNames(`backend ${expectation.name}`, [expectation.name], event.toBackends, 'backend', event);
    case 'client':
      return compareNames(`client ${expectation.name}`, [expectation.name], event.toClients, 'client', event);
    case 'sameBackendAs':
      return compareWithEarlier(expectation.other, event, circumstances);
    case 'notBackend': {
      const wrong = expectation.names.filter((name) => event.toBackends.has(name));
      if (wrong.length === 0) return undefined;
      return { expected: `nothing goes to ${wrong.join(', ')}`, got: whereTo(event), seen: seenIn(event) };
    }
    case 'contains': {
      const { bytes } = leaving(event);
      const missing = expectation.texts.filter((text) => !bytes.includes(text));
      if (missing.length === 0) return undefined;
      const expected = missing.map((text) => JSON.stringify(text)).join(' and ');
      return { expected, got: bytes.length === 0 ? whereTo(event) : 'not in what left', seen: seenIn(event) };
    }
    case 'bytes':
    case 'hex': {
      const { bytes } = leaving(event);
      if (bytes.equals(expectation.bytes)) return undefined;
      const expected = `${expectation.bytes.length} bytes`;
      const got = `${whereTo(event)}, different from byte ${firstDifference(expectation.bytes, bytes)} on`;
      return { expected, got, bytes: { expected: expectation.bytes, got: bytes } };
    }
    case 'identifier':
      return compareIdentifier(expectation.name, event, circumstances);
    case 'refused':
      return compareEnding('refused', expectation.what, event);
    case 'discarded':
      return compareEnding('discarded', expectation.what, event);
    case 'closed': {
      const client = expectation.client ?? event.lastClient;
      if (client === undefined) return { expected: 'a client', got: 'no client has sent anything yet' };
      if (circumstances.isClosed(client) === expectation.isClosed) return undefined;
      const state = (isClosed: boolean) => `the connection of ${client} is ${isClosed ? 'closed' : 'open'}`;
      return { expected: state(expectation.isClosed), got: state(!expectation.isClosed) };
    }
    case 'stats': {
      const wrong = differencesIn(expectation.part, event.after as never, '');
      if (wrong.length === 0) return undefined;
      const list = (value: 'expected' | 'got') => wrong.map((one) => `${one.path} ${one[value]}`).join(', ');
      return { expected: list('expected'), got: list('got') };
    }
  }
}

/** How many bytes the two have in common at their beginnings. */
export function firstDifference(one: Buffer, other: Buffer): number {
  let at = 0;
  while (at < one.length && at < other.length && one[at] === other[at]) at++;
  return at;
}

/** What left: what reached others than the sender or, if nothing did, what went back to it. */
function leaving(event: Event): { readonly parts: readonly Seen[]; readonly bytes: Buffer } {
  const parts: Seen[] = [];
  const back: Seen[] = [];
  for (const [name, bytes] of event.toBackends) (name === event.backend ? back : parts).push({ to: name, bytes });
  for (const [name, bytes] of event.toClients) (name === event.client ? back : parts).push({ to: name, bytes });
  const which = parts.length > 0 ? parts : back;
  return { parts: which, bytes: Buffer.concat(which.map(({ bytes }) => bytes)) };
}

const seenIn = (event: Event): readonly Seen[] => leaving(event).parts;

/** Where it went, or why nothing left, in words. */
function whereTo(event: Event): string {
  const { parts, bytes } = leaving(event);
  const ending = endingsOf('refused', event).map((reason) => `refused: ${reason}`);
  ending.push(...endingsOf('discarded', event).map((reason) => `discarded: ${reason}`));
  if (parts.length === 0) return ['nothing left', ...ending, ...waitsIn(event)].join('; ');
  const to = parts.map(({ to }) => to).join(', ');
  return [`${bytes.length} bytes to ${to}`, ...ending].join('; ');
}

/** What the sender's message may be waiting for. */
function waitsIn({ before, after }: Event): string[] {
  if (after.queued <= before.queued) return [];
  const greeted = Object.entries(after.backends).filter(
    ([, { queued, linkStates }]) => queued > 0 && linkStates.greeting > 0,
  );
  if (greeted.length === 0) return ['it is held'];
  const names = greeted.map(([name]) => name).join(', ');
  return [`it is held until ${names} answers what it got when its link came up: let it \`reply\` first`];
}

function compareNames(
  expected: string,
  names: readonly string[],
  arrived: ReadonlyMap<string, Buffer>,
  kind: 'backend' | 'client',
  event: Event,
): Difference {
  const got = [...arrived.keys()];
  if (got.length === names.length && names.every((name) => arrived.has(name))) return undefined;
  const where = got.length === 0 ? whereTo(event) : `${kind} ${got.join(', ')}`;
  return { expected, got: where, seen: seenIn(event) };
}

function compareWithEarlier(
  other: { readonly step: number } | { readonly client: string },
  event: Event,
  { events }: Circumstances,
): Difference {
  const earlier = events.slice(0, -1);
  const found =
    'step' in other
      ? earlier[other.step]
      : earlier.findLast(({ client, toBackends }) => client === other.client && toBackends.size > 0);
  const what = 'step' in other ? `step ${other.step + 1}` : other.client;
  const names = [...(found?.toBackends.keys() ?? [])];
  if (names.length === 0) return { expected: `the backend of ${what}`, got: `${what} went to no backend` };
  return compareNames(`backend ${names.join(', ')}, as of ${what}`, names, event.toBackends, 'backend', event);
}

/** The reasons why messages of this step were refused or discarded. */
function endingsOf(kind: 'refused' | 'discarded', { before, after, client, backend }: Event): string[] {
  const counts = (stats: ListenerStats) => {
    const sides = [
      backend === undefined ? stats.fromClients : [],
      client === undefined ? stats.fromBackends : [],
    ].flat();
    const total = new Map<string, number>();
    for (const side of sides) {
      for (const [reason, count] of Object.entries(side[`${kind}For`]))
        total.set(reason, (total.get(reason) ?? 0) + count);
    }
    return total;
  };
  const earlier = counts(before);
  return [...counts(after)].filter(([reason, count]) => count > (earlier.get(reason) ?? 0)).map(([reason]) => reason);
}

function compareEnding(kind: 'refused' | 'discarded', what: string | boolean, event: Event): Difference {
  const reasons = endingsOf(kind, event);
  const reply = Buffer.concat([
    (event.client !== undefined && event.toClients.get(event.client)) || Buffer.alloc(0),
    (event.backend !== undefined && event.toBackends.get(event.backend)) || Buffer.alloc(0),
  ]);
  const passes =
    typeof what === 'boolean'
      ? reasons.length > 0 === what
      : reasons.length > 0 && (reasons.includes(what) || (kind === 'refused' && reply.includes(what)));
  if (passes) return undefined;
  const expected = what === false ? `not ${kind}` : what === true ? kind : `${kind}: ${what}`;
  const got = reasons.length > 0 ? `${kind}: ${reasons.join(', ')}` : whereTo(event);
  return { expected, got, ...(what !== false && { seen: seenIn(event) }) };
}

async function compareIdentifier(
  expected: string | false,
  event: Event,
  circumstances: Circumstances,
): Promise<Difference> {
  const { bytes } = leaving(event);
  const inWords = expected === false ? 'no identifier' : `an identifier that names ${expected}`;
  if (bytes.length === 0) return { expected: inWords, got: whereTo(event) };
  const names = (await whomItWouldName(bytes, circumstances)) ?? tokenIn(bytes, event, circumstances);
  if (names === expected || (names === undefined && expected === false)) return undefined;
  const got =
    names === undefined
      ? 'no identifier'
      : names instanceof Fault
        ? `an identifier that is ${names.fault}`
        : `an identifier that names ${names}`;
  return { expected: inWords, got, seen: seenIn(event) };
}

/** Why an identifier names nobody. */
class Fault {
  readonly fault: string;
  constructor(fault: string) {
    this.fault = fault;
  }
}

/** Whom a message would name if a client sent it, found by asking another balancer with the same config and keys. */
async function whomItWouldName(bytes: Buffer, { settings, seed }: Circumstances): Promise<string | Fault | undefined> {
  const recorder = new Recorder();
  const quiet = () => {};
  const log = { debug: quiet, info: quiet, warn: quiet, error: quiet };
  const listeners = settings.listeners.map((listener) => recorder.record(listener));
  const rig = await Rig.start({ ...settings, listeners }, { seed, log });
  try {
    rig.client().send(bytes);
    for (const { hook, answer } of recorder.messages[0]?.answers ?? []) {
      if (hook !== 'detectId') continue;
      if (answer.kind === 'backend') return answer.name;
      if (answer.kind !== 'token' && answer.kind !== 'number') continue;
      if (answer.names === undefined) return undefined;
      if ('backend' in answer.names) return answer.names.backend;
      if ('fault' in answer.names) return new Fault(answer.names.fault);
    }
    return undefined;
  } finally {
    await rig.stop();
  }
}

/** An identifier may leave where no message comes back with it as it is (a route that peers take apart): it is looked for by its bytes. */
function tokenIn(bytes: Buffer, { messages }: Event, { settings, recorder }: Circumstances): string | undefined {
  const inserted = messages.flatMap(({ answers }) =>
    answers.flatMap(({ edits }) => edits.map(({ inserted }) => inserted)),
  );
  const found = settings.pools
    .flatMap(({ backends }) => backends)
    .flatMap(({ name }) => {
      const token = recorder.tokenOf(name);
      if (token === undefined) return [];
      // A bare name may stand in a message by chance, so only what the balancer wrote counts.
      const isBareName = token.text.equals(Buffer.from(name));
      const isThere = (isBareName ? inserted : [bytes]).some((place) => place.includes(token.text));
      return isThere ? { name, length: token.text.length } : [];
    });
  // Where a name is part of another one, the longer one was written.
  return found.toSorted((one, other) => other.length - one.length)[0]?.name;
}

/** Where `part` differs from the statistics. A count that is not there is 0. */
function differencesIn(
  part: StatsPart,
  stats: StatsPart,
  path: string,
): { readonly path: string; readonly expected: string; readonly got: string }[] {
  return Object.entries(part).flatMap(([member, expected]) => {
    const got = stats[member] ?? (typeof expected === 'number' ? 0 : undefined);
    const at = path === '' ? member : `${path}.${member}`;
    if (typeof expected === 'object') return differencesIn(expected, (got ?? {}) as StatsPart, at);
    return got === expected ? [] : [{ path: at, expected: String(expected), got: String(got) }];
  });
}
