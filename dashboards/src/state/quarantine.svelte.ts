// The quarantine as this page sees it: a filtered list, the entry that is open, what became of an act.
import { discardEntries, fetchEntry, fetchQuarantine, replayEntries } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { EntryState, QuarantineDetail, QuarantineOutcome, QuarantineRow } from '../api/contract-quarantine';

const PAGE_ROWS = 100;
/** Most rows the server answers at once. */
const ROWS_MAX = 1000;
/** The list is read again so often: what is given back is logged and stored within seconds, and others decide too. */
const LOOK_AGAIN_MS = 2000;

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
  /** What the rows answer: the filter as it stood when it was asked, not as it is being typed. */
  #asked: QuarantineFilter = { ...this.filter };
  /** Counted up with each question, so that a late answer to an older one changes nothing. */
  #question = 0;
  /** The last question that was answered. */
  #answered = 0;
  #shown = 0;

  /** Asks by the filter as it stands, from the newest on. */
  ask(now: number): Promise<void> {
    this.#asked = { ...this.filter };
    return this.#load(now, PAGE_ROWS);
  }

  /** The rows after those that are there. */
  more(now: number): Promise<void> {
    const rows = this.rows ?? [];
    return this.#load(now, PAGE_ROWS, rows[rows.length - 1]?.id);
  }

  /** Keeps rows and detail true until the function it gives is called. */
  watch(now: () => number): () => void {
    void this.ask(now());
    // Not while somebody waits for an answer: it would be thrown away for this one.
    const timer = setInterval(() => void (this.#answered === this.#question && this.#reread(now())), LOOK_AGAIN_MS);
    return () => {
      clearInterval(timer);
      this.#leave();
    };
  }

  async #load(now: number, limit: number, before?: number): Promise<void> {
    const { gateway, code, state, back } = this.#asked;
    const question = ++this.#question;
    try {
      const { rows } = await fetchQuarantine({
        gateway: gateway.trim() === '' ? undefined : gateway.trim(),
        code: code === '' ? undefined : code,
        state: state === 'all' ? undefined : state,
        from: back === 0 ? undefined : now - back,
        before,
        limit,
      });
      if (question !== this.#question) return;
      this.rows = before === undefined ? rows : [...(this.rows ?? []), ...rows];
      this.hasMore = rows.length === limit;
      this.error = null;
      this.chosen = this.chosen.filter((id) => (this.rows ?? []).some((row) => row.id === id && row.state === 'open'));
    } catch (error) {
      if (question === this.#question) this.error = asApiError(error);
    } finally {
      this.#answered = Math.max(this.#answered, question);
    }
  }

  async show(id: number): Promise<void> {
    const shown = ++this.#shown;
    try {
      const detail = await fetchEntry(id);
      if (shown !== this.#shown) return;
      this.detail = detail;
      this.detailError = null;
    } catch (error) {
      if (shown !== this.#shown) return;
      this.detail = null;
      this.detailError = asApiError(error);
    }
  }

  hide(): void {
    this.#shown += 1;
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
    return this.outcomes.some((outcome) => outcome.refused === null);
  }

  #leave(): void {
    this.#question += 1;
    this.rows = null;
    this.chosen = [];
    this.outcomes = [];
    this.actError = null;
    this.hide();
  }

  async #reread(now: number): Promise<void> {
    const open = this.detail?.row.id;
    const limit = Math.min(ROWS_MAX, Math.max(PAGE_ROWS, this.rows?.length ?? 0));
    // Of more than one answer can hold the rest would vanish under the reader's eyes.
    const list = (this.rows?.length ?? 0) > ROWS_MAX ? Promise.resolve() : this.#load(now, limit);
    await Promise.all([list, open === undefined ? Promise.resolve() : this.show(open)]);
  }
}

export const quarantine = new QuarantineView();
