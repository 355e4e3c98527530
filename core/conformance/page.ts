/** A page about a plugin for people: its options, and its samples on their way, bytes before and after. */
import { isUtf8 } from 'node:buffer';
import { allOptions } from '../config/schema.ts';
import type { PluginDefinition } from '../plugin.ts';
import type { Rig } from './rig.ts';
import { examine, rigFor, type Setting } from './subject.ts';

type Schema = Readonly<Record<string, unknown>>;

const backends = [
  { name: 'a', number: 1 },
  { name: 'b', number: 2 },
];
/** What is text has few characters that cannot be shown. */
const mostControls = 0.1;

/**
 * The page in Markdown.
 * @param made by which command, for those who want to edit it
 */
// biome-ignore lint/suspicious/noExplicitAny: plugins of any options
export async function pageOf(plugin: PluginDefinition<any>, made: string): Promise<string> {
  const { name, summary, samples = [] } = plugin;
  const { settings, taps } = examine(plugin, samples, {}, 0);
  const journeys: string[] = [];
  for (const setting of settings) {
    if (!setting.taps.has('frame')) continue;
    for (const sample of setting.samples) journeys.push(await journeyOf(setting, sample));
  }
  const rows = rowsOf(allOptions(plugin) as unknown as Schema, '');
  return [
    `<!-- Made by ${made}: edit the plugin instead. -->\n\n# ${name}\n\n${summary}\n`,
    plugin.check !== undefined ? '\nStands in the `checks` of a pool.\n' : '',
    plugin.observe !== undefined ? '\nStands in `observers`, beside `listeners`.\n' : '',
    taps.size > 0 ? `\nTaps ${[...taps].map((hook) => `\`${hook}\``).join(', ')}.\n` : '',
    rows.length === 0
      ? '\nIt has no options.\n'
      : `\n## Options\n\n| option | values | default | |\n|---|---|---|---|\n${rows.join('')}`,
    journeys.length === 0 ? '' : `\n## Bytes before and after\n\n${intro}\n${journeys.join('')}`,
  ].join('');
}

const intro =
  'Its samples, with plain identifiers, to (or from) the backend `a`, number 1, each as the first message of its connection.';

/** A line of the table for each option, and for what is in it. */
function rowsOf(schema: Schema, prefix: string): string[] {
  return Object.entries((schema.properties ?? {}) as Record<string, Schema>).flatMap(([name, member]) => {
    const path = prefix === '' ? name : `${prefix}.${name}`;
    const cells = [`\`${path}\``, valuesOf(member), defaultOf(member), String(member.description ?? '')];
    const row = `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |\n`;
    return [row, ...rowsOf(member, path), ...rowsOf((member.items ?? {}) as Schema, `${path}[]`)];
  });
}

function valuesOf(schema: Schema): string {
  const {
    type,
    minimum,
    maximum,
    exclusiveMinimum,
    items,
    pattern,
    minLength = 0,
  } = schema as Schema & { items?: Schema };
  if (Array.isArray(schema.enum)) return schema.enum.map((value) => `\`${value}\``).join(', ');
  if (type === 'array') return `list of ${valuesOf(items ?? {})}`;
  const from = minimum ?? (exclusiveMinimum === undefined ? undefined : `above ${exclusiveMinimum}`);
  if (from !== undefined)
    return `${type} ${maximum === undefined ? `from ${from}`.replace('from above', 'above') : `${from} to ${maximum}`}`;
  if (Number(minLength) > 1) return `${type} of ${minLength} characters or more`;
  return pattern === undefined ? String(type ?? 'any') : `${type} like \`${pattern}\``;
}

function defaultOf(schema: Schema): string {
  return schema.default === undefined || typeof schema.properties === 'object'
    ? ''
    : `\`${JSON.stringify(schema.default)}\``;
}

async function journeyOf(
  setting: Setting,
  { name, from, bytes, options }: Setting['samples'][number],
): Promise<string> {
  const rig: Rig = await rigFor(setting, { backends });
  const wire = await (from === 'backend' ? rig.link() : rig.client());
  wire.send(bytes);
  const [seen] = rig.take();
  const sent = seen?.sent;
  const under = options === undefined ? '' : `With \`${JSON.stringify(options)}\`:\n\n`;
  const [before, after] =
    from === 'backend' ? ['from the backend', 'to the client'] : ['from the client', 'to the backend'];
  const fate =
    sent === undefined
      ? `It is ${seen?.refusal === undefined ? 'discarded' : `refused: ${seen.refusal.reason}`}.\n`
      : sent.equals(bytes)
        ? `Nothing changes on its way ${after}.\n`
        : `${after}:\n\n${blockOf(sent)}`;
  return `\n### ${name}\n\n${under}${before}:\n\n${blockOf(Buffer.from(bytes))}\n${fate}`;
}

/** Text as text, lines as lines; anything else in hexadecimal digits, four bytes a group. */
function blockOf(bytes: Buffer): string {
  const text = bytes.toString('utf8').replaceAll('\r\n', '\n');
  const controls = text.match(/[^\P{Cc}\n]/gu)?.length ?? 0;
  const isText = isUtf8(bytes) && controls <= text.length * mostControls;
  const shown = isText
    ? text.replaceAll(/[^\P{Cc}\n]/gu, (control) => `\\x${Buffer.from(control).toString('hex')}`)
    : bytes.toString('hex').replaceAll(/(.{8})(?=.)/g, '$1 ');
  return `\`\`\`text\n${shown}${shown.endsWith('\n') ? '' : '\n'}\`\`\`\n`;
}
