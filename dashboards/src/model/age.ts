// Lengths of time as text, in the words of the language chosen. Two units at most: `12分57秒`, `12 min 57 s`.

export interface AgeWords {
  day: string;
  hour: string;
  minute: string;
  second: string;
  /** Between two units. */
  join: string;
}

export function ageText(ms: number, words: AgeWords): string {
  const total = Math.max(0, Math.floor(ms / 1000));
  const days = Math.floor(total / 86_400);
  const hours = Math.floor((total % 86_400) / 3600);
  const minutes = Math.floor((total % 3600) / 60);
  const seconds = total % 60;
  if (days > 0) return pair(days, words.day, hours, words.hour, words);
  if (hours > 0) return pair(hours, words.hour, minutes, words.minute, words);
  if (minutes > 0) return pair(minutes, words.minute, seconds, words.second, words);
  return `${seconds}${words.second}`;
}

function pair(large: number, largeWord: string, small: number, smallWord: string, words: AgeWords): string {
  return small === 0 ? `${large}${largeWord}` : `${large}${largeWord}${words.join}${small}${smallWord}`;
}
