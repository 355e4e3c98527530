/** `pointsman explain`: says what a listener is made of, or what it does with a message. Nothing is opened. */
import { readFileSync } from 'node:fs';
import { isIP } from 'node:net';
import { among, listed } from '../config/describe.ts';
import { loadConfig } from '../config/load.ts';
import { whyUnreadable } from '../config/parse.ts';
import { type Conversation, converse, describeListener, type Sending } from '../rehearsal/explain.ts';
import type { MessageRecord } from '../rehearsal/recorder.ts';
import type { ListenerSettings, Settings } from '../settings.ts';
import { exitCodes, type Output, wantsColours } from './output.ts';
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
  /** `client`, or the name of a backend. Undefined: as the sample says, else client. */
  readonly from?: string;
  /** The client's IP address. */
  readonly client?: string;
}

/** From the block for documentation (RFC 5737). */
const anyClient = '198.51.100.1';

/** What was asked for is not there. */
class Misuse extends Error {}

/** @returns 0; 1 if there are findings, or what was sent is not made of whole messages; 2 if what is asked for is not there */
export async function explain(paths: readonly string[], options: ExplainOptions, output: Output): Promise<number> {
  const { stdout, stderr } = output;
  const { settings, findings } = await loadConfig(paths, { tests: 'skip' });
  if (settings === undefined) {
    stderr.write(textReport(findings, wantsColours(stderr)));
    stderr.write(`${countFindings(findings)}; nothing to explain\n`);
    return exitCodes.findings;
  }
  try {
    return await explainSettings(settings, options, stdout);
  } catch (error) {
    if (!(error instanceof Misuse)) throw error;
    stderr.write(`pointsman: ${error.message}\n`);
    return exitCodes.couldNotRun;
  }
}

async function explainSettings(settings: Settings, options: ExplainOptions, stdout: Output['stdout']): Promise<number> {
  const { format, message, sample } = options;
  const listeners = listenersOf(settings, options.listener);
  if (message === undefined && sample === undefined) {
    const facts = listeners.map(({ name }) => describeListener(settings, name));
    if (format === 'json') stdout.write(explainJson({ listeners: facts }));
    else stdout.write(facts.map((one) => listenerText(one, wantsColours(stdout))).join('\n'));
    return exitCodes.clean;
  }
  const [listener, another] = listeners;
  if (another !== undefined) {
    throw new Misuse(
      `say to which listener: --listener ${listed(
        listeners.map(({ name }) => name),
        'or',
      )}`,
    );
  }
  const sending = sendingOf(settings, listener!, options);
  const conversation = await converse(settings, listener!.name, sending);
  if (format === 'json') stdout.write(explainJson(conversation));
  else stdout.write(conversationText(conversation, sending, wantsColours(stdout)));
  return isWhole(conversation) ? exitCodes.clean : exitCodes.findings;
}

function listenersOf({ listeners }: Settings, name: string | undefined): readonly ListenerSettings[] {
  if (name === undefined) return listeners;
  const found = listeners.filter((listener) => listener.name === name);
  if (found.length > 0) return found;
  throw new Misuse(
    `there is no listener "${name}"${among(
      name,
      listeners.map(({ name }) => name),
    )}`,
  );
}

function sendingOf(settings: Settings, listener: ListenerSettings, options: ExplainOptions): Sending {
  const { backends } = settings.pools.find(({ name }) => name === listener.pool)!;
  const names = backends.map(({ name }) => name);
  const sample = options.sample === undefined ? undefined : sampleOf(listener, options.sample);
  const from = options.from ?? (sample?.from === 'backend' ? names[0]! : 'client');
  if (from !== 'client' && !names.includes(from)) {
    throw new Misuse(`the pool "${listener.pool}" has no backend "${from}"${among(from, ['client', ...names])}`);
  }
  const clientAddress = options.client ?? anyClient;
  if (isIP(clientAddress) === 0) throw new Misuse(`"${clientAddress}" is no IP address`);
  const bytes = sample === undefined ? read(options.message!) : Buffer.from(sample.bytes);
  if (bytes.length === 0) throw new Misuse(`${options.message} is empty`);
  return { bytes, backend: from === 'client' ? undefined : from, clientAddress };
}

function sampleOf({ pipeline }: ListenerSettings, name: string) {
  const samples = pipeline.flatMap(({ plugin }) => plugin.samples ?? []);
  const found = samples.find((sample) => sample.name === name);
  if (found === undefined) {
    const names = samples.map((sample) => `"${sample.name}"`);
    throw new Misuse(
      `there is no sample "${name}"; there ${names.length === 1 ? 'is' : 'are'} ${listed(names, 'and') || 'none'}`,
    );
  }
  return found;
}

/** @throws Misuse if it cannot be read */
function read(file: string): Buffer {
  try {
    return readFileSync(file === '-' ? 0 : file);
  } catch (error) {
    throw new Misuse(`cannot read ${file}: ${whyUnreadable(error)}`);
  }
}

/** All of it was messages, or what belongs between them. */
function isWhole({ messages, unreadBytes }: Conversation): boolean {
  const isFramed = ({ received, answers: [framed] }: MessageRecord) =>
    framed !== undefined && 'bytes' in framed.answer && framed.answer.bytes === received.length;
  return unreadBytes === 0 && messages.every(isFramed);
}
