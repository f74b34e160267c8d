// What the browser tests share: where the servers are, a Chromium, pages that collect what must never happen, and the
// door through which a test acts on the simulated plant and on the centre. Everything comes by environment, from
// davy-browser-tests, which starts a real broker, centre, gateway and plant.
import { accessSync, constants } from 'node:fs';
import { createRequire } from 'node:module';
import { delimiter, join } from 'node:path';

// The only copy of the driver is the console's: `npm ci` in dashboards/ provides it.
const { chromium } = createRequire(new URL('../../dashboards/package.json', import.meta.url))('playwright-core');

const FLAGS = ['--headless=new', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

function needed(name) {
  const value = process.env[name];
  if (value === undefined || value === '') throw new Error(`${name} is not set: run these tests by davy-browser-tests (make test)`);
  return value;
}

export const env = {
  url: needed('DAVY_URL'),
  name: needed('DAVY_NAME'),
  password: needed('DAVY_PASSWORD'),
  officer: needed('DAVY_OFFICER'),
  site: needed('DAVY_SITE'),
  control: needed('DAVY_CONTROL'),
  setupUrl: needed('DAVY_SETUP_URL'),
  setupToken: needed('DAVY_SETUP_TOKEN'),
};

function runnable(path) {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

function findChromium() {
  const named = process.env.CHROMIUM ? [process.env.CHROMIUM] : [];
  const inPath = (process.env.PATH ?? '').split(delimiter).flatMap((folder) => ['chromium', 'chromium-browser'].map((name) => join(folder, name)));
  const found = [...named, ...inPath, '/usr/bin/chromium'].find(runnable);
  if (found === undefined) throw new Error('no Chromium: set CHROMIUM to its path, or install it (apt install chromium)');
  return found;
}

export function launch() {
  return chromium.launch({ executablePath: findChromium(), args: FLAGS });
}

/** A page in a browser profile of its own. `complaints` gathers policy violations, foreign requests and exceptions. */
export async function newPage(browser, complaints, { storageState } = {}) {
  const options = { viewport: { width: 1600, height: 900 }, locale: 'zh-CN' };
  const context = await browser.newContext(storageState === undefined ? options : { ...options, storageState });
  const page = await context.newPage();
  page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
  page.on('console', (message) => {
    if (/Content Security Policy/i.test(message.text())) complaints.push(`policy: ${message.text()}`);
  });
  page.on('request', (request) => {
    if (new URL(request.url()).hostname !== '127.0.0.1') complaints.push(`off origin: ${request.url()}`);
  });
  return page;
}

/** Signs in and gives the profile, so that further pages need no sign-in: these are limited per minute. */
export async function signIn(page, path = '/duty', name = env.name) {
  await page.goto(env.url + path);
  await page.fill('input[name=name]', name);
  await page.fill('input[name=password]', env.password);
  await page.click('button[type=submit]');
  await page.waitForSelector('[data-link=live]', { timeout: 20_000 });
  return page.context().storageState();
}

/** Acts on the simulated plant or the centre, e.g. `act('/drive?device=gas-1&channel=0&value=58&per_s=20')`. */
export async function act(target) {
  const answer = await fetch(env.control + target, { method: 'POST' });
  if (!answer.ok) throw new Error(`${target}: ${await answer.text()}`);
}

/** Drives the gas detector's reading, %LEL. */
export function gas(value) {
  return act(`/drive?device=gas-1&channel=0&value=${value}&per_s=50`);
}

/** The row of the gas alarm that stands and is not signed. */
export const GAS_ROW = '[data-alarm]:has-text("R21"):has-text("未签收")';
