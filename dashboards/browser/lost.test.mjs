// Losing the server: the banner in time, no value that looks live, no action, and everything true again afterwards.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startMock } from '../mock/server.mjs';
import { DIST, openDesk } from './desk.mjs';

let desk;
before(async () => {
  desk = await openDesk();
});
after(() => desk.close());

const LIVE_WORDS = /实时(?!\))|延迟/;

async function assertNothingLive(page) {
  const looks = await page.$$eval('[data-look]', (cells) => cells.map((cell) => cell.dataset.look));
  assert.ok(looks.length > 0);
  assert.deepEqual(looks.filter((look) => look === 'live' || look === 'doubtful'), []);
  const hatched = await page.$$eval('[data-look]', (cells) => cells.every((cell) => cell.classList.contains('hatched')));
  assert.ok(hatched, 'every value is hatched');
  const text = (await page.innerText('body')).replaceAll('非实时', '');
  assert.ok(!LIVE_WORDS.test(text), 'the word for live is gone');
}

test('the server is killed: within 15 s a banner, hatched and dated values, actions off; and back again', async () => {
  const site = await desk.newPage();
  await desk.signIn(site, 'duty', 'duty-password', '/site/si-1');
  await site.waitForSelector('[data-look=live]');
  const duty = await desk.newPage({ context: site.context() });
  await duty.goto(`${desk.mock.url}/duty?alarm=a-1`);
  await duty.waitForSelector('button.sign:not(:disabled)');

  const port = desk.mock.port;
  const killedAt = Date.now();
  await desk.mock.kill();
  await Promise.all([site, duty].map((page) => page.waitForSelector('[data-banner=lost]', { timeout: 15_000 })));
  assert.ok(Date.now() - killedAt < 15_000);
  assert.match(await site.textContent('[data-banner]'), /连接中断 .*画面停在 \d\d:\d\d:\d\d.*请电话核实/s);
  await assertNothingLive(site);
  assert.ok(await duty.isDisabled('button.sign'));
  assert.match(await duty.textContent('[data-ack]'), /连接中断, 不能操作/);
  assert.match(await duty.title(), /中断/);
  await duty.keyboard.press('a');
  assert.equal(await duty.locator('[data-ack] input').count(), 0);

  // Something happens meanwhile; the returned server has another memory and another process.
  const missed = desk.world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 1, value: 55, limit: 50 });
  const again = await startMock(desk.world, { dist: DIST, hbMs: 1000, port });
  desk.mock = again;
  for (const page of [site, duty]) {
    await page.waitForSelector('input[name=password]', { timeout: 20_000 });
  }
  assert.match(await duty.textContent('[role=status]'), /登录已失效/);
  await duty.fill('input[name=name]', 'duty');
  await duty.fill('input[name=password]', 'duty-password');
  await duty.click('button[type=submit]');
  await duty.waitForSelector('[data-link=live]');
  await duty.waitForSelector(`[data-alarm="${missed.id}"]`);
  assert.equal(await duty.locator('[data-banner]').count(), 0);
  await site.context().close();
  await again.kill();
});

test('the server answers while no alarm can come: it is said, nothing is called live, and signing still works', async () => {
  const own = await openDesk();
  try {
    const duty = await own.newPage();
    await own.signIn(duty, 'duty', 'duty-password', '/duty?alarm=a-1');
    const site = await own.newPage({ context: duty.context() });
    await site.goto(`${own.mock.url}/site/si-1`);
    await site.waitForSelector('[data-look=live]');
    own.world.stop('broker_down', '与网关的通信中断', 'no connection to the broker');
    await Promise.all([duty, site].map((page) => page.waitForSelector('[data-banner=stopped]')));
    assert.match(await duty.textContent('[data-banner=stopped]'), /与网关的通信中断.*请电话值守/s);
    await assertNothingLive(site);
    assert.equal(await duty.locator('[data-online=true]').count(), 0);
    assert.ok(!(await duty.innerText('.side')).includes('无活动报警'));
    await duty.keyboard.press('a');
    await duty.keyboard.press('Enter');
    await duty.waitForSelector('[data-ack=signed]');
    own.world.stop('broker_down');
    await Promise.all([duty, site].map((page) => page.waitForSelector('[data-banner=stopped]', { state: 'detached' })));
    await site.waitForSelector('[data-look=live]');
    assert.deepEqual(own.complaints, []);
  } finally {
    await own.close();
  }
});

test('a session that ends within the hour is announced, and signing in again in place puts it off', async () => {
  const own = await openDesk();
  try {
    const page = await own.newPage();
    await own.signIn(page);
    own.mock.faults.sessionLeftMs = 40 * 60_000;
    await page.reload();
    await page.waitForSelector('[data-banner=ending]');
    assert.match(await page.textContent('[data-banner=ending]'), /登录将在 (40分|39分\d+秒)后 \(.*\) 到期/);
    await page.click('[data-banner=ending] button');
    await page.fill('input[name=renew_password]', 'duty-password');
    await page.keyboard.press('Enter');
    await page.waitForSelector('[data-banner=ending]', { state: 'detached' });
    await page.waitForSelector('[data-link=live]');
    assert.deepEqual(own.complaints, []);
  } finally {
    await own.close();
  }
});

test('a session that was ended does not leave a calm and silent desk', async () => {
  const own = await openDesk();
  try {
    const page = await own.newPage();
    await page.addInitScript(() => {
      window.notes = 0;
      const start = OscillatorNode.prototype.start;
      OscillatorNode.prototype.start = function (...at) {
        window.notes += 1;
        return start.apply(this, at);
      };
    });
    await own.signIn(page);
    for (const { alarm } of own.world.alarms.values()) if (!alarm.acked) own.world.acknowledge(alarm.id, own.world.users.get('second'));
    await page.waitForSelector('[data-sound=on]');
    await page.waitForFunction(() => document.title[0] !== '(');
    const before = await page.evaluate(() => window.notes);
    own.mock.sessions.clear();
    for (const stream of own.mock.streams) stream.end();
    await page.waitForSelector('[data-banner=expired]', { timeout: 20_000 });
    await page.waitForFunction((heard) => window.notes > heard, before);
    assert.match(await page.title(), /中断/);
    assert.match(await page.getAttribute('#favicon', 'href'), /lost/);
    await page.click('[data-banner=expired] button');
    assert.equal(await page.locator('[data-banner=expired]').count(), 0);
    assert.doesNotMatch(await page.title(), /中断/);
    assert.deepEqual(own.complaints, []);
  } finally {
    await own.close();
  }
});

test('a tab whose own timers are held back still sounds: a new alarm, and a lost link', async () => {
  const own = await openDesk();
  try {
    const page = await own.newPage();
    await page.addInitScript(() => {
      // What a browser does to a hidden tab, only worse.
      window.setInterval = () => 0;
      window.notes = 0;
      const start = OscillatorNode.prototype.start;
      OscillatorNode.prototype.start = function (...at) {
        window.notes += 1;
        return start.apply(this, at);
      };
    });
    await own.signIn(page);
    for (const { alarm } of own.world.alarms.values()) if (!alarm.acked) own.world.acknowledge(alarm.id, own.world.users.get('second'));
    await page.waitForSelector('[data-sound=on]');
    await page.waitForFunction(() => document.title[0] !== '(');
    const notes = () => page.evaluate(() => window.notes);
    const before = await notes();
    own.world.raise('R18', 'cem-6', 'bag-2', 'dp', { severity: 3, value: 1600, limit: 1500 });
    await page.waitForFunction((heard) => window.notes > heard, before, { polling: 100 });
    const heard = await notes();
    for (const stream of own.mock.streams) stream.stalled = true;
    own.mock.faults.broken = true;
    await page.waitForFunction((known) => window.notes > known, heard, { polling: 500, timeout: 20_000 });
    assert.equal(await page.locator('[data-banner=lost]').count(), 1);
    assert.deepEqual(own.complaints, []);
  } finally {
    await own.close();
  }
});

test('the connection stays open but silent: lost all the same, and everything missed is there afterwards', async () => {
  const own = await openDesk();
  try {
    const page = await own.newPage();
    await own.signIn(page);
    for (const stream of own.mock.streams) stream.stalled = true;
    const missed = own.world.raise('R21', 'chem-3', 'gd-05', 'gas_lel', { severity: 1, value: 55, limit: 50 });
    own.mock.faults.broken = true;
    await page.waitForSelector('[data-banner=lost]', { timeout: 16_000 });
    assert.equal(await page.locator(`[data-alarm="${missed.id}"]`).count(), 0);
    own.mock.faults.broken = false;
    await page.waitForSelector('[data-link=live]', { timeout: 15_000 });
    await page.waitForSelector(`[data-alarm="${missed.id}"]`);
    assert.equal(await page.locator('[data-banner]').count(), 0);
    assert.deepEqual(own.complaints, []);
  } finally {
    await own.close();
  }
});
