// What a line of an alarm's history says besides its kind: words of the server become sentences, a person's own words are
// quoted. Pure.
import type { HistoryEntry } from '../api/contract';
import type { Dictionary } from '../i18n/dictionary';

/** The server's words for a correction that took an alarm, or its end, back altogether. */
const NEVER = 'never';
const UNCLEARED = 'uncleared';

export function remarkOf(entry: HistoryEntry, t: Dictionary): string {
  const word = entry.comment ?? '';
  if (word === '') return '';
  if (entry.kind === 'amends') return amendedText(word, t);
  if (entry.kind === 'past') return wordIn(t.page, word);
  return `“${word}”`;
}

/** `amends` of an alarm or of a line: `never`, `uncleared`, or the key of what was found, which says nothing to people. */
export function amendedText(word: string, t: Dictionary): string {
  if (word === UNCLEARED) return t.drawer.amendedUncleared;
  return word === NEVER ? t.drawer.amendedNever : t.drawer.amendedOther;
}

/** The text for a word of the server; the word itself where a newer server says one that is not known here. */
export function wordIn(words: Readonly<Record<string, string>>, word: string): string {
  return words[word] ?? word;
}
