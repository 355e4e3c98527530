/** Explanations for people. */
import { listed } from '../../config/suggest.ts';
import { type HookName, hookNames } from '../../hooks.ts';
import type { RouteReason } from '../../message.ts';
import type { Conversation, ListenerFacts, Sending } from '../../rehearsal/explain.ts';
import type { Answer, HookAnswer, MessageRecord, Named, Outcome } from '../../rehearsal/recorder.ts';
import { defaultLimits, type Limits, type LoadLimits } from '../../settings.ts';
import { counted } from '../output.ts';
import { isText, preview, textLines } from './bytes.ts';
import { editedLines } from './edits.ts';
import { indented, styleWith } from './style.ts';

/** What a listener is made of, hook by hook. */
export function listenerText(facts: ListenerFacts, colours: boolean): string {
  const style = styleWith(colours);
  const { listener, listen, advertise, pool, relaysAnswers, backends, identifiers, limits } = facts;
  const links =
    facts.links === 'shared' ? 'shared: one carries many clients' : 'dedicated: one for each client and backend';
  const relays = relaysAnswers ? '; answers are passed on unread' : '';
  const lines = [
    `${style('bold', `listener ${listener}`)} on ${listen}${advertise === undefined ? '' : `, advertised as ${advertise}`}`,
    ...indented(2, [
      `${label('links')}${links}${relays}`,
      `${label('identifiers')}${identifiersInWords(facts)}`,
      `${label('')}${policyInWords(identifiers)}`,
      ...networkLines(facts),
    ]),
    '',
    style('bold', `pool ${pool}`),
    ...indented(
      2,
      columns(
        backends.map(({ name, address, weight, number, priority, state, limits }) => [
          name,
          address,
          [
            `weight ${weight}`,
            ...(number === undefined ? [] : [`number ${number}`]),
            ...(priority === 0 ? [] : [`priority ${priority}`]),
            ...(state === 'ready' ? [] : [state]),
            ...loadOf(limits),
          ].join(', '),
        ]),
      ),
    ),
    ...indented(2, [...loadLines(facts), ...checkLines(facts), ...outlierLines(facts)]),
    '',
    style('bold', 'pipeline'),
    ...indented(2, hookLines(facts)),
    '',
    style('bold', 'plugins'),
    ...indented(
      2,
      facts.plugins.flatMap(({ name, summary, options }) => [
        `${name}: ${summary}`,
        ...indented(2, optionLines(options)),
      ]),
    ),
    '',
    style('bold', 'limits'),
    ...indented(
      2,
      columns(limits.map(({ limit, value, isDefault }) => [limit, `${value}`, defaultOf(limit, isDefault)])),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

const defaultOf = (limit: keyof Limits, isDefault: boolean) => (isDefault ? '' : `default ${defaultLimits[limit]}`);

const labelWidth = Math.max(...hookNames.map((hook) => hook.length)) + 2;
const label = (text: string) => text.padEnd(labelWidth);

function policyInWords({ whenDown, whenGone }: ListenerFacts['identifiers']): string {
  const policy = { refuse: 'is refused', rechoose: 'goes to another one' };
  if (whenDown === whenGone) return `a message whose backend is down or gone ${policy[whenDown]}`;
  return `a message whose backend is down ${policy[whenDown]}, one whose backend is gone ${policy[whenGone]}`;
}

function identifiersInWords({ identifiers: { mode, form, signs, verify } }: ListenerFacts): string {
  if (form === 'number') return "plain: the backend's number";
  const as = form === 'text' ? 'as text' : 'as bytes';
  if (mode === 'plain') return `plain: the backend's name, ${as}`;
  return `${mode} with ${signs}, verified with ${listed(verify, 'and')}, ${as}`;
}

function networkLines({ allow, deny }: ListenerFacts): string[] {
  const networks = { allow, deny };
  return Object.entries(networks).flatMap(([list, of]) => (of === undefined ? [] : [`${label(list)}${of.join(', ')}`]));
}

/** Limits that a pool or a backend has, as in the config. */
function loadOf(limits: LoadLimits | undefined): string[] {
  return Object.entries(limits ?? {}).flatMap(([limit, value = 0]) => (value > 0 ? [`${limit} ${value}`] : []));
}

function loadLines({ poolLimits, queueSeconds, replay }: ListenerFacts): string[] {
  const together = loadOf(poolLimits);
  return [
    ...(together.length === 0 ? [] : [`${label('limits')}of all together: ${together.join(', ')}`]),
    ...(queueSeconds === undefined ? [] : [`${label('queue')}new requests wait up to ${queueSeconds} s for room`]),
    ...(replay === 'never' ? [] : [`${label('replay')}requests lost with a backend are sent to one other backend`]),
  ];
}

function checkLines({ checks }: ListenerFacts): string[] {
  return checks.flatMap(({ name, options, timing }) => {
    const { intervalSeconds, timeoutSeconds, jitterPercent, rise, fall, port, over } = timing;
    const where = over === 'link' ? ' over the links' : port === undefined ? '' : ` at port ${port}`;
    const when = `every ${intervalSeconds} s ± ${jitterPercent} %${where}, within ${timeoutSeconds} s`;
    const verdict = `${counted(fall, 'failure')} in a row: out, ${rise === 1 ? '1 success' : `${rise} successes`}: in`;
    return [`${label('check')}${name} ${when}; ${verdict}`, ...indented(2, optionLines(options))];
  });
}

function outlierLines({ outliers }: ListenerFacts): string[] {
  if (outliers === undefined) return [];
  const { consecutiveFailures, latencyFactor, baseEjectionSeconds, maxEjectionSeconds, maxEjectedPercent } = outliers;
  const reasons = [
    ...(consecutiveFailures === 0 ? [] : [`after ${counted(consecutiveFailures, 'failure')} in a row`]),
    ...(latencyFactor === undefined ? [] : [`when ${latencyFactor} times as slow as the median`]),
  ];
  const howLong = `for ${baseEjectionSeconds} s, then longer, up to ${maxEjectionSeconds} s`;
  return [`${label('outliers')}out ${listed(reasons, 'or')}, ${howLong}; at most ${maxEjectedPercent} % at once`];
}

function hookLines({ hooks, hasAffinity }: ListenerFacts): string[] {
  return hooks.map(({ hook, plugins }) => {
    const asked = plugins.length > 1 ? plugins.join(', then ') : plugins.join('');
    const table = hasAffinity && hook === 'chooseBackend' ? 'the affinity table, then ' : '';
    return `${label(hook)}${asked === '' ? idle[hook] : table + asked}`;
  });
}

/** What a hook does that no plugin taps. */
const idle: Readonly<Record<HookName, string>> = {
  onConnect: 'no plugin turns clients away',
  frame: 'no plugin',
  detectId: 'no message names anybody',
  chooseBackend: 'no plugin',
  insertId: 'nothing is written',
  forward: 'messages leave as they are then',
  refuse: 'what is refused has no reply',
  onDrop: 'nobody is told of messages that go nowhere',
  onLink: 'nothing is sent ahead',
  onDisconnect: 'nothing is done',
};

function optionLines(options: unknown): string[] {
  return Object.entries(options as object).map(([name, value]) => `${name}: ${JSON.stringify(value)}`);
}

/** Cells, each column as wide as its widest. */
export function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]!.length))) ?? [];
  return rows.map((row) =>
    row
      .map((cell, column) => cell.padEnd(widths[column]!))
      .join('  ')
      .trimEnd(),
  );
}

/** What became of the bytes, message by message. */
export function conversationText(conversation: Conversation, sending: Sending, colours: boolean): string {
  const style = styleWith(colours);
  const { messages, greetings, unreadBytes, relayed } = conversation;
  const sender = sending.backend ?? `client ${sending.clientAddress}`;
  const blocks = messages.map((message, index) => {
    const title = messages.length === 1 ? 'message' : `message ${index + 1} of ${messages.length}`;
    return [`${style('bold', title)} from ${sender}`, ...indented(2, messageLines(message))];
  });
  if (greetings.length > 0) {
    const lines = greetings.map((greeting) => `${label(greeting.hook)}${answerInWords(greeting)}`);
    blocks.unshift([style('bold', 'before that'), ...indented(2, lines)]);
  }
  if (relayed !== undefined) {
    const why = 'passed on to the client of the link, unread: on dedicated links the protocol need not see answers';
    blocks.push([`${style('bold', counted(relayed.length, 'byte'))} from ${sender}`, `  ${why}`]);
  }
  if (unreadBytes > 0) blocks.push([`${counted(unreadBytes, 'byte')} not looked at, as the connection is closed`]);
  return `${blocks.map((lines) => lines.join('\n')).join('\n\n')}\n`;
}

/** What became of one message, hook by hook. */
export function messageLines(message: MessageRecord): string[] {
  const { answers, received, sent, outcome } = message;
  const lines: string[] = [];
  for (const answer of answers) {
    if (answer.hook === 'insertId') lines.push(...lackOfChoice(message));
    lines.push(`${label(answer.hook)}${answerInWords(answer, message)}`);
  }
  if (!answers.some(({ hook }) => hook === 'insertId')) lines.push(...lackOfChoice(message));
  if (outcome !== undefined) lines.push(...outcomeLines(message, outcome));
  if (sent !== undefined) lines.push(...changeLines(message, sent));
  else lines.push(...shownLines(received, ''));
  if (outcome !== undefined && 'reply' in outcome && outcome.reply !== undefined) {
    lines.push(...shownLines(outcome.reply, ' back'));
  }
  return lines;
}

function outcomeLines({ from }: MessageRecord, outcome: Outcome): string[] {
  switch (outcome.kind) {
    case 'forwarded': {
      const why = outcome.reason === undefined ? '' : `: ${reasons[outcome.reason]}`;
      return [`${label('forward')}to ${destination(outcome.to)}${why}`];
    }
    case 'refused':
      return [`${label('outcome')}refused: ${outcome.reason}`];
    case 'discarded': {
      const why = outcome.reason === 'no-destination' && from !== 'client' ? ', as no request waits for it here' : '';
      const reply = outcome.reply === undefined ? '; its sender gets no reply' : '';
      return [`${label('outcome')}discarded: ${outcome.reason}${why}${reply}`];
    }
    case 'skipped':
    case 'incomplete':
      return [];
  }
}

/** What came and what left, in one. */
function changeLines({ received, answers }: MessageRecord, sent: Buffer): string[] {
  const came = counted(received.length, 'byte');
  const title = sent.equals(received) ? `${came}, as they came` : `${came} in, ${sent.length} out`;
  const edits = answers.flatMap(({ edits }) => edits);
  return [title, ...indented(2, editedLines(received, sent, edits))];
}

function shownLines(bytes: Buffer, what: string): string[] {
  // Text stands where changed text would, behind its marks.
  return [`${counted(bytes.length, 'byte')}${what}`, ...indented(isText(bytes) ? 4 : 2, preview(bytes))];
}

/** Why no strategy was asked. */
function lackOfChoice({ answers, outcome }: MessageRecord): string[] {
  if (outcome?.kind !== 'forwarded' || answers.some(({ hook }) => hook === 'chooseBackend')) return [];
  return [`${label('chooseBackend')}${outcome.reason === 'affinity' ? 'the affinity table has it' : 'not asked'}`];
}

/** Why a message went where it did. */
export const reasons: Readonly<Record<RouteReason, string>> = {
  identifier: 'the message names it',
  affinity: 'a related message went there',
  strategy: 'the strategy chose it',
  rechosen: 'the strategy chose it, as the backend that the message names is down or gone',
  correlation: 'it waits for this answer',
  link: 'the link serves this client only',
  check: 'a check asks that backend, or is answered',
  replayed: 'the backend that had it went away before it answered',
};

function answerInWords({ plugin, answer, hook, edits }: HookAnswer, message?: MessageRecord): string {
  const writes = edits.length > 0 || hook === 'insertId' ? `, ${counted(edits.length, 'edit')}` : '';
  return `${plugin}: ${inWords(answer, hook, message)}${writes}`;
}

function inWords(answer: Answer, hook: HookName, message: MessageRecord | undefined): string {
  const arrived = message?.received.length ?? 0;
  switch (answer.kind) {
    case 'length':
      if (message?.outcome?.kind !== 'incomplete') return counted(answer.bytes, 'byte');
      return `needs more bytes: the message has ${answer.bytes}, ${arrived} have come`;
    case 'more':
      return `needs more bytes: where the message ends cannot be told yet, ${arrived} have come`;
    case 'skip':
      return `${counted(answer.bytes, 'byte')} that belong to no message`;
    case 'broken':
      return 'broken: the end of the message cannot be told';
    case 'refusal':
      return `refused: ${answer.reason}`;
    case 'discard':
      return `discarded: ${answer.reason}`;
    case 'token': {
      const shown = isText(answer.token) ? textLines(answer.token).join('') : answer.token.toString('hex');
      const verified = answer.verified ? '; it verifies' : '';
      return `${shown}, at byte ${answer.offset}, ${nameInWords(answer.names)}${verified}`;
    }
    case 'number':
      if (answer.names === undefined) return 'the number 0: it names nobody';
      return `the number ${answer.number} ${nameInWords(answer.names)}`;
    case 'exchange':
      return `it answers a request and so ${nameInWords(answer.names)}`;
    case 'destination':
      return `it ${nameInWords(answer.names)}`;
    case 'backend':
      return hook === 'chooseBackend'
        ? `${answer.name}, out of ${listed(message?.available ?? [], 'and')}`
        : `it names ${answer.name}`;
    case 'reply':
      return `${counted(answer.reply.length, 'byte')} back to the sender`;
    case 'error':
      return `threw: ${answer.message}`;
    case 'nothing':
      return nothing(hook, message);
  }
}

function nothing(hook: HookName, message: MessageRecord | undefined): string {
  if (hook === 'detectId') return 'it names nobody';
  if (hook === 'chooseBackend') return `no answer${message?.available?.length === 0 ? ', as no backend is up' : ''}`;
  if (hook === 'insertId')
    return message?.token === undefined ? 'there is none' : `the identifier of ${tokenOwner(message)}`;
  if (hook === 'refuse') return 'no reply';
  if (hook === 'forward') return 'it has seen the message';
  if (hook === 'onConnect') return 'accepted';
  return 'done';
}

/** Whose token was to be written. */
function tokenOwner({ outcome, token }: MessageRecord): string {
  if (outcome?.kind === 'forwarded' && 'backend' in outcome.to) return outcome.to.backend;
  return token!.text.toString('latin1');
}

function nameInWords(named: Named): string {
  if ('backend' in named) return `names ${named.backend}`;
  if ('client' in named) return `names client ${named.client}`;
  return faults[named.fault];
}

const faults = {
  forged: 'is forged: it verifies with none of the keys',
  unknown: 'names no backend of the pool',
  gone: 'names a client connection that is closed',
};

export const destination = (to: { readonly backend: string } | { readonly client: string }) =>
  'backend' in to ? to.backend : `client ${to.client}`;
