import { expect, test } from 'vitest';
import type { Severity } from '../src/api/contract';
import { filterFromQuery, hiddenBy, isFiltering, NO_FILTER, passes, queryFromFilter } from '../src/model/filter';
import { counties, meanCompleteness, worstOf } from '../src/model/region';
import { makeAlarm } from './make';

test('a filter survives its way through the URL', () => {
  const filter = { text: '油温 & 1#', levels: [1, 2] as Severity[], county: '533401', site: 'si-1', unackedOnly: true };
  expect(filterFromQuery(new URLSearchParams(queryFromFilter(filter).toString()))).toEqual(filter);
  expect(queryFromFilter(NO_FILTER).toString()).toBe('');
});

test('nonsense in the URL hides nothing', () => {
  const filter = filterFromQuery(new URLSearchParams('level=9,x&unacked=maybe'));
  expect(isFiltering(filter)).toBe(false);
  expect(passes(filter, makeAlarm())).toBe(true);
});

test('a hidden red is counted apart (U33)', () => {
  const alarms = ([1, 1, 3, 4] as Severity[]).map((severity, index) => makeAlarm({ id: `a-${index}`, severity }));
  expect(hiddenBy({ ...NO_FILTER, levels: [4] }, alarms)).toEqual({ count: 3, red: 2 });
});

test('text is looked for in site, device, rule and both names', () => {
  for (const text of ['硅业', 'silicon', 'EF1', 'r26', '高高', 'temperature']) {
    expect(passes({ ...NO_FILTER, text }, makeAlarm()), text).toBe(true);
  }
  expect(passes({ ...NO_FILTER, text: '氨罐' }, makeAlarm())).toBe(false);
});

test('a county says its worst level, and unknown completeness is not whole', () => {
  const site = { id: 's', name: 's', county: '533422', county_name: '德钦县', sectors: [], devices: [], worst: 0 as const, active: 0, expected: 0, completeness: null };
  const [county] = counties([site], [makeAlarm({ county: '533422', severity: 3 }), makeAlarm({ county: '533401', severity: 1 })]);
  expect(county).toMatchObject({ worst: 3, counts: [0, 0, 1, 0], completeness: null });
  expect(county?.unsigned).toBe(true);
  expect(counties([site], [makeAlarm({ county: '533422', acked: true })])[0]?.unsigned).toBe(false);
  expect(meanCompleteness([])).toBeNull();
  expect(meanCompleteness([{ ...site, expected: 90, completeness: 1 }, { ...site, expected: 10, completeness: 0 }, site])).toBe(0.9);
  expect(worstOf([])).toBe(0);
});
