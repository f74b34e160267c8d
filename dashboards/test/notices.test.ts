import { expect, test } from 'vitest';
import type { Notice, NoticeLevel } from '../src/api/contract';
import { stopping } from '../src/model/notices';

const notice = (code: string, level: NoticeLevel, since: number): Notice => ({ code, level, zh: code, en: code, since });

test('only what stops alarms makes the banner, the oldest first', () => {
  const all = [notice('evaluator_behind', 'alarms_stopped', 20), notice('key_reuse', 'warning', 5), notice('broker_down', 'alarms_stopped', 10)];
  expect(stopping(all).map((each) => each.code)).toEqual(['broker_down', 'evaluator_behind']);
  expect(stopping([])).toEqual([]);
});
