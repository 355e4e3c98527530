/** What errors say about an unknown name: did you mean …? Or: there are … */

/** Returns `; did you mean "x"?` for the candidate most like `text`, or nothing if none is. */
export function suggest(text: string, candidates: Iterable<string>): string {
  const folded = fold(text);
  let nearest: string | undefined;
  let least = Math.max(1, Math.floor(folded.length / 3)) + 1;
  for (const candidate of candidates) {
    const steps = distance(folded, fold(candidate));
    if (steps < least) {
      least = steps;
      nearest = candidate;
    }
  }
  return nearest === undefined || nearest === text ? '' : `; did you mean "${nearest}"?`;
}

/** `a, b or c` */
export function listed(items: readonly string[], word: 'and' | 'or'): string {
  if (items.length < 2) return items.join('');
  return `${items.slice(0, -1).join(', ')} ${word} ${items.at(-1)}`;
}

/** The most names that are listed: as many as fit on a line or two. */
const mostListed = 20;

/** Which of the known names was meant or, if none looks like it, which there are. */
export function among(name: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const list = known.length > mostListed ? `${known.slice(0, mostListed).join(', ')}, …` : listed(known, 'and');
  return suggest(name, known) || `; there ${known.length === 1 ? 'is' : 'are'} ${list}`;
}

/** Differences in letter case, and in how words are joined, count for nothing. */
const fold = (text: string) => text.toLowerCase().replace(/[-_. ]/g, '');

/** Insertions, deletions, replacements and swaps of neighbours from `a` to `b` (optimal string alignment). */
function distance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const same = a[i - 1] === b[j - 1];
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (same ? 0 : 1));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1]) {
        row[j] = Math.min(row[j]!, beforeLast[j - 2]! + 1);
      }
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
