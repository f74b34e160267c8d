// The blindest site stands first, days stand in their order, and nothing is rounded up to whole.
import { expect, test } from 'vitest';
import type { DayOfSite } from '../src/api/contract';
import { shareText, tableOf } from '../src/model/completeness';

const row = (site: string, day: string, share: number | null): DayOfSite => ({
  site, name: site, name_en: site, day, expected: 100, good: 0, uncertain: 0, bad: 0, late: 0, declared: 0, unplanned: 0, share,
});

test('sites with a small share on any day stand first, a missing day is null', () => {
  const table = tableOf([row('a', '2026-11-26', 1), row('b', '2026-11-26', 1), row('b', '2026-11-25', 0.4), row('c', '2026-11-26', null)]);
  expect(table.days).toEqual(['2026-11-26', '2026-11-25']);
  expect(table.sites.map((site) => site.site)).toEqual(['b', 'a', 'c']);
  expect(table.sites[1]?.days[1]).toBe(null);
  expect(table.sites[0]?.worst).toBe(0.4);
});

test('a share is never rounded up to whole', () => {
  expect(shareText(0.9999)).toBe('99.9 %');
  expect(shareText(1)).toBe('100.0 %');
  expect(shareText(null)).toBe('—');
});
