import { expect, test } from 'vitest';
import { AlarmSet, CLOSED_KEPT } from '../src/live/alarm-set';
import { makeAlarm } from './make';

test('an older version never replaces a newer one, a duplicate changes nothing', () => {
  const set = new AlarmSet();
  expect(set.apply(makeAlarm({ version: 2, acked: true }))).toBe(true);
  expect(set.apply(makeAlarm({ version: 1 }))).toBe(false);
  expect(set.apply(makeAlarm({ version: 2 }))).toBe(false);
  expect(set.get('a-1')?.acked).toBe(true);
});

test('any order of arrival gives the same alarms', () => {
  const events = [1, 2, 3].flatMap((version) => ['a', 'b'].map((id) => makeAlarm({ id, version, acked: version === 3 })));
  const forward = new AlarmSet();
  const backward = new AlarmSet();
  events.forEach((event) => forward.apply(event));
  [...events].reverse().forEach((event) => backward.apply(event));
  expect(forward.get('a')).toEqual(backward.get('a'));
  expect(forward.get('b')).toEqual(backward.get('b'));
});

test('a snapshot is the whole truth: what it does not hold is gone', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'gone' }));
  set.replace([makeAlarm({ id: 'there' })], new Set());
  expect(set.all().map((alarm) => alarm.id)).toEqual(['there']);
});

test('an event that came while the snapshot was on its way is kept', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'new' }));
  set.apply(makeAlarm({ id: 'signed', version: 5, acked: true }));
  set.replace([makeAlarm({ id: 'signed', version: 4 })], new Set(['new', 'signed']));
  expect(set.get('new')).toBeDefined();
  expect(set.get('signed')?.acked).toBe(true);
});

test('a snapshot wins over what is held, whatever its version: a restored server counts from where it was', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'a', version: 9, acked: true }));
  set.replace([makeAlarm({ id: 'a', version: 4 })], new Set());
  expect(set.get('a')).toMatchObject({ version: 4, acked: false });
});

test('what somebody looks at stays when it has closed, until it is let go', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'read', active: false, acked: true, version: 3 }));
  set.apply(makeAlarm({ id: 'other', active: false, acked: true, version: 3 }));
  set.replace([], new Set(), new Set(['read']));
  expect(set.all().map((alarm) => alarm.id)).toEqual(['read']);
  set.replace([], new Set());
  expect(set.all()).toEqual([]);
});

test('what somebody looks at and the snapshot no longer lists has to be asked for: its last word may be old', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'open-when-last-heard' }));
  set.apply(makeAlarm({ id: 'closed', active: false, acked: true }));
  const astray = set.replace([], new Set(), new Set(['open-when-last-heard', 'closed']));
  expect(astray).toEqual(['open-when-last-heard']);
  expect(set.get('open-when-last-heard')).toBeDefined();
});

test('closed alarms do not pile up over weeks, open ones are never forgotten', () => {
  const set = new AlarmSet();
  set.apply(makeAlarm({ id: 'open' }));
  for (let index = 0; index < 3 * CLOSED_KEPT; index += 1) {
    set.apply(makeAlarm({ id: `closed-${index}`, active: false, acked: true }));
  }
  expect(set.all()).toHaveLength(CLOSED_KEPT + 1);
  expect(set.get('open')).toBeDefined();
});
