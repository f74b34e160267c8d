// The open alarms, as snapshot and live events make them. Rows are immutable objects, replaced when they change.
import { fetchAlarm, fetchAlarms } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Alarm } from '../api/contract';
import { AlarmSet } from '../live/alarm-set';
import { compareAlarms, isOpen } from '../model/order';

/** The longest an event waits for a frame. */
const FLUSH_MS = 200;

class AlarmState {
  #set = new AlarmSet();
  #touched = new Set<string>();
  #flush: { frame: number; timer: number } | null = null;

  /** Open alarms in the order of the desk. */
  list = $state.raw<readonly Alarm[]>([]);
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);
  /** Changes whenever any alarm changed, also one that left the list. */
  revision = $state(0);
  /** Names the alarms that somebody looks at: they are held although they have closed. */
  kept: () => ReadonlySet<string> = () => new Set();

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
      const astray = this.#set.replace(newest([...active.alarms, ...unacked.alarms]), this.#touched, this.kept());
      this.loaded = true;
      this.error = null;
      this.#publish();
      for (const id of astray) void this.find(id).catch(() => undefined);
    } catch (error) {
      this.error = asApiError(error);
      throw error;
    }
  }

  /** Fetches one alarm that the duty list does not hold: a past one, or one that closed unheard. */
  async find(id: string): Promise<void> {
    this.receive(await fetchAlarm(id));
  }

  clear(): void {
    this.#set.clear();
    this.loaded = false;
    this.error = null;
    this.#publish();
  }

  /**
   * One repaint per frame whatever the number of events. A hidden tab has no frames and is told at once; a covered
   * window may have none either without saying so, hence the timer.
   */
  #publishSoon(): void {
    if (document.hidden) this.#publish();
    else this.#flush ??= {
      frame: requestAnimationFrame(() => this.#publish()),
      timer: window.setTimeout(() => this.#publish(), FLUSH_MS),
    };
  }

  #publish(): void {
    if (this.#flush !== null) {
      cancelAnimationFrame(this.#flush.frame);
      clearTimeout(this.#flush.timer);
    }
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
