/** What is said of a name that is not known: did you mean …? Or: there are … */

/** Answers `; did you mean "x"?` for the candidate that `text` most looks like, or nothing if it looks like none. */
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

/** No more names are listed than a line or two has room for. */
const mostListed = 20;

/** Which of the names that are known was meant, or, if it looks like none, which there are. */
export function among(name: string, known: readonly string[]): string {
  if (known.length === 0) return '';
  const list = known.length > mostListed ? `${known.slice(0, mostListed).join(', ')}, …` : listed(known, 'and');
  return suggest(name, known) || `; there ${known.length === 1 ? 'is' : 'are'} ${list}`;
}

/** Letter case and the ways to join words are slips that cost nothing. */
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
