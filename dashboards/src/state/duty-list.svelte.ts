// What the duty table shows: filter, frozen order, selection. Selection is by alarm id and never moves by itself (U1).
import type { Alarm } from '../api/contract';
import { type Filter, NO_FILTER, filterFromQuery, hiddenBy, passes, queryFromFilter } from '../model/filter';
import { arrange, hold, type HeldRow } from '../model/frozen-order';
import { alarms } from './alarms.svelte';
import { route } from './route.svelte';

/** A pointer left lying on the list must not hold back the night's alarms. */
const HOVER_HOLDS_MS = 10_000;

class DutyList {
  #scrolled = $state(false);
  #hovered = $state(false);
  #composing = $state(false);
  #held = $state.raw<readonly HeldRow[] | null>(null);
  #hoverTimer: number | null = null;

  readonly filter: Filter = $derived(filterFromQuery(route.query));
  readonly selectedId: string | null = $derived(route.query.get('alarm'));
  readonly passing: readonly Alarm[] = $derived(alarms.list.filter((alarm) => passes(this.filter, alarm)));
  readonly hidden = $derived(hiddenBy(this.filter, alarms.list));
  readonly #arranged = $derived.by(() => {
    void alarms.revision;
    return arrange(this.passing, this.#held, (id) => alarms.get(id));
  });
  readonly rows: readonly Alarm[] = $derived(this.#arranged.rows);
  readonly fresh: readonly Alarm[] = $derived(this.#arranged.fresh);
  readonly frozen: boolean = $derived(this.#held !== null);

  constructor() {
    alarms.kept = () => new Set([...(this.#held ?? []).map((row) => row.id), this.selectedId ?? '']);
  }

  setFilter(change: Partial<Filter>): void {
    const query = queryFromFilter({ ...this.filter, ...change });
    if (this.selectedId !== null) query.set('alarm', this.selectedId);
    route.replaceQuery(query);
    this.#held = null;
    this.#hold();
  }

  clearFilter(): void {
    this.setFilter(NO_FILTER);
  }

  select(id: string | null): void {
    const query = queryFromFilter(this.filter);
    if (id !== null) query.set('alarm', id);
    route.replaceQuery(query);
  }

  /** Moves the selection by `step` rows; returns the new row, or null when there is none. */
  move(step: number): number | null {
    if (this.rows.length === 0) return null;
    const present = this.rows.findIndex((alarm) => alarm.id === this.selectedId);
    const wanted = present < 0 ? 0 : Math.min(Math.max(present + step, 0), this.rows.length - 1);
    this.select(this.rows[wanted]?.id ?? null);
    return wanted;
  }

  setScrolled(scrolled: boolean): void {
    if (scrolled === this.#scrolled) return;
    this.#scrolled = scrolled;
    this.#hold();
  }

  setComposing(composing: boolean): void {
    if (composing === this.#composing) return;
    this.#composing = composing;
    this.#hold();
  }

  /** Any movement of the pointer over the list. */
  pointerMoved(): void {
    if (this.#hoverTimer !== null) clearTimeout(this.#hoverTimer);
    this.#hoverTimer = window.setTimeout(() => this.pointerLeft(), HOVER_HOLDS_MS);
    if (this.#hovered) return;
    this.#hovered = true;
    this.#hold();
  }

  pointerLeft(): void {
    if (this.#hoverTimer !== null) clearTimeout(this.#hoverTimer);
    this.#hoverTimer = null;
    this.#hovered = false;
    this.#hold();
  }

  /** Takes in what waited, whatever the hand does; the caller scrolls to the top. */
  release(): void {
    this.#held = null;
    this.#hold();
  }

  /** What this desk has just done to an alarm is no news to it. */
  seen(id: string): void {
    const alarm = alarms.get(id);
    if (alarm === undefined || this.#held === null) return;
    this.#held = this.#held.map((row) => (row.id === id ? hold(alarm) : row));
  }

  #hold(): void {
    const held = this.#scrolled || this.#hovered || this.#composing;
    if (!held) this.#held = null;
    else this.#held ??= this.passing.map(hold);
  }
}

export const dutyList = new DutyList();
