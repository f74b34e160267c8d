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

/** Silence shorter than this is the ordinary rhythm of polling (the engine's max_gap has the same floor). */
const GAP_MIN_MS = 30_000;
const QUALITY_BAD = 2;
const QUALITY_STALE = 3;
const QUALITY_UNCERTAIN = 1;

export function trendData(series: Series, fromMs: number, toMs: number): TrendData {
  const end = Math.max(toMs, fromMs + 1);
  const stretches = stretchesOf(series, fromMs, end);
  const data: TrendData = { x: [], min: [], max: [], line: [], stretches, empty: true };
  series.t.forEach((t, index) => {
    const number = numberAt(series, index);
    // A bucket narrower than the polling period is empty without anything missing: the line goes on over it.
    const broken = stretches.some((each) => each.kind !== 'uncertain' && t >= each.fromMs && t < each.toMs);
    if (number === null && !broken) return;
    data.x.push(t / 1000);
    data.min.push(series.min[index] ?? number);
    data.max.push(series.max[index] ?? number);
    data.line.push(number);
    if (number !== null) data.empty = false;
  });
  return data;
}

function numberAt(series: Series, index: number): number | null {
  return series.mean[index] ?? series.last[index] ?? null;
}

/** Silence longer than this is a gap: three of the usual distances between readings. */
function gapMs(series: Series): number {
  const heard = series.t.filter((_, index) => series.q[index] !== null && series.q[index] !== undefined);
  const distances = heard.slice(1).map((t, index) => t - (heard[index] ?? t)).sort((a, b) => a - b);
  const usual = distances[Math.floor(distances.length / 2)] ?? 0;
  return Math.max(GAP_MIN_MS, 3 * usual, 2 * series.step_ms);
}

/** What a bucket is, beside its number: a gap when nothing came, bad when what came could not be used. */
function kindOf(series: Series, index: number): Stretch['kind'] | null {
  const quality = series.q[index] ?? null;
  if (quality === QUALITY_BAD || quality === QUALITY_STALE) return 'bad';
  if (numberAt(series, index) === null) return 'gap';
  return quality === QUALITY_UNCERTAIN ? 'uncertain' : null;
}

function stretchesOf(series: Series, fromMs: number, toMs: number): Stretch[] {
  const stretches: Stretch[] = [];
  const add = (kind: Stretch['kind'], from: number, to: number): void => {
    const last = stretches[stretches.length - 1];
    if (to <= from) return;
    if (last !== undefined && last.kind === kind && last.toMs >= from) last.toMs = Math.max(last.toMs, to);
    else stretches.push({ kind, fromMs: from, toMs: to });
  };
  const step = Math.max(series.step_ms, 1);
  const longest = gapMs(series);
  let covered = fromMs;
  series.t.forEach((t, index) => {
    const kind = kindOf(series, index);
    if (kind === 'gap' || t >= toMs) return;
    if (t - covered > longest) add('gap', covered, t);
    if (kind !== null) add(kind, Math.max(t, fromMs), Math.min(t + step, toMs));
    covered = Math.max(covered, t + step);
  });
  if (toMs - covered > longest) add('gap', covered, toMs);
  return stretches;
}
