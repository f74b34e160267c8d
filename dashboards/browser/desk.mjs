// A mock world, a server and a browser for one test file; pages that collect what must never happen.
import { begin } from '../mock/story.mjs';
import { startMock } from '../mock/server.mjs';
import { World } from '../mock/world.mjs';
import { launch } from './chromium.mjs';

export const DIST = new URL('../dist', import.meta.url).pathname;

/** Starts a browser and a mock with the story's alarms. */
export async function openDesk({ story = begin, hbMs = 1000 } = {}) {
  const world = new World();
  story?.(world);
  const mock = await startMock(world, { dist: DIST, hbMs });
  const browser = await launch();
  const complaints = [];

  /** A page of its own browser profile, so with a session of its own. */
  async function newPage({ width = 1600, height = 900, context, bypassCSP = false } = {}) {
    const own = context ?? (await browser.newContext({ viewport: { width, height }, locale: 'zh-CN', bypassCSP }));
    const page = await own.newPage();
    page.on('pageerror', (error) => complaints.push(`error: ${error.message}`));
    page.on('console', (message) => {
      if (/Content Security Policy/i.test(message.text())) complaints.push(`policy: ${message.text()}`);
    });
    page.on('request', (request) => {
      if (!request.url().startsWith('http://127.0.0.1:')) complaints.push(`off origin: ${request.url()}`);
    });
    return page;
  }

  async function signIn(page, name = 'duty', password = 'duty-password', path = '/duty') {
    await page.goto(mock.url + path);
    await page.fill('input[name=name]', name);
    await page.fill('input[name=password]', password);
    await page.click('button[type=submit]');
    await page.waitForSelector('[data-link=live]');
  }

  return {
    world, mock, browser, complaints, newPage, signIn,
    async close() {
      await browser.close();
      await mock.kill().catch(() => undefined);
    },
  };
}
