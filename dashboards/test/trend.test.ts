import { expect, test } from 'vitest';
import type { Series } from '../src/api/contract';
import { sparkPath } from '../src/chart/sparkline';
import { trendData } from '../src/chart/trend-data';

const STEP = 10_000;

function series(means: (number | null)[], q: (number | null)[], step = STEP): Series {
  const t = means.map((_, index) => index * step);
  return { unit: 'A', step_ms: step, t, min: means, max: means, mean: means, last: means, q };
}

test('a long silence stays a gap: nulls in the line and a stretch in the ground', () => {
  const means = [1, 2, 3, null, null, null, null, 8, 9];
  const data = trendData(series(means, means.map((mean) => (mean === null ? null : 0))), 0, 9 * STEP);
  expect(data.line).toEqual(means);
  expect(data.stretches).toEqual([{ kind: 'gap', fromMs: 3 * STEP, toMs: 7 * STEP }]);
});

test('buckets narrower than the polling period are no gaps: the line goes on', () => {
  const means = Array.from({ length: 60 }, (_, index) => (index % 5 === 0 ? index : null));
  const data = trendData(series(means, means.map((mean) => (mean === null ? null : 0)), 2000), 0, 120_000);
  expect(data.stretches).toEqual([]);
  expect(data.line).toEqual(means.filter((mean) => mean !== null));
});

test('a slow point is not a row of gaps, and its own silence is still seen', () => {
  const means = [...Array.from({ length: 40 }, (_, index) => (index % 6 === 0 ? 1 : null)), ...Array<null>(60).fill(null)];
  const data = trendData(series(means, means.map((mean) => (mean === null ? null : 0))), 0, 100 * STEP);
  expect(data.stretches).toEqual([{ kind: 'gap', fromMs: 37 * STEP, toMs: 100 * STEP }]);
});

test('silence before the first and after the last reading is a gap too', () => {
  const data = trendData(series([null, null, null, null, 5, 6], [null, null, null, null, 0, 0]), 0, 12 * STEP);
  expect(data.stretches).toEqual([
    { kind: 'gap', fromMs: 0, toMs: 4 * STEP },
    { kind: 'gap', fromMs: 6 * STEP, toMs: 12 * STEP },
  ]);
});

test('bad and stale are told apart from nothing, however short; uncertain keeps its number', () => {
  const data = trendData(series([1, null, null, 4], [0, 2, 3, 1]), 0, 4 * STEP);
  expect(data.line).toEqual([1, null, null, 4]);
  expect(data.stretches).toEqual([
    { kind: 'bad', fromMs: STEP, toMs: 3 * STEP },
    { kind: 'uncertain', fromMs: 3 * STEP, toMs: 4 * STEP },
  ]);
});

test('a series without a number is empty, not a line at zero', () => {
  expect(trendData(series([], []), 0, 1000).empty).toBe(true);
  expect(trendData(series([null], [2]), 0, 1000).empty).toBe(true);
  expect(trendData(series([0], [0]), 0, 1000).empty).toBe(false);
});

test('a sparkline breaks at a gap, draws a steady value as a line in the middle, and nothing for nothing', () => {
  const box = { width: 100, height: 20 };
  const means = [1, 2, 3, null, null, null, null, 8];
  const held = series(means, means.map((mean) => (mean === null ? null : 0)));
  expect(sparkPath(trendData(held, 0, 8 * STEP), 0, 8 * STEP, box).match(/M/g)).toHaveLength(2);
  const steady = series([5, 5, 5], [0, 0, 0]);
  expect(sparkPath(trendData(steady, 0, 3 * STEP), 0, 3 * STEP, box)).toMatch(/^M0.0 10.0L/);
  expect(sparkPath(trendData(series([], []), 0, 1000), 0, 1000, box)).toBe('');
});
