// Starts the installed Chromium for browser tests: CHROMIUM, else the PATH, else Debian's place. Nothing is downloaded.
import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import { chromium } from 'playwright-core';

const FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync', '--autoplay-policy=no-user-gesture-required'];

function runnable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The path of a Chromium, or an error that says how to get one. */
export function findChromium() {
  const named = process.env.CHROMIUM;
  const inPath = (process.env.PATH ?? '').split(delimiter)
    .flatMap((folder) => ['chromium', 'chromium-browser', 'google-chrome'].map((name) => join(folder, name)));
  const found = [...(named ? [named] : []), ...inPath, '/usr/bin/chromium'].find(runnable);
  if (found === undefined) throw new Error('no Chromium: set CHROMIUM to its path, or install it (apt install chromium)');
  return found;
}

export function launch() {
  return chromium.launch({ executablePath: findChromium(), args: FLAGS });
}
