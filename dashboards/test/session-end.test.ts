import { expect, test } from 'vitest';
import { endingIn, WARN_MS } from '../src/model/session-end';

test('a session that ends is announced an hour before, and until the end', () => {
  expect(endingIn(null, 0)).toBeNull();
  expect(endingIn(10 * WARN_MS, 9 * WARN_MS - 1)).toBeNull();
  expect(endingIn(10 * WARN_MS, 9 * WARN_MS)).toBe(WARN_MS);
  expect(endingIn(10 * WARN_MS, 10 * WARN_MS - 1)).toBe(1);
  expect(endingIn(10 * WARN_MS, 11 * WARN_MS)).toBe(0);
});
