// What a real centre set aside, on the page: duty staff read why, an officer gives one thing back to history and throws the
// other away, and both stay on record.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { env, launch, newPage, signIn } from './console.mjs';

let browser;
const complaints = [];
before(async () => {
  browser = await launch();
});
after(() => browser.close());

/** The page's rows as `{ id: code }`. */
async function entries(page) {
  await page.waitForSelector('[data-entry]');
  const rows = await page.$$eval('[data-entry]', (found) => found.map((row) => [row.dataset.entry, row.textContent]));
  return new Map(rows.map(([id, text]) => [/key_reuse|future/.exec(text)?.[0], id]));
}

async function open(page, id) {
  await page.click(`[data-entry="${id}"] button.open`);
  await page.waitForSelector(`[data-detail="${id}"]`);
}

/** The spare device's stored values of an hour around now. */
function stored(page) {
  return page.evaluate(async (site) => {
    const [from, to] = [Date.now() - 3_600_000, Date.now() + 3_600_000];
    const answer = await fetch(`/api/v1/series?site=${site}&device=spare-1&quantity=u_a&from=${from}&to=${to}&raw=1`);
    return (await answer.json()).value;
  }, env.site);
}

test('duty staff read what was set aside and why, and decide nothing', async () => {
  const page = await newPage(browser, complaints);
  await signIn(page, '/quarantine');
  const found = await entries(page);
  assert.deepEqual([...found.keys()].sort(), ['future', 'key_reuse']);
  await open(page, found.get('future'));
  const detail = await page.textContent(`[data-detail="${found.get('future')}"]`);
  assert.match(detail, /spare-gw.*样本时间比中心时钟超前.*spare-1.*A ?相电压 231\.5 V/s);
  await open(page, found.get('key_reuse'));
  assert.match(await page.textContent(`[data-detail="${found.get('key_reuse')}"]`), /磁盘镜像.*A ?相电压 77 V/s);
  assert.equal(await page.locator('[data-act]').count(), 0);
  await page.context().close();
});

test('an officer gives one back to history and throws the other away for a reason', async () => {
  // Somebody else looks on; nothing is clicked there again.
  const onlooker = await newPage(browser, complaints);
  await signIn(onlooker, '/quarantine');
  await onlooker.selectOption('select[name=state]', 'all');
  await onlooker.click('form.ask button');
  const page = await newPage(browser, complaints);
  await signIn(page, '/quarantine', env.officer);
  const found = await entries(page);
  const [future, reused] = [found.get('future'), found.get('key_reuse')];
  assert.deepEqual(await stored(page), [230]);

  await open(page, future);
  assert.ok(await page.isDisabled('button.replay'), 'no reason yet');
  // As it stands it lies ahead still, and the centre says so; its clock was fast.
  await page.fill('input[name=reason]', '已校时, 读数属实');
  await page.click('button.replay:not(:disabled)');
  await page.waitForSelector(`[data-outcome]:has-text("条目 ${future} 未办理")`);
  await page.fill('input[name=reason]', '已校时, 读数属实');
  await page.fill('input[name=shift]', '-400');
  await page.click('button.replay:not(:disabled)');
  await page.waitForSelector(`[data-detail="${future}"] [data-field=done]`);
  const done = await page.textContent(`[data-detail="${future}"] [data-field=done]`);
  assert.match(done, new RegExp(`${env.officer}.*已校时, 读数属实`, 's'));

  await open(page, reused);
  await page.fill('input[name=reason]', '克隆的磁盘');
  await page.click('button.discard:not(:disabled)');
  await page.click('button.discard:has-text("确认丢弃")');
  await page.waitForSelector(`[data-detail="${reused}"] [data-field=done]:has-text("克隆的磁盘")`);

  // Whoever looks on sees both change without asking again.
  await onlooker.waitForSelector(`[data-entry="${future}"][data-state=replayed]`, { timeout: 30_000 });
  await onlooker.waitForSelector(`[data-entry="${reused}"][data-state=discarded]`);
  await onlooker.context().close();

  // Both are on record under their states; nothing waits any more.
  await page.selectOption('select[name=state]', 'replayed');
  await page.click('form.ask button');
  await page.waitForSelector(`[data-entry="${future}"][data-state=replayed]`);
  await page.selectOption('select[name=state]', 'discarded');
  await page.click('form.ask button');
  await page.waitForSelector(`[data-entry="${reused}"][data-state=discarded]`);
  await page.selectOption('select[name=state]', 'open');
  await page.click('form.ask button');
  await page.waitForSelector('.list [data-panel=empty]');
  await page.waitForFunction(async (site) => {
    const [from, to] = [Date.now() - 3_600_000, Date.now() + 3_600_000];
    const answer = await fetch(`/api/v1/series?site=${site}&device=spare-1&quantity=u_a&from=${from}&to=${to}&raw=1`);
    return JSON.stringify((await answer.json()).value) === '[231.5,230]';
  }, env.site, { timeout: 30_000 });
  await page.context().close();
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(complaints, []);
});
