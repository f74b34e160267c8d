// The quarantine as this page sees it: a filtered list, the entry that is open, what became of an act.
import { discardEntries, fetchEntry, fetchQuarantine, replayEntries } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { EntryState, QuarantineDetail, QuarantineOutcome, QuarantineRow } from '../api/contract-quarantine';

const PAGE_ROWS = 100;
/** The receiver gives back within a second; the row is read again so long after an act. */
const LOOK_AGAIN_MS = 1500;

export interface QuarantineFilter {
  gateway: string;
  code: string;
  state: EntryState | 'all';
  /** How far back, ms; 0 = everything. */
  back: number;
}

class QuarantineView {
  filter = $state<QuarantineFilter>({ gateway: '', code: '', state: 'open', back: 0 });
  rows = $state.raw<readonly QuarantineRow[] | null>(null);
  hasMore = $state(false);
  error = $state.raw<ApiError | null>(null);
  chosen = $state.raw<readonly number[]>([]);
  detail = $state.raw<QuarantineDetail | null>(null);
  detailError = $state.raw<ApiError | null>(null);
  outcomes = $state.raw<readonly QuarantineOutcome[]>([]);
  actError = $state.raw<ApiError | null>(null);
  acting = $state(false);
  #timer: ReturnType<typeof setTimeout> | undefined;

  async load(now: number, before?: number): Promise<void> {
    const { gateway, code, state, back } = this.filter;
    try {
      const { rows } = await fetchQuarantine({
        gateway: gateway.trim() === '' ? undefined : gateway.trim(),
        code: code === '' ? undefined : code,
        state: state === 'all' ? undefined : state,
        from: back === 0 ? undefined : now - back,
        before,
        limit: PAGE_ROWS,
      });
      this.rows = before === undefined ? rows : [...(this.rows ?? []), ...rows];
      this.hasMore = rows.length === PAGE_ROWS;
      this.error = null;
      this.chosen = this.chosen.filter((id) => (this.rows ?? []).some((row) => row.id === id && row.state === 'open'));
    } catch (error) {
      this.error = asApiError(error);
    }
  }

  async show(id: number): Promise<void> {
    try {
      this.detail = await fetchEntry(id);
      this.detailError = null;
    } catch (error) {
      this.detail = null;
      this.detailError = asApiError(error);
    }
  }

  hide(): void {
    this.detail = null;
    this.detailError = null;
  }

  choose(id: number, on: boolean): void {
    const others = this.chosen.filter((each) => each !== id);
    this.chosen = on ? [...others, id] : others;
  }

  /** Whether anything was done. Never tries again by itself: the server says what became of each entry. */
  async act(what: 'replay' | 'discard', ids: number[], reason: string, now: () => number, shift?: number): Promise<boolean> {
    if (this.acting) return false;
    this.acting = true;
    this.outcomes = [];
    this.actError = null;
    try {
      const done = what === 'replay' ? replayEntries(ids, reason, shift) : discardEntries(ids, reason);
      this.outcomes = (await done).outcomes;
    } catch (error) {
      this.actError = asApiError(error);
    } finally {
      this.acting = false;
    }
    await this.#reread(now());
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.#reread(now()), LOOK_AGAIN_MS);
    return this.outcomes.some((outcome) => outcome.refused === null);
  }

  leave(): void {
    clearTimeout(this.#timer);
    this.rows = null;
    this.chosen = [];
    this.outcomes = [];
    this.actError = null;
    this.hide();
  }

  async #reread(now: number): Promise<void> {
    const open = this.detail?.row.id;
    await Promise.all([this.load(now), open === undefined ? Promise.resolve() : this.show(open)]);
  }
}

export const quarantine = new QuarantineView();
