// The centre is killed while somebody looks: a banner in time, nothing that looks live, and the truth again afterwards.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { act, env, launch, newPage, signIn } from './console.mjs';

let browser;
let duty;
let site;
const complaints = [];

before(async () => {
  browser = await launch();
  duty = await newPage(browser, complaints);
  const storageState = await signIn(duty);
  site = await newPage(browser, complaints, { storageState });
  await site.goto(`${env.url}/site/${env.site}`);
  await site.waitForSelector('[data-look=live]', { timeout: 30_000 });
});
after(async () => {
  await act('/start').catch(() => undefined);
  await browser.close();
});

/** Twelve seconds of silence, and a little for the drawing. */
const BANNER_MS = 14_500;

test('the centre is killed: a banner, and no value looks live', async () => {
  const killed = Date.now();
  await act('/kill');
  await Promise.all([duty, site].map((page) => page.waitForSelector('[data-banner=lost]', { timeout: BANNER_MS })));
  console.log(`from the kill to the banner: ${Date.now() - killed} ms`);
  assert.match(await duty.textContent('[data-banner]'), /连接中断 .*画面停在 \d\d:\d\d:\d\d.*请电话核实/s);
  const looks = await site.$$eval('[data-look]', (cells) => cells.map((cell) => [cell.dataset.look, cell.classList.contains('hatched')]));
  assert.ok(looks.length > 0);
  for (const [look, hatched] of looks) {
    assert.ok(look === 'held' || look === 'missing', look);
    assert.ok(hatched);
  }
  for (const page of [duty, site]) {
    const words = (await page.innerText('body')).replaceAll('非实时', '');
    assert.ok(!/实时|延迟 \d/.test(words), 'nothing calls itself live');
    assert.equal(await page.locator('button.sign:not(:disabled)').count(), 0);
  }
});

test('the centre is back: the banner goes, the session stands, values are live again', async () => {
  await act('/start');
  await Promise.all([duty, site].map((page) => page.waitForSelector('[data-link=live]', { timeout: 30_000 })));
  assert.equal(await duty.locator('[data-banner]').count(), 0);
  await site.waitForSelector('[data-look=live]', { timeout: 30_000 });
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(complaints, []);
});
