/**
 * `pointsman explain`: shows what a listener is made of, what it does with a message or with the messages of a capture, and what
 * another config would do differently. Nothing is opened.
 */
import type { Endpoint } from '../capture/clients.ts';
import { loadConfig } from '../config/load.ts';
import { differencesOf, type Pair, Pairing } from '../rehearsal/compare.ts';
import { type Conversation, converse, describeListener } from '../rehearsal/explain.ts';
import type { MessageRecord } from '../rehearsal/recorder.ts';
import type { Placed } from '../rehearsal/replay.ts';
import { isSecure } from '../runtime/address.ts';
import type { ListenerSettings, Settings } from '../settings.ts';
import { endpointsOf, listenerOf, listenersOf, Misuse, sendingOf } from './explain/asked.ts';
import { replayCapture } from './explain/capture.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
import { captureJson, captureText } from './report/capture.ts';
import { compareJson, compareText } from './report/compare.ts';
import { explainJson } from './report/explain-json.ts';
import { conversationText, listenerText } from './report/explain-text.ts';
import { countFindings, textReport } from './report/text.ts';

export interface ExplainOptions {
  readonly format: 'text' | 'json';
  /** Undefined: all listeners; with a message, the only one. */
  readonly listener?: string;
  /** A file of messages; `-`: standard input. */
  readonly message?: string;
  /** In place of a file: the name of an example that one of the plugins brings along. */
  readonly sample?: string;
  /** In place of a file of messages: a capture; `-`: standard input. */
  readonly pcap?: string;
  /** Where the listener was when the capture was made. Undefined: at its own port. */
  readonly port?: readonly Endpoint[];
  /** How many messages of a capture, or differences, are shown; all are counted. Undefined: 100. */
  readonly limit?: number;
  /** Files of another config: only what it does differently is shown. */
  readonly compare?: readonly string[];
  /** `client`, or the name of a backend. Undefined: as the sample says, else client. */
  readonly from?: string;
  /** The client's IP address. */
  readonly client?: string;
}

const defaultLimit = 100;

/** The findings have been told. */
class Unsound extends Error {}

/**
 * @returns 0; 1 if there are findings, what was sent is not made of whole messages, or the configs differ (a capture that ends in
 *   the midst of a message is no finding); 2 if what is asked for is not there, or one of two configs cannot be compared
 */
export async function explain(paths: readonly string[], options: ExplainOptions, output: Output): Promise<number> {
  try {
    const { port, pcap, message, sample, from, client } = options;
    if (port !== undefined && pcap === undefined) throw new Misuse('--port is about a capture: --pcap');
    if (message === undefined && sample === undefined && (from ?? client) !== undefined) {
      throw new Misuse(`${from === undefined ? '--client' : '--from'} is about a message: --message or --sample`);
    }
    const settings = await load(paths, output.stderr);
    if (options.compare !== undefined) return await compare(settings, paths, options.compare, options, output);
    return await explainSettings(settings, options, output.stdout);
  } catch (error) {
    if (error instanceof Unsound) return options.compare === undefined ? exitCodes.findings : exitCodes.couldNotRun;
    if (!(error instanceof Misuse)) throw error;
    output.stderr.write(`pointsman: ${error.message}\n`);
    return exitCodes.couldNotRun;
  }
}

/** @throws Unsound (rejects with) if there are errors in it */
async function load(paths: readonly string[], stderr: Output['stderr']): Promise<Settings> {
  const { settings, findings } = await loadConfig(paths, { tests: 'skip' });
  if (settings !== undefined) return settings;
  stderr.write(textReport(findings, wantsColours(stderr)));
  stderr.write(`${countFindings(findings)}; nothing to explain\n`);
  throw new Unsound();
}

async function explainSettings(settings: Settings, options: ExplainOptions, stdout: Output['stdout']): Promise<number> {
  const { format, message, sample, pcap } = options;
  if (pcap !== undefined) return explainCapture(settings, pcap, options, stdout);
  if (message === undefined && sample === undefined) {
    const facts = listenersOf(settings, options.listener).map(({ name }) => describeListener(settings, name));
    if (format === 'json') stdout.write(explainJson({ listeners: facts }));
    else stdout.write(facts.map((one) => listenerText(one, wantsColours(stdout))).join('\n'));
    return exitCodes.clean;
  }
  const listener = listenerOf(settings, options.listener);
  const sending = sendingOf(settings, listener, options);
  const conversation = await converse(settings, listener.name, sending);
  if (format === 'json') stdout.write(explainJson(conversation));
  else stdout.write(conversationText(conversation, sending, wantsColours(stdout)));
  return isWhole(conversation) ? exitCodes.clean : exitCodes.findings;
}

async function explainCapture(
  settings: Settings,
  file: string,
  options: ExplainOptions,
  stdout: Output['stdout'],
): Promise<number> {
  const listener = listenerOf(settings, options.listener);
  const limit = options.limit ?? defaultLimit;
  const report = options.format === 'json' ? captureJson(limit) : captureText(limit, wantsColours(stdout));
  const end = await replayCapture(
    captureOf(listener, file, options),
    [{ settings, listener: listener.name }],
    (message) => stdout.write(report.message(message)),
    (connection) => report.connection(connection),
  );
  stdout.write(report.end(end));
  return exitCodes.clean;
}

function captureOf(listener: ListenerSettings, file: string, { port = [] }: ExplainOptions) {
  const transport = listener.listen.transport === 'udp' ? ('udp' as const) : ('tcp' as const);
  return { file, transport, endpoints: endpointsOf(listener, port), isSecure: isSecure(listener.listen) };
}

/** What two configs do differently. */
async function compare(
  settings: Settings,
  paths: readonly string[],
  otherPaths: readonly string[],
  options: ExplainOptions,
  { stdout, stderr }: Output,
): Promise<number> {
  const { message, sample, pcap } = options;
  if (message === undefined && sample === undefined && pcap === undefined) {
    throw new Misuse('say on which messages to compare them: --message, --sample or --pcap');
  }
  const other = await load(otherPaths, stderr);
  const listener = listenerOf(settings, options.listener);
  // A listener that is the only one may have another name there.
  const otherName = other.listeners.length === 1 ? undefined : listener.name;
  const otherListener = listenerOf(other, otherName);
  const limit = options.limit ?? defaultLimit;
  const names = { first: paths.join(' '), second: otherPaths.join(' ') };
  const report =
    options.format === 'json' ? compareJson(limit, names) : compareText(limit, names, wantsColours(stdout));
  if (pcap !== undefined) {
    const sides = [
      { settings, listener: listener.name },
      { settings: other, listener: otherListener.name },
    ];
    const end = await replayCapture(
      captureOf(listener, pcap, options),
      sides,
      ({ pair, ...where }) => stdout.write(report.pair(pair, differencesOf(pair), where)),
      () => {},
    );
    stdout.write(report.end(end));
  } else {
    const sending = sendingOf(settings, listener, options);
    if (sending.backend !== undefined) sendingOf(other, otherListener, { ...options, from: sending.backend });
    const first = await converse(settings, listener.name, sending);
    const second = await converse(other, otherListener.name, sending);
    for (const pair of pairsOf(first, second)) stdout.write(report.pair(pair, differencesOf(pair), undefined));
    stdout.write(report.end(undefined));
  }
  return report.differing > 0 ? exitCodes.findings : exitCodes.clean;
}

function* pairsOf(first: Conversation, second: Conversation): Generator<Pair> {
  yield* new Pairing().add(placed(first), placed(second), { first: true, second: true });
}

function placed({ messages }: Conversation): Placed[] {
  let next = 0;
  return messages.map((record) => {
    const offset = next;
    next += record.received.length;
    return { offset, record };
  });
}

/** All of it was messages, or what belongs between them. */
function isWhole({ messages, unreadBytes }: Conversation): boolean {
  const isFramed = ({ received, answers: [framed] }: MessageRecord) =>
    framed !== undefined && 'bytes' in framed.answer && framed.answer.bytes === received.length;
  return unreadBytes === 0 && messages.every(isFramed);
}
