// The first run: a centre that nobody has set up, its token, the first administrator, signing out and in.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { env, launch, newPage } from './console.mjs';

let browser;
const complaints = [];
before(async () => {
  browser = await launch();
});
after(() => browser.close());

const PASSWORD = 'a-long-enough-password';

async function fillSetUp(page, token) {
  await page.fill('input[name=setup_token]', token);
  await page.fill('input[name=name]', 'chief');
  await page.fill('input[name=display]', '李主任');
  await page.fill('input[name=password]', PASSWORD);
  await page.fill('input[name=repeat]', PASSWORD);
  await page.click('button[type=submit]');
}

test('the first administrator needs the token of the terminal, and there is only one first', async () => {
  const page = await newPage(browser, complaints);
  await page.goto(env.setupUrl);
  await page.waitForSelector('input[name=setup_token]');
  await fillSetUp(page, '0'.repeat(env.setupToken.length));
  await page.waitForSelector('[role=alert]');
  assert.match(await page.textContent('[role=alert]'), /设置口令不正确/);
  await fillSetUp(page, env.setupToken);
  await page.waitForSelector('[data-link=live]', { timeout: 20_000 });
  assert.match(await page.textContent('header'), /李主任.*管理员/s);

  const other = await newPage(browser, complaints);
  await other.goto(env.setupUrl);
  await other.waitForSelector('input[name=password]');
  assert.equal(await other.locator('input[name=setup_token]').count(), 0);
  await other.fill('input[name=name]', 'chief');
  await other.fill('input[name=password]', 'wrong-password');
  await other.click('button[type=submit]');
  await other.waitForSelector('[role=alert]');
  assert.equal(await other.textContent('[role=alert]'), '账号或密码不正确');
  await other.fill('input[name=password]', PASSWORD);
  await other.click('button[type=submit]');
  await other.waitForSelector('[data-link=live]', { timeout: 20_000 });
  await other.click('button:has-text("退出")');
  await other.waitForSelector('input[name=password]');
});

test('an empty centre says that it is empty, not that all is well', async () => {
  const page = await newPage(browser, complaints);
  await page.goto(env.setupUrl);
  await page.fill('input[name=name]', 'chief');
  await page.fill('input[name=password]', PASSWORD);
  await page.click('button[type=submit]');
  await page.waitForSelector('.list [data-panel=empty]');
  assert.match(await page.textContent('.list'), /设备在线 0\/0 · 数据完整率 未知/);
});

test('nothing broke the content policy, left the origin or threw', () => {
  assert.deepEqual(complaints, []);
});
