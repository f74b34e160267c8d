// The order of the list while the user's hand is on it (U2): rows stay where they are, news is counted, not inserted.
// Pure; the duty list keeps one of these.
import type { Alarm } from '../api/contract';

export interface Arranged {
  rows: readonly Alarm[];
  /** Alarms that the frozen list does not show yet. */
  fresh: readonly Alarm[];
}

/** `held`: ids in the order that was on screen when it froze, or null while it is free. */
export function arrange(
  passing: readonly Alarm[],
  held: readonly string[] | null,
  lookUp: (id: string) => Alarm | undefined,
): Arranged {
  if (held === null) return { rows: passing, fresh: [] };
  const known = new Set(held);
  const rows = held.map(lookUp).filter((alarm): alarm is Alarm => alarm !== undefined);
  return { rows, fresh: passing.filter((alarm) => !known.has(alarm.id)) };
}
