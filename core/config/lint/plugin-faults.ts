/** Says what plugins cannot do with their options, at the options that it is about, and without secrets. */
import { PluginError } from '../../errors.ts';
import { noBalancer, Observers } from '../../observers/observers.ts';
import { dryServices } from '../../services.ts';
import type { PluginUse } from '../../settings.ts';
import type { Draft } from '../build.ts';
import type { Remark } from '../finding.ts';
import { type Path, valueAt } from '../path.ts';
import { observerPath } from './places.ts';

export function lintObserver(draft: Draft, use: PluginUse): void {
  const { runtime, log } = dryServices([]);
  try {
    new Observers([use], { ...noBalancer, onReport() {} }, { clock: runtime, log });
  } catch (error) {
    if (!(error instanceof PluginError)) throw error;
    addFault(draft, observerPath(draft, use), error);
  }
}

/** What a plugin cannot do with its options. */
export function addFault(draft: Draft, entry: Path, { cause, message }: PluginError): void {
  const said = cause instanceof Error ? cause.message : '';
  addRemark(draft, entry, said, { rule: 'plugin-refuses', stage: 'apply', message });
}

/**
 * Plugins begin what they say about an option with its name (`id.size: …`): that is where the remark stands then.
 * @param entry where the plugin stands in the config
 */
export function addRemark({ written, findings, secrets }: Draft, entry: Path, said: string, remark: Remark): void {
  const [option = ''] = /^[\w.-]+(?=: )/.exec(said) ?? [];
  const place = [...entry, ...option.split('.')];
  const isOption = valueAt(written, place) !== undefined;
  const message = [...secrets].reduce((text, [secret, reference]) => hide(text, secret, reference), remark.message);
  findings.add(isOption ? place : entry, { ...remark, message, atKey: !isOption });
}

/** Texts shorter than this are no secrets, and turn up in messages by chance. */
const shortestHidden = 4;

function hide(text: string, secret: string, reference: string): string {
  return secret.length < shortestHidden ? text : text.replaceAll(secret, () => reference);
}
