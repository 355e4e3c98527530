/**
 * Labels: every message carries one that says who sent it, and filler that follows from the label, so that anything mangled is
 * noticed.
 */

/** The filler behind a label: of a length and from a character that the label decides. */
function fillerOf(label: string): string {
  let sum = 0;
  for (const character of label) sum = (sum * 31 + character.charCodeAt(0)) % 9973;
  return 'abcdefghijklmnopqrstuvwxyz'[sum % 26]!.repeat(sum % 150);
}

export const labelled = (label: string): string => `<${label}|${fillerOf(label)}>`;

/** @throws Error if it is not as it was written */
export function labelIn(text: string): string {
  const label = /^<([^|]*)\|/.exec(text)?.[1];
  if (label === undefined || labelled(label) !== text) throw new Error(`mangled: ${JSON.stringify(text)}`);
  return label;
}

/** Answers are labelled with the request's label and a number of their own behind `/`. */
export const kindOf = (label: string): 'answer' | 'request' => (label.includes('/') ? 'answer' : 'request');
