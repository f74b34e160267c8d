import { expect, test } from 'vitest';
import type { Series } from '../src/api/contract';
import { trendData } from '../src/chart/trend-data';

function series(means: (number | null)[], q: (number | null)[], t = means.map((_, index) => index * 1000)): Series {
  return { unit: 'A', step_ms: 1000, t, min: means, max: means, mean: means, last: means, q };
}

test('a gap stays a gap: a null in the line and a stretch in the ground', () => {
  const data = trendData(series([1, null, null, 4], [0, null, null, 0]), 0, 4000);
  expect(data.line).toEqual([1, null, null, 4]);
  expect(data.stretches).toEqual([{ kind: 'gap', fromMs: 1000, toMs: 3000 }]);
});

test('missing buckets are a gap too, also before the first and after the last', () => {
  const data = trendData(series([1, 2], [0, 0], [10_000, 20_000]), 0, 40_000);
  expect(data.stretches).toEqual([
    { kind: 'gap', fromMs: 0, toMs: 10_000 },
    { kind: 'gap', fromMs: 11_000, toMs: 20_000 },
    { kind: 'gap', fromMs: 21_000, toMs: 40_000 },
  ]);
});

test('bad and stale are told apart from nothing, uncertain keeps its number', () => {
  const data = trendData(series([1, null, null, 4], [0, 2, 3, 1]), 0, 4000);
  expect(data.stretches).toEqual([
    { kind: 'bad', fromMs: 1000, toMs: 3000 },
    { kind: 'uncertain', fromMs: 3000, toMs: 4000 },
  ]);
});

test('a series without a number is empty, not a line at zero', () => {
  expect(trendData(series([], []), 0, 1000).empty).toBe(true);
  expect(trendData(series([null], [2]), 0, 1000).empty).toBe(true);
  expect(trendData(series([0], [0]), 0, 1000).empty).toBe(false);
});
