// The alarms a client knows, kept from snapshots and live events. Pure: same inputs, same set.
// An older version never replaces a newer one, whatever the order of arrival.
import type { Alarm } from '../api/contract';
import { isOpen } from '../model/order';

/** Closed alarms are kept a while so that a late older version cannot bring them back; more are forgotten. */
export const CLOSED_KEPT = 500;

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
   * snapshot brought it: `since` names the alarms touched by events while the snapshot was on its way.
   */
  replace(snapshot: readonly Alarm[], since: ReadonlySet<string>): void {
    const next = new Map<string, Alarm>();
    for (const alarm of snapshot) next.set(alarm.id, alarm);
    for (const [id, held] of this.#byId) {
      const told = next.get(id);
      if (told === undefined ? since.has(id) : held.version > told.version) next.set(id, held);
    }
    this.#byId = next;
  }

  #forgetClosed(): void {
    const closed = [...this.#byId.values()].filter((alarm) => !isOpen(alarm));
    for (const alarm of closed.slice(0, Math.max(0, closed.length - CLOSED_KEPT))) this.#byId.delete(alarm.id);
  }

  clear(): void {
    this.#byId.clear();
  }
}
