/** Adds findings for plugins that cannot be applied, at the option that is at fault, and with secrets hidden. */
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

/** Adds what a plugin has thrown. */
export function addFault(draft: Draft, entry: Path, { cause, message }: PluginError): void {
  const said = cause instanceof Error ? cause.message : '';
  addRemark(draft, entry, said, { rule: 'plugin-refuses', stage: 'apply', message });
}

/**
 * Adds a finding at the option that `said` begins with (`id.size: …`), as is the custom of plugins, or else at the plugin.
 * @param entry the plugin's path in the config
 */
export function addRemark({ written, findings, secrets }: Draft, entry: Path, said: string, remark: Remark): void {
  const [option = ''] = /^[\w.-]+(?=: )/.exec(said) ?? [];
  const place = [...entry, ...option.split('.')];
  const isOption = valueAt(written, place) !== undefined;
  const message = [...secrets].reduce((text, [secret, reference]) => hide(text, secret, reference), remark.message);
  findings.add(isOption ? place : entry, { ...remark, message, atKey: !isOption });
}

/** Shorter texts are not secrets, and occur in messages by chance. */
const shortestHidden = 4;

function hide(text: string, secret: string, reference: string): string {
  return secret.length < shortestHidden ? text : text.replaceAll(secret, () => reference);
}
