// The duty page against the mock: news, order, keys, acknowledging and its three kinds of refusal.
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { flood } from '../mock/story.mjs';
import { openDesk } from './desk.mjs';

let desk;
let page;

before(async () => {
  desk = await openDesk();
  page = await desk.newPage();
  await desk.signIn(page);
});
after(() => desk.close());
// Each test begins on the plain page, with the pointer off the list: a pointer on it would freeze the order.
beforeEach(async () => {
  await page.mouse.move(5, 5);
  await page.goto(`${desk.mock.url}/duty`);
  await page.waitForSelector('[data-link=live]');
});

const ids = () => page.$$eval('[data-alarm]', (rows) => rows.map((row) => row.dataset.alarm));
const choose = async (id) => {
  await page.click(`[data-alarm="${id}"]`);
  await page.waitForSelector(`[data-drawer="${id}"]`);
};
const rowText = (id) => page.textContent(`[data-alarm="${id}"]`);

test('a new alarm appears on the open page, on top, and names value, limit and delay', async () => {
  const alarm = desk.world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 1, value: 51.8, limit: 50, delayMs: 1000 });
  await page.waitForSelector(`[data-alarm="${alarm.id}"]`);
  assert.equal((await ids())[0], alarm.id);
  await page.click(`[data-alarm="${alarm.id}"]`);
  await page.waitForSelector('[data-timeline] li');
  assert.match(await page.textContent('[data-field=value]'), /51\.8 %LEL/);
  assert.match(await page.textContent('[data-field=limit]'), /50 %LEL/);
  assert.match(await page.textContent('[data-field=delay]'), /1秒 \(要求 ≥ 1秒\)/);
  assert.match(await page.title(), /^\(6\) /);
});

test('the language changes in place: the selection, the text typed and the page stay', async () => {
  const where = () => page.evaluate(() => location.href);
  await page.click('[data-alarm]');
  await page.fill('input[type=search]', '化工');
  const before = await where();
  await page.click('[data-language]');
  assert.equal(await page.textContent('h2:has-text("Why this alarm")'), 'Why this alarm');
  assert.equal(await page.inputValue('input[type=search]'), '化工');
  assert.equal(await where(), before);
  assert.match(await page.textContent('[data-hidden]'), /hidden/);
  await page.click('[data-language]');
});

test('j, a, Enter: signed from the keyboard, and not called signed before the server says so', async () => {
  desk.mock.faults.ackDelayMs = 400;
  const alarm = desk.world.raise('R26', 'si-1', 'ef1-tr', 't_x', { severity: 1, value: 77, limit: 75 });
  await page.waitForSelector(`[data-alarm="${alarm.id}"]`);
  await page.goto(`${desk.mock.url}/duty?alarm=${alarm.id}`);
  await page.waitForSelector('[data-link=live]');
  await page.waitForSelector('[data-drawer] button.sign:not(:disabled)');
  await page.keyboard.press('a');
  await page.keyboard.type('已电话核实');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-ack=pending]');
  assert.match(await rowText(alarm.id), /提交中/);
  assert.equal(desk.world.alarms.get(alarm.id).alarm.acked, false);
  await page.waitForSelector('[data-ack=signed]');
  assert.match(await page.textContent('[data-ack]'), /值班甲 于 .* 签收 · “已电话核实”/);
  assert.match(await rowText(alarm.id), /已签收.*值班甲/s);
  desk.mock.faults.ackDelayMs = 0;
});

test('somebody was faster: the page says who and when and overwrites nothing', async () => {
  const alarm = desk.world.raise('R24', 'chem-3', 'tk-301', 'level_pct', { severity: 2, value: 91, limit: 90 });
  await page.waitForSelector(`[data-alarm="${alarm.id}"]`);
  await choose(alarm.id);
  desk.mock.faults.ackBeaten = true;
  await page.keyboard.press('a');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-refusal=conflict]');
  assert.match(await page.textContent('[data-refusal]'), /王工 \d+秒前已签收/);
  assert.equal(desk.world.alarms.get(alarm.id).alarm.ack.by, 'second');
});

test('the answer was lost: the page says so, and pressing again does not sign twice', async () => {
  const alarm = desk.world.raise('R24', 'chem-3', 'tk-301', 'level_pct', { severity: 2, value: 92, limit: 90 });
  await page.waitForSelector(`[data-alarm="${alarm.id}"]`);
  await choose(alarm.id);
  desk.mock.faults.ackSilent = true;
  await page.keyboard.press('a');
  await page.keyboard.press('Enter');
  await page.waitForSelector('[data-refusal=unknown], [data-ack=signed]');
  await page.waitForSelector('[data-ack=signed]');
  assert.equal(desk.world.alarms.get(alarm.id).history.filter((entry) => entry.kind === 'ack').length, 1);
});

test('a second browser sees who signed and when', async () => {
  const other = await desk.newPage();
  const alarm = desk.world.raise('R26', 'si-1', 'ef1-tr', 't_x', { severity: 2, value: 76, limit: 75 });
  await desk.signIn(other, 'second', 'duty-password', `/duty?alarm=${alarm.id}`);
  await choose(alarm.id);
  await page.keyboard.press('a');
  await page.keyboard.press('Enter');
  await other.waitForSelector('[data-ack=signed]');
  assert.match(await other.textContent('[data-ack=signed]'), /值班甲 于 \d\d:\d\d:\d\d 签收/);
  await other.context().close();
});

test('an alarm that rises shows value, limit, delay and times of its new level, and when it was first raised', async () => {
  const alarm = desk.world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 4, value: 12, limit: 10, ageMs: 600_000, delayMs: 300_000 });
  await page.goto(`${desk.mock.url}/duty?alarm=${alarm.id}`);
  await page.waitForSelector('[data-ack=none]');
  assert.match(await page.textContent('[data-ack=none]'), /无需签收/);
  assert.match(await rowText(alarm.id), /无需签收/);
  desk.world.level(alarm.id, 2, { value: 27, limit: 25, delayMs: 3000 });
  await page.waitForSelector('[data-ack=open]');
  await page.waitForSelector('[data-timeline] li:has-text("升级")');
  assert.match(await page.textContent('[data-field=delay]'), /3秒 \(要求 ≥ 3秒\)/);
  assert.match(await page.textContent('[data-field=first]'), /报警 \d\d:\d\d:\d\d/);
  assert.match(await page.textContent('[data-field=judged]'), /现级别 橙 \d\d:\d\d:\d\d/);
  assert.match(await rowText(alarm.id), /未签收/);
});

test('a past alarm is opened from the history, with the raises before it', async () => {
  const raise = () => desk.world.raise('R24', 'mine-4', 'pump-1', 'level_pct', { severity: 2, value: 91, limit: 90 });
  const end = (id) => {
    desk.world.clear(id);
    desk.world.acknowledge(id, desk.world.users.get('second'), '已处置');
  };
  const first = raise();
  end(first.id);
  const second = raise();
  end(second.id);
  await page.goto(`${desk.mock.url}/history`);
  await page.click(`a[href*="alarm=${second.id}"]`);
  await page.waitForSelector(`[data-drawer="${second.id}"] [data-timeline] li`);
  assert.match(await page.textContent('[data-occurrence]'), /第 2 次/);
  assert.match(await page.textContent('[data-timeline]'), /签收\s+王工/);
  await page.click(`[data-earlier] a[href*="alarm=${first.id}"]`);
  await page.waitForSelector(`[data-drawer="${first.id}"]`);
  await page.goto(`${desk.mock.url}/duty?alarm=no-such-alarm`);
  await page.waitForSelector('[data-missing] [data-panel=denied]');
});

test('an alarm that closes stays under the reader until they let it go', async () => {
  const alarm = desk.world.raise('R18', 'cem-6', 'bag-2', 'dp', { severity: 3, value: 1600, limit: 1500 });
  await page.goto(`${desk.mock.url}/duty?alarm=${alarm.id}`);
  await page.waitForSelector('[data-ack=open]');
  // The events are lost: only the next comparison with the server tells.
  for (const stream of desk.mock.streams) stream.stalled = true;
  desk.world.clear(alarm.id);
  desk.world.acknowledge(alarm.id, desk.world.users.get('second'), null);
  for (const stream of desk.mock.streams) stream.end();
  await page.waitForSelector('[data-ack=signed]', { timeout: 20_000 });
  assert.match(await page.textContent(`[data-drawer="${alarm.id}"]`), /已恢复/);
});

test('on a telephone: rows say what is wrong, a chosen alarm comes into view, and its button stays in reach', async () => {
  const phone = await desk.newPage({ width: 390, height: 780 });
  await desk.signIn(phone, 'second', 'duty-password');
  const row = phone.locator('[data-alarm="a-1"]');
  assert.match(await row.innerText(), /温度高高.*R26/s);
  assert.ok(await row.locator('.value').isVisible());
  await row.click();
  await phone.waitForSelector('[data-drawer="a-1"] [data-timeline] li');
  const inView = (selector) => phone.$eval(selector, (element) => {
    const box = element.getBoundingClientRect();
    return box.top >= 0 && box.bottom <= window.innerHeight + 1;
  });
  await phone.waitForFunction(() => document.querySelector('[data-drawer] h1').getBoundingClientRect().top < window.innerHeight / 2);
  assert.ok(await inView('[data-drawer] h1'));
  assert.ok(await inView('button.sign'));
  await phone.locator('[data-drawer] blockquote').scrollIntoViewIfNeeded();
  await phone.mouse.wheel(0, 400);
  assert.ok(await inView('button.sign'));
  await phone.context().close();
});

test('a hundred insertions move neither scroll nor selection; news is counted in the pill', async () => {
  flood(desk.world, 200);
  await page.waitForFunction(() => Number(document.querySelector('[role=grid]').getAttribute('aria-rowcount')) > 150);
  await page.mouse.move(5, 5);
  const scroller = page.locator('[role=grid] [role=rowgroup]').nth(1);
  await scroller.evaluate((element) => { element.scrollTop = 1600; });
  await page.waitForFunction(() => document.querySelector('[role=grid]').dataset.frozen === 'true');
  const chosen = (await ids())[20];
  await page.click(`[data-alarm="${chosen}"]`);
  const top = await scroller.evaluate((element) => element.scrollTop);
  const before = await ids();
  for (let index = 0; index < 100; index += 1) {
    desk.world.raise('R26', 'si-1', 'ef1-tr', 't_x', { severity: 1, value: 80, limit: 75 });
  }
  await page.waitForFunction(() => /100/.test(document.querySelector('[data-pill]')?.textContent ?? ''));
  assert.deepEqual(await ids(), before);
  assert.equal(await scroller.evaluate((element) => element.scrollTop), top);
  assert.equal(await page.getAttribute('[aria-selected=true]', 'data-alarm'), chosen);
  assert.ok((await ids()).length < 60, 'only rows near the view exist');
  await page.keyboard.press('n');
  await page.waitForFunction(() => document.querySelector('[data-pill]') === null);
  assert.equal(await page.getAttribute('[data-drawer]', 'data-drawer'), chosen);
});

test('sites cannot be read: alarms are signed all the same, and no device is called online', async () => {
  desk.mock.faults.noSites = true;
  try {
    const alarm = desk.world.raise('R24', 'chem-3', 'tk-301', 'level_pct', { severity: 2, value: 93, limit: 90 });
    await page.goto(`${desk.mock.url}/duty?alarm=${alarm.id}`);
    await page.waitForSelector('[data-link=live]');
    await page.waitForSelector('.side [data-panel=error]');
    await page.waitForSelector('button.sign:not(:disabled)');
    await page.keyboard.press('a');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-ack=signed]');
    desk.mock.faults.noSites = false;
    await page.waitForSelector('[data-county]');
    desk.mock.faults.noSites = true;
    desk.world.tell('gateway', {});
    await page.waitForSelector('[data-sites=failed]');
    assert.equal(await page.locator('[data-online=true]').count(), 0);
  } finally {
    desk.mock.faults.noSites = false;
  }
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(desk.complaints, []);
});
