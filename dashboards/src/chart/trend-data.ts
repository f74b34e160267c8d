// A series from the server as the columns of a chart, and the stretches of it that must not look like data.
// Pure; the drawing is in uplot.ts.
import type { Series } from '../api/contract';

export interface Stretch {
  fromMs: number;
  toMs: number;
  kind: 'gap' | 'bad' | 'uncertain';
}

export interface TrendData {
  /** Seconds, as the chart wants them. */
  x: number[];
  min: (number | null)[];
  max: (number | null)[];
  line: (number | null)[];
  stretches: Stretch[];
  empty: boolean;
}

const QUALITY_BAD = 2;
const QUALITY_STALE = 3;
const QUALITY_UNCERTAIN = 1;

export function trendData(series: Series, fromMs: number, toMs: number): TrendData {
  const end = Math.max(toMs, fromMs + 1);
  return {
    x: series.t.map((t) => t / 1000),
    min: series.min,
    max: series.max,
    line: series.t.map((_, index) => series.mean[index] ?? series.last[index] ?? null),
    stretches: stretchesOf(series, fromMs, end),
    empty: !series.t.some((_, index) => (series.mean[index] ?? series.last[index] ?? null) !== null),
  };
}

/** What a bucket is, beside its number: a gap when nothing came, bad when what came could not be used. */
function kindOf(series: Series, index: number): Stretch['kind'] | null {
  const quality = series.q[index] ?? null;
  const hasNumber = (series.mean[index] ?? series.last[index] ?? null) !== null;
  if (quality === QUALITY_BAD || quality === QUALITY_STALE) return 'bad';
  if (!hasNumber) return 'gap';
  return quality === QUALITY_UNCERTAIN ? 'uncertain' : null;
}

function stretchesOf(series: Series, fromMs: number, toMs: number): Stretch[] {
  const stretches: Stretch[] = [];
  const add = (kind: Stretch['kind'], from: number, to: number): void => {
    const last = stretches[stretches.length - 1];
    if (to <= from) return;
    if (last !== undefined && last.kind === kind && last.toMs === from) last.toMs = to;
    else stretches.push({ kind, fromMs: from, toMs: to });
  };
  const step = Math.max(series.step_ms, 1);
  let covered = fromMs;
  series.t.forEach((t, index) => {
    // Missing buckets are gaps too; up to two steps are the ordinary jitter of polling.
    if (t - covered > 2 * step) add('gap', covered, t);
    const kind = kindOf(series, index);
    if (kind !== null) add(kind, Math.max(t, fromMs), Math.min(t + step, toMs));
    covered = Math.max(covered, t + step);
  });
  if (toMs - covered > 2 * step) add('gap', covered, toMs);
  return stretches;
}
