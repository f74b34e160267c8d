// The other pages: first run, the five pictures, roles, many tabs, accessibility.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { after, before, test } from 'node:test';
import { openDesk } from './desk.mjs';

const axe = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
let desk;
before(async () => {
  desk = await openDesk();
});
after(() => desk.close());

test('first run: a wrong token is refused, the right one signs in; then nobody can set up again', async () => {
  const own = await openDesk({ story: null });
  try {
    own.mock.faults.setup = true;
    const page = await own.newPage();
    await page.goto(own.mock.url);
    await page.fill('input[name=setup_token]', 'wrong');
    await page.fill('input[name=name]', 'chief');
    await page.fill('input[name=display]', '李主任');
    await page.fill('input[name=password]', 'a-long-password');
    await page.fill('input[name=repeat]', 'another');
    await page.click('button[type=submit]');
    assert.match(await page.textContent('[role=alert]'), /不一致/);
    await page.fill('input[name=repeat]', 'a-long-password');
    await page.click('button[type=submit]');
    await page.waitForFunction(() => /口令不正确/.test(document.querySelector('[role=alert]')?.textContent ?? ''));
    await page.fill('input[name=setup_token]', own.world.setupToken);
    await page.click('button[type=submit]');
    await page.waitForSelector('[data-link=live]');
    assert.match(await page.textContent('header'), /李主任/);
    assert.match(await page.textContent('[data-panel=empty]'), /无活动报警.*设备在线 \d+\/\d+ · 数据完整率/s);
    const other = await own.newPage();
    await other.goto(own.mock.url);
    await other.waitForSelector('input[name=name]');
    assert.equal(await other.locator('input[name=setup_token]').count(), 0);
  } finally {
    await own.close();
  }
});

test('a wrong password says that something was wrong, not what', async () => {
  const page = await desk.newPage();
  await page.goto(desk.mock.url);
  await page.fill('input[name=name]', 'nobody');
  await page.fill('input[name=password]', 'x');
  await page.click('button[type=submit]');
  await page.waitForSelector('[role=alert]');
  assert.equal(await page.textContent('[role=alert]'), '账号或密码不正确');
});

test('empty, loading, error and denied are different pictures; a failure never looks like calm', async () => {
  const own = await openDesk({ story: null });
  try {
    const page = await own.newPage();
    await own.signIn(page);
    await page.waitForSelector('.list [data-panel=empty]');
    own.mock.faults.broken = true;
    await page.reload();
    await page.waitForSelector('.list [data-panel=error]');
    const text = await page.textContent('.list');
    assert.match(text, /这不代表没有报警/);
    assert.ok(!text.includes('无活动报警'));
    own.mock.faults.broken = false;
    await page.waitForSelector('.list [data-panel=empty]', { timeout: 15_000 });
    await page.goto(`${own.mock.url}/site/not-mine`);
    await page.waitForSelector('[data-panel=denied]');
  } finally {
    await own.close();
  }
});

test('a fault of the page itself looks like a fault, not like the last good picture', async () => {
  const own = await openDesk();
  try {
    const page = await own.newPage();
    own.mock.faults.garbled = true;
    await page.goto(own.mock.url);
    await page.fill('input[name=name]', 'duty');
    await page.fill('input[name=password]', 'duty-password');
    await page.click('button[type=submit]');
    await page.waitForSelector('main [data-panel=error]');
    assert.match(await page.textContent('main'), /这不代表没有报警/);
  } finally {
    await own.close();
  }
});

test('the grid company sees no verdict about a plant, not even "no alarms"', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'grid', 'grid-password', '/duty');
  await page.waitForSelector('main [data-panel=denied]');
  assert.ok(!(await page.innerText('main')).includes('无活动报警'));
});

test('an auditor looks and cannot sign, with the reason', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'audit', 'audit-password', '/duty?alarm=a-1');
  await page.waitForSelector('[data-ack]');
  assert.ok(await page.isDisabled('button.sign'));
  assert.match(await page.textContent('[data-ack]'), /只能查看/);
});

test('the site page: unknown is a dash, stale is dated, a rule that cannot run says what is missing', async () => {
  const page = await desk.newPage();
  await desk.signIn(page, 'duty', 'duty-password', '/site/cold-5');
  await page.waitForSelector('[data-look=missing]');
  const cells = await page.$$eval('[data-look]', (found) => found.map((cell) => cell.textContent));
  for (const cell of cells) assert.match(cell, /— .*上次 [\d.]+ .*\d\d:\d\d:\d\d.*陈旧/s);
  assert.match(await page.textContent('[data-rule-state=cannot]'), /不能判定.*缺少: 额定电流 I_N/s);
  assert.match(await page.textContent('[data-rule-state=evaluating]:has(progress)'), /18分 \/ 30分/);
  await page.goto(`${desk.mock.url}/site/chem-3`);
  await page.waitForSelector('[data-point="gd-06/gas_lel"] [data-look=missing]');
  assert.match(await page.textContent('[data-point="gd-06/gas_lel"]'), /—.*从未收到/s);
});

test('eight tabs share one stream and all stay live', async () => {
  const own = await openDesk();
  const first = await own.newPage();
  await own.signIn(first);
  const tabs = [];
  for (let index = 0; index < 7; index += 1) {
    const tab = await own.newPage({ context: first.context() });
    await tab.goto(`${own.mock.url}/duty`);
    await tab.waitForSelector('[data-link=live]');
    tabs.push(tab);
  }
  assert.equal(own.mock.streams.size, 1);
  const alarm = own.world.raise('R26', 'si-1', 'ef1-tr', 't_x', { severity: 1, value: 80, limit: 75 });
  await Promise.all(tabs.map((tab) => tab.waitForSelector(`[data-alarm="${alarm.id}"]`)));
  await own.close();
});

test('axe finds nothing at A and AA on any page, day and night', async () => {
  const page = await desk.newPage({ bypassCSP: true });
  const found = [];
  const check = async (name) => {
    await page.evaluate(axe);
    const result = await page.evaluate(() => globalThis.axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa'] }));
    found.push(...result.violations.map((each) => `${name}: ${each.id} ${each.nodes.slice(0, 3).map((node) => `${node.html} ${node.failureSummary}`).join(' | ')}`));
  };
  await page.goto(desk.mock.url);
  await page.waitForSelector('input[name=name]');
  await check('sign-in');
  await desk.signIn(page, 'admin', 'admin-password', '/duty?alarm=a-1');
  await page.waitForSelector('.uplot');
  await check('duty');
  await page.click('button[title*="夜间"]');
  await check('duty night');
  for (const path of ['/site/si-1', '/site/cold-5', '/sites', '/history', '/system', '/quarantine']) {
    await page.goto(desk.mock.url + path);
    await page.waitForSelector('[data-link=live]');
    await page.waitForSelector('main .panel');
    await check(path);
  }
  assert.deepEqual(found, []);
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(desk.complaints, []);
});
