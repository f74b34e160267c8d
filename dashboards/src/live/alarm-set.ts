// The alarms a client knows, kept from snapshots and live events. Pure: same inputs, same set.
// An older version never replaces a newer one, whatever the order of arrival.
import type { Alarm } from '../api/contract';
import { isOpen } from '../model/order';

/** Closed alarms are kept a while so that a late older version cannot bring them back; more are forgotten. */
export const CLOSED_KEPT = 500;

const NONE: ReadonlySet<string> = new Set();

export class AlarmSet {
  #byId = new Map<string, Alarm>();

  get(id: string): Alarm | undefined {
    return this.#byId.get(id);
  }

  all(): Alarm[] {
    return [...this.#byId.values()];
  }

  /** Applies one alarm; false when it says nothing new. */
  apply(alarm: Alarm): boolean {
    const held = this.#byId.get(alarm.id);
    if (held !== undefined && held.version >= alarm.version) return false;
    this.#byId.delete(alarm.id);
    this.#byId.set(alarm.id, alarm);
    if (!isOpen(alarm)) this.#forgetClosed();
    return true;
  }

  /**
   * Takes a snapshot as the whole truth. What is held and not in it is gone, unless an event newer than the
   * snapshot brought it: `since` names the alarms touched by events while the snapshot was on its way. Versions are
   * compared for those only: a server restored from a backup counts from where it was.
   *
   * `kept` names what somebody looks at: it stays although it has closed. Gives those of them whose last word was not
   * that they had closed, so that the caller asks for them.
   */
  replace(snapshot: readonly Alarm[], since: ReadonlySet<string>, kept: ReadonlySet<string> = NONE): string[] {
    const next = new Map<string, Alarm>();
    const astray: string[] = [];
    for (const alarm of snapshot) next.set(alarm.id, alarm);
    for (const [id, held] of this.#byId) {
      const told = next.get(id);
      const newer = since.has(id) && (told === undefined || held.version > told.version);
      if (newer || (told === undefined && kept.has(id))) next.set(id, held);
      if (!newer && told === undefined && kept.has(id) && isOpen(held)) astray.push(id);
    }
    this.#byId = next;
    return astray;
  }

  #forgetClosed(): void {
    const closed = [...this.#byId.values()].filter((alarm) => !isOpen(alarm));
    for (const alarm of closed.slice(0, Math.max(0, closed.length - CLOSED_KEPT))) this.#byId.delete(alarm.id);
  }

  clear(): void {
    this.#byId.clear();
  }
}
