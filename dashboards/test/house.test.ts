// The house rules that a compiler does not check: what old browsers lack, what hides intent, what a language file must hold.
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

function filesUnder(folder: string): string[] {
  return readdirSync(folder).flatMap((name) => {
    const path = join(folder, name);
    return statSync(path).isDirectory() ? filesUnder(path) : [path];
  });
}

const FILES = filesUnder('src').map((path) => ({ path, text: readFileSync(path, 'utf8') }));
const found = (pattern: RegExp, skip: RegExp = /^$/): string[] =>
  FILES.filter(({ path, text }) => !skip.test(path) && pattern.test(text)).map(({ path }) => path);

test('nothing that Chromium 90 lacks', () => {
  expect(found(/:has\(|@container|\d(dvh|svh)\b|\binert\b|structuredClone\(|\.at\(-?\d|Object\.hasOwn\b|\baspect-ratio\b|randomUUID\(|findLast/)).toEqual([]);
});

test('no any, no default exports, no silenced checks of types', () => {
  expect(found(/:\s*any\b|\bas any\b|<any>/)).toEqual([]);
  expect(found(/export default/)).toEqual([]);
  expect(found(/@ts-(ignore|nocheck|expect-error)/)).toEqual([]);
});

test('texts stand in the dictionaries, not in the pages', () => {
  const code = FILES.filter(({ path }) => !/src.i18n/.test(path)).map(({ path, text }) => ({
    path, text: text.replace(/<!--[\s\S]*?-->|\/\*[\s\S]*?\*\/|^\s*\/\/.*$|\/\/ .*$/gm, ''),
  }));
  expect(code.filter(({ text }) => /\p{Script=Han}/u.test(text)).map(({ path }) => path)).toEqual([]);
});

test('no emoji and no pictographs', () => {
  expect(found(/\p{Extended_Pictographic}/u)).toEqual([]);
});

test('one file knows the chart library, one the event source of a page, one the sound device', () => {
  expect(found(/from 'uplot'/)).toEqual([join('src', 'chart', 'uplot.ts')]);
  expect(found(/new AudioContext/)).toEqual([join('src', 'sound', 'player.ts')]);
  expect(found(/\bfetch\(/)).toEqual([join('src', 'api', 'client.ts')]);
});

test('files stay small, and each says what it is for', () => {
  for (const { path, text } of FILES) {
    expect(text.split('\n').length, path).toBeLessThan(400);
    if (/\.(ts|svelte)$/.test(path)) expect(/^(\/\/|<!--)/.test(text), path).toBe(true);
  }
});

test('the lock file names no registry', () => {
  const lock = readFileSync('package-lock.json', 'utf8');
  expect(lock).not.toContain('"resolved"');
});
