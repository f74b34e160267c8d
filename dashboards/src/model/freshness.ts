// Whether a value may be shown as the present one (U25, U26). Pure: the cell, the tiles and the tests all ask here,
// so that no page can decide on its own that an old number is live.
import type { Quality, Value } from '../api/contract';

/** How a value is drawn. Only `live` and `doubtful` print a number as the present one. */
export type Look = 'live' | 'doubtful' | 'held' | 'missing';

export interface Presentation {
  look: Look;
  /** The number to print in the value's place, or null for the dash. */
  number: number | null;
  /** A last number to mention, small and dated, beside the dash; never in the value's place. */
  lastNumber: number | null;
  /** Why it is not plain live: a quality, `silent` (older than it should be) or `disconnected`. */
  cause: Quality | 'silent' | 'disconnected' | null;
  ageMs: number | null;
}

/** A point that is read each `period` counts as silent after three missed readings, at least 30 s; one without a period
 *  speaks only when something changes and is never late. */
export const SILENT_MIN_MS = 30_000;

export function silentAfterMs(periodMs: number): number {
  return periodMs > 0 ? Math.max(SILENT_MIN_MS, 3 * periodMs) : Infinity;
}

/** `serverNow` is the server's clock; `connected` is what the watchdog says of the live stream. */
export function presentValue(value: Value | undefined, serverNow: number, connected: boolean): Presentation {
  if (value === undefined || value.t === null) return missing(value, value?.quality ?? 'unknown', null);
  const ageMs = Math.max(0, serverNow - value.t);
  if (value.quality === 'unknown' || value.quality === 'bad' || value.quality === 'stale' || value.value === null) {
    const told = value.quality === 'good' || value.quality === 'substituted' || value.quality === 'uncertain';
    return missing(value, told ? 'unknown' : value.quality, ageMs);
  }
  const shown = { number: value.value, lastNumber: null, ageMs };
  const heardMs = serverNow - (value.received_at ?? value.t);
  // Before the link: a value that had fallen silent must not come back as a number because the link is lost.
  if (Math.max(ageMs, heardMs) > silentAfterMs(value.period_ms)) return missing(value, 'silent', ageMs);
  if (!connected) return { look: 'held', cause: 'disconnected', ...shown };
  if (value.quality === 'good') return { look: 'live', cause: null, ...shown };
  return { look: 'doubtful', cause: value.quality, ...shown };
}

function missing(value: Value | undefined, cause: Presentation['cause'], ageMs: number | null): Presentation {
  const lastNumber = value?.quality === 'bad' ? null : (value?.value ?? null);
  return { look: 'missing', number: null, lastNumber, cause, ageMs };
}
