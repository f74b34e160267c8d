// The order of the list while the user's hand is on it (U2): rows stay where they are, news is counted, not inserted.
// Pure; the duty list keeps one of these.
import type { Alarm } from '../api/contract';

/** A row as it was when the list froze: enough to tell whether it calls for another look. */
export interface HeldRow {
  id: string;
  mark: string;
}

export interface Arranged {
  rows: readonly Alarm[];
  /** Alarms that the frozen list does not show yet, or shows where they were before they changed. */
  fresh: readonly Alarm[];
}

export function hold(alarm: Alarm): HeldRow {
  return { id: alarm.id, mark: markOf(alarm) };
}

/** What a person acts on. A changed number alone is no news. */
function markOf(alarm: Alarm): string {
  return `${alarm.severity}:${alarm.active}:${alarm.acked}`;
}

/** `held`: the rows that were on screen when it froze, in their order, or null while it is free. */
export function arrange(
  passing: readonly Alarm[],
  held: readonly HeldRow[] | null,
  lookUp: (id: string) => Alarm | undefined,
): Arranged {
  if (held === null) return { rows: passing, fresh: [] };
  const marks = new Map(held.map((row) => [row.id, row.mark]));
  const rows = held.map((row) => lookUp(row.id)).filter((alarm): alarm is Alarm => alarm !== undefined);
  return { rows, fresh: passing.filter((alarm) => marks.get(alarm.id) !== markOf(alarm)) };
}
