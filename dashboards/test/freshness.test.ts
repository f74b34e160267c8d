// The promise behind the whole console: no path shows an old, bad or unknown number as the present one.
import { expect, test } from 'vitest';
import type { Quality } from '../src/api/contract';
import { presentValue, silentAfterMs } from '../src/model/freshness';
import { makeValue } from './make';

const QUALITIES: readonly Quality[] = ['good', 'uncertain', 'bad', 'stale', 'substituted', 'unknown'];
const NOW = 1_000_500;

test('a good, recent value over a live link is live', () => {
  expect(presentValue(makeValue(), NOW, true)).toMatchObject({ look: 'live', number: 58.2, ageMs: 500, cause: null });
});

test('over every quality, age and link: live only when good, young and connected', () => {
  for (const quality of QUALITIES) {
    for (const age of [0, 29_000, 31_000, 3_600_000]) {
      for (const connected of [true, false]) {
        for (const value of [58.2, null]) {
          const shown = presentValue(makeValue({ quality, value }), 1_000_000 + age, connected);
          const mayBeLive = quality === 'good' && age < 30_000 && connected && value !== null;
          expect(shown.look === 'live', `${quality} ${age} ${connected} ${value}`).toBe(mayBeLive);
          if (!connected) expect(['held', 'missing']).toContain(shown.look);
          if (shown.look === 'missing') expect(shown.number).toBeNull();
        }
      }
    }
  }
});

test('a value never received is a dash, not a zero', () => {
  expect(presentValue(undefined, NOW, true)).toMatchObject({ look: 'missing', number: null, lastNumber: null });
  expect(presentValue(makeValue({ t: null, value: null, quality: 'unknown' }), NOW, true).number).toBeNull();
});

test('a bad value does not even appear as the last one', () => {
  expect(presentValue(makeValue({ quality: 'bad', value: 9999 }), NOW, true)).toMatchObject({ number: null, lastNumber: null });
  expect(presentValue(makeValue({ quality: 'stale' }), NOW, true)).toMatchObject({ number: null, lastNumber: 58.2 });
});

test('silence is three missed readings, at least half a minute', () => {
  expect(silentAfterMs(1000)).toBe(30_000);
  expect(silentAfterMs(60_000)).toBe(180_000);
  const slow = makeValue({ period_ms: 60_000 });
  expect(presentValue(slow, 1_000_000 + 170_000, true).look).toBe('live');
  expect(presentValue(slow, 1_000_000 + 181_000, true)).toMatchObject({ look: 'missing', cause: 'silent', lastNumber: 58.2 });
});

test('a point without a period is never late: it speaks when something changes', () => {
  const event = makeValue({ period_ms: 0 });
  expect(presentValue(event, 1_000_000 + 3_600_000, true)).toMatchObject({ look: 'live', number: 58.2 });
  expect(silentAfterMs(0)).toBe(Infinity);
});

test('losing the link never turns a dash into a number', () => {
  for (const quality of QUALITIES) {
    for (const period_ms of [0, 2000, 60_000]) {
      for (const age of [0, 31_000, 181_000]) {
        const value = makeValue({ quality, period_ms });
        const before = presentValue(value, 1_000_000 + age, true);
        const after = presentValue(value, 1_000_000 + age, false);
        if (before.number === null) expect(after.number, `${quality} ${period_ms} ${age}`).toBeNull();
      }
    }
  }
});

test('a backfilled sample that arrives now is not present news', () => {
  const late = makeValue({ t: 1_000_000 - 3_600_000, received_at: 1_000_400 });
  expect(presentValue(late, NOW, true).look).toBe('missing');
});

test('a device clock that runs ahead cannot keep a silent value live', () => {
  const ahead = makeValue({ t: 1_000_000 + 50_000, received_at: 1_000_000 });
  expect(presentValue(ahead, 1_000_000 + 40_000, true).look).toBe('missing');
});
