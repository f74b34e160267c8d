// Present values of the one site that is being looked at. Other sites' values are let go by: nobody sees them.
import { fetchValues } from '../api/calls';
import { ApiError, asApiError } from '../api/client';
import type { Value } from '../api/contract';
import { seriesKey } from '../model/series-key';

type Values = ReadonlyMap<string, Value>;

class ValueState {
  #asked = 0;
  site = $state<string | null>(null);
  values = $state.raw<Values>(new Map());
  loaded = $state(false);
  error = $state.raw<ApiError | null>(null);

  get(site: string, device: string, quantity: string): Value | undefined {
    return this.values.get(seriesKey(site, device, quantity));
  }

  /** Turns to another site: what was held is dropped before anything new is asked. */
  watch(site: string | null): void {
    if (site === this.site) return;
    this.site = site;
    this.values = new Map();
    this.loaded = false;
    this.error = null;
    if (site !== null) void this.load();
  }

  async load(): Promise<void> {
    const site = this.site;
    if (site === null) return;
    this.#asked += 1;
    const asked = this.#asked;
    try {
      const answer = await fetchValues(site);
      if (asked !== this.#asked) return;
      this.#merge(answer.values);
      this.loaded = true;
      this.error = null;
    } catch (error) {
      if (asked === this.#asked) this.error = asApiError(error);
    }
  }

  receive(values: readonly Value[]): void {
    const ours = values.filter((value) => value.site === this.site);
    if (ours.length > 0) this.#merge(ours);
  }

  #merge(values: readonly Value[]): void {
    const next = new Map(this.values);
    for (const value of values) {
      const key = seriesKey(value.site, value.device, value.quantity);
      const held = next.get(key);
      if (held === undefined || !isOlder(value, held)) next.set(key, value);
    }
    this.values = next;
  }
}

/** By receive time, not event time: after a backward clock step the newest news has the smaller event time. */
function isOlder(value: Value, held: Value): boolean {
  return value.received_at !== null && held.received_at !== null && value.received_at < held.received_at;
}

export const values = new ValueState();
