// The quarantine page: filters, the explanation, who may decide what, replay with a difference, discard that is meant.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openDesk } from './desk.mjs';

let desk;
before(async () => {
  desk = await openDesk();
});
after(() => desk.close());

const rows = (page) => page.$$eval('[data-entry]', (found) => found.map((row) => Number(row.dataset.entry)));
const open = async (page, id) => {
  await page.click(`[data-entry="${id}"] button.open`);
  await page.waitForSelector(`[data-detail="${id}"]`);
};

test('duty staff look through it in both languages and decide nothing', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'duty', 'duty-password', '/system');
  await page.click('a[href="/quarantine"]');
  await page.waitForSelector('[data-entry]');
  assert.deepEqual(await rows(page), [4, 3, 2, 1]);
  assert.equal(await page.getAttribute('nav a[href="/system"]', 'aria-current'), 'page');
  await page.selectOption('select[name=code]', 'key_reuse');
  await page.click('form.ask button');
  await page.waitForFunction(() => document.querySelectorAll('[data-entry]').length === 1);
  assert.deepEqual(await rows(page), [2]);
  await page.selectOption('select[name=state]', 'discarded');
  await page.click('form.ask button');
  await page.waitForSelector('.list [data-panel=empty]');
  await page.selectOption('select[name=code]', '');
  await page.selectOption('select[name=state]', 'all');
  await page.click('form.ask button');
  await open(page, 4);
  assert.match(await page.textContent('[data-detail="4"]'), /样本时间超前.*按提示处理.*A 相电压 231\.4 V · A 相电流 —/s);
  assert.equal(await page.locator('[data-act]').count(), 0);
  assert.equal(await page.locator('a[download]').count(), 0, 'the raw block is not for the desk');
  await page.click('[data-language]');
  assert.match(await page.textContent('[data-detail="4"]'), /The samples lie ahead.*Do as it says/s);
});

test('a plant or the grid company is not let in', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'grid', 'grid-password', '/quarantine');
  await page.waitForSelector('[data-panel=denied]');
});

test('an administrator gives back and discards only what is theirs', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'admin', 'admin-password', '/quarantine');
  await page.waitForSelector('[data-entry]');
  await open(page, 2);
  await page.fill('input[name=reason]', '现场核实');
  assert.ok(await page.isDisabled('button.replay') && await page.isDisabled('button.discard'));
  assert.match(await page.textContent('[data-act]'), /补录: 须由 科室 办理/);
  await open(page, 1);
  assert.ok(await page.isDisabled('button.replay'));
  assert.match(await page.textContent('[data-refused=unreadable]'), /永远不能补录/);
  await page.click('button.discard');
  assert.equal(desk.world.quarantine.entries[0].row.state, 'open', 'the first click only asks');
  await page.click('button.discard:has-text("确认丢弃")');
  await page.waitForSelector('[data-detail="1"] [data-field=done]');
  assert.match(await page.textContent('[data-field=done]'), /admin.*现场核实/s);
});

test('an officer gives back with the difference that the clock needs, several at once, and reads what was refused', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'officer', 'officer-password', '/quarantine');
  await page.waitForSelector('[data-entry]');
  await open(page, 3);
  await page.fill('input[name=reason]', '停电前巡检记录');
  assert.ok(await page.isDisabled('button.replay'), 'no difference yet');
  await page.fill('input[name=shift]', '1790000000');
  assert.match(await page.textContent('#shift-hint'), /最晚样本将记为/);
  for (const id of [2, 3]) await page.check(`[data-entry="${id}"] input`);
  await page.fill('input[name=shift]', '');
  await page.click('button.replay');
  await page.waitForFunction(() => /已提交 1 条/.test(document.querySelector('[data-outcome]')?.textContent ?? ''));
  assert.match(await page.textContent('[data-outcome]'), /条目 3 未办理: 请填写时间偏差/);
  await page.waitForFunction(() => document.querySelector('[data-entry="2"]') === null);
  await page.fill('input[name=reason]', '停电前巡检记录');
  await page.fill('input[name=shift]', '1790000000.5');
  await page.click('button.replay:not(:disabled)');
  await page.waitForSelector('[data-detail="3"] [data-field=done]');
  assert.equal(desk.world.quarantine.entries[2].row.shift_ms, 1_790_000_000_500);
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(desk.complaints, []);
});
