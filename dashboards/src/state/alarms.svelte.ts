// The open alarms, as snapshot and live events make them. Rows are immutable objects, replaced when they change.
import { fetchAlarms } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Alarm } from '../api/contract';
import { AlarmSet } from '../live/alarm-set';
import { compareAlarms, isOpen } from '../model/order';

class AlarmState {
  #set = new AlarmSet();
  #touched = new Set<string>();
  #flush: number | null = null;

  /** Open alarms in the order of the desk. */
  list = $state.raw<readonly Alarm[]>([]);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** Changes whenever any alarm changed, also one that left the list. */
  revision = $state(0);

  readonly unacked: number = $derived(this.list.filter((alarm) => !alarm.acked).length);

  get(id: string): Alarm | undefined {
    return this.#set.get(id);
  }

  receive(alarm: Alarm): void {
    this.#touched.add(alarm.id);
    if (this.#set.apply(alarm)) this.#publishSoon();
  }

  /** Fetches the whole duty list. Events that arrive meanwhile are kept when they are newer. */
  async load(): Promise<void> {
    this.#touched.clear();
    try {
      const [active, unacked] = await Promise.all([fetchAlarms('active'), fetchAlarms('unacked')]);
      this.#set.replace(newest([...active.alarms, ...unacked.alarms]), this.#touched);
      this.loaded = true;
      this.error = null;
      this.#publish();
    } catch (error) {
      this.error = asApiError(error);
      throw error;
    }
  }

  clear(): void {
    this.#set.clear();
    this.loaded = false;
    this.error = null;
    this.#publish();
  }

  /** One repaint per frame whatever the number of events; a hidden tab has no frames and is told at once. */
  #publishSoon(): void {
    if (document.hidden) this.#publish();
    else this.#flush ??= requestAnimationFrame(() => this.#publish());
  }

  #publish(): void {
    if (this.#flush !== null) cancelAnimationFrame(this.#flush);
    this.#flush = null;
    this.list = this.#set.all().filter(isOpen).sort(compareAlarms);
    this.revision += 1;
  }
}

function newest(alarms: readonly Alarm[]): Alarm[] {
  const byId = new Map<string, Alarm>();
  for (const alarm of alarms) {
    const held = byId.get(alarm.id);
    if (held === undefined || held.version < alarm.version) byId.set(alarm.id, alarm);
  }
  return [...byId.values()];
}

export const alarms = new AlarmState();
