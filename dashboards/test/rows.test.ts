import { expect, test } from 'vitest';
import { arrange, hold } from '../src/model/frozen-order';
import { ROW_PX, scrollToShow, visibleRows } from '../src/model/rows';
import { makeAlarm } from './make';

test('only the rows in view and a margin exist', () => {
  const range = visibleRows(1000 * ROW_PX, 640, 2000);
  expect(range).toEqual({ from: 992, to: 1028 });
});

test('every row in view is drawn at every scroll position', () => {
  for (let top = 0; top <= 200 * ROW_PX - 640; top += 7) {
    const { from, to } = visibleRows(top, 640, 200);
    expect(from).toBeLessThanOrEqual(Math.floor(top / ROW_PX));
    expect(to).toBeGreaterThanOrEqual(Math.min(200, Math.ceil((top + 640) / ROW_PX)));
  }
});

test('an empty list and a list shorter than the scroll position are drawn whole', () => {
  expect(visibleRows(0, 640, 0)).toEqual({ from: 0, to: 0 });
  const shrunk = visibleRows(5000, 640, 3);
  expect(shrunk.from).toBeLessThan(3);
  expect(shrunk.to).toBe(3);
});

test('scrolling to a row moves as little as possible', () => {
  expect(scrollToShow(3, 0, 640)).toBe(0);
  expect(scrollToShow(20, 0, 640)).toBe(21 * ROW_PX - 640);
  expect(scrollToShow(2, 320, 640)).toBe(2 * ROW_PX);
});

test('a frozen list keeps its rows in place and counts the news (U2)', () => {
  const first = makeAlarm({ id: 'first', severity: 3 });
  const second = makeAlarm({ id: 'second', severity: 4 });
  const red = makeAlarm({ id: 'red', severity: 1 });
  const now = new Map([first, { ...second, acked: true }, red].map((alarm) => [alarm.id, alarm]));
  const frozen = arrange([red, first], [hold(first), hold(second)], (id) => now.get(id));
  expect(frozen.rows.map((alarm) => alarm.id)).toEqual(['first', 'second']);
  expect(frozen.rows[1]?.acked).toBe(true);
  expect(frozen.fresh.map((alarm) => alarm.id)).toEqual(['red']);
  expect(arrange([red, first], null, () => undefined).rows).toHaveLength(2);
});

test('a row that changes where it stands in a frozen list is news: it rose, came back, was signed or went', () => {
  const was = makeAlarm({ severity: 3, acked: true, active: true });
  const changes = [{ severity: 1 as const }, { acked: false }, { active: false }];
  for (const change of changes) {
    const now = { ...was, ...change, version: 2 };
    expect(arrange([now], [hold(was)], () => now).fresh, JSON.stringify(change)).toEqual([now]);
  }
  const hotter = { ...was, value: 80, version: 2 };
  expect(arrange([hotter], [hold(was)], () => hotter).fresh).toEqual([]);
});
