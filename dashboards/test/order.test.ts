import { expect, test } from 'vitest';
import { compareAlarms, isOpen } from '../src/model/order';
import { standingOf } from '../src/model/standing';
import { makeAlarm } from './make';

test('unsigned stands above signed, then level, then the newest', () => {
  const list = [
    makeAlarm({ id: 'blue-old', severity: 4, raised_at: 1 }),
    makeAlarm({ id: 'red-signed', severity: 1, acked: true, raised_at: 9 }),
    makeAlarm({ id: 'blue-new', severity: 4, raised_at: 5 }),
    makeAlarm({ id: 'red', severity: 1, raised_at: 2 }),
  ];
  expect(list.sort(compareAlarms).map((alarm) => alarm.id)).toEqual(['red', 'blue-new', 'blue-old', 'red-signed']);
});

test('the order is total: the same set sorts the same from any start', () => {
  const list = Array.from({ length: 30 }, (_, index) => makeAlarm({ id: `a-${index}`, severity: index % 2 === 0 ? 1 : 2, raised_at: index % 3 }));
  const sorted = [...list].sort(compareAlarms);
  expect([...list].reverse().sort(compareAlarms)).toEqual(sorted);
});

test('an alarm leaves the duty list only when it is off, unlatched and signed', () => {
  expect(isOpen(makeAlarm({ active: false, acked: false }))).toBe(true);
  expect(isOpen(makeAlarm({ active: false, acked: true, latched: true }))).toBe(true);
  expect(isOpen(makeAlarm({ active: true, acked: true }))).toBe(true);
  expect(isOpen(makeAlarm({ active: false, acked: true }))).toBe(false);
});

test('each pair of axes has a word of its own', () => {
  const words = [true, false].flatMap((active) => [true, false].flatMap((acked) => [true, false]
    .map((latched) => standingOf({ active, acked, needs_ack: true, latched: latched && !active }))));
  expect(new Set(words)).toEqual(new Set(['unacked', 'acked', 'returned', 'latched_unacked', 'latched', 'closed']));
});

test('what nobody has to sign is never called signed', () => {
  const blue = { severity: 4, acked: true, needs_ack: false } as const;
  expect(standingOf(makeAlarm(blue))).toBe('noted');
  expect(standingOf(makeAlarm({ ...blue, active: false }))).toBe('closed');
  expect(standingOf(makeAlarm({ ...blue, active: false, latched: true }))).toBe('latched_noted');
  expect(standingOf(makeAlarm({ ...blue, severity: 3, acked: false, needs_ack: true }))).toBe('unacked');
});
