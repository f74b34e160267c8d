import { expect, test } from 'vitest';
import { en } from '../src/i18n/en';
import { zh } from '../src/i18n/zh';
import { ageText } from '../src/model/age';
import { remarkOf } from '../src/model/history';
import { numberText, unitText } from '../src/model/number';
import { shareText } from '../src/model/region';
import { clockText, nearText, stampText } from '../src/model/time';

test('ages in two units at most', () => {
  expect(ageText(0, zh.age)).toBe('0秒');
  expect(ageText(59_999, zh.age)).toBe('59秒');
  expect(ageText(777_000, zh.age)).toBe('12分57秒');
  expect(ageText(777_000, en.age)).toBe('12 min 57 s');
  expect(ageText(3_600_000, zh.age)).toBe('1时');
  expect(ageText(90_061_000, en.age)).toBe('1 d 1 h');
  expect(ageText(-5000, zh.age)).toBe('0秒');
});

test('times in the zone of the site, 24-hour clock, whatever the PC says', () => {
  const midnight = Date.UTC(2026, 10, 23, 16, 0, 5);
  expect(clockText(midnight, 'Asia/Shanghai')).toBe('00:00:05');
  expect(stampText(midnight, 'Asia/Shanghai')).toBe('11-24 00:00:05');
  expect(stampText(midnight, 'UTC')).toBe('11-23 16:00:05');
  expect(nearText(midnight, midnight + 60_000, 'Asia/Shanghai')).toBe('00:00:05');
  expect(nearText(midnight, midnight - 60_000, 'Asia/Shanghai')).toBe('11-24 00:00:05');
});

test('numbers keep the digits that were measured', () => {
  expect(numberText(76.3)).toBe('76.3');
  expect(numberText(0.08)).toBe('0.08');
  expect(numberText(10150)).toBe('10150');
  expect(numberText(0)).toBe('0');
  expect(numberText(-0.5)).toBe('-0.5');
  expect(numberText(123456.7)).toBe('123457');
  expect(numberText(0.000001)).toBe('1.00e-6');
  expect(numberText(Number.NaN)).toBe('—');
});

test('a ratio has no unit, a share of a rating names it', () => {
  expect(unitText('kW')).toBe('kW');
  expect(unitText('%LEL')).toBe('%LEL');
  expect(unitText('1')).toBe('');
  expect(unitText('I_N')).toBe('× I_N');
  expect(unitText(null)).toBe('');
});

test('a share is never rounded up to whole', () => {
  expect(shareText(0.9999)).toBe('99.9 %');
  expect(shareText(1)).toBe('100.0 %');
  expect(shareText(null)).toBe('—');
});

test('what the server writes as a word is read as a sentence', () => {
  const entry = { at: 2, event_time: 1, by: null, by_name: null };
  expect(remarkOf({ ...entry, kind: 'past', comment: 'late_unsigned' }, zh)).toBe('补报未签收');
  expect(remarkOf({ ...entry, kind: 'past', comment: 'paged' }, zh)).toBe('');
  expect(remarkOf({ ...entry, kind: 'amends', comment: 'never' }, zh)).toBe('复核: 此报警实际未发生');
  expect(remarkOf({ ...entry, kind: 'amends', comment: 'R21/a/gas-1/0/99/raise' }, en)).toBe('the settled judgement differs from what was told');
  expect(remarkOf({ ...entry, kind: 'ack', comment: 'never' }, zh)).toBe('“never”');
  expect(remarkOf({ ...entry, kind: 'ack', comment: null }, zh)).toBe('');
});

test('every kind of line that the server writes has a name', () => {
  // What ingest writes into the duty journal, and the roles of devices that rules know.
  const kinds = ['raise', 'clear', 'level_up', 'level_down', 'unsuppress', 'amends', 'past', 'ack', 'reset'];
  const roles = ['incomer', 'generation', 'production', 'dust_fan', 'main_fan', 'drain_pump', 'treatment', 'gas_detector', 'tank', 'supply_watch'];
  for (const { history, deviceRoles, suppressions } of [zh, en]) {
    expect(Object.keys(history.kinds)).toEqual(expect.arrayContaining(kinds));
    expect(Object.keys(deviceRoles)).toEqual(expect.arrayContaining(roles));
    expect(Object.keys(suppressions)).toEqual(expect.arrayContaining(['calibration', 'approved_work']));
  }
});

type Words = { [key: string]: unknown };

function paths(words: Words, prefix = ''): string[] {
  return Object.entries(words).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null ? paths(value as Words, `${prefix}${key}.`) : [`${prefix}${key}`]);
}

test('both languages have the same keys, each with a text', () => {
  expect(paths(en as unknown as Words)).toEqual(paths(zh as unknown as Words));
});

test('the English texts are English, the Chinese ones are not left in English', () => {
  const said = (words: Words): [string, string][] => paths(words).map((path) => {
    const leaf = path.split('.').reduce<unknown>((held, key) => (held as Words)[key], words);
    return [path, typeof leaf === 'function' ? String((leaf as (...args: unknown[]) => string)('1', '2', '3')) : String(leaf)];
  });
  const han = /\p{Script=Han}/u;
  const switches = ['header.switchLanguage', 'header.switchLanguageLabel'];
  for (const [path, text] of said(en as unknown as Words)) {
    if (!switches.includes(path)) expect(han.test(text), `${path}: ${text}`).toBe(false);
  }
  const plain = /^(language|page\.paged|age\.join|header\.switchLanguage|ack\.buttonKey|value\.(dash|heldAt|last)|tab\.unacked|notify\.body|levelCount)$/;
  for (const [path, text] of said(zh as unknown as Words)) {
    if (!plain.test(path)) expect(han.test(text), `${path}: ${text}`).toBe(true);
  }
});
