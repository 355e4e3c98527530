/** Explanations for programs. */
import type { Token } from '../../plugin.ts';
import type { Conversation, ListenerFacts } from '../../rehearsal/explain.ts';

/**
 * One JSON object: `{ listeners: [{ listener, …, hooks }] }`, or of messages `{ messages: [{ from, received, answers, available,
 * token, outcome, sent }], greetings, unreadBytes, relayed }`. An answer is told by its `kind`. Bytes are in base64, but the token
 * that was to be written is the text that it has in text protocols.
 */
export function explainJson(explanation: { readonly listeners: readonly ListenerFacts[] } | Conversation): string {
  return `${JSON.stringify(explanation, plain, 2)}\n`;
}

/** One line of JSON: for what comes one by one. */
export function jsonLine(value: object): string {
  return `${JSON.stringify(value, plain)}\n`;
}

/** For JSON.stringify, which hands over what a buffer's own `toJSON` has made of it. */
function plain(this: Record<string, unknown>, member: string, value: unknown): unknown {
  const original = this[member];
  if (original instanceof Uint8Array) return Buffer.from(original).toString('base64');
  return member === 'token' && original !== undefined ? (original as Token).text.toString('latin1') : value;
}
