import { expect, test } from 'vitest';
import { callKey, freshCalls, freshLevel, waitingLevel } from '../src/sound/duty-sound';
import { LEVEL_TONES, lengthMs } from '../src/sound/tone';
import { badgeFile } from '../src/state/tab-badge';
import { makeAlarm } from './make';

test('the worst unsigned alarm calls; a signed one and a silent one do not', () => {
  expect(waitingLevel([makeAlarm({ severity: 2 }), makeAlarm({ severity: 1, acked: true })])).toBe(2);
  expect(waitingLevel([makeAlarm({ severity: 1, page: 'silent' }), makeAlarm({ severity: 1, page: 'late_unsigned' })])).toBeNull();
  expect(waitingLevel([makeAlarm({ severity: 1, active: false, page: 'recovered' })])).toBe(1);
});

test('a new occurrence and a higher level call anew, a changed value does not', () => {
  const held = makeAlarm({ severity: 2 });
  const heard = new Set([callKey(held)]);
  expect(freshLevel([{ ...held, value: 80, version: 2 }], heard)).toBeNull();
  expect(freshLevel([{ ...held, severity: 1 }], heard)).toBe(1);
  expect(freshLevel([{ ...held, occurrence: 2 }], heard)).toBe(2);
});

test('what was listed in silence and pages now calls, at the same level', () => {
  const silent = makeAlarm({ severity: 2, page: 'silent' });
  const heard = new Set([callKey(silent)]);
  expect(freshLevel([silent], heard)).toBeNull();
  expect(freshLevel([{ ...silent, page: 'paged', version: 2 }], heard)).toBe(2);
});

test('what is read aloud is what calls: new, unsigned, not silent, the worst first', () => {
  const held = makeAlarm({ id: 'held' });
  const list = [held, makeAlarm({ id: 'yellow', severity: 3 }), makeAlarm({ id: 'red' }), makeAlarm({ id: 'signed', acked: true }),
    makeAlarm({ id: 'silent', page: 'silent' })];
  expect(freshCalls(list, new Set([callKey(held)])).map((alarm) => alarm.id)).toEqual(['red', 'yellow']);
});

test('the four tones differ, red repeats fastest and is over before it repeats', () => {
  const tones = Object.values(LEVEL_TONES);
  expect(new Set(tones.map((tone) => JSON.stringify(tone.notes))).size).toBe(4);
  expect(LEVEL_TONES[1].everyMs).toBeLessThan(LEVEL_TONES[2].everyMs ?? 0);
  for (const tone of tones) if (tone.everyMs !== null) expect(lengthMs(tone)).toBeLessThan(tone.everyMs);
});

test('the badge of the tab', () => {
  expect([badgeFile(0, false), badgeFile(9, false), badgeFile(10, false), badgeFile(3, true)])
    .toEqual(['/badge/0.svg', '/badge/9.svg', '/badge/more.svg', '/badge/lost.svg']);
});
